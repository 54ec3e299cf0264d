"""Whether a lookup found the k closest, worked out by hand in a world of twenty nodes with k = 4."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.operations.events import LookupEnded, ReadyChanged
from camomile_trio.simulation.lookups import Truth, Verdict
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.world import World
from tests.simulation.worlds import nearest, told

TARGET = bytes(range(32))


def ended(found: Sequence[Machine], *, seconds: float = 1.0) -> LookupEnded:
    closest = tuple(Contact(each.id, each.endpoint) for each in found)
    return LookupEnded("node", 2, 10, seconds, TARGET, closest)


def truth_about(world: World, machines: list[Machine]) -> Truth:
    """As if it had been there from the beginning."""
    truth = Truth(world.reaches, lambda target: False)
    for machine in machines:
        truth.on_ready(machine, ReadyChanged(ready=True, because=""))
    return truth


def test_the_k_closest_in_order_are_exact_and_anything_else_is_wrong() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        truth = truth_about(world, machines)
        await trio.sleep(10)
        closest = nearest(machines, TARGET, 5)
        (asker,) = nearest(machines, TARGET, 20)[-1:]
        assert truth.judge(asker, ended(closest[:4])) is Verdict.EXACT
        assert truth.judge(asker, ended(closest[:3])) is Verdict.WRONG
        assert truth.judge(asker, ended(closest[1:])) is Verdict.WRONG
        assert truth.judge(asker, ended([closest[1], closest[0], *closest[2:4]])) is Verdict.WRONG
        # Whoever asks is not among those that it finds.
        assert truth.judge(closest[0], ended(closest[1:])) is Verdict.EXACT
        assert truth.judge(closest[0], ended(closest[:4])) is Verdict.WRONG

    assert told(story).passed


def test_who_came_or_went_meanwhile_makes_it_undecided() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        truth = truth_about(world, machines)
        await trio.sleep(10)
        closest = nearest(machines, TARGET, 6)
        asker = nearest(machines, TARGET, 20)[-1]
        await world.crash(closest[0])
        await trio.sleep(2)
        # It had been found before it crashed, or was already missed.
        assert truth.judge(asker, ended(closest[:4], seconds=3)) is Verdict.UNDECIDED
        assert truth.judge(asker, ended(closest[1:5], seconds=3)) is Verdict.EXACT
        # Long after it, it is not to be found.
        assert truth.judge(asker, ended(closest[1:5], seconds=1)) is Verdict.EXACT
        assert truth.judge(asker, ended(closest[2:6], seconds=1)) is Verdict.WRONG
        await world.start(closest[0])
        # It runs, but is no member yet.
        assert truth.judge(asker, ended(closest[:4], seconds=1)) is Verdict.UNDECIDED
        assert truth.judge(asker, ended(closest[1:5], seconds=1)) is Verdict.EXACT
        assert closest[0].node is not None
        await closest[0].node.wait_ready()
        truth.on_ready(closest[0], ReadyChanged(ready=True, because=""))
        await trio.sleep(2)
        assert truth.judge(asker, ended(closest[:4], seconds=3)) is Verdict.UNDECIDED
        assert truth.judge(asker, ended(closest[:4], seconds=1)) is Verdict.EXACT
        assert truth.judge(asker, ended(closest[1:5], seconds=1)) is Verdict.WRONG

    assert told(story).passed


def test_who_cannot_be_reached_is_not_to_be_found() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        truth = truth_about(world, machines)
        await trio.sleep(10)
        closest = nearest(machines, TARGET, 6)
        asker = nearest(machines, TARGET, 20)[-1]
        world.part([closest[:2]])
        assert truth.judge(asker, ended(closest[2:6])) is Verdict.EXACT
        assert truth.judge(asker, ended(closest[:4])) is Verdict.UNDECIDED
        world.heal()
        world.pause(closest[0])
        assert truth.judge(asker, ended(closest[1:5])) is Verdict.EXACT
        world.resume(closest[0])

    assert told(story).passed


def test_strangers_make_it_undecided() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        truth = truth_about(world, machines[:-1])
        await trio.sleep(10)
        asker, stranger = machines[0], machines[-1]
        closest = nearest(machines[1:-1], TARGET, 3)
        assert truth.judge(asker, ended([*closest, stranger])) is Verdict.UNDECIDED

    assert told(story).passed
