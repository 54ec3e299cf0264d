"""Whole nodes in one process, on a simulated network in virtual time: what the stories are told with."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

import attrs
import trio

from camomile_trio.config import Config, Kademlia, Records, Requests
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.node.names import Resolver, resolve
from camomile_trio.node.node import Node, open_node
from camomile_trio.simulation.machine import Crashed, KillableTransport
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.storage.base import Storage

EPOCH = 1_800_000_000_000  # ms; when virtual time begins


@attrs.define
class WallClock:
    """A clock that somebody may set."""

    error: int = 0  # ms that it is off

    def __call__(self) -> int:
        return EPOCH + round(trio.current_time() * 1000) + self.error


@attrs.define(eq=False)
class Inhabitant:
    """A node of the village, and the ways in which it can go."""

    node: Node
    endpoint: Endpoint
    _network: MemoryNetwork
    _transport: KillableTransport
    _leave: trio.Event
    _gone: trio.Event
    _life: trio.CancelScope
    wall_clock: WallClock

    async def leave(self) -> None:
        """In good order: it hands its records over first."""
        self._leave.set()
        await self._gone.wait()

    async def crash(self) -> None:
        """Cut off before anything can be cleaned up."""
        self._network.crash(self.endpoint)
        self.end_at_once()
        await self._gone.wait()

    def end_at_once(self) -> None:
        """Its tasks end as those of a process that is killed, and its block is cancelled; others may still send to
        it."""
        self._transport.kill()
        self._life.cancel()


class Village:
    """All nodes share the publisher key `publisher` unless they are given one of their own."""

    def __init__(self, nursery: trio.Nursery, network: MemoryNetwork, config: Config, seed: int) -> None:
        self.network = network
        self.config = config
        self.rng = random.Random(seed)
        self.publisher = KeyPair.new(self.rng)
        self.inhabitants: list[Inhabitant] = []
        self.everybody: list[Inhabitant] = []  # those who have gone, too
        self._nursery = nursery
        self._built = 0

    def __getitem__(self, index: int) -> Node:
        return self.inhabitants[index].node

    @property
    def nodes(self) -> list[Node]:
        return [each.node for each in self.inhabitants]

    async def settle(self, count: int, *, config: Config | None = None) -> None:
        """`count` more nodes, joined one after another through the first."""
        for _ in range(count):
            await self.open(config=config)

    async def open(
        self,
        *,
        config: Config | None = None,
        publisher: KeyPair | None = None,
        identity: KeyPair | None = None,
        storage: Storage | None = None,
        endpoint: Endpoint | None = None,
        clock_error: int = 0,
        resolver: Resolver = resolve,
        wait: bool = True,
    ) -> Inhabitant:
        """One more node, which joins through the first that lives."""
        config = config or self.config
        if self.inhabitants and not config.join:
            config = attrs.evolve(config, join=(str(self.inhabitants[0].endpoint),))
        endpoint = endpoint or Endpoint.parse(f"10.0.{self._built // 250}.{self._built % 250 + 1}:8118")
        rng = random.Random(self.rng.getrandbits(64))
        leave, gone, life = trio.Event(), trio.Event(), trio.CancelScope()

        wall_clock = WallClock(clock_error)

        async def live(task_status: trio.TaskStatus[tuple[Node, KillableTransport]]) -> None:
            try:
                with life:
                    async with self.network.open(endpoint) as opened:
                        transport = KillableTransport(opened)
                        async with open_node(
                            config,
                            transport=nullcontext(transport),
                            storage=storage,
                            wall_clock=wall_clock,
                            rng=rng,
                            identity=identity,
                            publisher=publisher or self.publisher,
                            resolver=resolver,
                        ) as node:
                            task_status.started((node, transport))
                            await leave.wait()
            except* Crashed:
                pass
            gone.set()

        node, transport = await self._nursery.start(live)
        inhabitant = Inhabitant(node, endpoint, self.network, transport, leave, gone, life, wall_clock)
        self.inhabitants.append(inhabitant)
        self.everybody.append(inhabitant)
        self._built += 1
        if wait:
            await node.wait_ready()
        return inhabitant

    async def lose(self, inhabitant: Inhabitant) -> None:
        """It crashes, and nobody knows it any more."""
        self.inhabitants.remove(inhabitant)
        await inhabitant.crash()


def small(
    *,
    k: int = 20,
    lease: float = 86400.0,
    replicate: float = 3600.0,
    refresh: float = 3600.0,
    cache_life: float = 60.0,
    **records: float,
) -> Config:
    """A node's settings with the numbers that stories change."""
    return Config(
        kademlia=Kademlia(k=k, refresh_interval=refresh),
        requests=Requests(),
        records=Records(lease=lease, replicate_interval=replicate, cache_life=cache_life, **records),  # type: ignore[arg-type]
    )


@asynccontextmanager
async def village(
    count: int, *, config: Config | None = None, seed: int = 1, network: MemoryNetwork | None = None
) -> AsyncIterator[Village]:
    """`count` nodes that have joined. Use it under `autojump_clock`."""
    network = network or MemoryNetwork(seed=seed)
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run)
        place = Village(nursery, network, config or small(), seed)
        await place.settle(count)
        try:
            yield place
        finally:
            for each in place.everybody:
                each.end_at_once()
            nursery.cancel_scope.cancel()
