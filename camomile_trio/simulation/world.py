"""A simulated world: its network, its machines, and everything that can befall them.

Rules of this file: verbs are what operators and accidents do (start, crash, pause, part, heal …), and each is noted in
the trace. It decides nothing at random but addresses and keys, from the seed. What must be true of the world is the
business of `properties/`, what happens in it that of `scenarios/`.
"""

from __future__ import annotations

import contextlib
import functools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import attrs
import trio

from camomile_trio.config import Config
from camomile_trio.errors import CamomileError
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, Key
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.node.node import Node, open_node
from camomile_trio.operations.events import Event, LookupEnded, ReadyChanged
from camomile_trio.peer.suite import CipherSuite
from camomile_trio.simulation.clocks import WallClock
from camomile_trio.simulation.disk import SimulatedDisk
from camomile_trio.simulation.key_files import KeyFiles
from camomile_trio.simulation.ledger import Ledger, Operation
from camomile_trio.simulation.lookups import Truth
from camomile_trio.simulation.machine import Condition, Crashed, Life, Machine
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.simulation.outcome import Claim, Progress, Violation
from camomile_trio.simulation.reading import Reader
from camomile_trio.simulation.suite import ToySuite
from camomile_trio.simulation.tombstones import Tombstones
from camomile_trio.simulation.trace import Trace
from camomile_trio.simulation.users import Users
from camomile_trio.simulation.warm import lay_out

# The name that every machine joins by, and how many machines stand behind it: as with a name service, the first ones
# that run.
SEEDS_NAME = "seeds.example:8118"
SEEDS = 3
PORT = 8118
# A node that leaves within so many deadlines of handing over after a fault may find no node that takes its records.
TOGETHER = 3
MOST_VIOLATIONS = 100  # kept; all are counted
PROBES_A_SECOND = 50.0


def private_ip(number: int) -> bytes:
    """The address of machine `number` in a network of private addresses."""
    return bytes((10, number >> 16, number >> 8 & 0xFF, number & 0xFF))


def public_ip(number: int) -> bytes:
    """The address of machine `number` where each has a public /16 of its own; ValueError from 256 on.

    Those of RFC 2544, which are for tests, are two /16 only, and of one /16 eight nodes count. No packet leaves here.
    """
    return bytes((193, number, 18, 1))


