"""Every deliberate defect can still be made, names what exists, and only what was expected counts as a catch."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from unittest import mock

import attrs
import pytest

from camomile_trio.simulation.properties import PROPERTIES
from camomile_trio.simulation.scenarios import SCENARIOS
from tests import mutants as of_records
from tools.mutants import runs
from tools.mutants.__main__ import line, table
from tools.mutants.runs import Control, Run, Seen, try_mutant
from tools.mutants.simulated import MUTANTS, Mutant
from tools.mutants.source import PACKAGE, ROOT, Edit, StaleEdit, apply, copy_package, mutated

SOURCES = "\n".join(path.read_text() for path in (ROOT / PACKAGE / "simulation").rglob("*.py"))
EDIT = Edit("MAX_CANDIDATES", "512", "2")
MUTANT = Mutant(what="It counts to two.", edits=(EDIT,), caught_by=("too few",), scenario="steady", nodes=3, seeds=2)

pytestmark = pytest.mark.long


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_defect_can_still_be_made_where_it_shows(mutant: Mutant) -> None:
    for path, text in mutated(mutant.edits, ROOT / PACKAGE).items():
        compile(text, path, "exec")
    assert mutant.scenario in SCENARIOS
    rules = [each.name for each in PROPERTIES]
    for name in mutant.caught_by:
        assert name in rules or name in SOURCES, f"nothing is called {name!r}"


@pytest.mark.parametrize("mutant", of_records.MUTANTS, ids=lambda mutant: mutant.what)
def test_a_rule_of_records_can_still_be_dropped(mutant: of_records.Mutant) -> None:
    for path, text in mutated([mutant.edit], ROOT / of_records.PURE).items():
        compile(text, path, "exec")


def test_each_defect_is_there_once_and_says_in_a_sentence_what_it_breaks() -> None:
    for mutants in (MUTANTS, of_records.MUTANTS):
        sentences = {mutant.what for mutant in mutants}
        assert len(sentences) == len(mutants) >= 12
        for sentence in sentences:
            assert re.fullmatch(r"[A-Z].* .*[a-z]\.", sentence), sentence


COUNTER = """\
class Counter:
    # Up to ten.
    limit = 10

    def add(self, number):
        if (self.total + number > self.limit
                or number < 0):  # too much
            raise ValueError("no")
        self.total += number

    def take(self, number: int) -> None:
        self.total -= number
