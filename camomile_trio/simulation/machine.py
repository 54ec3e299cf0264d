"""A machine of the simulated world: the place where one node lives, dies and comes back.

Rules of this file: what outlives the node is here (endpoint, keys, disk, wall clock), and so is what the machine gave
to its node for this life (routing table, storage, transport): the judge of the node reads these, what crossed the
wire, and the public `Node`. A crash is not a cancellation: transport and disk are cut off before anything can clean up,
and then the node's own task of receiving fails, which ends all of its tasks.
"""

from __future__ import annotations

import enum
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from camomile_trio.config import Config
from camomile_trio.errors import StorageError
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.kademlia.routing import CHECK_AFTER, RoutingTable
from camomile_trio.node.node import Node
from camomile_trio.peer.local import StaticKey
from camomile_trio.peer.suite import CipherSuite
from camomile_trio.simulation.clocks import WallClock
from camomile_trio.simulation.disk import SimulatedDisk
from camomile_trio.simulation.network import MemoryNetwork, MemoryTransport
from camomile_trio.storage.base import Storage
from camomile_trio.storage.memory import MemoryStorage
from camomile_trio.transport.base import Caller, Inbound, TransportStatistics


class Crashed(Exception):
    """The process of a node was killed."""


@attrs.define(eq=False)
class KillableTransport:
    """The transport of a node that can be killed: `kill` fails its `serve`, and with it all tasks of the node."""

    _transport: MemoryTransport
    endpoint: Endpoint = attrs.field(init=False)
    statistics: TransportStatistics = attrs.field(init=False)
    send: Callable[[bytes, Endpoint], bool] = attrs.field(init=False)
    close_ended: Callable[[], None] = attrs.field(init=False)
    _killed: trio.Event = attrs.field(init=False, factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        self.endpoint, self.statistics = self._transport.endpoint, self._transport.statistics
        self.send, self.close_ended = self._transport.send, self._transport.close_ended

    async def exchange(self, message: bytes, to: Endpoint, *, peer: bytes, caller: Callable[[], Caller]) -> bytes:
        return await self._transport.exchange(message, to, peer=peer, caller=caller)

    async def serve(self, inbound: Inbound, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self._transport.serve, inbound)
            task_status.started()
            await self._killed.wait()
            raise Crashed

    def kill(self) -> None:
        """The block of the node is for the caller to end."""
        self._killed.set()


class Condition(enum.Enum):
    """What a machine is doing."""

    DOWN = "down"
    UP = "up"
    PAUSED = "paused"
    LEAVING = "leaving"


@attrs.define(eq=False)
class Life:
    """One run of a node on its machine, and what the machine gave to it."""

    table: RoutingTable | None = None  # None before the first life
    storage: Storage | None = None
    transport: KillableTransport | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    opened: trio.Event = attrs.field(factory=trio.Event)  # it runs, or could not start
    leave: trio.Event = attrs.field(factory=trio.Event)
    gone: trio.Event = attrs.field(factory=trio.Event)
    # Users who wait for this node: they are cut off with it.
    users: dict[trio.CancelScope, None] = attrs.field(factory=dict)

    def send_users_away(self) -> None:
        for scope in list(self.users):
            scope.cancel()


@attrs.define(eq=False)
class Machine:
    """Machine `number` of the world. Verbs are the world's: `world.crash(machine)`."""

    number: int
    endpoint: Endpoint
    config: Config
    identity: KeyPair
    suite: CipherSuite
    publisher: KeyPair
    clock: WallClock
    disk: SimulatedDisk | None  # None: an ephemeral node, in memory
    rng_of_life: Callable[[int], random.Random]
    node: Node | None = None
    condition: Condition = Condition.DOWN
    lives: int = 0
    life: Life = attrs.field(factory=Life)
    up_since: float = 0.0  # virtual s
    down_since: float = 0.0
    why_not: str = ""  # the last start failed for this reason
    is_member: bool = False  # its node has said that it has joined, and that its clock and its contacts are well
    static: StaticKey = attrs.field(init=False)  # the key that its node is

    def __attrs_post_init__(self) -> None:
        self.become(self.identity)

    def become(self, identity: KeyPair) -> None:
        """From its next life on its node is this one."""
        self.identity, self.static = identity, StaticKey.from_seed(self.suite, identity.seed)

    @property
    def id(self) -> NodeId:
        return self.static.node_id

    @property
    def contact(self) -> Contact:
        """Its node, as others know it."""
        return Contact(self.static.node_id, self.endpoint, self.static.public)

    @property
    def is_up(self) -> bool:
        """Its node runs and is not on its way out; it may be paused, or not have joined yet."""
        return self.node is not None and self.condition in (Condition.UP, Condition.PAUSED)

    @property
    def is_heard(self) -> bool:
        """Its node runs, is not on its way out, and not paused."""
        return self.node is not None and self.condition is Condition.UP

    @property
    def serves(self) -> bool:
        """Users can use it: it runs, is not paused, has joined, and its storage works."""
        return self.node is not None and self.condition is Condition.UP and self.node.ready

    @property
    def has_joined(self) -> bool:
        """It runs, is not paused, and has joined, whether its storage works or not."""
        return self.is_heard and self.is_member

    @property
    def table(self) -> RoutingTable:
        """The routing table of this life, or of the last one."""
        assert self.life.table is not None
        return self.life.table

    @property
    def storage(self) -> Storage:
        """The storage of this life, or of the last one, which is closed."""
        assert self.life.storage is not None
        return self.life.storage

    @property
    def traffic(self) -> TransportStatistics:
        """What this life has sent and received."""
        assert self.life.transport is not None
        return self.life.transport.statistics

    def new_table(self) -> RoutingTable:
        """An empty one, as its node would make it."""
        config = self.config
        return RoutingTable(self.id, config.kademlia.k, check_after=CHECK_AFTER, diversity=config.diversity)

    def open_storage(self) -> Storage:
        """That of the next life. StorageError."""
        if self.disk is not None:
            return self.disk.open()
        return MemoryStorage(max_bytes=self.config.storage.max_storage)

    @asynccontextmanager
    async def open_transport(self, network: MemoryNetwork) -> AsyncIterator[KillableTransport]:
        """That of the next life. TransportError."""
        life = self.life
        async with network.open(self.endpoint) as transport:
            life.transport = KillableTransport(transport)
            yield life.transport

    def stored(self, key: Key) -> KeyState | None:
        """What its node, which runs, has stored about the key; None also if its disk fails."""
        if self.node is None:
            return None
        try:
            return self.storage.read(key)
        except StorageError:
            return None

    def holds(self, key: Key) -> bool:
        """Whether its node, which runs, has stored the value's bytes, served or not."""
        state = self.stored(key)
        return state is not None and state.size is not None

    def holds_live(self, key: Key) -> bool:
        """Whether what it holds has a live lease, by its own clock."""
        state = self.stored(key)
        return state is not None and state.size is not None and registers.is_live(state, self.clock())

    def kept(self, key: Key) -> KeyState | None:
        """What is on its disk about the key, whether it runs or not, or in the memory of its node."""
        if self.disk is None:
            return self.stored(key)
        entry = self.disk.entries.get(key)
        return entry.state if entry is not None else None

    async def ask(self, question: Callable[[Node], Awaitable[None]]) -> bool:
        """Asks its node as a user does, who is cut off when the node dies. Whether the question came to its end."""
        if self.node is None:
            return False
        users = self.life.users
        with trio.CancelScope() as scope:
            users[scope] = None
            try:
                await question(self.node)
            finally:
                users.pop(scope, None)
        return not scope.cancelled_caught

    def __str__(self) -> str:
        return f"machine {self.number} ({self.id.hex()[:8]} at {self.endpoint})"
