"""Latencies by chance and by place, and the files that matrices come from."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport.latency import LatencyMatrix, LogNormalLatency, MatrixLatency
from camomile_trio.transport.links import LinkConditions, Links

ALICE, BOB = (Endpoint.parse(f"10.0.0.{number}:8118") for number in (1, 2))
WORLD = LatencyMatrix(("eu", "us", "asia"), ((0.001, 0.04, 0.12), (0.04, 0.002, 0.08), (0.13, 0.08, 0.003)))
CSV = "one-way ms, eu, us\neu, 1, 40\nus, 41.5, 2\n"


def test_a_log_normal_latency_has_its_median_its_tail_and_its_cap() -> None:
    links = Links(1, LinkConditions(latency=LogNormalLatency(0.05, sigma=0.5, most=0.2)))
    taken = sorted(links.copies(ALICE, BOB, b"")[0][0] for _ in range(5000))
    assert taken[2500] == pytest.approx(0.05, rel=0.03)
    assert taken[4207] == pytest.approx(0.05 * math.exp(0.5), rel=0.05)  # one standard deviation: 84.1 %
    assert taken[793] == pytest.approx(0.05 * math.exp(-0.5), rel=0.05)
    assert taken[-1] == pytest.approx(0.2)
    # ln 4 is 2.77 sigma: 0.28 % would take longer.
    assert sum(seconds == taken[-1] for seconds in taken) == pytest.approx(14, abs=11)


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 100), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_whatever_is_drawn_a_log_normal_latency_is_a_time_within_its_cap(
    median: float, sigma: float, more: float, draw: float
) -> None:
    latency = LogNormalLatency(median, sigma=sigma, most=median + more)
    assert 0.0 <= latency.seconds(ALICE, BOB, draw) <= median + more + 1e-9


def test_a_doubled_packet_takes_two_times_by_chance() -> None:
    links = Links(1, LinkConditions(latency=LogNormalLatency(0.05, sigma=0.5), duplication=1.0))
    (first, _), (second, _) = links.copies(ALICE, BOB, b"")
    assert first != second
    assert links.stream_delay(ALICE, BOB, 100) > 0.0


def test_a_matrix_gives_each_pair_of_places_its_time_and_each_way_its_own() -> None:
    asia = Endpoint.parse("10.0.0.3:8118")
    conditions = LinkConditions(latency=MatrixLatency(WORLD, seed=1, at={ALICE: "eu", BOB: "eu", asia: "asia"}))
    assert conditions.is_even
    links = Links(1, conditions)
    times = {(ALICE, BOB): 0.001, (ALICE, asia): 0.12, (asia, ALICE): 0.13}
    for (source, destination), seconds in times.items():
        assert links.copies(source, destination, b"datagram") == ((seconds, b"datagram"),)
        assert links.stream_delay(source, destination, 100) == seconds
    jittery = Links(1, LinkConditions(latency=MatrixLatency(WORLD, seed=1, at={ALICE: "eu", asia: "asia"}), jitter=1.0))
    assert 0.12 < jittery.copies(ALICE, asia, b"")[0][0] < 1.12


def test_nodes_without_a_place_are_spread_by_the_seed_and_not_by_who_comes_first() -> None:
    crowd = [Endpoint.of(number.to_bytes(4, "big"), 8118) for number in range(3000)]
    latency, again, other = (MatrixLatency(WORLD, seed=seed) for seed in (1, 1, 2))
    places = [latency.place(endpoint) for endpoint in crowd]
    assert [again.place(endpoint) for endpoint in reversed(crowd)] == places[::-1]
    assert [other.place(endpoint) for endpoint in crowd] != places
    assert all(count == pytest.approx(1000, abs=120) for count in Counter(places).values())


def test_a_matrix_is_read_from_csv_one_way_and_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "world.csv"
    path.write_text(CSV)
    assert LatencyMatrix.read(path) == LatencyMatrix(("eu", "us"), ((0.001, 0.04), (0.0415, 0.002)))
    path.write_text(CSV.replace("one-way", "round-trip"))
    assert LatencyMatrix.read(path).seconds[0] == (0.0005, 0.02)


def test_a_matrix_is_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "world.json"
    path.write_text(json.dumps({"unit": "round-trip ms", "places": ["eu", "us"], "matrix": [[2, 80], [80.5, 4]]}))
    assert LatencyMatrix.read(path) == LatencyMatrix(("eu", "us"), ((0.001, 0.04), (0.04025, 0.002)))


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.txt", CSV, "neither"),
        ("a.csv", "", "empty"),
        ("a.csv", CSV.replace("one-way ms", ""), "there is no ''"),
        ("a.csv", CSV.replace("41.5", "far"), "far"),
        ("a.csv", CSV.replace("41.5", "-1"), "from us to eu is -"),
        ("a.csv", CSV.replace("41.5", "nan"), "from us to eu is nan"),
        ("a.csv", CSV.replace("41.5", "inf"), "from us to eu is inf"),
        ("a.csv", CSV.replace("us, 41", "asia, 41"), "not named"),
        ("a.csv", CSV.replace(", 2\n", "\n"), r"rows of \[1, 2\] times"),
        ("a.csv", "one-way ms, eu, eu\neu, 1, 2\neu, 3, 4\n", "different names"),
        ("a.csv", 'one-way ms, "eu\n', "a.csv"),
        ("a.json", "{", "a.json"),
        ("a.json", "[]", "not an object"),
        ("a.json", '{"unit": "one-way ms", "places": ["eu"]}', "there is no 'matrix'"),
        ("a.json", '{"unit": "one-way ms", "places": "eu", "matrix": [[1]]}', "not lists"),
        ("a.json", '{"unit": "one-way ms", "places": ["eu"], "matrix": [[null]]}', "None"),
        ("a.json", '{"unit": "one-way ms", "places": [], "matrix": []}', "different names"),
    ],
)
def test_a_file_that_is_no_matrix_is_refused(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=complaint) as refusal:
        LatencyMatrix.read(tmp_path / name)
    assert refusal.value.remedy


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        LatencyMatrix.read(tmp_path / "nowhere.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.csv"):
        LatencyMatrix.read(tmp_path / "binary.csv")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: LogNormalLatency(-0.1, sigma=0.5),
        lambda: LogNormalLatency(0.1, sigma=math.nan),
        lambda: LogNormalLatency(0.1, sigma=11),
        lambda: LogNormalLatency(0.1, sigma=0.5, most=0.05),
        lambda: LogNormalLatency(0.1, sigma=0.5, most=math.inf),
        lambda: MatrixLatency(WORLD, seed=1, at={ALICE: "atlantis"}),
        lambda: LatencyMatrix(("eu",), ()),
    ],
)
def test_latencies_that_make_no_sense_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as refusal:
        wrong()
    assert refusal.value.remedy
