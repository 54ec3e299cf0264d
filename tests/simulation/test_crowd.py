"""A crowd has keys where it wants them, lives in networks of its own, and is met by all nodes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import ID_BITS, Key, as_int
from camomile_trio.kademlia.networks import source_network
from camomile_trio.peer.local import StaticKey
from camomile_trio.peer.suite import CipherSuite, NaclSuite
from camomile_trio.simulation.crowd import open_crowd, pairs_beside, places
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.manners import Manners, each_other
from camomile_trio.simulation.suite import ToySuite
from camomile_trio.simulation.world import World, private_ip, public_ip
from tests.simulation.worlds import run_world

KEY = Key.of(b"a plum")
STEP = 1 / 64


@pytest.mark.parametrize("suite", [ToySuite(), NaclSuite()], ids=["toy", "real"])
def test_one_of_its_ids_is_in_each_step_from_the_target(suite: CipherSuite) -> None:
    pairs = pairs_beside(KEY, 4, STEP, suite=suite, rng=random.Random(1))
    distances = [as_int(StaticKey.from_seed(suite, pair.seed).node_id) ^ as_int(KEY) for pair in pairs]
    assert [int(each / (STEP * (1 << ID_BITS))) for each in distances] == [0, 1, 2, 3]


@pytest.mark.parametrize("is_public", [True, False])
def test_it_lives_in_so_many_networks_and_at_no_machine(is_public: bool) -> None:
    at = places(25, networks=10, is_public=is_public)
    assert len(set(at)) == 25
    networks = {source_network(each.ip) for each in at}
    assert len(networks) == 10
    machines = {source_network((public_ip if is_public else private_ip)(number)) for number in range(200)}
    assert len(machines) == 200
    assert not networks & machines
    assert {len(each) for each in networks | machines} == ({3} if is_public else {4})
    assert not networks & {source_network(each.ip) for each in places(10, networks=10, is_public=is_public, first=10)}


def test_machines_that_it_has_met_give_it_seats_and_ask_it() -> None:
    asked: list[bytes] = []

    async def story(world: World, machines: list[Machine]) -> None:
        async with open_crowd(world, places(3, networks=1, is_public=False), Manners()) as crowd:
            others = each_other(crowd.contacts)

            def name(target: bytes) -> Sequence[Contact]:
                asked.append(target)
                return others(target)

            crowd.manners.names = name
            await crowd.meet(machines, within=30.0)
            assert all(each in machine.table for each in crowd.ids for machine in machines)
            await world.probe_lookups(5)

    run_world(story, nodes=3)
    assert asked
