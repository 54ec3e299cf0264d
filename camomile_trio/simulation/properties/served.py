"""What nodes serve: right bytes, under a lease that lives, and nothing that was forgotten.

Rules of this file: what a node serves is what it sends to a node that asks for a key, and what its users are given.
Leases are compared with the right time, which no node knows. Copies of classic nodes, which nobody can forget, are not
meant.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Sequence

import trio

from camomile_trio.errors import CamomileError, MalformedPacket, StorageError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import FindValue, Value
from camomile_trio.kademlia.records import Record
from camomile_trio.node.node import Node
from camomile_trio.operations.results import Found
from camomile_trio.simulation.clocks import EPOCH
from camomile_trio.simulation.ledger import OK, Operation, Standing
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.base import Looking, Pace, Pairs, Property, Round, short
from camomile_trio.simulation.properties.promises import worst_clocks
from camomile_trio.simulation.reading import FIND_VALUE_TAG, VALUE_TAG, message_tag
from camomile_trio.simulation.world import World

KEYS_A_LOOK = 100  # whose standing one look asks the ledger for
GETS_A_LOOK = 1
SLACK = 0.01  # s, of rounding
MOST_ASKED = 4096  # questions whose answers are awaited
WHAT_IS_SENT = "the values that nodes send to each other"


def forgotten_bound(world: World) -> float:
    """A cached copy's life, two rounds of replication with their jitter, and two operation deadlines.

    Two rounds, since a holder leaves out what another one has shown it within the interval.
    """
    config = world.config
    rounds = 2 * 1.25 * config.records.replicate_interval
    return config.records.cache_life + rounds + 2 * config.requests.operation_deadline


class Served:
    """Sees every value that a machine sends as a datagram to one of ours, and tells those properties that watch for it.

    The key does not travel with the value: it is that of the question with the same number, between the same two. A
    classic node is told nothing of leases, so what it is served is not meant.
    """

    def __init__(self, world: World, properties: Sequence[Property]) -> None:
        self._world = world
        self._properties = properties
        # By who asks, who is asked, and the number of the question; the oldest first.
        self._asked: dict[tuple[Endpoint, Endpoint, int], Key] = {}

    def on_sent(self, time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        reader = self._world.reader
        inner = reader.read(payload).inner
        if not inner or message_tag(inner) not in (VALUE_TAG, FIND_VALUE_TAG):
            return
        try:
            number, message, _ = reader.opened(inner)
        except MalformedPacket:
            return
        if isinstance(message, FindValue):
            self._asked[source, destination, number] = message.key
            if len(self._asked) > MOST_ASKED:
                del self._asked[next(iter(self._asked))]
        elif isinstance(message, Value) and message.value is not None:
            machine, key = self._world.machine_at(source), self._asked.get((destination, source, number))
            if machine is not None and machine.is_heard and key is not None:
                for each in self._properties:
                    each.on_value(machine, key, message)


class Asking(Looking):
    """Looks, and really gets a key that nobody may serve any more, each time another one at another machine."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._keys: Round[Key] = Round()
        self._asked: Round[Key] = Round()
        self._askers: Round[Machine] = Round()

    async def watch(self) -> None:
        pace = Pace(self.world)
        while True:
            await trio.sleep(pace.next())
            self.look()
            for key in self._asked.take(self.gone(), GETS_A_LOOK):
                for machine in self._askers.take([each for each in self.world.machines if each.serves], 1):
                    await machine.ask(functools.partial(self._get, machine, key))

    def gone(self) -> list[Key]:
        """Some of the keys that nobody may serve any more."""
        return [key for key in self._keys.take(self.world.ledger.keys, KEYS_A_LOOK) if self.is_gone(key)]

    def is_gone(self, key: Key) -> bool:
        """Whether nobody may serve the key any more."""
        raise NotImplementedError

    def on_found(self, machine: Machine, key: Key, found: Found) -> None:
        """A machine has found a key that was gone before."""
        raise NotImplementedError

    async def _get(self, machine: Machine, key: Key, node: Node) -> None:
        with contextlib.suppress(CamomileError):
            found = await node.get(key)
            if self.is_gone(key):
                self.on_found(machine, key, found)


class Forgotten(Asking):
    """What was forgotten is served by nobody once the network had time to tell everybody, and never comes back.

    Looks at what some machines hold of some forgotten keys (`PAIRS`) under a live lease, at what all serve of all, and
    really gets one of them now and then. A key counts once every publisher has forgotten it, by the ledger, and the
    network has been calm since, for `forgotten_bound`.
    """

    name = "what was forgotten stays away"
    reads = WHAT_IS_SENT
    watches_values = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._pairs = Pairs()

    def look(self) -> None:
        for machine, key in self._pairs.take(self.world, self.gone()):
            if machine.holds_live(key):
                self._violated(machine, key, "held under a live lease")

    def on_value(self, machine: Machine, key: Key, answer: Value) -> None:
        records = [Record.from_row(row, key) for row in answer.records]
        is_live = any(not each.is_tombstone and each.expires > machine.clock() for each in records)
        if is_live and self.is_gone(key):
            self._violated(machine, key, f"served from {'its cache' if answer.cached else 'its store'}")

    def on_found(self, machine: Machine, key: Key, found: Found) -> None:
        if found.live:
            self._violated(machine, key, f"got from {short(found.origin)}")

    def _violated(self, machine: Machine, key: Key, seen: str) -> None:
        self.world.violated(self.name, f"{short(key)} held, served and found by nobody", seen, machine)

    def is_gone(self, key: Key) -> bool:
        world = self.world
        bound = forgotten_bound(world)
        if world.calm_for < bound or world.ledger.standing(key) is not Standing.FORGOTTEN:
            return False
        since = world.ledger.forgotten_since(key)
        return since is not None and world.now - since >= bound


