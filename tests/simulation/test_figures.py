"""The figures of small worlds: what is counted is what happened."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.world import World
from tests.simulation.worlds import NODES, ROUND, K, told

pytestmark = pytest.mark.long


def section(outcome: Outcome, *names: str) -> Mapping[str, object]:
    found: object = outcome.figures
    for name in names:
        assert isinstance(found, Mapping)
        found = found[name]
    assert isinstance(found, Mapping)
    return found


def number(found: object) -> float:
    assert isinstance(found, int | float)
    return found


def numbers(found: object) -> list[float]:
    assert isinstance(found, list)
    return [number(each) for each in found]


async def ten_values(world: World, machines: list[Machine]) -> None:
    keys = await world.users.put_many(10)
    for key in keys:
        await world.users.get(key)
    await world.users.get(Key.of(b"nobody put this"))
    await trio.sleep(5)


def test_operations_are_counted_with_their_latencies_and_failures() -> None:
    outcome = told(ten_values)
    put, get = section(outcome, "operations", "put"), section(outcome, "operations", "get")
    assert (put["count"], put["ok"], put["failed"], put["cut_off"]) == (10, 10, 0, 0)
    assert (get["count"], get["ok"], get["failed"]) == (11, 10, 1)
    assert section(outcome, "failures") == {"get": {"NotFound": 1}}
    assert 0 < number(put["latency_p50_s"]) <= number(put["latency_p99_s"]) <= number(put["latency_max_s"])
    assert number(put["datagrams_mean"]) >= K
    assert number(put["bytes_mean"]) > 100 * K
    curve = numbers(section(outcome, "latency_curves_s")["put"])
    assert (curve[50], curve[100]) == (put["latency_p50_s"], put["latency_max_s"])


def test_where_nothing_is_wrong_every_lookup_is_exact() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        await ten_values(world, machines)
        await world.probe_lookups(20)
        await trio.sleep(5)

    outcome = told(story)
    assert outcome.passed
    probes, keys = section(outcome, "lookups", "probes"), section(outcome, "lookups", "of_keys")
    assert (probes["count"], probes["judged"], probes["exact_share"]) == (20, 20, 1.0)
    # Only the lookups of puts are for nodes.
    assert (keys["judged"], keys["exact_share"]) == (10, 1.0)
    counts = numbers(section(outcome, "hops_counts")["probes"])
    assert sum(counts) == 20
    assert len(counts) == number(probes["hops_max"]) + 1


def test_tables_and_load_are_those_of_the_nodes_at_the_end() -> None:
    outcome = told(ten_values)
    tables = section(outcome, "tables")
    assert (tables["nodes"], tables["sampled"]) == (NODES, NODES)
    fill = numbers(tables["bucket_fill"])
    assert K - 0.5 <= fill[0] <= K  # of the far half, which is larger than a bucket
    assert sum(fill) == pytest.approx(number(tables["contacts_mean"]), abs=0.1)
    received = section(outcome, "load", "received")
    assert number(received["mean"]) * NODES <= outcome.messages
    assert number(received["p50"]) <= number(received["p99"]) <= number(received["max"])
    assert numbers(outcome.figures["load_curve"])[-1] == 1.0


def test_copies_are_followed_through_a_crash_until_they_are_back() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        (key,) = await world.users.put_many(1)
        await trio.sleep(10)
        # Two copies are left, wherever the put had left more than k.
        await world.crash_all(world.holders(key)[2:])
        await trio.sleep(3 * world.config.records.replicate_interval)

    outcome = told(story)
    copies, repair = section(outcome, "copies"), section(outcome, "repair")
    means, times = numbers(copies["mean"]), numbers(copies["time_s"])
    assert copies["wanted"] == K
    assert means[0] >= K > min(means)
    assert means[-1] >= K
    assert len(times) == len(means) == len(numbers(copies["live_nodes"])) <= 128
    assert (repair["faults"], repair["repaired"]) == (1, 1)
    assert 0 < number(repair["seconds_max"]) <= 1.5 * ROUND
    assert section(outcome, "keys") == {"promised": 1, "lost": 0, "forgets_lost": 0}


def test_what_has_no_copy_left_is_lost() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        (key,) = await world.users.put_many(1)
        await trio.sleep(10)
        await world.crash_all(world.holders(key))
        await trio.sleep(10)

    outcome = told(story)
    assert outcome.lost == 1
    assert section(outcome, "keys") == {"promised": 1, "lost": 1, "forgets_lost": 0}
    assert numbers(section(outcome, "copies")["lost"])[-1] == 1


def test_phases_say_what_was_done_when_and_what_a_join_costs() -> None:
    async def story(world: World, machines: list[Machine]) -> None:
        world.progress.begin("putting")
        await ten_values(world, machines)

    outcome = told(story)
    assert list(section(outcome, "phases")) == ["1 joining", "2 putting"]
    joining, putting = section(outcome, "phases", "1 joining"), section(outcome, "phases", "2 putting")
    assert (joining["began_s"], joining["operations"], putting["operations"]) == (0.0, 0, 21)
    assert putting["began_s"] == joining["lasted_s"]
    joins = section(outcome, "joins")
    assert joins["count"] == NODES
    assert number(joins["datagrams_per_join"]) * NODES == number(joining["messages"])


def test_all_of_it_can_be_written_down() -> None:
    outcome = told(ten_values)
    assert json.loads(json.dumps(outcome.figures)) == outcome.figures
