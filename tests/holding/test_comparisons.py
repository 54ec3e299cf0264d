"""What users ask for of records from before a start: it is told at once, and taken once."""

from __future__ import annotations

from camomile_trio.holding.comparisons import MAX_WANTED, Comparisons
from camomile_trio.kademlia.ids import Key

KEYS = [Key.of(b"value %d" % number) for number in range(MAX_WANTED + 1)]


def test_what_is_asked_for_is_told_and_taken_once() -> None:
    comparisons = Comparisons(is_done=False)
    told: list[None] = []
    comparisons.on_wanted = lambda: told.append(None)
    comparisons.want(KEYS[0])
    assert (len(told), comparisons.take_wanted(), comparisons.take_wanted()) == (1, [KEYS[0]], [])


def test_what_may_be_served_is_not_to_be_compared() -> None:
    comparisons = Comparisons(is_done=False)
    told: list[None] = []
    comparisons.on_wanted = lambda: told.append(None)
    comparisons.on_stored(KEYS[0])
    comparisons.want(KEYS[0])
    comparisons.want(KEYS[1])
    comparisons.on_stored(KEYS[1])
    assert (len(told), comparisons.take_wanted()) == (1, [])


def test_what_waits_is_bounded() -> None:
    comparisons = Comparisons(is_done=False)
    for key in KEYS:
        comparisons.want(key)
    assert comparisons.take_wanted() == KEYS[:MAX_WANTED]
