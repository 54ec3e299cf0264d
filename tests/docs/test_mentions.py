"""What the documents name is there: links, functions, bounds, options, metrics, statuses; and what names a document
names one that is there.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

import click
import pytest
import trio.testing

from camomile_trio.cli import camomile
from camomile_trio.cli.line_writer import LineWriter
from camomile_trio.cli.running import Process
from camomile_trio.cli.stop_signals import StopSignals
from camomile_trio.config import Config
from camomile_trio.http.metrics import Metrics
from camomile_trio.http.openapi import openapi_document
from camomile_trio.http.problems import _STATUSES
from camomile_trio.node.node import open_node
from tests.docs.documents import ROOT, documents, name_of
from tests.docs.source import PACKAGE, functions, members, numbers, text_of
from tests.fixtures.line import Line, on_line

ARCHITECTURE = ROOT / "docs" / "architecture.md"
NAMES = [name_of(path) for path in documents()]
# Of a reader's system, or of other programs.
FOREIGN_METRICS = {"camomile_trio"}
FOREIGN_OPTIONS = {"--data-binary"}
UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def prose(document: str | Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", (ROOT / document).read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def spans(document: str | Path) -> list[str]:
    """What stands in backticks."""
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose(document))]


def anchors(document: Path) -> set[str]:
    """The names under which a Markdown page's headings are linked to."""
    headings = re.findall(r"^#+ (.+)$", prose(document), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", NAMES)
def test_links_lead_somewhere(document: str) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if target.startswith(("https://", "http://")):
            continue
        file, _, anchor = target.partition("#")
        page = (ROOT / document).parent / file if file else ROOT / document
        if not page.exists() or (anchor and anchor not in anchors(page)):
            wrong.append(target)
    assert wrong == []


@pytest.mark.parametrize("document", NAMES)
def test_documents_speak_of_options_that_there_are(document: str) -> None:
    commands: list[click.Command] = [camomile, *camomile.commands.values()]
    known = {name for command in commands for option in command.params for name in option.opts}
    named = {span.split()[0] for span in spans(document) if span.startswith("--")}
    assert named - known - FOREIGN_OPTIONS - {"--help"} == set()


async def exported() -> dict[str, str]:
    """What a `camomile node --classic` that did nothing yet exposes: the meaning of each metric, by its name."""
    process = Process(StopSignals(), LineWriter(2))
    async with open_node(Config(classic=True), transport=on_line(Line())) as node:
        text, _ = Metrics(node, process.statistics).exposition("")
    return dict(re.findall(r"^# HELP (\w+) (.*)$", text.decode(), flags=re.MULTILINE))


async def test_operators_find_every_metric_that_there_is_and_no_other(autojump_clock: trio.testing.MockClock) -> None:
    section = (ROOT / "docs" / "operating.md").read_text("utf-8").partition("\n## Metrics\n")[2].partition("\n## ")[0]
    table = section.partition("| metric |")[2].partition("\n\n")[0]
    names = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]
    assert sorted(names) == sorted(await exported())


async def test_every_metric_says_what_it_counts(autojump_clock: trio.testing.MockClock) -> None:
    def words(text: str) -> set[str]:
        return set(re.findall(r"[a-z]+", text.lower()))

    meanings = await exported()
    # A meaning that only spells the name out says nothing.
    assert [name for name, meaning in meanings.items() if words(meaning) <= words(name.replace("_", " "))] == []
    assert len(set(meanings.values())) == len(meanings)


@pytest.mark.parametrize("document", NAMES)
async def test_documents_speak_of_metrics_that_there_are(document: str, autojump_clock: trio.testing.MockClock) -> None:
    text = (ROOT / document).read_text("utf-8")
    named = set(re.findall(r"\b(?:camomile|process)_\w+", text)) - FOREIGN_METRICS
    assert named - set(await exported()) == set()


