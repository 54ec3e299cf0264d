"""The parts of one node that its operations and its maintenance work with.

Rules of this file: it wires nothing and starts nothing; `node.py` makes the parts and puts them in here.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import attrs
import trio

from camomile_trio.alarm import Clock, WallClock
from camomile_trio.classic.network import ClassicNetwork
from camomile_trio.config import Config
from camomile_trio.errors import NodeClosed, NotJoined, StorageError, WrongClock
from camomile_trio.holding.anti_entropy import AntiEntropy
from camomile_trio.holding.holdings import Holdings
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import FindNode, Message
from camomile_trio.kademlia.networks import source_network
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.logs import log
from camomile_trio.node.clocks import Clocks
from camomile_trio.node.keyring import Keyring
from camomile_trio.node.membership import Membership
from camomile_trio.node.reminders import Reminders
from camomile_trio.operations.events import Events, ReadyChanged
from camomile_trio.operations.lookup import Lookup, LookupResult, OnAnswer
from camomile_trio.peer.contacts import Contacts
from camomile_trio.peer.local import Local
from camomile_trio.peer.requests import Requests
from camomile_trio.peer.silence import CHECKED_AGAIN_AFTER
from camomile_trio.peer.streams import Streams
from camomile_trio.storage.base import Storage
from camomile_trio.transport.base import Transport

# The note that keeps a wall time over starts.
KEPT_TIME = "wall time"
# What a node says that knows of others, while none of them answers.
CUT_OFF = "no other node answers; if none is left, `camomile reload --expect 1` lets this one go on alone"
# How many peers are asked what their clocks show.
CLOCKS_ASKED = 3


class Readiness:
    """Whether a node may serve users, why not, and a way to wait for it."""

    def __init__(self, events: Events, storage: Storage, membership: Membership) -> None:
        self._events = events
        self._storage = storage
        self._membership = membership
        self._reason = "it has not joined its network yet"
        self.clock_reason = ""
        self._is_cut_off = False
        self._told = self._state()
        self._changed = trio.Event()
        self._is_closed = False

    @property
    def reason(self) -> str:
        """Why it is not ready; empty when it is."""
        for reason in self._reasons():
            if reason:
                return reason
        failing = self._storage.failing
        return f"its storage fails: {failing}" if failing else ""

    @property
    def is_joined(self) -> bool:
        """Whether users' operations are tried at all: it has joined, and has met as many nodes as it waits for.

        They are tried by a node that is cut off, too: they fail by themselves, or find out that it is not.
        """
        return not self._reason and not self._membership.lacks

    @property
    def is_cut_off(self) -> bool:
        """Whether it has joined, and none of its contacts answers."""
        return self._is_cut_off

    def set(self, reason: str) -> None:
        """Empty: joined."""
        self._reason = reason
        self.look()

    def set_cut_off(self, is_cut_off: bool) -> None:
        self._is_cut_off = is_cut_off
        self.look()

    def look(self) -> None:
        """Tells of what has changed, if anything has."""
        state = self._state()
        if state == self._told:
            return
        self._told = state
        reason = next(filter(None, self._reasons()), "")
        self._events.emit(ReadyChanged(not reason, reason))
        self._changed.set()
        self._changed = trio.Event()

    def set_clock(self, reason: str) -> None:
        """What speaks against the node's own clock; empty: nothing."""
        if reason and not self.clock_reason:
            log.error("the wall clock is wrong: nothing is signed until it is right", because=reason)
        self.clock_reason = reason
        self.look()

    async def wait(self) -> None:
        """Waits until the node has joined."""
        while not self.is_joined:
            await self._changed.wait()

    async def wait_for_user(self) -> None:
        """The same for who is no task of the node, and so is not cancelled with it: NodeClosed if it ends first."""
        self.require_open()
        while not self.is_joined:
            await self._changed.wait()
            self.require_open()

    def close(self) -> None:
        """The node has ended, and is of no use to anybody any more."""
        self._is_closed = True
        self.set("it is closed")

    def require_open(self) -> None:
        if self._is_closed:
            raise NodeClosed("this node is closed: the block that opened it has ended")

    async def change(self) -> None:
        """Waits until the node joins, is cut off, or something else changes of what is told by `look`."""
        await self._changed.wait()

    def _state(self) -> tuple[str, bool, bool, bool]:
        # The numbers in a reason are for those who ask; that they change is no news.
        return self._reason, bool(self._membership.lacks), self._is_cut_off, bool(self.clock_reason)

    def _reasons(self) -> tuple[str, ...]:
        return self._reason, self._membership.lacks, CUT_OFF if self._is_cut_off else "", self.clock_reason


def _network_of_clocks(config: Config) -> Callable[[bytes], bytes]:
    """To which source network an address belongs, of which two peers' clocks have a say."""
    diversity = config.diversity
    if diversity is None:
        return lambda ip: b""
    return (lambda ip: b"" if diversity.trusts(ip) else source_network(ip)) if config.trust else source_network


