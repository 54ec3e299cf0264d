"""Percentiles, medians, ratios, goals, and what wrk and the kernel print.

Rules of this file: pure; no process, no network.
"""

from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Figure, is_far, over_rounds, percentile, ratio
from benchmarks.goals import Bound, is_reached, verdict
from benchmarks.hosts import between, parse_interfaces
from benchmarks.load import parse, values
from benchmarks.peers import Classic, Kademlia, OpenDht
from benchmarks.processes import parse_memory
from benchmarks.systems import Camomile, System

SYSTEMS: list[System] = [Camomile(), OpenDht(), Kademlia(), Classic("")]


def figure(median: float) -> Figure:
    return Figure(median, median, median, 1)


def test_percentiles_are_measured_values_by_nearest_rank() -> None:
    times = [float(each) for each in range(1, 101)]
    assert [percentile(times, share) for share in (0.5, 0.9, 0.99, 1.0)] == [50.0, 90.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) is None


@given(st.lists(st.floats(0, 10), min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_at_least_the_share_is_not_above_its_percentile_and_less_is_below(times: list[float], share: float) -> None:
    found = percentile(sorted(times), share)
    assert found is not None
    assert sum(each <= found for each in times) >= share * len(times) - 1e-9
    assert sum(each < found for each in times) < share * len(times) + 1e-9


def test_a_figure_is_the_median_of_the_rounds_that_have_it() -> None:
    assert over_rounds([3.0, None, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0, 3)
    assert over_rounds([None]) is None


def test_there_is_no_ratio_to_nothing() -> None:
    assert ratio(figure(1.0), figure(4.0)) == 0.25
    assert ratio(figure(1.0), None) is ratio(None, figure(1.0)) is ratio(figure(1.0), figure(0.0)) is None


def test_a_value_is_held_elsewhere_if_enough_others_are_closer() -> None:
    assert is_far(key=0, reader=4, nodes=[1, 2, 4, 8], copies=2)
    assert not is_far(key=0, reader=4, nodes=[1, 2, 4, 8], copies=3)


def test_goals_are_reached_missed_or_not_known() -> None:
    table = {"camomile": {"put": figure(2.0)}, "opendht": {"put": figure(2.0)}}
    assert is_reached(Bound(factor=1.0, of="opendht"), "put", table) is True
    assert is_reached(Bound(factor=0.9, of="opendht"), "put", table) is False
    assert is_reached(Bound(factor=1.2, of="opendht", is_least=True), "put", table) is False
    assert is_reached(Bound(factor=3.0), "put", table) is True
    assert is_reached(Bound(factor=1.0, of="classic"), "put", table) is None
    unknown, missed, met = (Bound(factor=f, of=s) for f, s in ((1.0, "classic"), (0.5, "opendht"), (1.0, "opendht")))
    assert verdict([unknown, missed], "put", table) is False
    assert verdict([unknown, met], "put", table) is None


def test_answers_that_were_not_wanted_are_counted_and_not_timed() -> None:
    said = "Running 1s test\n\nBENCH 1 2000000\nBENCH 0 202 3000\nBENCH 7 503 10\nBENCH 2 202 1000\n"
    load = parse(said, (202,))
    assert (load.times, load.done, load.failed) == ([0.001, 0.003], [0, 2], 2)
    assert load.per_second == 1.0


def test_output_without_marks_is_an_error_and_no_figure() -> None:
    with pytest.raises(ValueError, match="nothing that can be read"):
        parse("unable to connect", (200,))


@given(st.integers(1, 300), st.integers(24, 1000))
def test_no_two_puts_have_the_same_value_or_key(count: int, size: int) -> None:
    heads, tail = values("put16", count, size)
    assert len({head + tail for head in heads}) == count
    assert all(len(head + tail) == size for head in heads)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda each: each.name)
def test_what_is_put_is_what_is_asked_for(system: System) -> None:
    heads, tail = values("put1", 3, 100)
    puts, gets = system.puts(heads, tail), system.gets(heads, tail)
    assert len({each.head for each in puts.requests}) == len({each.path for each in gets.requests}) == 3
    body = puts.prefix + puts.requests[2].head + puts.tail
    assert gets.requests[2].head in body
    if system.name == "opendht":
        assert base64.b64decode(body.split('"')[3]).decode() == heads[2] + tail
    else:
        assert body.removeprefix("value=") == heads[2] + tail
    assert puts.text().count("\n") == 4 + 3


def test_traffic_between_nodes_is_what_ports_received_less_what_clients_did() -> None:
    text = "a\nb\n" + "".join(
        f"{name}: {count * 100} {count} 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n"
        for name, count in (("lo", 5), ("bridge", 10), ("port0", 20), ("port1", 30))
    )
    found = between(parse_interfaces(text))
    assert (found.messages, found.bytes) == (40, 5000 - 1000 - 140)


def test_memory_is_read_from_the_kernels_summary() -> None:
    memory = parse_memory("55-7f ---p\nRss:   200 kB\nPss:   50 kB\nPss_Dirty:  10 kB\n")
    assert (memory.rss, memory.pss) == (200 * 1024, 50 * 1024)


def test_this_process_has_memory() -> None:
    with open(f"/proc/{os.getpid()}/smaps_rollup", encoding="ascii") as file:
        memory = parse_memory(file.read())
    assert memory.rss >= memory.pss > 0