class World:
    """One network in virtual time. Made by `simulate`; scenarios are written in its verbs."""

    def __init__(
        self,
        *,
        seed: int,
        config: Config,
        network: MemoryNetwork,
        trace: Trace,
        progress: Progress,
        nursery: trio.Nursery,
        is_warm: bool = False,
        suite: CipherSuite | None = None,
    ) -> None:
        self.seed = seed
        # What all nodes seal with, and what reads it: the toy suite, unless a run says otherwise.
        self.suite = suite or ToySuite()
        self.reader = Reader(self.suite)
        # Whether `settle` lays out tables instead of having nodes join.
        self.is_warm = is_warm
        self.config = config
        self.network = network
        self.trace = trace
        self.progress = progress
        self.rng = self.generator("world")
        self.ledger = Ledger(trio.current_time, self.clock_spread)
        self.machines: list[Machine] = []
        self._at: dict[bytes, Machine] = {}  # by ip: each machine has one of its own
        self.users = Users(
            seed=seed,
            machines=self.machines,
            ledger=self.ledger,
            progress=progress,
            rng=self.generator("users"),
            is_troubled=lambda: self.is_troubled,
            on_operation=self.on_operation,
        )
        self.tombstones = Tombstones(self.machines, self._on_forget_lost)
        self.truth = Truth(self.reaches, lambda target: target in self.users.values)
        self._probes = 0  # rounds of them
        # Whether there is anybody in the network who is no machine: a classic node, or a stranger.
        self.has_strangers = False
        # Source networks whose strangers name nodes where none is: each may have a few keys tried there.
        self.lying_networks = 1
        # The key files of a closed network; each new machine gets a copy. None: the network is open.
        self.key_files: KeyFiles | None = None
        # The address of each new machine, by its number.
        self.ip_of: Callable[[int], bytes] = private_ip
        # Told of every event of every node, and of every operation's end.
        self.observers: list[Callable[[Machine, Event], None]] = []
        self.on_operation_ended: list[Callable[[Operation], None]] = [
            progress.on_operation,
            self.tombstones.on_operation,
        ]
        self.claims: list[Claim] = []
        self.violations: list[Violation] = []
        self.violation_count = 0
        self.violated_rules: Counter[str] = Counter()
        # One publisher key for all, as in a deployment; a machine may be given one of its own.
        self.publisher = KeyPair.new(self.rng)
        # Since when nothing is cut, lossy, slow or wrongly dated, and nobody has crashed or come back.
        self.calm_since = 0.0
        self._troubles: dict[str, None] = {}
        self._side_of: dict[int, int] = {}
        self._nursery = nursery

    def generator(self, *purpose: object) -> random.Random:
        """A source of randomness of its own for one purpose: using it more changes nothing elsewhere."""
        return random.Random("/".join(str(each) for each in (self.seed, *purpose)))

    @property
    def now(self) -> float:
        """Virtual s."""
        return trio.current_time()

    def clock_spread(self) -> float:
        """How far two wall clocks of the world are apart at most, in s."""
        errors = [each.clock.off_by for each in self.machines]
        return (max(errors) - min(errors)) / 1000 if errors else 0.0

    @property
    def up(self) -> list[Machine]:
        """The machines whose nodes run, paused ones included."""
        return [each for each in self.machines if each.is_up]

    @property
    def down(self) -> list[Machine]:
        return [each for each in self.machines if each.condition is Condition.DOWN]

    # Troubles ------------------------------------------------------------------------------------------------------

    @property
    def is_troubled(self) -> bool:
        """Whether a fault is about that can hide one user's word from another's."""
        return bool(self._troubles)

    @property
    def troubles(self) -> list[str]:
        """The faults that are about, by name."""
        return list(self._troubles)

    def trouble(self, name: str) -> None:
        """A fault begins that lasts until `end_trouble`."""
        self._troubles[name] = None
        self.note("trouble", name=name)

    def end_trouble(self, name: str) -> None:
        self._troubles.pop(name, None)
        self.stir()
        self.note("trouble_over", name=name)

    def stir(self) -> None:
        """Something happened that the network needs time to get over."""
        self.calm_since = self.now

    @property
    def calm_for(self) -> float:
        """Seconds since the last fault ended; 0 while one is about."""
        return 0.0 if self._troubles else self.now - self.calm_since

    def reaches(self, a: Machine, b: Machine) -> bool:
        """Whether packets can pass both ways between two machines that run."""
        return self.network.connects(a.endpoint, b.endpoint) and self.network.connects(b.endpoint, a.endpoint)

    def hears_in_time(self, a: Machine, b: Machine) -> bool:
        """Whether `a` can have answers of `b` before its requests end: slow machines reach each other, and too late."""
        too_slow = 2 * self.network.slowness(a.endpoint, b.endpoint) >= a.config.requests.deadline
        return not too_slow and self.reaches(a, b)

    # Machines ------------------------------------------------------------------------------------------------------

    def new_machine(
        self,
        *,
        config: Config | None = None,
        publisher: KeyPair | None = None,
        is_ephemeral: bool = False,
        clock_error: float = 0.0,
    ) -> Machine:
        """A machine that does not run yet."""
        number = len(self.machines)
        rng = self.generator("machine", number)
        config = config or self.config
        if self.key_files is not None:
            config = attrs.evolve(config, network_key=self.key_files.copy_to(number))
        disk = None
        if not is_ephemeral:
            settings = config.storage
            disk = SimulatedDisk(sync=settings.sync, max_bytes=settings.max_storage, rng=self.generator("disk", number))
        machine = Machine(
            number=number,
            endpoint=Endpoint.of(self.ip_of(number), PORT),
            config=attrs.evolve(config, join=(SEEDS_NAME,)),
            identity=KeyPair.new(rng),
            suite=self.suite,
            publisher=publisher or self.publisher,
            clock=WallClock(clock_error),
            disk=disk,
            rng_of_life=functools.partial(self.generator, "life", number),
        )
        self.machines.append(machine)
        self._at[machine.endpoint.ip] = machine
        return machine

    def machine_at(self, endpoint: Endpoint) -> Machine | None:
        """The machine with this address, up or down; None of anybody else. Streams come from ports of their own."""
        return self._at.get(endpoint.ip)

    async def settle(
        self,
        count: int,
        *,
        per_second: float = 20.0,
        config: Config | None = None,
        is_ephemeral: bool = False,
        patience: float = 120.0,
    ) -> list[Machine]:
        """`count` more machines, started one after another, and waited for until all have joined."""
        if self.is_warm:
            return await self.settle_warm(count, config=config, is_ephemeral=is_ephemeral)
        self.progress.begin("joining", count)
        began = []
        for number in range(count):
            machine = self.new_machine(config=config, is_ephemeral=is_ephemeral)
            await self.start(machine)
            began.append(machine)
            if number + 1 < count:
                await trio.sleep(1 / per_second)
            self.progress.advance(1)
        await self.wait_ready(began, patience)
        return began

    async def settle_warm(
        self, count: int, *, config: Config | None = None, is_ephemeral: bool = False
    ) -> list[Machine]:
        """`count` more machines with tables as after a long life, at once and without a message.

        In their first life they look no names up: without one to ask, each is ready at once.
        """
        self.progress.begin("laying out tables", count)
        newcomers = [self.new_machine(config=config, is_ephemeral=is_ephemeral) for _ in range(count)]
        for machine in newcomers:
            machine.life.table = machine.new_table()
        lay_out([*self.up, *newcomers], newcomers, functools.partial(self.generator, "warm"), self.now)
        for machine in newcomers:
            await self.start(machine, table=machine.table)
            self.progress.advance(1)
        return newcomers

    async def start(self, machine: Machine, *, on_new_disk: bool = False, table: RoutingTable | None = None) -> None:
        """Its node starts, on what its disk still has; returns once it runs, which is before it has joined.

        `table`: a routing table that has contacts already. The node asks no names then.
        """
        if machine.condition is not Condition.DOWN:
            return
        if machine.disk is not None:
            if on_new_disk:
                with self.tombstones.taken_from(machine):
                    machine.disk.wipe()
        elif machine.lives:
            machine.become(KeyPair.new(self.generator("identity", machine.number, machine.lives)))
        machine.life = Life(table=table or machine.new_table())
        machine.lives += 1
        # The first machine has no other to ask, until it comes back.
        has_names = table is None and (machine.number > 0 or machine.lives > 1)
        machine.why_not = ""
        machine.condition = Condition.UP
        machine.up_since = self.now
        if machine.lives > 1:
            self.stir()
        self.note(
            "start",
            machine=machine.number,
            life=machine.lives,
            id=machine.id.hex(),
            clock_off_by_ms=round(machine.clock.off_by),
        )
        self._nursery.start_soon(self._live, machine, machine.life, has_names)
        await machine.life.opened.wait()

    async def wait_ready(self, machines: Iterable[Machine], patience: float) -> bool:
        """Waits until all have joined that are up, `patience` seconds at most; whether they have."""
        with trio.move_on_after(patience):
            for machine in machines:
                if machine.node is not None:
                    await machine.node.wait_ready()
        return all(each.serves for each in machines if each.is_up)

    async def crash(self, machine: Machine, *, power_loss: bool = False) -> None:
        """Its node is gone at once, and cleans nothing up. With `power_loss` its disk forgets what was not there."""
        if machine.condition is Condition.DOWN:
            return
        self.note("crash", machine=machine.number, power_loss=power_loss)
        self.tombstones.on_going(machine)
        if machine.condition is Condition.PAUSED:
            self.end_trouble(f"machine {machine.number} is paused")
        self._kill(machine)
        machine.life.send_users_away()
        if machine.disk is not None:
            if power_loss:
                machine.disk.lose_power()
            else:
                machine.disk.crash()
        machine.life.scope.cancel()
        await machine.life.gone.wait()

    async def crash_all(self, machines: Sequence[Machine], *, power_loss: bool = False) -> None:
        """All of them at the same instant."""
        async with trio.open_nursery() as nursery:
            for machine in machines:
                nursery.start_soon(functools.partial(self.crash, machine, power_loss=power_loss))

    async def leave(self, machine: Machine) -> None:
        """As SIGTERM: its node hands its records over and stops. Returns once it is gone."""
        if machine.condition is Condition.PAUSED:
            self.resume(machine)
        if machine.condition is Condition.DOWN:
            return
        self.note("leave", machine=machine.number)
        if self.calm_for < TOGETHER * machine.config.records.hand_over_deadline:
            # Otherwise it hands over, and nothing goes with it.
            self.tombstones.on_going(machine)
        machine.condition = Condition.LEAVING
        machine.life.send_users_away()
        machine.life.leave.set()
        await machine.life.gone.wait()

    def change_places(self, one: Machine, other: Machine) -> None:
        """Two machines that are down will come back at each other's address."""
        assert one.condition is other.condition is Condition.DOWN
        one.endpoint, other.endpoint = other.endpoint, one.endpoint
        for machine in (one, other):
            self._at[machine.endpoint.ip] = machine
        self.note("change_places", machines=[one.number, other.number])

    def hand_out_keys(self, machine: Machine) -> None:
        """The operator's key file is copied to the machine; its node re-reads it, at once or when it starts."""
        assert self.key_files is not None
        self.key_files.copy_to(machine.number)
        if machine.node is not None:
            machine.node.reload()
        self.note("keys", machine=machine.number, keys=len(self.key_files.keys))

    def pause(self, machine: Machine) -> None:
        """As SIGSTOP seen from outside: it neither sends nor hears, and goes on where it was with `resume`."""
        if machine.condition is Condition.UP:
            machine.condition = Condition.PAUSED
            self.network.pause(machine.endpoint)
            self.trouble(f"machine {machine.number} is paused")

    def resume(self, machine: Machine) -> None:
        if machine.condition is Condition.PAUSED:
            machine.condition = Condition.UP
            self.network.resume(machine.endpoint)
            self.end_trouble(f"machine {machine.number} is paused")

    async def _live(self, machine: Machine, life: Life, has_names: bool) -> None:
        try:
            with life.scope:
                await self._run_node(machine, life, has_names)
        finally:
            if machine.life is life:
                life.send_users_away()
                machine.node, machine.is_member = None, False
                machine.condition = Condition.DOWN
                machine.down_since = self.now
                self.stir()
                self.tombstones.on_gone(machine)
            life.opened.set()
            life.gone.set()

    async def _run_node(self, machine: Machine, life: Life, has_names: bool) -> None:
        try:
            life.storage = machine.open_storage()
            try:
                await self._open_node(machine, life, has_names)
            except* Crashed:
                # As every process that is killed.
                pass
        except CamomileError as error:
            if machine.node is not None:
                self.violated("no exception leaves a node", "none", repr(error), machine)
            machine.why_not = str(error)
            self.note("no_start", machine=machine.number, because=machine.why_not)
        except Exception as error:  # noqa: BLE001
            # Whatever a node raises is a finding: the run goes on, and says so at its end.
            self.violated("no exception leaves a node", "none", repr(error), machine)

    async def _open_node(self, machine: Machine, life: Life, has_names: bool) -> None:
        async with open_node(
            machine.config if has_names else attrs.evolve(machine.config, join=()),
            transport=machine.open_transport(self.network),
            storage=life.storage,
            wall_clock=machine.clock,
            rng=machine.rng_of_life(machine.lives),
            identity=machine.identity,
            publisher=machine.publisher,
            suite=machine.suite,
            resolver=functools.partial(self._resolve, machine),
            table=life.table,
        ) as node:
            machine.node = node
            with node.events.watch(functools.partial(self._on_event, machine)):
                if node.ready:
                    # It has been since before anybody could watch it.
                    self._on_event(machine, ReadyChanged(ready=True, because=""))
                life.opened.set()
                try:
                    await life.leave.wait()
                except trio.Cancelled:
                    self._kill(machine)
                    raise

    def _kill(self, machine: Machine) -> None:
        """Its node sends and receives nothing any more, and its tasks end without a word."""
        transport = machine.life.transport
        if transport is not None and machine.node is not None:
            if self.network.is_open(machine.endpoint):
                self.network.crash(machine.endpoint)
            transport.kill()

    def _on_event(self, machine: Machine, event: Event) -> None:
        if isinstance(event, ReadyChanged):
            machine.is_member = event.ready
            self.truth.on_ready(machine, event)
        elif isinstance(event, LookupEnded):
            self.truth.on_lookup(machine, event)
        for observer in self.observers:
            observer(machine, event)

    async def _resolve(self, asker: Machine, host: str, port: int) -> list[Endpoint]:
        """The name service: the first machines that run. Raises OSError when there are none."""
        found: list[Endpoint] = []
        for machine in self.machines:
            if machine.is_up and machine is not asker:
                found.append(machine.endpoint)
                if len(found) == SEEDS:
                    break
        return found

    # The network ---------------------------------------------------------------------------------------------------

    @property
    def is_parted(self) -> bool:
        return "partition" in self._troubles

    def part(self, groups: Sequence[Sequence[Machine]], *, one_way: bool = False) -> None:
        """From now on only members of one group reach each other; who is in none is in one more.

        `one_way`: packets still pass from an earlier group to a later one.
        """
        self.network.partition([[each.endpoint for each in group] for group in groups], one_way=one_way)
        self.trouble("partition")
        self.note("part", groups=[[each.number for each in group] for group in groups])

    def heal(self) -> None:
        """Ends the partition and all cuts."""
        self.network.heal_all()
        self.end_trouble("partition")

    # The judge -----------------------------------------------------------------------------------------------------

    def note(self, event: str, /, **particulars: object) -> None:
        """Something happened; it goes into the trace."""
        self.trace.note(self.now, event, **particulars)

    def on_operation(self, operation: Operation) -> None:
        """A user's operation ended."""
        self.note(
            operation.kind,
            number=operation.number,
            machine=operation.machine,
            key=operation.key.hex(),
            began=operation.began,
            outcome=operation.outcome,
        )
        for told in self.on_operation_ended:
            told(operation)

    def claim(self, what: str, is_true: bool, seen: object) -> None:
        """A line of the scenario's pass line: `what` must be true, and this was seen."""
        self.claims.append(Claim(what, is_true, str(seen)))
        self.note("claim", what=what, is_true=is_true, seen=seen)

    def violated(self, rule: str, expected: str, seen: str, machine: Machine | None = None) -> None:
        """A property does not hold."""
        violation = Violation(rule, self.now, machine.number if machine is not None else None, expected, seen)
        self.violation_count += 1
        self.violated_rules[rule] += 1
        if len(self.violations) < MOST_VIOLATIONS:
            self.violations.append(violation)
        self.note("violation", rule=rule, machine=violation.machine, expected=expected, seen=seen)

    def holders(self, key: Key) -> list[Machine]:
        """The machines up whose nodes store the value's bytes, served or not."""
        return [machine for machine in self.machines if machine.holds(key)]

    def live_holders(self, key: Key) -> list[Machine]:
        """Those of the holders whose copy has a live lease, by their own clocks."""
        return [machine for machine in self.machines if machine.holds_live(key)]

    async def probe_lookups(self, count: int) -> None:
        """So many lookups of random ids at random machines, at a steady pace: how good tables are all over the ids."""
        self._probes += 1
        rng = self.generator("probes", self._probes)

        async def look_up(target: bytes, node: Node) -> None:
            with contextlib.suppress(CamomileError):
                await node.ping(target)

        self.progress.begin("probing", count)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                serving = [each for each in self.machines if each.serves]
                if serving:
                    target = rng.randbytes(ID_BYTES)
                    self.truth.probes[target] = None
                    nursery.start_soon(rng.choice(serving).ask, functools.partial(look_up, target))
                self.progress.advance(1)
                await trio.sleep(1 / PROBES_A_SECOND)

    def _on_forget_lost(self, forget: Operation) -> None:
        self.note("forget_lost", key=forget.key.hex(), number=forget.number)
