"""The figures of the rooms: what counts as code, as a function and as a word, and which commit they stand beside."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.house.__main__ import main
from tools.house.figures import Room, measure
from tools.house.report import report
from tools.house.source import read, words
from tools.house.trees import is_wanted

SOURCE = '''"""What the file is about.

Its rules.
"""

import os  # and why

TEXT = """a text,

no docstring"""


@decorated
class Shelf:
    """Keeps things."""

    # A comment of its own.
    size: int = 1
    """How much fits."""

    async def put(self, thing: str) -> str:
        """Puts it."""

        def inner() -> str:
            return f"""{thing}
            """

        return inner()


def empty() -> None: ...
'''

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed: there is no history to read")


def test_a_line_of_code_is_neither_blank_nor_comment_nor_docstring() -> None:
    # Import; three of the text, its blank one included; decorator, class, field; five of `put`; `empty`.
    assert read("shelf.py", SOURCE).code == 1 + 3 + 3 + 5 + 1


def test_functions_are_as_long_as_all_their_lines_and_contain_their_inner_ones() -> None:
    assert read("shelf.py", SOURCE).functions == {"Shelf.put": 8, "empty": 1}


def test_names_are_identifiers_wherever_they_stand_and_the_name_of_the_file() -> None:
    source = (
        "import aa as bb\nfrom cc.dd import ee\n"
        "class Ff(gg):\n    hh: int = 1\n    def ii(self, jj, *, kk=1): self.ll(mm=jj)\n"
        "match 1:\n    case {'s': nn, **oo}: pass\n    case Pp(qq=1): pass\n"
        "global rr\nx = f'{ss} s'\n"
    )
    names = set(words(" ".join(read("node/tt.py", source).names)))
    assert names >= {chr(letter) * 2 for letter in range(ord("a"), ord("t") + 1)}
    assert "s" not in names


def test_prose_is_comments_and_docstrings_and_no_other_text() -> None:
    prose = words(read("shelf.py", SOURCE).prose)
    assert {"rules", "why", "keeps", "own", "fits", "puts"} <= {*prose}
    assert "text" not in prose


def test_a_name_is_made_of_words() -> None:
    assert words("takes_stores TakesStores TAKES_STORES HTTPServer") == ["takes", "stores"] * 3 + ["http", "server"]
    assert words("The survey's end, surveyed") == ["the", "survey", "s", "end", "surveyed"]


TREE = {
    "camomile_trio/__init__.py": "from camomile_trio.node.node import Node\n",
    "camomile_trio/errors.py": "class Wrong(Exception): ...\n",
    "camomile_trio/node/node.py": "import camomile_trio.errors\nfrom camomile_trio.node import rpc\n\nx = 1\n",
    "camomile_trio/node/rpc.py": "from camomile_trio.errors import Wrong\n",
    "camomile_trio/wire/generated/packet.py": "verdict = 1  # somebody\n",
    "tests/conftest.py": "# One.\n",
    "tests/node/test_node.py": "class TestVerdicts:  # somebody\n    verdict = 'somebody'\n",
    "benchmarks/README.md": "Somebody, whoever.\n",
    "README.md": "Whoever.\n",
}


def test_a_room_is_a_folder_or_a_file_of_the_package_and_generated_code_does_not_count() -> None:
    house = measure(TREE)
    assert {place: (room.files, room.lines, room.code) for place, room in house.rooms.items()} == {
        ("camomile_trio", "__init__"): (1, 1, 1),
        ("camomile_trio", "errors"): (1, 1, 1),
        ("camomile_trio", "node"): (2, 5, 4),
        ("tests", ""): (1, 1, 0),
        ("tests", "node"): (1, 2, 2),
        ("docs", ""): (2, 2, 0),
    }
    assert house.all_of("tests") == Room(2, 3, 2)


def test_an_arrow_is_two_modules_of_two_rooms() -> None:
    assert measure(TREE).arrows == {("__init__", "node"): 1, ("node", "errors"): 2}


def test_words_that_are_given_up_are_counted_in_names_and_in_prose() -> None:
    house = measure(TREE)
    assert house.names == {("tests", "verdicts"): 2}
    assert house.prose == {("tests", "somebody"): 1, ("docs", "somebody"): 1, ("docs", "whoever"): 2}


def test_functions_of_one_name_in_two_files_are_two() -> None:
    tree = {"tools/a/run.py": "def main():\n    pass\n", "tools/b/run.py": "def main(): ...\n"}
    assert measure(tree).all_of("tools").functions == {"a/run.main": 2, "b/run.main": 1}


def test_every_figure_that_has_changed_says_by_how_much() -> None:
    before = {
        "camomile_trio/errors.py": "",
        "camomile_trio/node/survey.py": "from camomile_trio.errors import Wrong\ndef run():\n    pass\n",
        "camomile_trio/wire/codec.py": "\n\n",
    }
    after = {
        "camomile_trio/errors.py": "def fault(): ...\n",
        "camomile_trio/node/lookup.py": "# Short.\ndef run(): ...\n",
        "camomile_trio/node/survey.py": "def run():\n    pass\n    pass\n",
    }
    lines = [" ".join(line.split()) for line in report(measure(after), measure(before)).splitlines()]
    assert "camomile_trio 3 6 +1 5 +2" in lines
    assert "errors 1 1 +1 1 +1" in lines
    assert "node 2 +1 5 +2 4 +1" in lines
    assert "wire 0 -1 0 -2 ." in lines
    assert "node survey.run 3 +1, lookup.run 1 new" in lines
    assert "node errors 0 -1" in lines
    assert any(line.startswith("survey 1 . .") for line in lines)


def test_a_house_beside_itself_has_not_changed() -> None:
    said = report(measure(TREE), measure(TREE))
    assert not {"+", "new"} & {*said.split()}
    assert "camomile_trio 4" in " ".join(said.split())


@pytest.mark.parametrize("path", ["README.md", "docs/http.md", "tools/a/b.py", "benchmarks/README.md"])
def test_python_and_pages_are_read(path: str) -> None:
    assert is_wanted(path)


@pytest.mark.parametrize(
    "path", ["setup.py", "docs/growth.svg", "deploy/README.md", "tools/lock.sh", ".venv/tools/a.py"]
)
def test_other_files_are_not_read(path: str) -> None:
    assert not is_wanted(path)


def git(root: Path, *arguments: str) -> None:
    settings = ("user.name=a", "user.email=a@example.org", "commit.gpgsign=false", "tag.gpgsign=false")
    command = ["git", *(part for setting in settings for part in ("-c", setting)), *arguments]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True, timeout=60)


def lay(root: Path, lines: int) -> None:
    (root / "camomile_trio").mkdir(exist_ok=True, parents=True)
    (root / "camomile_trio" / "errors.py").write_text("x = 1\n" * lines)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Its first commit has one line, its second two, and what lies there seven."""
    git(tmp_path, "init")
    for lines in (1, 2):
        lay(tmp_path, lines)
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-m", f"{lines}")
    lay(tmp_path, 7)
    return tmp_path


