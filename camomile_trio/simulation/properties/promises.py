"""What was acknowledged is kept, by a majority, and can be read.

Rules of this file: it believes the ledger, and of clocks that differ the one by which a promise ends first. Who is
asked is asked as by a user, all in turn and rather those that have no copy, and so seldom that the questions keep no
table fresh; these gets stand in no ledger. A copy is the bytes on a disk, of a machine up or down, or in the memory of
an ephemeral node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import trio

from camomile_trio.errors import CamomileError
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.node.node import Node
from camomile_trio.simulation.ledger import OK, Operation, Standing
from camomile_trio.simulation.machine import Condition, Machine
from camomile_trio.simulation.properties.base import Looking, Pace, Property, Round, running, short
from camomile_trio.simulation.world import World

SHORTEST = 5.0  # virtual s between two rounds of questions
KEYS_A_ROUND = 2
AGAIN_A_ROUND = 4  # of those that failed before
TRIES = 16  # draws for a machine that may be asked

COPIES_A_LOOK = 3000
KEYS_A_LOOK = 100

# How long a machine must have served until it is expected to be found by everybody. Virtual s.
SETTLED = 60.0


def worst_clocks(world: World) -> tuple[float, float]:
    """How far the clock that is most behind is behind, and the one most ahead ahead, in s; both 0 or more."""
    errors = [each.clock.off_by for each in world.machines]
    return max(0.0, -min(errors, default=0.0)) / 1000, max(0.0, max(errors, default=0.0)) / 1000


def is_due(world: World, key: Key) -> bool:
    """Whether the value must be there now: it is promised, and the leases that it was put with have not all ended."""
    if world.ledger.standing(key) is not Standing.PROMISED:
        return False
    until = 0.0
    for word in world.ledger.words(key):
        if word.kind == "put" and word.outcome == OK:
            until = max(until, math.inf if word.ttl is None else word.began + word.ttl)
    # Between clocks that differ, a lease ends for the first of them this much earlier.
    return until == math.inf or until - sum(worst_clocks(world)) > world.now


def leases_of(state: KeyState) -> list[Record]:
    """All leases about a key, ended or not."""
    return [register.record for register in state.registers if not register.record.is_tombstone]


def lasting_holders(world: World, key: Key, seconds: float) -> list[Machine]:
    """The machines that run and hold the value under a lease that lives for `seconds` yet by everybody's clock.

    Not by their own alone: where a lease is short and a clock is wrong, a node that asks may find that it has ended.
    """
    found = []
    until = max((each.clock() for each in world.machines), default=0) + 1000 * seconds
    for machine in running(world):
        state = machine.stored(key)
        if state is not None and state.size is not None and any(each.expires > until for each in leases_of(state)):
            found.append(machine)
    return found


def durable_holders(world: World, key: Key) -> list[Machine]:
    """Those that hold it now by everybody's clock, on a disk, and have joined."""
    return [each for each in lasting_holders(world, key, 0.0) if each.disk is not None and each.serves]


def readable_bound(world: World) -> float:
    """How long it may take while nodes come and go and links are bad.

    Two rounds of replication with their jitter bring copies to where they are looked for, and a refresh interval with
    its jitter brings tables in order; then a node is asked within two operation deadlines.
    """
    config = world.config
    rounds = 2 * 1.25 * config.records.replicate_interval + 1.25 * config.kademlia.refresh_interval
    return rounds + short_bound(world)


def short_bound(world: World) -> float:
    """How long it may take once the network has been calm for `readable_bound`: two operation deadlines."""
    return 2 * world.config.requests.operation_deadline


@attrs.define
class Failing:
    """A key that could not be read."""

    since: float
    # The holders that could be reached at every try, each by its life.
    holders: list[tuple[int, int]]
    asked: list[int]
    last_error: str = ""
    is_reported: bool = False


