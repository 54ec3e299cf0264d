"""What a request costs in a large network in which nothing has happened for an hour."""

from __future__ import annotations

from collections import Counter

import attrs
import trio

from camomile_trio.config import Config, Kademlia
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenario import Plan, Scenario
from camomile_trio.simulation.world import World


def test_one_request_does_not_set_off_a_chain_of_pings() -> None:
    """Far buckets are full and their members long silent: each stranger makes its peer check on one of them, for whom
    that peer is a stranger in turn. Once thirty pings followed every request."""
    sent: Counter[str] = Counter()

    async def run(world: World, nodes: int) -> None:
        machines = await world.settle(nodes)
        await world.probe_lookups(20)
        await trio.sleep(5)
        for machine in machines:
            assert machine.node is not None
            for (name, labels), count in machine.node.statistics().counters.items():
                if name == "rpc_requests_total":
                    sent[labels[0][1]] += int(count)

    config = attrs.evolve(Config(), kademlia=Kademlia(k=4))
    scenario = Scenario(name="rest", summary="rest", passes="nothing", run=run, nodes=400, config=config)
    assert simulate(Plan(scenario=scenario, is_warm=True)).violations == ()
    assert sent["find_node"] > 100
    # The one who was asked looks who that was, and whether its own oldest acquaintance is still there.
    assert sent["ping"] <= 3 * sent["find_node"]
