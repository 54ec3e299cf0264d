"""What one node keeps, without the node: holdings on a memory storage whose writer runs when a test says so.

Rules of this file: no network, no decisions. Both clocks stand still until a test moves them.
"""

from __future__ import annotations

import random

import attrs
import trio
import trio.testing

from camomile_trio.config import Records
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import StoreResult, StoreStatus
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.node.holdings import Holdings
from camomile_trio.node.quotas import NO_STRANGER, Bringer
from camomile_trio.storage.memory import MemoryStorage
from tests.node.line import EPOCH, NETWORK

# The node's own publisher.
ALICE = KeyPair.new(random.Random("alice"))
VALUE = b"a value"
KEY = Key.of(VALUE)


@attrs.define
class Clock:
    """Both clocks of a node: seconds since it started, and the wall."""

    now: float = 0.0

    def seconds(self) -> float:
        return self.now

    def wall(self) -> int:
        return EPOCH + round(self.now * 1000)


@attrs.define(eq=False)
class Shelf:
    """Holdings on a memory storage whose writer runs when a test says so."""

    clock: Clock = attrs.field(factory=Clock)
    storage: MemoryStorage = attrs.field(factory=lambda: MemoryStorage(max_bytes=2**20))
    results: list[StoreResult] = attrs.field(factory=list)
    holdings: Holdings = attrs.field(init=False)

    @holdings.default
    def _make_holdings(self) -> Holdings:
        own = NodeId(bytes(31) + b"1")
        return Holdings(
            own=own,
            network=NETWORK,
            publisher=ALICE.public,
            storage=self.storage,
            table=RoutingTable(own, 20),
            settings=Records(),
            clock=self.clock.seconds,
            wall_clock=self.clock.wall,
        )

    async def commit(self) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.storage.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    async def store(
        self,
        value: bytes | None,
        *rows: RecordRow,
        key: Key = KEY,
        published: bool = False,
        bringer: Bringer = NO_STRANGER,
    ) -> StoreStatus:
        self.holdings.store(key, value, rows, self.results.append, is_published=published, bringer=bringer)
        await self.commit()
        return self.results[-1].status