class Readable(Property):
    """A promised value is readable while a durable holder of it lives and can be reached.

    Every few seconds some promised keys are read, each at one machine; what failed is read again at others.

    Violated when reads of a key have failed for `readable_bound` (or `short_bound`), while the same machine was up all
    the time, held the value on its disk under a live lease, and reached the machine that was asked.
    """

    name = "what is promised and held can be read"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._failing: dict[Key, Failing] = {}

    async def watch(self) -> None:
        world = self.world
        rng = world.generator("readable")
        pace = Pace(world, SHORTEST)
        while True:
            await trio.sleep(pace.next() if not self._failing else SHORTEST)
            again = list(self._failing)
            rng.shuffle(again)
            chosen = again[:AGAIN_A_ROUND]
            keys = world.ledger.keys
            chosen += [key for key in (rng.choice(keys) for _ in range(KEYS_A_ROUND) if keys) if key not in again]
            async with trio.open_nursery() as nursery:
                for key in dict.fromkeys(chosen):
                    asker = _choose(rng.sample(world.machines, min(TRIES, len(world.machines))), key, self._asked(key))
                    if asker is not None:
                        nursery.start_soon(self._probe, asker, key)

    def _asked(self, key: Key) -> list[int]:
        failing = self._failing.get(key)
        return failing.asked if failing is not None else []

    async def _probe(self, asker: Machine, key: Key) -> None:
        world = self.world
        began = world.now
        before = _reached_holders(world, asker, key)
        if not before:
            self._failing.pop(key, None)
            return

        async def read(node: Node) -> None:
            try:
                await node.get(key)
            except CamomileError as error:
                after = _reached_holders(world, asker, key)
                self._failed(asker, key, began, [each for each in before if each in after], error)
            else:
                self._failing.pop(key, None)

        await asker.ask(read)

    def _failed(
        self, asker: Machine, key: Key, began: float, holders: list[tuple[int, int]], error: CamomileError
    ) -> None:
        world = self.world
        failing = self._failing.get(key)
        if failing is not None:
            failing.holders = [each for each in failing.holders if each in holders]
        if failing is None or not failing.holders:
            if holders:
                self._failing[key] = Failing(began, holders, [asker.number], str(error))
            else:
                self._failing.pop(key, None)
            return
        failing.asked.append(asker.number)
        failing.last_error = str(error)
        # At rest since before the first try: then it has to be quick.
        is_at_rest = world.calm_for > readable_bound(world) + (world.now - failing.since)
        limit = short_bound(world) if is_at_rest else readable_bound(world)
        if world.now - failing.since > limit and not failing.is_reported:
            failing.is_reported = True
            held_by = [number for number, _ in failing.holders]
            world.violated(
                self.name,
                f"{short(key)} read within {limit:g} s, held by machines {held_by}",
                f"not since {failing.since:.1f} s at machines {failing.asked[-5:]}: {failing.last_error}",
                asker,
            )


def _choose(machines: Sequence[Machine], key: Key, asked: list[int]) -> Machine | None:
    """One of the machines that serves: rather one without a copy, and not one that was asked lately."""
    serving = [each for each in machines if each.serves]
    fresh = [each for each in serving if each.number not in asked[-TRIES:]] or serving
    without = [each for each in fresh if not each.holds(key)]
    return next(iter(without or fresh), None)


def _reached_holders(world: World, asker: Machine, key: Key) -> list[tuple[int, int]]:
    """The durable holders of a key that is due which the asker reaches, or is."""
    if not is_due(world, key):
        return []
    return [
        (each.number, each.lives) for each in durable_holders(world, key) if each is asker or world.reaches(asker, each)
    ]


@attrs.frozen
class Departure:
    """A machine went."""

    machine: int
    time: float
    in_order: bool


