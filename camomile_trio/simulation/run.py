"""`simulate`: one run of one scenario, from its seed to its outcome.

Rules of this file: it makes the world, its clock and its judges, and takes them down. One run uses one core. Nothing of
what it returns depends on real time but `seconds` and `memory`.
"""

from __future__ import annotations

import contextlib
import gc
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import attrs
import structlog
import trio

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.suite import NaclSuite
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.figures import Figures
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.simulation.outcome import Outcome, Progress
from camomile_trio.simulation.properties import PROPERTIES
from camomile_trio.simulation.properties.base import Property
from camomile_trio.simulation.properties.served import Served
from camomile_trio.simulation.scenario import Plan
from camomile_trio.simulation.scheduling import deterministic_scheduling
from camomile_trio.simulation.suite import ToySuite
from camomile_trio.simulation.trace import Teller, Trace
from camomile_trio.simulation.trace_file import tell_world
from camomile_trio.simulation.world import World

# How long the world goes on after its scenario, so that what is under way comes to its end. Virtual s.
LAST_BREATH = 30.0

# Shown the run every thousand messages or so.
Watcher = Callable[[World], None]


def simulate(
    plan: Plan,
    *,
    on_beat: Watcher | None = None,
    tell: Teller | None = None,
    properties: Sequence[type[Property]] = PROPERTIES,
) -> Outcome:
    """Runs it to its end, or to Ctrl-C: then the outcome says `interrupted` and has the figures so far."""
    began = time.monotonic()
    run = _Run(plan, on_beat, tell, properties)
    with deterministic_scheduling(plan.seed), _quiet_logs(), _rare_collections():
        try:
            trio.run(run.main, clock=VirtualClock())
        except* KeyboardInterrupt:
            run.is_interrupted = True
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return attrs.evolve(run.outcome(), seconds=time.monotonic() - began, memory=memory)


class _Run:
    def __init__(
        self, plan: Plan, on_beat: Watcher | None, tell: Teller | None, properties: Sequence[type[Property]]
    ) -> None:
        self._plan = plan
        self._on_beat = on_beat
        self.is_interrupted = False
        self._kinds = properties
        self._properties: list[Property] = []
        self._taps: list[Property] = []
        self._trace = Trace(tell, on_beat=self._beat)
        self._world: World | None = None
        self._figures: Figures | None = None
        self._virtual_seconds = 0.0

    async def main(self) -> None:
        plan, scenario = self._plan, self._plan.scenario
        network = MemoryNetwork(seed=plan.seed, conditions=scenario.links, tick=scenario.tick, observer=self._received)
        async with trio.open_nursery() as nursery:
            await nursery.start(network.run)
            async with trio.open_nursery() as lives:
                world = self._world = World(
                    seed=plan.seed,
                    config=scenario.config,
                    network=network,
                    trace=self._trace,
                    progress=Progress(),
                    nursery=lives,
                    is_warm=plan.is_warm,
                    suite=NaclSuite() if plan.seals_really else ToySuite(),
                )
                self._figures = Figures(world)
                self._properties = [each(world) for each in self._kinds]
                self._taps = [each for each in self._properties if each.watches_packets]
                if self._trace.tell is not None:
                    tell_world(world, self._trace)
                try:
                    with contextlib.ExitStack() as watching:
                        for each in self._taps:
                            watching.enter_context(network.watched(each.on_sent))
                        values = [each for each in self._properties if each.watches_values]
                        if values and world.reader.sees_inside:
                            watching.enter_context(network.watched(Served(world, values).on_sent))
                        await self._tell_the_story(world)
                finally:
                    self._virtual_seconds = trio.current_time()
            for each in self._properties:
                each.after_end()
            nursery.cancel_scope.cancel()

    async def _tell_the_story(self, world: World) -> None:
        world.on_operation_ended += [each.on_operation for each in self._properties]
        assert self._figures is not None
        async with trio.open_nursery() as judges:
            judges.start_soon(self._figures.watch)
            for each in self._properties:
                judges.start_soon(each.watch)
            await self._plan.scenario.run(world, self._plan.node_count)
            judges.cancel_scope.cancel()
        world.progress.begin("ending")
        world.note("scenario_over")
        for each in self._properties:
            each.at_end()
        self._figures.at_end()
        await world.crash_all(world.up)
        await trio.sleep(LAST_BREATH)

    def _received(self, due: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        self._trace.on_packet(due, source, destination, payload)
        for each in self._taps:
            each.on_received(due, source, destination, payload)

    def _beat(self) -> None:
        if self._on_beat is not None and self._world is not None:
            self._on_beat(self._world)

    def outcome(self) -> Outcome:
        world, plan, trace = self._world, self._plan, self._trace
        assert world is not None
        assert self._figures is not None
        done = world.progress.operations
        blind = [] if world.reader.sees_inside else [each for each in self._properties if each.reads]
        return Outcome(
            scenario=plan.scenario.name,
            nodes=plan.node_count or len(world.machines),
            seed=plan.seed,
            trace=trace.digest(),
            virtual_seconds=self._virtual_seconds,
            messages=trace.messages,
            bytes=trace.bytes_received,
            puts=done["put"],
            gets=done["get"],
            forgets=done["forget"],
            failed=world.progress.failed,
            lost=self._figures.lost,
            forgets_lost=self._figures.forgets_lost,
            violation_count=world.violation_count,
            violations=tuple(world.violations),
            claims=tuple(world.claims),
            figures=self._figures.table(),
            repeat=plan.command,
            interrupted=self.is_interrupted,
            violated_rules=dict(world.violated_rules),
            expected_failures=plan.scenario.expected_failures,
            not_judged={each.name: each.reads for each in blind},
        )


@contextmanager
def _quiet_logs() -> Iterator[None]:
    """Thousands of nodes have thousands of words for their operators, of whom there is none here."""
    before = structlog.get_config()
    structlog.configure(processors=[_drop])
    try:
        yield
    finally:
        structlog.configure(**before)


def _drop(logger: object, name: str, event: object) -> str:
    raise structlog.DropEvent


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Millions of objects live to the end: looking through them all again and again would take most of the time."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, 20, 200)
    try:
        yield
    finally:
        gc.set_threshold(*before)
