"""The key file of a closed network and its copies: real files, and nodes that read them."""

from __future__ import annotations

import random
import stat

import pytest
import trio

from camomile_trio.config import Config, Kademlia
from camomile_trio.network_keys import fingerprint, load_network_keys
from camomile_trio.simulation.key_files import KeyFiles, key_files
from camomile_trio.simulation.properties.tables import dead_bound
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan, Scenario
from camomile_trio.simulation.world import World

STEPS = (KeyFiles.add, KeyFiles.promote, KeyFiles.remove)
QUIET = Config(kademlia=Kademlia(refresh_interval=300.0))


def test_a_copy_has_what_the_operator_has_had_and_is_a_secret() -> None:
    with key_files(random.Random(1)) as files:
        copy = files.copy_to(7)
        (first,) = files.keys
        files.add()
        files.promote()
        assert load_network_keys(copy) == (first,)
        assert files.copy_to(7) == copy
        assert load_network_keys(copy) == files.keys
        assert files.keys[1] == first != files.keys[0]
        assert files.copy_to(8) != copy
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not copy.parent.exists()


def test_the_same_randomness_makes_the_same_keys() -> None:
    made = []
    for _ in range(2):
        with key_files(random.Random(3)) as files:
            files.add()
            made.append(files.keys)
    assert made[0] == made[1]


def test_a_machine_of_a_closed_network_has_the_key_and_re_reads_it_when_it_gets_another() -> None:
    async def run(world: World, nodes: int) -> None:
        with key_files(world.generator("keys")) as files:
            world.key_files = files
            first, second = await world.settle(nodes)
            assert first.node is not None
            for step in STEPS:
                step(files)
                for machine in (first, second):
                    world.hand_out_keys(machine)
                shown = [each.fingerprint for each in first.node.status().network_keys]
                assert shown == list(map(fingerprint, files.keys))
            await world.leave(second)
            await world.start(second)
            assert await world.wait_ready([second], 30.0)

    scenario = Scenario(name="handing-out", summary="", passes="", run=run, nodes=2)
    assert simulate(Plan(scenario=scenario)).passed


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_member_that_is_left_out_of_a_change_loses_its_seats_also_while_nobody_asks_for_anything(seed: int) -> None:
    async def run(world: World, nodes: int) -> None:
        with key_files(world.generator("keys")) as files:
            world.key_files = files
            *members, left_out = await world.settle(nodes)
            for step in STEPS:
                step(files)
                for machine in members:
                    world.hand_out_keys(machine)
                await trio.sleep(60.0)
            await trio.sleep(dead_bound(members[0]))
            assert not [machine.number for machine in members if left_out.id in machine.table]

    scenario = Scenario(name="left-out", summary="", passes="", run=run, nodes=6, config=QUIET)
    simulate(Plan(scenario=scenario, seed=seed), properties=())
