"""What the swarm asks for at its end, by everybody's clock; and seeds of it that failed once."""

from __future__ import annotations

import random
from unittest import mock

import pytest
import trio

from camomile_trio.errors import NotFound
from camomile_trio.identity import KeyPair
from camomile_trio.node.node import Node
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.outcome import Claim
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan
from camomile_trio.simulation.scenarios import SCENARIOS
from camomile_trio.simulation.scenarios.swarm import Conditions, Swarm
from camomile_trio.simulation.world import World
from tests.simulation.worlds import QUICK, put, run_world

pytestmark = pytest.mark.long

LEASE = QUICK.records.lease
AHEAD = 120.0  # the last machine's clock, in s


def asked_at_the_end(seconds: float, *, reads: bool = True) -> Claim:
    """What is claimed about a value so many seconds after its put; who published it, and would renew it, is gone."""

    async def story(world: World, machines: list[Machine]) -> None:
        machines[-1].clock.jump(AHEAD * 1000)
        guest = world.new_machine(publisher=KeyPair.new(random.Random(7)))
        await world.start(guest)
        await world.wait_ready([guest], 30.0)
        key = await put(world, at=guest)
        await world.crash(guest)
        await trio.sleep(seconds)
        assert world.live_holders(key)
        swarm = Swarm(world, Conditions.draw(random.Random(1)))
        if reads:
            await swarm.ask_for_everything()
        else:
            with mock.patch.object(Node, "get", side_effect=NotFound("nobody has it")):
                await swarm.ask_for_everything()

    claims = run_world(story, nodes=3).claims
    return next(each for each in claims if each.what == "what is promised is read everywhere")


def test_a_lease_that_has_ended_by_one_clock_is_not_asked_for() -> None:
    claim = asked_at_the_end(LEASE - AHEAD / 2)
    assert claim.is_true, claim.seen
    assert claim.seen == "0 keys"


def test_a_lease_that_lives_by_all_clocks_is_read() -> None:
    claim = asked_at_the_end(LEASE - AHEAD - 60)
    assert claim.is_true, claim.seen
    assert claim.seen == "1 keys"


def test_what_is_not_read_then_is_seen() -> None:
    assert not asked_at_the_end(LEASE - AHEAD - 60, reads=False).is_true


# What each showed when it failed.
SEEDS = {
    10: "who was silent during a forget was never told; far from a key, a node offered what it had to the wrong ones",
}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_that_failed_once_passes(seed: int) -> None:
    outcome = simulate(Plan(scenario=SCENARIOS["swarm"], seed=seed))
    assert outcome.passed, outcome.violated_rules