class Lost(Looking):
    """Promised values of which no copy is left are counted, and none is lost without a fault that explains it.

    Looks for copies of some keys, at about `COPIES_A_LOOK` places. A loss is explained when, within two rounds of
    replication or a lease, whichever is longer: something troubled the network, a store was full, at least half of the
    machines that a value is kept by (k, or all if they are fewer) went without handing over, or nobody was there to
    renew its lease all the while. Those who leave in good order hand over, unless others go at about the same time.
    """

    name = "no promised value is lost without a reason"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._keys: Round[Key] = Round()
        self._lost: dict[Key, None] = {}
        self._lives: dict[int, int] = {}  # of each machine, the lives whose end has been seen
        self._departures: list[Departure] = []
        self._troubled_at = -math.inf

    def look(self) -> None:
        world = self.world
        self._follow()
        keys = self._keys.take(
            world.ledger.keys, min(KEYS_A_LOOK, max(1, COPIES_A_LOOK // max(1, len(world.machines))))
        )
        for key in keys:
            if key in self._lost or not is_due(world, key) or has_copy(world, key):
                continue
            self._lost[key] = None
            reason = self._reason(key)
            world.note("lost", key=key.hex(), because=reason)
            if not reason:
                gone = [each.machine for each in self._gone()]
                world.violated(self.name, f"a copy of {short(key)} somewhere", f"none; machines that went: {gone}")

    def _follow(self) -> None:
        world = self.world
        if world.is_troubled:
            self._troubled_at = world.now
        for machine in world.machines:
            is_over = machine.condition is Condition.DOWN
            ended = machine.lives if is_over else machine.lives - 1
            if ended > self._lives.get(machine.number, 0):
                self._lives[machine.number] = ended
                in_order = is_over and machine.life.leave.is_set()
                self._departures.append(Departure(machine.number, machine.down_since, in_order))

    def _reason(self, key: Key) -> str:
        world = self.world
        since = world.now - loss_window(world)
        if self._troubled_at >= since:
            return "trouble"
        most = min(world.config.kademlia.k, len(world.machines))
        if 2 * len(self._gone()) >= most:
            return "many machines went"
        if any(_refused(each) for each in running(world)):
            return "full stores"
        return "" if _is_renewed(world, key, since) else "nobody to renew it"

    def _gone(self) -> list[Departure]:
        """Who took copies away within the window."""
        world = self.world
        since = world.now - loss_window(world)
        recent = [each for each in self._departures if each.time >= since]
        together = 3 * world.config.records.hand_over_deadline
        return [
            each
            for each in recent
            if not each.in_order
            or any(other is not each and abs(other.time - each.time) <= together for other in recent)
        ]


def loss_window(world: World) -> float:
    """How far back a reason may lie."""
    records = world.config.records
    return max(2 * 1.25 * records.replicate_interval, records.lease)


def has_copy(world: World, key: Key) -> bool:
    """Whether the value's bytes are anywhere."""
    return any((state := each.kept(key)) is not None and state.size is not None for each in world.machines)


def _refused(machine: Machine) -> bool:
    return machine.storage.statistics.refused > 0


def _is_renewed(world: World, key: Key, since: float) -> bool:
    """Whether the node that published it was up all the while, or every node that holds it has its publisher's key."""
    if len(dict.fromkeys(each.publisher.public for each in world.machines)) == 1:
        return True
    steady = {each.number: each for each in running(world) if each.up_since <= since}
    for word in world.ledger.words(key):
        machine = steady.get(word.machine)
        if machine is None or word.kind != "put" or word.outcome != OK or word.ttl is not None:
            continue
        # An ephemeral node that starts again has forgotten what it published.
        remembers = machine.disk is not None or word.began >= machine.up_since
        if remembers and word.publisher == machine.publisher.public:
            return True
    return False


class Majority(Property):
    """What was acknowledged is stored by a majority of those that ought to have it.

    It believes the count that a user was given, and only while nothing was wrong for a while: else those who ought to
    have it are not the same for everybody. Looks at every put and forget that succeeded.

    Bound: a majority of k nodes, or of all that have run for `SETTLED` if they are fewer, less one in ten and one.
    """

    name = "what was acknowledged is stored by a majority"

    def on_operation(self, operation: Operation) -> None:
        world = self.world
        if operation.kind == "get" or operation.outcome != OK:
            return
        if world.calm_for < SETTLED + operation.seconds:
            return
        settled = [each for each in running(world) if each.serves and each.up_since < operation.began - SETTLED]
        among = min(world.config.kademlia.k, len(settled))
        # The count is of those that answered in time; a slow answer or two are not waited for.
        needed = (among - 1 - among // 10) // 2 + 1
        if world.has_strangers:
            # Classic nodes acknowledge nothing, and nobody here knows how many of the closest they are.
            needed = min(needed, 2)
        if len(settled) > 1 and operation.replicas < needed:
            expected = f"{needed} acknowledgements of {operation.kind} {operation.number}"
            world.violated(self.name, expected, str(operation.replicas), world.machines[operation.machine])
