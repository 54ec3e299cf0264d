"""What `camomile node` does to the garbage collector, and that it is on again afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from camomile_trio.cli.garbage import YOUNG, imports_for_good


@pytest.fixture(autouse=True)
def collector_as_it_was() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.enable()
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_what_was_imported_is_never_looked_through_again() -> None:
    before = gc.get_threshold()
    with imports_for_good():
        imported: list[list[int]] = [[]]
    assert gc.get_freeze_count() > 0
    assert not any(each is imported for each in gc.get_objects())
    assert gc.isenabled()
    assert gc.get_threshold() == (YOUNG, *before[1:])


def test_what_imports_leave_behind_is_freed_and_what_was_there_before_is_not_looked_through() -> None:
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["collected"]:
            collected.append(info["generation"])

    gc.callbacks.append(note)
    try:
        with imports_for_good():
            for _ in range(50 * YOUNG):
                cycle: list[object] = []
                cycle.append(cycle)
    finally:
        gc.callbacks.remove(note)
    assert len(collected) >= 40
    assert set(collected) == {0}


def test_cycles_made_later_are_still_freed() -> None:
    with imports_for_good():
        pass
    gc.collect()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1


def test_an_import_that_fails_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), imports_for_good():
        raise ImportError("there is no such module")
    assert gc.isenabled()