class LeaseEnds(Asking):
    """No value is served after its leases have ended. A node judges by its own clock, so the bound is how far the clock
    most behind has ever been behind.

    Looks at every value that is served, and at every get of one that was only ever put for a time, of which it really
    gets some itself: it began no later than the last put of the key, its `ttl`, the worst errors behind and ahead, and
    two operation deadlines (a put that met an older word late is signed once more).
    """

    name = "nothing is served after its leases ended"
    reads = WHAT_IS_SENT
    watches_values = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._behind = 0.0
        self._ahead = 0.0
        self._got: list[Operation] = []

    def on_operation(self, operation: Operation) -> None:
        if operation.kind == "get" and operation.outcome == OK:
            self._got.append(operation)

    def on_value(self, machine: Machine, key: Key, answer: Value) -> None:
        self._watch_clocks()
        ends = [record.expires for row in answer.records if not (record := Record.from_row(row, key)).is_tombstone]
        if not ends and not answer.cached and self.world.has_strangers:
            # A copy that a classic node stored has no lease, but an end of its own.
            state = machine.stored(key)
            ends = [state.classic_until] if state is not None else []
        right_now = EPOCH + self.world.now * 1000
        if max(ends, default=0) < right_now - (self._behind + SLACK) * 1000:
            ago = (right_now - max(ends)) / 1000 if any(ends) else float("inf")
            self.world.violated(
                self.name,
                f"{short(key)} gone within {self._behind:g} s of its end",
                f"served {ago:.1f} s after it{', from the cache' if answer.cached else ''}",
                machine,
            )

    def look(self) -> None:
        self._watch_clocks()
        for operation in self._got:
            self._judge(operation)
        self._got.clear()

    def _watch_clocks(self) -> None:
        behind, ahead = worst_clocks(self.world)
        self._behind, self._ahead = max(self._behind, behind), max(self._ahead, ahead)

    def is_gone(self, key: Key) -> bool:
        return self.world.now > self._last_get(key)

    def on_found(self, machine: Machine, key: Key, found: Found) -> None:
        self._violated(machine, key, f"got from {short(found.origin)}")

    def _judge(self, operation: Operation) -> None:
        if operation.began > self._last_get(operation.key):
            machine = self.world.machines[operation.machine]
            self._violated(machine, operation.key, f"get {operation.number} began at {operation.began:.1f} s")

    def _violated(self, machine: Machine, key: Key, seen: str) -> None:
        expected = f"no get of {short(key)} that begins after {self._last_get(key):.1f} s succeeds"
        self.world.violated(self.name, expected, seen, machine)

    def _last_get(self, key: Key) -> float:
        """When a get of the key may begin at the latest; inf if it was put until it is forgotten."""
        end = self._end_of(key)
        return end + self._behind + self._ahead + 2 * self.world.config.requests.operation_deadline

    def _end_of(self, key: Key) -> float:
        """When the last lease that anybody put ends, by right clocks; inf if one of them does not end."""
        puts = [word for word in self.world.ledger.words(key) if word.kind == "put"]
        ends = [math.inf if each.ttl is None or each.ended is None else each.ended + each.ttl for each in puts]
        return max(ends, default=math.inf)


class RightBytes(Looking):
    """A value that is got, or served, has the bytes that hash to its key.

    A value on a disk may have been damaged there, which no node can help: then it must not be served. In memory nothing
    damages it, so there some values of some machines (`PAIRS`) are hashed, too.
    """

    name = "values have the right bytes"
    reads = WHAT_IS_SENT
    watches_values = True

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._pairs = Pairs()

    def on_operation(self, operation: Operation) -> None:
        if operation.kind == "get" and operation.outcome == OK and not operation.is_right:
            self._violated(self.world.machines[operation.machine], operation.key, "given to its user")

    def on_value(self, machine: Machine, key: Key, answer: Value) -> None:
        if answer.value is not None and Key.of(answer.value) != key:
            self._violated(machine, key, f"served {answer.value[:40]!r}")

    def look(self) -> None:
        for machine, key in self._pairs.take(self.world, self.world.ledger.keys):
            if machine.disk is None and not _is_kept_right(machine, key):
                self._violated(machine, key, "kept in memory")

    def _violated(self, machine: Machine, key: Key, seen: str) -> None:
        self.world.violated(self.name, f"the bytes of {short(key)}", f"other bytes, {seen}", machine)


def _is_kept_right(machine: Machine, key: Key) -> bool:
    try:
        value = machine.storage.value(key)
    except StorageError:
        return True
    return value is None or Key.of(value) == key