def figures_of_errors(capsys: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """The heading, and the row of `errors.py`."""
    lines = capsys.readouterr().out.splitlines()
    return lines[0], next(line.split() for line in lines if line.split()[:1] == ["errors"])


@needs_git
@pytest.mark.parametrize("commit", ["HEAD~1", "old"])
def test_a_commit_is_compared_with_what_lies_here(
    checkout: Path, capsys: pytest.CaptureFixture[str], commit: str
) -> None:
    git(checkout, "tag", "old", "HEAD~1")
    main(["--from", commit], checkout)
    heading, row = figures_of_errors(capsys)
    assert heading.endswith(f"since {commit}")
    assert row == ["errors", "1", "7", "+6", "7", "+6"]


@needs_git
def test_without_a_commit_it_is_the_last_tag(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(checkout, "tag", "v0.1.0", "HEAD~1")
    git(checkout, "tag", "v0.2.0")
    main(["--from", ""], checkout)
    heading, row = figures_of_errors(capsys)
    assert heading.endswith("since v0.2.0")
    assert row == ["errors", "1", "7", "+5", "7", "+5"]


@needs_git
def test_without_a_tag_it_is_nothing_and_that_is_said(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([], checkout)
    heading, row = figures_of_errors(capsys)
    assert "compared with nothing: no tag" in heading
    assert row == ["errors", "1", "7", "7"]


def refusal(capsys: pytest.CaptureFixture[str], root: Path, *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(arguments, root)
    assert end.value.code == 2
    return capsys.readouterr().err


@needs_git
@pytest.mark.parametrize("commit", ["nothing", "HEAD:camomile_trio", "--all"])
def test_a_commit_that_there_is_not_is_refused(checkout: Path, capsys: pytest.CaptureFixture[str], commit: str) -> None:
    assert f"no commit or tag {commit!r}" in refusal(capsys, checkout, f"--from={commit}")


@needs_git
def test_an_unpacked_source_distribution_takes_no_other_history_for_its_own(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(checkout, "tag", "v0.1.0")
    lay(checkout / "unpacked", 3)
    main([], checkout / "unpacked")
    heading, row = figures_of_errors(capsys)
    assert "this is not a git checkout" in heading
    assert row == ["errors", "1", "3", "3"]
    assert "this is not a git checkout" in refusal(capsys, checkout / "unpacked", "--from", "v0.1.0")


def test_a_file_that_is_not_python_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay(tmp_path, 1)
    (tmp_path / "camomile_trio" / "errors.py").write_text("x = 1\ndef\n")
    assert "camomile_trio/errors.py, line 2, is not Python" in refusal(capsys, tmp_path)