def test_the_architecture_names_what_is_in_the_source() -> None:
    known = members()
    wrong = []
    text = ARCHITECTURE.read_text("utf-8")
    for owner, member in re.findall(r"\b(_?[A-Z]\w+)\.(_?[a-z]\w*)", text):
        if owner in known and member not in known[owner]:
            wrong.append(f"{owner}.{member}")
    wrong += [
        name for name in re.findall(r"├─ (_\w+) |└─ (_\w+) ", text) for name in name if name and name not in functions()
    ]
    for path in re.findall(r"\b((?:\w+/)*\w+\.py)\b", text):
        if not (PACKAGE / path).exists() and not (ROOT / path).exists():
            wrong.append(path)
    for name in spans(ARCHITECTURE):
        if re.fullmatch(r"[a-z]\w+(_\w+)+", name) and name not in functions() | all_words():
            wrong.append(name)
    assert wrong == []


@functools.cache
def all_words() -> set[str]:
    """Every name in the source, for what is no function: fields, arguments, metrics, labels."""
    return (
        {word for path in PACKAGE.rglob("*.py") for word in re.findall(r"\w+", path.read_text("utf-8"))}
        | {f"{word}_total" for word in text_of("http/metrics.py")}
        | {PACKAGE.name}
    )


def test_the_bounds_are_those_of_the_source() -> None:
    named = re.findall(r"`(\w+)` = ([\d ]*\d)(?: ([KMG]iB))?", ARCHITECTURE.read_text("utf-8"))
    assert len(named) >= 30
    wrong = []
    for name, digits, unit in named:
        number = int(digits.replace(" ", "")) * UNITS.get(unit, 1)
        if number not in numbers().get(name, set()):
            wrong.append(f"{name} is {sorted(numbers().get(name, set()))}, not {number}")
    assert wrong == []


async def test_the_metrics_of_the_bounds_are_there(autojump_clock: trio.testing.MockClock) -> None:
    table = ARCHITECTURE.read_text("utf-8").partition("## Bounds")[2]
    seen_in = [line.rpartition("| ")[2] for line in table.splitlines() if line.count("|") == 5][2:]
    named = {name for cell in seen_in for name in re.findall(r"`([a-z_]+)`", cell)}
    assert len(named) >= 15
    assert {f"camomile_{name}" for name in named} - set(await exported()) == set()


def test_every_status_and_path_of_the_rest_interface_is_described() -> None:
    page = (ROOT / "docs" / "http.md").read_text("utf-8")
    paths = openapi_document("")["paths"]
    assert isinstance(paths, dict)
    assert [path for path in paths if path.replace("{key}", "KEY") not in page] == []
    rows = set(re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", page, flags=re.MULTILINE))
    # What stands for its subclasses only has no row of its own.
    expected = {(str(status), title.lower().replace(" ", "-")) for _, status, title in _STATUSES}
    source = "".join(path.read_text("utf-8") for path in (PACKAGE / "http").glob("*.py"))
    made = re.findall(r'Problem\(\s*(\d{3}),\s*"([^"]+)"', source)
    expected |= {(status, title.lower().replace(" ", "-")) for status, title in made} | {("501", "not-implemented")}
    assert expected - rows == {("503", "unavailable")}
    assert rows <= expected


def test_what_the_source_says_about_documents_is_so() -> None:
    wrong = []
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "schemas").rglob("*"), *(ROOT / "tests").rglob("*.py")]:
        text = " ".join(path.read_text("utf-8").split())
        for document, section in re.findall(r'\b(docs/\w+\.md)(?:, "?([A-Z]\w+))?', text):
            page = ROOT / document
            # A section is named by its first word here.
            sections = {anchor.partition("-")[0] for anchor in anchors(page)} if page.is_file() else set()
            if not page.is_file() or (section and section.lower() not in sections):
                wrong.append(f"{path.relative_to(ROOT)}: {document} {section}")
    assert wrong == []
