"""Random faults in random small networks under random users: the search for what nobody thought of.

Rules of this file: everything is drawn from the seed, the configuration included, and everything ends: at the end all
faults are over, all machines that have a disk run again, and the network is given the time that it is promised to need.
What must be true meanwhile is the business of the properties; what must be true afterwards is claimed here. Source of
the method: Groce et al., Swarm Testing (2012): each run leaves out some kinds of faults, so that others show.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import attrs
import trio

from camomile_trio.config import Config, Kademlia, Records, StorageConfig
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.disk import DiskFaults
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.machine import Condition, Machine
from camomile_trio.simulation.properties.promises import lasting_holders
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World

MOST_CLOCK_ERROR = 300_000.0  # ms; two such clocks are apart by less than max_skew
ASKED_AT_END = 3  # machines that are asked for each key


@attrs.frozen(kw_only=True)
class Conditions:
    """What one seed is about."""

    nodes: int
    config: Config
    links: LinkConditions
    seconds: float  # of faults, virtual
    pause: float  # mean seconds between two faults
    faults: tuple[str, ...]
    publishers: int
    ephemeral: float  # share of machines that have no disk
    has_wrong_clocks: bool
    puts: float  # a second
    gets: float
    forgets: float

    @classmethod
    def draw(cls, rng: random.Random, nodes: int | None = None) -> Conditions:
        """Conditions from a generator; `nodes` replaces the number drawn."""
        drawn = min(60, 3 + int(rng.expovariate(1 / 12)))
        size = nodes or drawn
        # Many runs find more than long ones: the larger the network, the shorter its story and the rarer its rounds.
        seconds = rng.choice((300.0, 600.0) if size <= 20 else (300.0,))
        has_wrong_clocks = rng.random() < 0.4
        replicate = rng.choice((60.0, 120.0, 300.0) if size <= 20 else (120.0, 300.0))
        config = Config(
            kademlia=Kademlia(
                k=rng.choice((2, 3, 4, 5, 8, 12, 20)),
                alpha=rng.choice((1, 2, 3, 3, 5)),
                refresh_interval=rng.choice((60.0, 120.0, 300.0) if size <= 10 else (120.0, 300.0, 600.0)),
            ),
            records=Records(
                # A lease that is shorter than clocks are apart has ended somewhere before it began.
                lease=rng.choice((3600.0, 7200.0) if has_wrong_clocks else (300.0, 600.0, 1800.0, 3600.0)),
                replicate_interval=replicate,
                cache_life=rng.choice((0.0, 5.0, 60.0)),
            ),
            storage=StorageConfig(sync=rng.choice(("os", "full"))),
        )
        links = LinkConditions(
            latency=rng.choice((0.001, 0.01, 0.05)),
            jitter=rng.choice((0.0, 0.01, 0.1)),
            loss=rng.choice((0.0, 0.0, 0.0, 0.02)),
            duplication=rng.choice((0.0, 0.0, 0.05)),
            reordering=rng.choice((0.0, 0.0, 0.1)),
        )
        some = tuple(name for name in FAULTS if rng.random() < 0.5 and (has_wrong_clocks or name != "clock_jump"))
        return cls(
            nodes=size,
            config=config,
            links=links,
            seconds=seconds,
            pause=rng.choice((10.0, 30.0, 60.0)),
            faults=some or ("crash",),
            publishers=rng.choice((1, 1, 1, 2, 3)),
            ephemeral=rng.choice((0.0, 0.0, 0.3, 1.0)),
            has_wrong_clocks=has_wrong_clocks,
            puts=rng.choice((0.03, 0.06, 0.12)),
            gets=rng.choice((0.15, 0.3)),
            forgets=rng.choice((0.0, 0.02, 0.04, 0.06)),
        )


class Swarm:
    """One run of it in a world."""

    def __init__(self, world: World, conditions: Conditions) -> None:
        self._world = world
        self._conditions = conditions
        self._rng = world.generator("swarm")
        self._publishers = [world.publisher, *(KeyPair.new(self._rng) for _ in range(conditions.publishers - 1))]
        self._faults = 0

    async def run(self) -> None:
        """The whole story."""
        world, conditions = self._world, self._conditions
        world.note("conditions", conditions=conditions)
        world.network.set_conditions(None, None, conditions.links)
        world.config = conditions.config
        if conditions.links.loss:
            world.trouble("lossy links")
        world.progress.begin("joining", conditions.nodes)
        for _ in range(conditions.nodes):
            await world.start(self._new_machine())
            await trio.sleep(self._rng.uniform(0.0, 2.0))
            world.progress.advance(1)
        ready = await world.wait_ready(world.machines, 120.0)
        world.claim("all machines joined", ready, [each.number for each in world.up if not each.serves])
        world.progress.begin("faults")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._use)
            await self._strike(nursery)
        world.progress.begin("recovering")
        await self._recover()
        await self.ask_for_everything()

    def _new_machine(self) -> Machine:
        rng = self._rng
        most = MOST_CLOCK_ERROR if self._conditions.has_wrong_clocks else 0.0
        return self._world.new_machine(
            config=self._conditions.config,
            publisher=rng.choice(self._publishers),
            is_ephemeral=bool(self._world.machines) and rng.random() < self._conditions.ephemeral,
            clock_error=rng.uniform(-most, most),
        )

    # Users ---------------------------------------------------------------------------------------------------------

    async def _use(self) -> None:
        """Puts, gets and forgets at random moments, until the faults are over."""
        world, rng, conditions = self._world, self._rng, self._conditions
        until = world.now + conditions.seconds
        rate = conditions.puts + conditions.gets + conditions.forgets
        async with trio.open_nursery() as nursery:
            while (next_at := world.now + rng.expovariate(rate)) < until:
                await trio.sleep_until(next_at)
                weights = (conditions.puts, conditions.gets, conditions.forgets)
                nursery.start_soon(rng.choices((self._put, self._get, self._forget), weights=weights)[0])

    async def _put(self) -> None:
        keys, draw = self._world.ledger.keys, self._rng.random()
        if keys and draw < 0.1:
            # Once more what was put before, forgotten or not: it must be a value that we still have.
            number = self._rng.randrange(len(keys))
            await self._world.users.put(self._value_of(keys[number]))
        elif draw < 0.2:
            least = 1200.0 if self._conditions.has_wrong_clocks else 60.0
            await self._world.users.put(self._new_value(), ttl=self._rng.uniform(least, 2 * least + 200.0))
        elif draw < 0.25:
            await self._world.users.put(self._new_value(size=self._rng.choice((2000, 20_000))))
        else:
            await self._world.users.put(self._new_value())

    async def _get(self) -> None:
        keys = self._world.ledger.keys
        if keys:
            await self._world.users.get(self._rng.choice(keys))

    async def _forget(self) -> None:
        key = self._world.users.any_promised()
        if key is None:
            return
        # Only who has the publisher's key can forget it.
        publisher = self._world.ledger.words(key)[-1].publisher
        among = [each for each in self._world.machines if each.publisher.public == publisher]
        machine = self._world.users.any_machine(among)
        if machine is not None:
            await self._world.users.forget(key, at=machine)

    def _new_value(self, size: int = 100) -> bytes:
        return self._world.users.new_value(size)

    def _value_of(self, key: Key) -> bytes | None:
        return self._world.users.values.get(key)

    # Faults --------------------------------------------------------------------------------------------------------

    async def _strike(self, nursery: trio.Nursery) -> None:
        """One fault after another, each for a while; several may be about at once."""
        world, rng, conditions = self._world, self._rng, self._conditions
        until = world.now + conditions.seconds
        while (next_at := world.now + rng.expovariate(1 / conditions.pause)) < until:
            await trio.sleep_until(next_at)
            name = rng.choice(conditions.faults)
            self._faults += 1
            nursery.start_soon(FAULTS[name], self, self._faults)

    def _some(self, share: float) -> list[Machine]:
        """A random share of the machines that run, at least one if any does."""
        up = self._world.up
        return self._rng.sample(up, min(len(up), max(1, round(share * len(up)))))

    def _while(self, mean: float) -> float:
        """How long a fault lasts: no longer than some minutes, so that runs stay short."""
        return min(self._rng.expovariate(1 / mean), 5 * mean)

    async def _bring_back(self, machines: list[Machine], *, mean: float = 60.0) -> None:
        for machine in machines:
            await trio.sleep(self._while(mean))
            await self._world.start(machine, on_new_disk=self._rng.random() < 0.1)

    async def crash(self, number: int) -> None:
        machines = self._some(self._rng.choice((0.0, 0.1, 0.3)))
        await self._world.crash_all(machines)
        await self._bring_back(machines)

    async def power_loss(self, number: int) -> None:
        machines = self._some(self._rng.choice((0.0, 0.3, 1.0)))
        await self._world.crash_all(machines, power_loss=True)
        await self._bring_back(machines, mean=20.0)

    async def leave(self, number: int) -> None:
        machines = self._some(0.1)
        for machine in machines:
            await self._world.leave(machine)
        await self._bring_back(machines)

    async def newcomer(self, number: int) -> None:
        if len(self._world.machines) < 2 * self._conditions.nodes + 2:
            await self._world.start(self._new_machine())

    async def pause(self, number: int) -> None:
        machines = self._some(self._rng.choice((0.0, 0.2)))
        for machine in machines:
            self._world.pause(machine)
        await trio.sleep(self._while(20.0))
        for machine in machines:
            self._world.resume(machine)

    async def partition(self, number: int) -> None:
        if self._world.is_parted:
            return
        machines = list(self._world.machines)
        self._rng.shuffle(machines)
        middle = self._rng.randint(1, max(1, len(machines) - 1))
        one_way = self._rng.random() < 0.3
        self._world.part([machines[:middle], machines[middle:]], one_way=one_way)
        await trio.sleep(self._while(90.0))
        self._world.heal()

    async def slow(self, number: int) -> None:
        machines = self._some(0.2)
        name = f"slow machines {number}"
        self._world.trouble(name)
        for machine in machines:
            self._world.network.set_slowness(machine.endpoint, self._rng.choice((0.3, 1.0)))
        await trio.sleep(self._while(60.0))
        for machine in machines:
            self._world.network.set_slowness(machine.endpoint, 0.0)
        self._world.end_trouble(name)

    async def bad_links(self, number: int) -> None:
        name = "bad links"
        if name in self._world.troubles:
            return
        links = self._conditions.links
        worse = attrs.evolve(
            links, loss=self._rng.choice((0.1, 0.3)), corruption=self._rng.choice((0.0, 0.05)), duplication=0.1
        )
        self._world.trouble(name)
        self._world.network.set_conditions(None, None, worse)
        await trio.sleep(self._while(60.0))
        self._world.network.set_conditions(None, None, links)
        self._world.end_trouble(name)

    async def disk(self, number: int) -> None:
        machines = [each for each in self._some(0.3) if each.disk is not None]
        faults = self._rng.choice(
            (
                DiskFaults(is_full=True),
                DiskFaults(fails_writes=True),
                DiskFaults(fails_reads=True),
                DiskFaults(slowness=50.0),
            )
        )
        name = f"disks {number}"
        self._world.trouble(name)
        for machine in machines:
            assert machine.disk is not None
            machine.disk.set_faults(faults)
        await trio.sleep(self._while(60.0))
        for machine in machines:
            assert machine.disk is not None
            machine.disk.set_faults()
        self._world.end_trouble(name)

    async def clock_jump(self, number: int) -> None:
        """A clock is set, to an error that is still within what nodes put up with."""
        for machine in self._some(0.1):
            machine.clock.jump(self._rng.uniform(-MOST_CLOCK_ERROR, MOST_CLOCK_ERROR) - machine.clock.off_by)
            self._world.note("clock_jump", machine=machine.number, off_by=machine.clock.off_by)

    # Afterwards ----------------------------------------------------------------------------------------------------

    async def _recover(self) -> None:
        """Faults are over, but for what belongs to the links. Everybody comes back, and time passes."""
        world, records = self._world, self._conditions.config.records
        for machine in world.machines:
            if machine.condition is Condition.DOWN:
                await world.start(machine)
        if self._conditions.links.loss:
            world.network.set_conditions(None, None, attrs.evolve(self._conditions.links, loss=0.0))
            world.end_trouble("lossy links")
        await world.wait_ready(world.machines, 300.0)
        await trio.sleep(1.25 * 2 * records.replicate_interval + records.cache_life + 60.0)
        world.claim("all machines serve again", all(each.serves for each in world.machines), _not_serving(world))

    async def ask_for_everything(self) -> None:
        """What is promised and has a holder is read; what was forgotten is not.

        A holder counts if its lease outlives the question by everybody's clock: where the last put has gone with all
        who had it, what is left is an older one, which nobody renews and which ends for one machine before another.
        """
        world = self._world
        patience = self._conditions.config.requests.operation_deadline
        promised = [
            key for key in world.ledger.keys_that_are(Standing.PROMISED) if lasting_holders(world, key, patience)
        ]
        forgotten = world.ledger.keys_that_are(Standing.FORGOTTEN)
        world.progress.begin("asking", len(promised) + len(forgotten))
        unread: list[str] = []
        undead: list[str] = []
        for key in promised + forgotten:
            for machine in self._rng.sample(world.up, min(len(world.up), ASKED_AT_END)):
                if key in promised and not lasting_holders(world, key, patience):
                    continue  # its lease has come too near to its end meanwhile
                operation = await world.users.get(key, at=machine)
                is_read = operation is not None and operation.outcome == OK
                if is_read != (key in promised):
                    (undead if is_read else unread).append(f"{key.hex()[:8]} at machine {machine.number}")
            world.progress.advance(1)
        world.claim("what is promised is read everywhere", not unread, unread[:5] or f"{len(promised)} keys")
        world.claim("what was forgotten is read nowhere", not undead, undead[:5] or f"{len(forgotten)} keys")


def _not_serving(world: World) -> list[str]:
    return [
        f"{each.number}: {each.why_not or (each.node.not_ready_because if each.node else each.condition.value)}"
        for each in world.machines
        if not each.serves
    ]


FAULTS: dict[str, Callable[[Swarm, int], Awaitable[None]]] = {
    "crash": Swarm.crash,
    "power_loss": Swarm.power_loss,
    "leave": Swarm.leave,
    "newcomer": Swarm.newcomer,
    "pause": Swarm.pause,
    "partition": Swarm.partition,
    "slow": Swarm.slow,
    "bad_links": Swarm.bad_links,
    "disk": Swarm.disk,
    "clock_jump": Swarm.clock_jump,
}


async def _swarm(world: World, nodes: int) -> None:
    """One seed of it. `nodes` 0: as many as the seed says."""
    await Swarm(world, Conditions.draw(world.generator("conditions"), nodes or None)).run()


SCENARIOS = (
    Scenario(
        name="swarm",
        summary="Random faults, random settings, random users, 3 to 60 nodes: each seed another network.",
        passes="no violation; afterwards all serve, what is promised is read everywhere, what was forgotten nowhere",
        run=_swarm,
        nodes=0,
    ),
)
