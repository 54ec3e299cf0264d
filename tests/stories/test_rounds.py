"""Rounds of replication in a network that lives: not all at once, not in the way of users, and none that is useless."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.messages import FindValue, Value
from camomile_trio.node.rounds import Rounds
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.disk import SimulatedDisk
from tests.fixtures.cluster import config_with, open_cluster
from tests.fixtures.peers import network_peer

pytestmark = pytest.mark.long


async def test_nodes_that_start_at_the_same_second_do_not_make_their_rounds_together(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[Rounds, float] = {}
    next_part = Rounds.next_part

    async def timed(self: Rounds) -> None:
        if self not in made:
            made[self] = trio.current_time()
        await next_part(self)

    monkeypatch.setattr(Rounds, "next_part", timed)
    async with open_cluster(1, config=config_with(replicate=600.0)) as cluster:
        async with trio.open_nursery() as nursery:
            for number in range(2, 14):

                async def start(number: int) -> None:
                    await cluster.start(endpoint=Endpoint.parse(f"10.1.0.{number}:8118"))

                nursery.start_soon(start, number)
        assert trio.current_time() < 10
        await cluster[0].put(b"kept")
        await trio.sleep(1.25 * 600 + 10)
        at = sorted(made.values())
        assert len(at) == 13
        assert at[-1] - at[0] > 100
        assert len(set(map(int, at))) > 8


async def test_after_a_restart_of_all_users_are_served_before_anything_is_repaired(
    virtual_clock: VirtualClock,
) -> None:
    """At so low a rate comparing the old records takes longer than all of the reads."""
    config = config_with(k=8, replicate=600.0, cache_life=0.0, repair_rate=1024)
    rng = random.Random(3)
    disks = [SimulatedDisk(sync="os", max_bytes=2**24, rng=rng, commit_latency=0.0) for _ in range(8)]
    identities = [KeyPair.new(rng) for _ in disks]
    async with open_cluster(0, config=config) as cluster:
        for disk, identity in zip(disks, identities, strict=True):
            await cluster.start(storage=disk.open(), identity=identity)
        keys = [(await cluster[number % 8].put(b"value %d" % number)).key for number in range(120)]
        await trio.sleep(60)
        places = [each.endpoint for each in cluster.machines]
        for machine in list(cluster.machines):
            await cluster.lose(machine)
        for number, endpoint in enumerate(places):
            joining = attrs.evolve(config, join=(str(places[number - 1]),))
            kept, identity = disks[number].open(), identities[number]
            await cluster.start(storage=kept, identity=identity, endpoint=endpoint, config=joining, wait=False)
        for node in cluster.nodes:
            await node.wait_ready()
        began = trio.current_time()
        for number, key in enumerate(keys):
            assert (await cluster[(number + 3) % 8].get(key)).value == b"value %d" % number
        assert trio.current_time() - began < 10
        # Most of the old records were not compared yet: their holders do not serve them to others.
        asking = network_peer("asking", 1)
        await asking.join(cluster)
        answers = [await asking.answer_to(FindValue(key), each.contact) for each in cluster.machines for key in keys]
        assert any(isinstance(answer, Value) and answer.value is None for answer in answers)
