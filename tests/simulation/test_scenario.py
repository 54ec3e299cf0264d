"""What scenarios ask of their network: each claim is true where all is well, and false where something is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import (
    Plan,
    Scenario,
    claim_all_read,
    claim_copies,
    claim_none_read,
    claim_quick,
    claim_share,
    lost,
    promised_with_holder,
)
from camomile_trio.simulation.world import World


def told(story: Callable[[World], Awaitable[None]]) -> Outcome:
    """A network of three nodes, and what becomes of it."""

    async def run(world: World, nodes: int) -> None:
        await world.settle(nodes)
        await story(world)

    return simulate(Plan(scenario=Scenario(name="reading", summary="", passes="", run=run, nodes=3)))


def false_claims(outcome: Outcome) -> list[str]:
    return [claim.what for claim in outcome.claims if not claim.is_true]


def test_all_is_well() -> None:
    async def story(world: World) -> None:
        keys = await world.users.put_many(5)
        await claim_all_read(world, "read", keys, within=1.0)
        claim_copies(world, "copied", keys)
        claim_share(world, "acknowledged", "put", 0, least=1.0)
        claim_quick(world, "quick", "get", 0, p95=0.5, at=world.machines)
        await claim_none_read(world, "absent", [Key.of(b"nobody put this")])
        assert promised_with_holder(world) == keys
        assert lost(world) == []

    outcome = told(story)
    assert len(outcome.claims) == 5
    assert false_claims(outcome) == []


def test_what_is_wrong_is_seen() -> None:
    async def story(world: World) -> None:
        keys = await world.users.put_many(5)
        await claim_all_read(world, "nobody put it", [Key.of(b"nobody put this")], within=1.0)
        await claim_none_read(world, "it is there", keys)
        claim_quick(world, "too slow", "put", 0, p95=0.0, at=world.machines)
        await world.crash(world.machines[2])
        newcomer = world.new_machine()
        world.network.set_conditions(None, None, None)
        world.part([[newcomer], world.machines[:2]])
        await world.start(newcomer)
        claim_copies(world, "one lacks everything", keys)
        await world.crash_all(world.machines[:2])
        assert lost(world) == keys
        world.heal()

    assert false_claims(told(story)) == ["nobody put it", "it is there", "too slow", "one lacks everything"]


def test_a_share_leaves_out_whose_machine_died_and_who_met_a_forget() -> None:
    async def story(world: World) -> None:
        (kept, gone) = await world.users.put_many(2)
        await world.users.forget(gone)
        # Nobody was promised this one any more.
        await world.users.get(gone)
        await world.users.get(kept)
        claim_share(world, "gets", "get", 0, least=1.0)
        world.part([[each] for each in world.machines])
        await world.users.put()
        claim_share(world, "puts", "put", 0, least=1.0)
        world.heal()

    outcome = told(story)
    assert [claim.seen for claim in outcome.claims] == ["1 of 1, 100.000%", "2 of 3, 66.667% {'Unreachable': 1}"]
