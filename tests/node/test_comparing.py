"""After a start with old records: what users ask for is compared first, whenever they have asked."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Holding
from camomile_trio.node.comparing import Comparing
from camomile_trio.node.core import Core
from camomile_trio.node.repair import Repair
from tests.fixtures.parts import known_peers, open_parts

OLD, WANTED = Key.of(b"old"), Key.of(b"wanted")


@attrs.define(eq=False, init=False)
class SlowWalk(Repair):
    """A walk over all keys that comes to no end; what is urgent is compared at once, and noted."""

    urgent: list[tuple[Key, ...]]

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self.urgent = []

    def pages(self) -> Iterator[list[Key]]:
        yield [OLD]

    async def compare(
        self, contact: Contact, keys: tuple[Key, ...], *, is_round: bool = False, is_urgent: bool = False
    ) -> list[Holding] | None:
        if not is_urgent:
            await trio.sleep_forever()
        self.urgent.append(keys)
        return []


@pytest.mark.parametrize("is_early", [True, False])
async def test_what_is_asked_for_does_not_wait_for_the_walk(
    autojump_clock: trio.testing.MockClock, is_early: bool
) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        known_peers(parts, 1)
        core = parts.make_core()
        comparisons, walk = core.holdings.comparisons, SlowWalk(core)
        comparisons.is_done = False
        if is_early:
            comparisons.want(WANTED)
        nursery.start_soon(Comparing(core, walk).run)
        await trio.testing.wait_all_tasks_blocked()
        if not is_early:
            comparisons.want(WANTED)
        await trio.testing.wait_all_tasks_blocked()
        assert walk.urgent == [(WANTED,)]
        assert comparisons.may_serve(WANTED)
        assert not comparisons.may_serve(OLD)
        nursery.cancel_scope.cancel()
