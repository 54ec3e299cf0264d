"""Every deliberate defect can still be made, names what exists, and only what was expected counts as a catch."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from camomile_trio.simulation.properties import all_properties
from camomile_trio.simulation.scenarios import SCENARIOS
from tests import mutants as of_records
from tools.mutants import runs
from tools.mutants.__main__ import line, table
from tools.mutants.runs import Control, Run, Seen, try_mutant
from tools.mutants.simulated import MUTANTS, Mutant
from tools.mutants.source import PACKAGE, ROOT, Edit, StaleEdit, copy_package

SOURCES = "\n".join(path.read_text() for path in (ROOT / PACKAGE / "simulation").rglob("*.py"))
PIECE = Edit("kademlia/shortlist.py", "MAX_CANDIDATES: Final = 512", "MAX_CANDIDATES: Final = 2")
MUTANT = Mutant(what="it counts to two", edits=(PIECE,), caught_by=("too few",), scenario="steady", nodes=3, seeds=2)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_a_defect_can_still_be_made_where_it_shows(mutant: Mutant) -> None:
    texts = {edit.file: (ROOT / PACKAGE / edit.file).read_text() for edit in mutant.edits}
    for edit in mutant.edits:
        texts[edit.file] = edit.of(texts[edit.file])
    for file, text in texts.items():
        compile(text, file, "exec")
    assert mutant.scenario in SCENARIOS
    rules = [each.name for each in all_properties()]
    for name in mutant.caught_by:
        assert name in rules or name in SOURCES, f"nothing is called {name!r}"


def test_each_defect_is_there_once() -> None:
    assert len({mutant.what for mutant in MUTANTS}) == len(MUTANTS) >= 12


def test_the_mutants_of_records_can_still_be_made() -> None:
    for mutant in of_records.MUTANTS:
        mutant.edit.of((ROOT / PACKAGE / mutant.edit.file).read_text())


def test_a_piece_that_is_gone_or_not_alone_is_an_error() -> None:
    for text in ("", PIECE.source * 2):
        with pytest.raises(StaleEdit, match="occurs"):
            PIECE.of(text)
    assert PIECE.of(f"x\n{PIECE.source}\n") == f"x\n{PIECE.replacement}\n"


def tried(tmp_path: Path, mutated: dict[int, Seen], unmutated: Seen) -> tuple[runs.Verdict, Control]:
    """What becomes of MUTANT where runs see this, by their seed."""

    def simulate(folder: Path, run: Run) -> Seen:
        is_mutated = PIECE.replacement in (folder / PACKAGE / PIECE.file).read_text()
        return mutated[run.seed] if is_mutated else unmutated

    with mock.patch.object(runs, "simulate", simulate):
        control = Control(tmp_path / "unmutated")
        return try_mutant(MUTANT, control), control


def test_the_first_seed_that_shows_what_was_expected_catches_it(tmp_path: Path) -> None:
    verdict, _ = tried(tmp_path, {1: Seen(True), 2: Seen(False, ("too few: 2",))}, Seen(True))
    assert verdict.by == "too few: 2"
    assert verdict.run == Run("steady", 3, 2)
    assert "seed 2" in line(verdict)
    assert "| it counts to two | `steady`, 3 nodes | 1 to 2 | seed 2 | too few: 2 |" in table([verdict])


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
