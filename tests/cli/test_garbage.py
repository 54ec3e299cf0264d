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
    was_on = []
    with imports_for_good():
        was_on.append(gc.isenabled())
        imported: list[list[int]] = [[]]
    assert was_on == [False]
    assert gc.get_freeze_count() > 0
    assert not any(each is imported for each in gc.get_objects())
    assert gc.isenabled()
    assert gc.get_threshold()[0] == YOUNG


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
