"""Somebody sets a node's clock, or it wakes up wrong: it is noticed, said, and harms no record."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from typing import Any

import pytest
import structlog.testing
import trio
import trio.testing

from camomile_trio.errors import NoMajority
from tests.stories.village import Village, small, village

VALUE = b"still here"
DAY = 24 * 3_600_000


def values(place: Village) -> list[int]:
    return [node.status().values for node in place.nodes]


def events(logs: Sequence[MutableMapping[str, Any]], node_says: str) -> list[MutableMapping[str, Any]]:
    return [each for each in logs if str(each["event"]).startswith(node_says)]


@pytest.mark.parametrize("moved", [30 * DAY, -30 * DAY, 3_600_000])
async def test_a_jump_is_noticed_and_the_records_outlast_it(autojump_clock: trio.testing.MockClock, moved: int) -> None:
    async with village(5, config=small(cache_life=0)) as place:
        key = (await place[1].put(VALUE)).key
        await trio.sleep(5)
        with structlog.testing.capture_logs() as logs:
            place.inhabitants[3].wall_clock.error = moved
            await trio.sleep(2 * 3600)
        (said,) = events(logs, "the wall clock was set")
        assert said["seconds"] == pytest.approx(moved / 1000, abs=1)
        assert place[3].statistics().counters["clock_jumps_total", ()] == 1
        assert place[3].statistics().gauges["clock_ahead", ()] == (moved > 0)
        assert values(place) == [1, 1, 1, 1, 1]
        place.inhabitants[3].wall_clock.error = 0
        await trio.sleep(120)
        assert place[3].statistics().gauges["clock_ahead", ()] == 0
        for node in place.nodes:
            assert (await node.get(key)).value == VALUE
        # What it signs from now on is what everybody takes.
        await place[3].put(b"another")
        await trio.sleep(5)
        assert values(place) == [2, 2, 2, 2, 2]


async def test_under_a_clock_that_is_ahead_nothing_is_signed(autojump_clock: trio.testing.MockClock) -> None:
    """Its seq would be refused until the others' clocks have come so far, and so would all that comes after it."""
    async with village(5) as place:
        key = (await place[1].put(VALUE)).key
        place.inhabitants[3].wall_clock.error = 30 * DAY
        # At once, before anybody has looked, and later, when the peers have said what they think.
        for _ in range(2):
            with pytest.raises(NoMajority, match="this node's clock is ahead of"):
                await place[3].put(VALUE)
            with pytest.raises(NoMajority, match="this node's clock is ahead of"):
                await place[3].forget(key)
            await trio.sleep(300)
        place.inhabitants[3].wall_clock.error = 0
        await trio.sleep(120)
        await place[3].put(VALUE)
        await place[3].forget(key)


async def test_peers_whose_clocks_disagree_are_named(autojump_clock: trio.testing.MockClock) -> None:
    async with village(4) as place:
        with structlog.testing.capture_logs() as logs:
            wrong = await place.open(clock_error=-3_600_000)
            await trio.sleep(4 * 3600)
        warnings = events(logs, "clocks of peers differ")
        named = {name: seconds for each in warnings for name, seconds in each["seconds_ahead"].items()}
        assert named[wrong.node.id.hex()[:16]] == pytest.approx(-3600, abs=1)
        # It hears of it too; and nobody repeats it more often than peers are asked.
        assert len(named) > 1
        assert 5 <= len(warnings) <= 5 * 5
        assert place[0].statistics().counters["clock_disagreements_total", ()] > 0


async def test_clocks_that_differ_by_minutes_are_nobodys_business(autojump_clock: trio.testing.MockClock) -> None:
    async with village(4) as place:
        with structlog.testing.capture_logs() as logs:
            for error in (-300_000, 300_000):
                await place.open(clock_error=error)
            await place[5].put(VALUE)
            await trio.sleep(4 * 3600)
        assert not events(logs, "clocks of peers differ")
        assert values(place) == [1] * 6