"""
REFUSES_NOTHING = Edit("Counter.add", "self.total + number > self.limit or number < 0", "False")


def replaced(edit: Edit, text: str = COUNTER) -> list[str]:
    """The lines that an edit puts there, in one way of writing them."""
    before, after = (ast.unparse(ast.parse(each)).splitlines() for each in (text, edit.of(text)))
    return [line.strip() for line in after if line not in before]


@pytest.mark.parametrize(
    "text",
    [
        COUNTER,
        COUNTER.replace("(self.total", "self.total").replace("\n                or number < 0)", " or number < 0"),
        COUNTER.replace("self.total + number", "(self.total\n                + number)"),
        COUNTER.replace("                or", "                # or it goes down\n                or"),
        COUNTER.replace("    def", "    @property\n    def").replace("10", "11"),
        "import attrs\n\n\n@attrs.define\n" + COUNTER + "\n\ndef add(self, number):\n    return number < 0\n",
    ],
    ids=["as it is", "on one line", "with other parentheses", "with a comment", "decorated", "in another place"],
)
def test_a_piece_is_found_however_it_is_written(text: str) -> None:
    assert replaced(REFUSES_NOTHING, text) == ["if False:"]


def test_a_function_is_found_in_whatever_file_it_is(tmp_path: Path) -> None:
    place = tmp_path / "node" / "counting.py"
    place.parent.mkdir()
    (tmp_path / "adding.py").write_text("from node.counting import Counter\n\nadd = Counter.add\n")
    place.write_text(COUNTER)
    assert list(mutated([REFUSES_NOTHING], tmp_path)) == [place]
    moved = place.rename(tmp_path / "moved.py")
    apply([REFUSES_NOTHING], tmp_path)
    assert moved.read_text() == REFUSES_NOTHING.of(COUNTER)


def test_a_name_that_is_defined_twice_needs_its_room(tmp_path: Path) -> None:
    for room in ("node", "wire"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "counting.py").write_text(COUNTER)
    with pytest.raises(StaleEdit, match=r"^Counter\.add, .* is defined in node/counting\.py and wire/counting\.py$"):
        mutated([REFUSES_NOTHING], tmp_path)
    for room in ("node", "node/counting.py"):
        edit = attrs.evolve(REFUSES_NOTHING, room=room)
        assert list(mutated([edit], tmp_path)) == [tmp_path / "node" / "counting.py"]
    with pytest.raises(StaleEdit, match="is defined in no file of"):
        mutated([attrs.evolve(REFUSES_NOTHING, where="Counter.count")], tmp_path)


def test_an_expression_takes_the_place_of_an_expression_whatever_stands_beside_it() -> None:
    edit = Edit("Counter.add", "self.total + number", "number or 1")
    assert replaced(edit) == ["if (number or 1) > self.limit or number < 0:"]
    assert replaced(Edit("Counter.limit", "10", "1")) == ["limit = 1"]


def test_statements_take_the_place_of_a_statement() -> None:
    twice = Edit("Counter.add", "self.total += number", "number = 2 * number\nself.total += number + 1")
    assert replaced(twice)[-2:] == ["number = 2 * number", "self.total += number + 1"]
    never = Edit("Counter.add", "if self.total + number > self.limit or number < 0: raise ValueError('no')", "pass")
    assert replaced(never)[-1] == "pass"
    assert "raise" not in never.of(COUNTER)


def test_a_name_is_found_where_its_value_is_used_and_not_where_it_names_a_parameter_a_target_or_an_attribute() -> None:
    text = "def count(number, all):\n    all.number = sum(all, start=2 * number)\n    all = all(number=1)\n"
    assert replaced(Edit("count", "number", "3"), text) == ["all.number = sum(all, start=2 * 3)"]


@pytest.mark.parametrize(("piece", "times"), [("number > 0", 0), ("number", 3), ("self.total -= number", 0)])
def test_a_piece_that_is_gone_elsewhere_or_not_alone_is_an_error(piece: str, times: int) -> None:
    with pytest.raises(StaleEdit, match=rf"^`{re.escape(piece)}` occurs {times} times in Counter\.add$"):
        Edit("Counter.add", piece, piece.replace("number", "1")).of(COUNTER)


def tried(tmp_path: Path, mutated: dict[int, Seen], unmutated: Seen) -> tuple[runs.Verdict, Control]:
    """What becomes of MUTANT where runs see this, by their seed."""

    def simulate(folder: Path, run: Run) -> Seen:
        is_mutated = EDIT.file(folder / PACKAGE).read_text() != EDIT.file(ROOT / PACKAGE).read_text()
        return mutated[run.seed] if is_mutated else unmutated

    with mock.patch.object(runs, "simulate", simulate):
        control = Control(tmp_path / "unmutated")
        return try_mutant(MUTANT, control), control


def test_the_first_seed_that_shows_what_was_expected_catches_it(tmp_path: Path) -> None:
    verdict, _ = tried(tmp_path, {1: Seen(True), 2: Seen(False, ("too few: 2",))}, Seen(True))
    assert verdict.by == "too few: 2"
    assert verdict.run == Run("steady", 3, 2)
    assert "seed 2" in line(verdict)
    assert "| It counts to two. | `steady`, 3 nodes | 1 to 2 | seed 2 | too few: 2 |" in table([verdict])


def test_what_was_not_expected_is_no_catch(tmp_path: Path) -> None:
    verdict, _ = tried(tmp_path, {1: Seen(False, ("broke: KeyError",)), 2: Seen(True)}, Seen(True))
    assert not verdict.by
    assert "KeyError" in line(verdict)


def test_what_fails_without_the_mutant_too_shows_nothing(tmp_path: Path) -> None:
    wrong = Seen(False, ("too few",))
    verdict, control = tried(tmp_path, {1: wrong, 2: wrong}, wrong)
    assert not verdict.by
    assert control.failures == [Run("steady", 3, 1), Run("steady", 3, 2)]


def test_a_run_is_one_of_the_copy(tmp_path: Path) -> None:
    """A copy that cannot be imported breaks the run, and the checkout does not stand in for it."""
    folder = tmp_path / "copy"
    copy_package(folder)
    (folder / PACKAGE / "errors.py").write_text("raise SystemExit('this is the copy')\n")
    assert runs.simulate(folder, Run("steady", 2, 1)) == Seen(False, ("broke: this is the copy",))
