"""A routing table that drops a living member is seen; one that drops the dead is not blamed."""

from __future__ import annotations

from unittest import mock

import trio

from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.living import Living
from camomile_trio.simulation.world import World
from tests.simulation.worlds import broken_rules, run_world


async def crashes_and_a_partition(world: World, machines: list[Machine]) -> None:
    await world.crash_all(machines[:2])
    await trio.sleep(120)
    world.part([machines[2:5], machines[5:]])
    await trio.sleep(120)
    world.heal()
    await trio.sleep(120)


def test_the_dead_and_the_cut_off_may_go() -> None:
    assert not broken_rules(run_world(crashes_and_a_partition, Living()))


def drop_one(machines: list[Machine]) -> None:
    node = machines[0].node
    assert node is not None
    table = node.core.table
    contact = next(iter(table))
    assert table.on_gone(contact.id, contact.endpoint)


def test_a_living_member_that_goes_while_nothing_is_wrong_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await trio.sleep(60)
        drop_one(machines)
        with mock.patch.object(RoutingTable, "on_answer", return_value=None):
            await trio.sleep(10)

    assert set(broken_rules(run_world(story, Living()))) == {Living.name}


def test_a_node_that_hears_nobody_may_drop_nobody() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        world.part([machines[:1], machines[1:]])
        await trio.sleep(30)
        drop_one(machines)
        await trio.sleep(10)
        assert "nobody has answered" in world.violations[0].seen
        world.heal()

    assert broken_rules(run_world(story, Living())) == [Living.name]
