"""What the documents show is what happens: every block that can run is run, and says what it is shown to say."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from tests.docs.documents import ROOT, Block, Way, agrees, blocks, blocks_of, complaint_about
from tests.docs.shell import NODES, PATIENCE, Ports, Shell, missing_tools

pytestmark = pytest.mark.real_time

BLOCKS = blocks()


def of_way(way: Way) -> list[Block]:
    return [block for block in BLOCKS if block.way is way]


def output_after(block: Block) -> Block | None:
    """The block that shows what a program prints: the next one of its document, if that says so."""
    later = (each for each in BLOCKS if each.document == block.document and each.line > block.line)
    following = next(later, None)
    return following if following is not None and following.way is Way.OUTPUT else None


@pytest.mark.parametrize("document", sorted({block.document for block in BLOCKS}))
def test_every_block_says_how_it_is_proven(document: str) -> None:
    wrong = [
        f"{block} {complaint_about(block)}" for block in BLOCKS if block.document == document and complaint_about(block)
    ]
    assert wrong == []


def test_nearly_all_blocks_are_run() -> None:
    wanted = [block for block in BLOCKS if block.way not in {None, Way.OUTPUT}]
    assert len(of_way(Way.NOT)) * 5 <= len(wanted)
    assert of_way(Way.SHELL)
    assert of_way(Way.PROGRAM)


def test_what_is_shown_as_printed_belongs_to_a_program() -> None:
    shown = [output_after(block) for block in of_way(Way.PROGRAM)]
    assert None not in shown
    assert shown == of_way(Way.OUTPUT)


@pytest.mark.parametrize("document", sorted({block.document for block in of_way(Way.SHELL)}))
def test_a_shell_says_what_is_shown(document: str, shell: Shell) -> None:
    if missing := missing_tools():
        pytest.skip(f"{', '.join(missing)} is not installed: the commands of {document} were not run")
    for block in of_way(Way.SHELL):
        if block.document != document:
            continue
        for said in shell.run(block):
            place = f"{document}:{said.command.line}: {said.command.text}"
            assert agrees(said.command.says, said.output), f"{place}\nshown:\n{said.command.says}\nsaid:\n{said.output}"
            assert said.command.says or said.code == 0, f"{place}\nended with {said.code} and said nothing"


@pytest.mark.parametrize("block", of_way(Way.PROGRAM), ids=str)
def test_a_program_prints_what_is_shown(block: Block, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(block.text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    shown = output_after(block)
    assert (done.returncode, done.stderr) == (0, "")
    assert shown is not None
    assert agrees(shown.text, done.stdout), f"{shown}\nshown:\n{shown.text}\nprinted:\n{done.stdout}"


def recipe_of(*targets: str, directory: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """What make would do for the targets; nothing of it is done."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed: its targets were not looked at")
    # These tests may be run by make themselves, and it would tell the inner one how to behave.
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", "--no-print-directory", *targets]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


@pytest.mark.parametrize("block", of_way(Way.MAKE), ids=str)
def test_make_knows_what_is_asked_of_it(block: Block) -> None:
    for command in block.commands():
        words = shlex.split(command.text, comments=True)
        assert words[0] == "make"
        done = recipe_of(*words[1:])
        assert done.returncode == 0, f"{block.document}:{command.line}: {done.stderr}"


def test_make_run_starts_the_cluster_that_these_tests_speak_to() -> None:
    last = recipe_of("run").stdout.splitlines()[-1]
    assert last.endswith(f"/camomile cluster -n {NODES} --http 127.0.0.1:8080")


def test_make_says_what_it_installs_before_each_step(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/best_python.sh", tmp_path / "tools")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements").mkdir()
    for lock in ("build", "run", "dev"):
        (tmp_path / "requirements" / f"{lock}.txt").touch()
    lines = recipe_of("run", "test", directory=tmp_path).stdout.splitlines()
    slow = [number for number, line in enumerate(lines) if "-m venv --clear" in line or "-m pip" in line]
    assert len(slow) == 4
    assert [lines[number] for number in slow if not lines[number - 1].startswith('echo "')] == []


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 200


def test_what_is_for_containers_names_files_that_are_there() -> None:
    for block in of_way(Way.CONTAINERS):
        for command in block.commands():
            words = shlex.split(command.text)
            files = [later for word, later in itertools.pairwise(words) if word == "-f"]
            assert all((ROOT / file).is_file() for file in files), f"{block.document}:{command.line}"


# The harness itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fence", "complaint"),
    [
        ("```\nls\n```", "says no language"),
        ("```console\n$ ls\n```", "has no mark"),
        ("<!-- runs: somehow -->\n```console\n$ ls\n```", "runs: somehow"),
        ("<!-- not run -->\n```console\n$ ls\n```", "not run"),
        ("<!-- runs: as a program -->\n```console\n$ ls\n```", "is console"),
        ("<!-- runs: in a shell -->\n\n```console\n$ ls\n```", "has no mark"),
        ("<!-- an aside -->\n```text\n```", "an aside"),
    ],
)
def test_a_block_that_cannot_be_proven_is_found(fence: str, complaint: str) -> None:
    (block,) = blocks_of("some.md", fence)
    assert complaint in complaint_about(block)


@pytest.mark.parametrize(
    "fence",
    [
        "<!-- runs: in a shell -->\n```console\n$ ls\n```",
        "<!-- not run: it takes an hour -->\n```python\n```",
        "```text\na picture\n```",
    ],
)
def test_a_block_that_can_be_proven_is_let_through(fence: str) -> None:
    (block,) = blocks_of("some.md", fence)
    assert complaint_about(block) == ""


@pytest.mark.parametrize(
    ("shown", "said", "same"),
    [
        ("one\ntwo\n", "one  \r\ntwo\n\n", True),
        ("one\n", "one\ntwo\n", False),
        ("one\n…\n", "one\ntwo\nthree\n", True),
        ("one\n…\nfour\n", "one\nfour\n", True),
        ("…\n", "", True),
        ("id …, 5 s\n", "id 3f, 5 s\n", True),
        ("id …, 5 s\n", "id 3f,\n5 s\n", False),
        ("a.c\n", "abc\n", False),
        ("", "a word\n", False),
    ],
)
def test_what_is_shown_is_compared_with_what_was_said(shown: str, said: str, same: bool) -> None:
    assert agrees(shown, said) is same


@pytest.mark.skipif("bash" in missing_tools(), reason="bash is not installed")
def test_commands_are_told_apart_and_ports_exchanged_both_ways(tmp_path: Path) -> None:
    text = "$ echo http://127.0.0.1:8081 at \\\n  last\nhttp\n$ false\n$ echo $? >&2\n1\n$ sleep 60 &\n"
    (block,) = blocks_of("some.md", f"```console\n{text}```")
    shell = Shell.new(tmp_path, Ports(20_000))
    said = shell.run(block)
    assert [attrs.astuple(each, recurse=False)[1:] for each in said] == [
        ("http://127.0.0.1:8081 at last\n", 0),
        ("", 1),
        ("1\n", 0),
        ("", 0),
    ]
    assert shell.ports.real("[::1]:8118 and :8080, not 8080 or :8999") == "[::1]:20038 and :20000, not 8080 or :8999"
