"""A machine of the simulated world: the place where one node lives, dies and comes back.

Rules of this file: what outlives the node is here (endpoint, keys, disk, wall clock); what it is told and asked goes
through the public `Node`. A crash is not a cancellation: transport and disk are cut off before anything can clean up.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable

import attrs
import trio

from camomile_trio.config import Config
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.node.node import Node
from camomile_trio.simulation.clocks import WallClock
from camomile_trio.simulation.disk import SimulatedDisk


def cut_off(node: Node) -> None:
    """Ends the node's tasks at once: it hands nothing over and saves nothing. The caller has to cancel its block."""
    if node.core.nursery is not None:
        node.core.nursery.cancel_scope.cancel()


class Condition(enum.Enum):
    """What a machine is doing."""

    DOWN = "down"
    UP = "up"
    PAUSED = "paused"
    LEAVING = "leaving"


@attrs.define(eq=False)
class Life:
    """One run of a node on its machine."""

    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    opened: trio.Event = attrs.field(factory=trio.Event)  # it runs, or could not start
    leave: trio.Event = attrs.field(factory=trio.Event)
    gone: trio.Event = attrs.field(factory=trio.Event)
    # Users who wait for this node: they are cut off with it.
    users: dict[trio.CancelScope, None] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Machine:
    """Machine `number` of the world. Verbs are the world's: `world.crash(machine)`."""

    number: int
    endpoint: Endpoint
    config: Config
    identity: KeyPair
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

    @property
    def id(self) -> NodeId:
        return self.identity.node_id

    @property
    def is_up(self) -> bool:
        """Its node runs and is not on its way out; it may be paused, or not have joined yet."""
        return self.node is not None and self.condition in (Condition.UP, Condition.PAUSED)

    @property
    def serves(self) -> bool:
        """Users can use it: it runs, is not paused, has joined, and its storage works."""
        return self.node is not None and self.condition is Condition.UP and self.node.ready

    @property
    def has_joined(self) -> bool:
        """It runs, is not paused, and has joined, whether its storage works or not."""
        return self.node is not None and self.condition is Condition.UP and self.node.core.readiness.is_joined

    def __str__(self) -> str:
        return f"machine {self.number} ({self.id.hex()[:8]} at {self.endpoint})"
