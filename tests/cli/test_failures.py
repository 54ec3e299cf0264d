"""Whatever goes wrong ends in one line, and a bug stays a bug."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner, Result

from camomile_trio.cli.command import Camomile, camomile
from camomile_trio.cli.failures import (
    EXIT_CODES,
    LONGEST_LINE,
    CommandFailed,
    describe,
    expected_failure,
    one_line,
    sentence,
)
from camomile_trio.errors import (
    BadKey,
    CamomileError,
    ConfigError,
    DataDirectoryInUse,
    Forgotten,
    NotFound,
    NotJoined,
    Overloaded,
    TransportError,
    Unreachable,
)

IN_USE = TransportError("port 8118 is in use", remedy="choose another with --listen")


def outcome_of(error: BaseException) -> Result:
    """What a command that ends with `error` leaves behind."""

    @click.group(cls=Camomile)
    def group() -> None: ...

    @group.command()
    def fails() -> None:
        raise error

    return CliRunner().invoke(group, ["fails"])


def test_an_error_of_ours_becomes_its_cause_and_remedy() -> None:
    result = outcome_of(IN_USE)
    assert result.stderr == "camomile: port 8118 is in use; choose another with --listen\n"
    assert result.exit_code == 1


def test_an_error_out_of_nested_nurseries_reads_the_same() -> None:
    nested = ExceptionGroup("outer", [ExceptionGroup("inner", [IN_USE, OSError(9, "Bad file descriptor")])])
    result = outcome_of(nested)
    assert result.stderr == "camomile: port 8118 is in use; choose another with --listen\n"
    assert result.exit_code == 1


def test_words_of_ours_go_before_an_error_of_the_system() -> None:
    assert expected_failure(ExceptionGroup("both", [OSError(9, "Bad file descriptor"), IN_USE])) is IN_USE


def test_a_wrong_setting_is_misuse() -> None:
    result = outcome_of(ConfigError("lease is 5", remedy="choose 60"))
    assert (result.stderr, result.exit_code) == ("camomile: lease is 5; choose 60\n", 2)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CommandFailed("no"), 1),
        (BadKey("no"), 1),
        (NotFound("no"), 3),
        (Forgotten("no"), 4),
        (Unreachable("no"), 5),
        (NotJoined("no"), 5),
        (Overloaded("no"), 5),
    ],
)
def test_what_went_wrong_has_an_exit_code_of_its_own(error: CamomileError, code: int) -> None:
    assert outcome_of(error).exit_code == code


def test_every_command_says_what_its_exit_codes_mean() -> None:
    for words in ([], *([name] for name in camomile.commands)):
        shown = " ".join(CliRunner().invoke(camomile, [*words, "--help"]).stdout.split())
        assert EXIT_CODES in shown


def test_a_default_remedy_is_told_too() -> None:
    assert outcome_of(DataDirectoryInUse("/data is in use")).stderr.count("--data-dir") == 1


def test_a_refused_system_call_names_its_file() -> None:
    result = outcome_of(PermissionError(13, "Permission denied", "/data/x"))
    assert (result.stderr, result.exit_code) == ("camomile: Permission denied: /data/x\n", 1)


def test_an_interruption_is_no_error_and_leaves_no_words() -> None:
    for error in (KeyboardInterrupt(), BaseExceptionGroup("nursery", [KeyboardInterrupt(), IN_USE])):
        result = outcome_of(error)
        assert (result.stderr.strip(), result.exit_code) == ("", 130)


def test_a_bug_is_not_hidden() -> None:
    bug = ZeroDivisionError("a bug")
    assert expected_failure(ExceptionGroup("nursery", [IN_USE, bug])) is None
    assert outcome_of(bug).exception is bug


def test_text_from_a_server_cannot_steer_the_terminal_or_fill_it() -> None:
    assert one_line("red\x1b[31m\r\nnext\u202e") == "red\N{REPLACEMENT CHARACTER}[31m next\N{REPLACEMENT CHARACTER}"
    assert len(one_line("x" * 10**6)) == LONGEST_LINE
    assert sentence("cause") == "cause"
    assert describe(CommandFailed("a\nb", remedy="c\td")) == "a b; c d"


@pytest.mark.parametrize("words", [["nothing"], ["fails", "--what"], ["fails", "extra"]])
def test_misuse_says_where_help_is(words: list[str]) -> None:
    @click.group(cls=Camomile)
    def group() -> None: ...

    @group.command()
    def fails() -> None:
        raise AssertionError("never reached")

    result = CliRunner().invoke(group, words)
    assert result.exit_code == 2
    assert result.stderr.startswith("camomile: ")
    assert result.stderr.endswith("--help\n")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [[], ["key"]])
def test_a_group_without_a_command_shows_its_help_as_it_is_laid_out(words: list[str]) -> None:
    result = CliRunner().invoke(camomile, words)
    asked_for = CliRunner().invoke(camomile, [*words, "--help"])
    assert (result.stdout, result.stderr, result.exit_code) == ("", asked_for.stdout, 2)
    assert len(result.stderr.splitlines()) > 5


def test_the_version_is_printed_whatever_follows() -> None:
    for words in (["--version"], ["--version", "key"]):
        result = CliRunner().invoke(camomile, words)
        assert re.fullmatch(r"camomile [0-9.]+\n", result.stdout)
        assert result.exit_code == 0