@attrs.define(eq=False)
class Core:
    """One node's parts."""

    config: Config
    local: Local
    keyring: Keyring
    publisher: KeyPair
    network: bytes
    table: RoutingTable
    transport: Transport
    contacts: Contacts
    requests: Requests[Message]
    streams: Streams
    classic: ClassicNetwork | None  # None unless this node speaks with classic nodes
    holdings: Holdings
    storage: Storage
    membership: Membership
    readiness: Readiness
    events: Events
    clock: Clock
    wall_clock: WallClock
    rng: random.Random
    anti_entropy: AntiEntropy
    reminders: Reminders = attrs.field(factory=Reminders)
    clocks: Clocks = attrs.field(init=False)
    # Set while the node runs: for the few things that go on after their caller has left. Bounded by who starts them.
    nursery: trio.Nursery | None = None
    background_failures: int = 0  # of what went on after its caller had left, since the disk failed

    def __attrs_post_init__(self) -> None:
        has_records = self.storage.statistics.keys > 0
        kept = self.storage.note(KEPT_TIME)
        self.clocks = Clocks(
            self.clock,
            self.wall_clock,
            has_records=has_records,
            kept=kept,
            network=_network_of_clocks(self.config),
        )
        self.contacts.on_clock = self.clocks.on_peer_clock
        self.holdings.is_clock_confirmed = self.is_clock_confirmed
        if not self.membership.is_noted:
            self.contacts.listeners.append(self._note_member)

    @property
    def id(self) -> NodeId:
        return self.local.static.node_id

    @property
    def stands_alone(self) -> bool:
        """Whether this node counts alone while no other answers: it never met one, or the operator said that it may."""
        return self.membership.counts_alone

    def _note_member(self, contact: Contact) -> None:
        self.membership.on_answer(contact)
        self.readiness.look()
        if self.membership.is_noted:
            self.contacts.listeners.remove(self._note_member)

    def require_ready(self) -> None:
        if not self.readiness.is_joined:
            raise NotJoined(f"this node is not ready: {self.readiness.reason}")

    def require_clock(self) -> None:
        """Nothing is signed under a clock that is known to be behind. WrongClock."""
        self.watch_clock()
        if self.clocks.behind_by:
            raise WrongClock(self.readiness.clock_reason)

    def is_clock_confirmed(self) -> bool:
        """Whether most clocks show the time that this node's shows; if not, the closest peers are asked for theirs."""
        self.watch_clock()
        if not self.clocks.is_confirmed:
            for contact in self.table.closest(self.id, CLOCKS_ASKED):
                self.contacts.check(contact, again_after=CHECKED_AGAIN_AFTER)
        return self.clocks.is_confirmed

    def watch_clock(self) -> None:
        """Notices a jump of the wall clock and what speaks against it, and asks peers for theirs when that matters."""
        moved = self.clocks.look()
        if moved:
            log.warning("the wall clock was set, or this machine slept", seconds=round(moved / 1000, 1))
        if self.clocks.asks:
            for contact in self.table.closest(self.id, CLOCKS_ASKED):
                self.contacts.check(contact, again_after=0.0 if moved else CHECKED_AGAIN_AFTER)
        wrong = self.clocks.to_warn_of()
        if wrong:
            log.warning(
                "clocks of peers differ from this node's by more than they may",
                seconds_ahead={peer.hex()[:16]: round(ms / 1000, 1) for peer, ms in wrong},
            )
        behind_by = self.clocks.behind_by
        self.readiness.set_clock(
            f"its wall clock is {behind_by / 1000:.0f} s behind a time that it has seen before" if behind_by else ""
        )
        kept = self.clocks.time_to_keep()
        if kept is not None:
            self.storage.set_note(KEPT_TIME, kept)

    async def find_node(self, target: bytes, *, on_answer: OnAnswer | None = None) -> LookupResult:
        """The closest nodes to `target` that answer, this node not included."""
        settings = self.config.kademlia
        lookup = Lookup(
            self.contacts,
            self.events,
            FindNode(NodeId(target)),
            k=settings.k,
            alpha=settings.alpha,
            on_answer=on_answer,
        )
        return await lookup.run()

    def other_holders(self, key: Key) -> int:
        """How many nodes beside this one should hold the key: whoever is no holder gives away what it is given."""
        k = self.config.kademlia.k
        return max(1, k - 1) if self.table.is_among_closest(key) else k

    def background(self, task: Callable[[], Awaitable[None]]) -> None:
        """Goes on with something after its caller has left, as long as the node lives. The disk may fail meanwhile."""
        if self.nursery is not None:
            self.nursery.start_soon(self._run_guarded, task)

    def close(self) -> None:
        """The node has ended: its tasks are about to be cancelled, and nothing new begins."""
        self.nursery = None
        self.readiness.close()

    async def _run_guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except* StorageError:
            self.background_failures += 1

    def jittered(self, seconds: float) -> float:
        """Between 0.75 and 1.25 of it, so that nodes that started together do not move together."""
        return seconds * self.rng.uniform(0.75, 1.25)
