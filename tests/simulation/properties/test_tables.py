"""The dead leave every table in time and the living stay; a table that keeps or drops the wrong ones is seen."""

from __future__ import annotations

import contextlib
import math
from unittest import mock

import pytest
import trio

from camomile_trio.errors import CamomileError
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.tables import Living, NoDead, dead_bound
from camomile_trio.simulation.world import World
from tests.simulation.worlds import broken_rules, run_world

pytestmark = pytest.mark.long


async def two_crash(world: World, machines: list[Machine]) -> None:
    """With no users about: it is maintenance alone that finds out."""
    await world.crash_all(machines[-2:])
    await trio.sleep(dead_bound(machines[0]) + 60)


def keep_everybody(self: RoutingTable, *args: object, **kwargs: object) -> bool:
    return False


def test_the_dead_leave_all_tables() -> None:
    assert not broken_rules(run_world(two_crash, NoDead))


def test_a_table_that_keeps_them_is_seen() -> None:
    with mock.patch.object(RoutingTable, "on_failure", keep_everybody):
        outcome = run_world(two_crash, NoDead)
    assert broken_rules(outcome) == [NoDead.name]
    assert outcome.violations[0].machine in range(6)


def test_who_comes_back_under_another_id_is_dead_under_the_old_one() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        (guest,) = await world.settle(1, is_ephemeral=True)
        await trio.sleep(30)
        await world.crash(guest)
        await world.start(guest)
        await trio.sleep(dead_bound(guest) + 60)

    assert not broken_rules(run_world(story, NoDead))
    with mock.patch.object(RoutingTable, "on_failure", keep_everybody):
        assert broken_rules(run_world(story, NoDead)) == [NoDead.name]


def test_who_lived_in_between_begins_anew() -> None:
    """Nobody else is dead meanwhile, so that no look is needed until it dies again."""

    async def story(world: World, machines: list[Machine]) -> None:
        *_, mayfly = machines
        await world.crash(mayfly)
        await trio.sleep(5)  # it is found in tables, dead
        await world.start(mayfly)
        await trio.sleep(dead_bound(mayfly) + 60)
        await world.crash(mayfly)
        await trio.sleep(5)

    assert not broken_rules(run_world(story, NoDead))


def test_who_is_alone_is_not_blamed() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await world.crash_all(machines[1:])
        await trio.sleep(dead_bound(machines[0]) + 60)
        assert machines[0].node is not None
        assert machines[0].node.contacts()

    assert not broken_rules(run_world(story, NoDead, nodes=3))


def test_who_is_so_slow_that_every_answer_comes_too_late_is_not_blamed_when_it_hears_again() -> None:
    """As in the swarm's seed 952: the first answers come, and the dead have not had the time to miss their deadline."""

    async def story(world: World, machines: list[Machine]) -> None:
        slow = machines[0]
        await trio.sleep(10)
        world.trouble("slow")
        world.network.set_slowness(slow.endpoint, 0.6 * slow.config.requests.deadline)
        await world.crash_all(machines[-2:])
        await trio.sleep(dead_bound(slow) + 60)
        world.network.set_slowness(slow.endpoint, 0.0)
        world.end_trouble("slow")
        for _ in range(60):
            assert slow.node is not None
            with trio.move_on_after(1.0), contextlib.suppress(CamomileError):
                await slow.node.get(Key.of(b"nobody has it, so that all are asked"))

    assert not broken_rules(run_world(story, NoDead))


async def crashes_and_a_partition(world: World, machines: list[Machine]) -> None:
    await world.crash_all(machines[:2])
    await trio.sleep(120)
    world.part([machines[2:5], machines[5:]])
    await trio.sleep(120)
    world.heal()
    await trio.sleep(120)


def test_the_dead_and_the_cut_off_may_go() -> None:
    assert not broken_rules(run_world(crashes_and_a_partition, Living))


def drop_one(machines: list[Machine]) -> None:
    """As a table that forgets the rule of nodes that are offline, and that of contacts that have answered since."""
    table, now = machines[0].table, trio.current_time()
    contact, answered = next(iter(table)), table.last_answer
    table.last_answer = math.inf
    assert table.on_failure(contact.id, contact.endpoint, asked_at=now, now=now)
    table.last_answer = answered


def test_a_living_member_that_goes_while_nothing_is_wrong_is_seen() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await trio.sleep(60)
        drop_one(machines)
        with mock.patch.object(RoutingTable, "on_answer", return_value=None):
            await trio.sleep(10)

    assert set(broken_rules(run_world(story, Living))) == {Living.name}


def test_a_node_that_hears_nobody_may_drop_nobody() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        world.part([machines[:1], machines[1:]])
        await trio.sleep(30)
        drop_one(machines)
        await trio.sleep(10)
        assert "nobody has answered" in world.violations[0].seen
        world.heal()

    assert broken_rules(run_world(story, Living)) == [Living.name]
