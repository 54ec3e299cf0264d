"""Ratios within blocks and their interval, the order of systems, and what the command says where it cannot run.

Rules of this file: no network. Nodes are processes that end at once, where a test needs one that does not start.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks import isolation, pair
from benchmarks.checkouts import BadCheckout, State
from benchmarks.figures import PairedRatio, paired_ratio
from benchmarks.hosts import Host, loopback
from benchmarks.load import Plan
from benchmarks.measuring import Client, Figures
from benchmarks.pair import OPENDHT, A, Asked, B, Bench, Network, in_turn, main, ports, ratios, show
from benchmarks.processes import check_running, running
from benchmarks.systems import Camomile


def console() -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(file=output, width=200, highlight=False), output


def figures(**named: float | None) -> Figures:
    return {"put c=1/p50": named.get("p50"), "put c=1/failed": 0.0, "put c=1/count": 1.0}


def test_a_ratio_is_that_of_figures_of_one_block_and_not_of_medians() -> None:
    # The machine was ten times as slow in the last blocks; within each block the second is twice the first.
    slow = [1.0, 1.0, 10.0, 10.0, 10.0]
    assert paired_ratio([(2 * each, each) for each in slow]) == PairedRatio(2.0, 2.0, 2.0, 5)


def test_blocks_without_one_of_the_figures_do_not_count() -> None:
    assert paired_ratio([(1.0, 2.0), (None, 1.0), (1.0, None), (1.0, 0.0)]) == PairedRatio(0.5, 0.5, 0.5, 1)
    assert paired_ratio([(None, None)]) is paired_ratio([]) is None


# The ranks that tables of the sign test give for a median's interval of 95 %.
@pytest.mark.parametrize(
    ("count", "low", "high"), [(5, 1, 5), (6, 1, 6), (8, 1, 8), (9, 2, 8), (12, 3, 10), (20, 6, 15)]
)
def test_the_interval_has_the_ranks_of_the_sign_test(count: int, low: int, high: int) -> None:
    found = paired_ratio([(float(each), 1.0) for each in range(count, 0, -1)])
    assert found is not None
    assert (found.low, found.high, found.pairs) == (low, high, count)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=60))
def test_the_median_is_within_its_interval(found: list[float]) -> None:
    ratio = paired_ratio([(each, 1.0) for each in found])
    assert ratio is not None
    assert min(found) <= ratio.low <= ratio.median <= ratio.high <= max(found)


def test_systems_are_asked_in_one_order_and_then_in_the_other() -> None:
    assert [in_turn("ABC", number) for number in range(3)] == ["ABC", "CBA", "ABC"]


def test_no_two_networks_share_a_port_of_a_host() -> None:
    hosts = [Host(0, "10.118.0.1", 8118, 8080), Host(1, "10.118.0.2", 8118, 8080)]
    used = [
        (each.address, port) for n in range(3) for each in ports(hosts, n) for port in (each.peer_port, each.http_port)
    ]
    assert len(set(used)) == len(used) == 12
    assert [each.number for each in ports(hosts, 2)] == [0, 1]


def test_ratios_are_over_all_blocks_and_of_each_start() -> None:
    measured = {
        A: [[{}, figures(p50=1.0), figures(p50=2.0)], [{}, figures(p50=1.0)]],
        B: [[{}, figures(p50=1.0), figures(p50=2.0)], [{}, figures(p50=3.0)]],
    }
    assert ratios(measured, B, A, "put c=1/p50") == (PairedRatio(1.0, 1.0, 3.0, 3), [1.0, 3.0])
    assert ratios(measured, A, OPENDHT, "put c=1/p50") == (None, [])


def test_an_interrupted_block_is_compared_as_far_as_it_goes() -> None:
    measured = {A: [[{}, figures(p50=2.0), figures(p50=2.0)]], B: [[{}, figures(p50=1.0), {}]]}
    assert ratios(measured, B, A, "put c=1/p50")[0] == PairedRatio(0.5, 0.5, 0.5, 1)


def test_without_opendht_there_is_no_column_of_it_and_failures_are_shown() -> None:
    to, output = console()
    failing = {**figures(p50=0.002), "put c=1/failed": 3.0}
    show({A: [[{}, figures(p50=0.001)]], B: [[{}, failing]], OPENDHT: [[{}, {}]]}, to)
    said = output.getvalue()
    assert OPENDHT not in said
    assert "2.000 (2.000 … 2.000)" in said
    assert "B: 3 requests failed, 1 were answered" in said


def test_what_was_never_answered_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Answering(Client):
        def put(self, cell: str, heads: Sequence[str], tail: str, concurrent: int, seconds: int) -> list[str]:
            self.figures[f"{cell}/failed"] = 1.0
            return list(heads[:-5])

    client = Answering(Camomile(A), [], tmp_path, {})
    asked = Asked(Network(client.system, [], tmp_path), client, "0-0", 20)
    asked.put()
    assert client.figures["put c=1/failed"] == 5.0
    assert len(asked.stored) == 15


@attrs.frozen
class Broken(Camomile):
    """A system whose nodes end as soon as they are started."""

    why: str = "the disk is on fire"

    def command(self, host: Host, first: Host, directory: Path) -> list[str]:
        return [sys.executable, "-c", f"import sys; sys.exit({self.why!r})"]

    def puts(self, heads: Sequence[str], tail: str) -> Plan:
        raise AssertionError("nothing is put")


def test_a_node_that_does_not_start_is_an_error_with_the_logs_end(tmp_path: Path) -> None:
    to, _ = console()
    bench = Bench(loopback(2), [Broken(A), Broken(B)], to)
    with (
        contextlib.ExitStack() as stack,
        pytest.raises(RuntimeError, match=r"(?s)A: it did not start.*the disk is on fire"),
    ):
        bench.bring_up(stack, bench.systems[0], tmp_path, {})
    assert not bench.not_run


def test_opendht_that_does_not_start_is_left_out_for_good_with_the_reason(tmp_path: Path) -> None:
    to, output = console()
    bench = Bench(loopback(2), [Broken(OPENDHT)], to)
    with contextlib.ExitStack() as stack:
        assert bench.bring_up(stack, bench.systems[0], tmp_path, {}) is None
        assert "opendht NOT RUN: it did not start: the node on host 0" in output.getvalue()
        assert "the disk is on fire" in bench.not_run[OPENDHT]
        again = tmp_path / "second start"
        again.mkdir()
        assert bench.bring_up(stack, bench.systems[0], again, {}) is None
        assert not list(again.iterdir())


def block_in_which(
    failing: str, monkeypatch: pytest.MonkeyPatch, directory: Path
) -> tuple[Bench, list[str], io.StringIO]:
    """A block in whose first cell a system fails; also the systems that were asked, and what was shown."""
    asked: list[str] = []

    def cell(each: Asked) -> None:
        asked.append(each.network.system.name)
        if each.network.system.name == failing:
            raise ValueError("wrk said nothing that can be read")

    monkeypatch.setattr(pair, "CELLS", [cell, cell])
    to, output = console()
    bench = Bench([], [Camomile(A), Camomile(B), Camomile(OPENDHT)], to)
    bench.measured[OPENDHT].append([{}, {}])
    networks = [Network(each, [], directory) for each in bench.systems]
    bench.ask(networks, "0-0", 16, {each.name: {} for each in bench.systems})
    return bench, asked, output


def test_opendht_that_fails_later_is_asked_no_more_and_the_pair_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench, asked, output = block_in_which(OPENDHT, monkeypatch, tmp_path)
    assert asked == [A, B, OPENDHT, A, B]
    assert bench.not_run == {OPENDHT: "it failed: wrk said nothing that can be read"}
    assert "opendht NOT RUN any more: it failed" in output.getvalue()


def test_a_state_that_fails_later_ends_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="B: it failed: wrk said nothing that can be read"):
        block_in_which(B, monkeypatch, tmp_path)


@attrs.frozen
class Interrupted(Camomile):
    """A system that is being started when Ctrl-C is pressed."""

    def command(self, host: Host, first: Host, directory: Path) -> list[str]:
        raise KeyboardInterrupt


def test_an_interrupt_ends_the_run_and_keeps_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pair, "place", lambda on_tmpfs: contextlib.nullcontext(tmp_path))
    to, _ = console()
    bench = Bench(loopback(2), [Interrupted(A)], to)
    bench.measured[A].append([{"join/CPU": 1.0}])
    assert not bench.run(2, 1, 16)
    assert bench.measured[A][0] == [{"join/CPU": 1.0}]


def test_a_node_that_ends_later_is_noticed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    waits = [sys.executable, "-c", "import signal; print('going on', flush=True); signal.pause()"]
    with running(loopback(1), lambda host: [*waits], lambda host: log.stat().st_size > 0, log) as processes:
        check_running(processes, log)
        processes[0].kill()
        with pytest.raises(RuntimeError, match=r"(?s)host 0 ended with -9.*going on"):
            check_running(processes, log)


def refused(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def a_machine_without_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(isolation.INSIDE, raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(isolation, "enter", lambda arguments, module: f"{module} is not allowed")
    monkeypatch.setattr(pair, "bridged", lambda count: pytest.fail("hosts outside of a namespace"))
    monkeypatch.setattr(pair, "state", lambda root, name: State(name, name))
    monkeypatch.setattr(pair, "before", lambda root: State("parent", "parent"))
    monkeypatch.setattr(pair, "environment", lambda root, state, python: sys.executable)
    monkeypatch.setattr(pair, "BUILD", tmp_path / "build")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--nodes", "4"), ("--blocks", "0"), ("--puts", "15"), ("--starts", "x"), ("--nodes", "9" * 9)],
)
def test_numbers_that_make_no_sense_are_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"argument {option}: wanted: a number from" in refused([option, value], capsys)


@pytest.mark.usefixtures("a_machine_without_namespaces")
def test_without_namespaces_nothing_runs_and_the_reason_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert "NOT RUN: the networks need hosts of their own: benchmarks.pair is not allowed" in capsys.readouterr().out


@pytest.mark.usefixtures("a_machine_without_namespaces")
def test_without_wrk_nothing_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert main([]) == 1
    assert "wrk is missing" in capsys.readouterr().out


def test_a_is_by_default_the_commit_before_and_b_the_working_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair, "state", lambda root, name: State(name, name))
    monkeypatch.setattr(pair, "before", lambda root: State("parent", "parent"))
    assert [each.commit for each in pair.sides(["", ""], Path())] == ["parent", ""]
    assert [each.commit for each in pair.sides(["old", "new"], Path())] == ["old", "new"]


@pytest.mark.usefixtures("a_machine_without_namespaces")
def test_a_commit_that_is_not_there_is_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(root: Path, name: str) -> State:
        raise BadCheckout(f"the repository has no commit {name!r}")

    monkeypatch.setattr(pair, "state", unknown)
    monkeypatch.setattr(isolation, "enter", lambda arguments, module: pytest.fail("it went on"))
    assert "the repository has no commit 'nowhere'" in refused(["--a", "nowhere"], capsys)


def test_an_older_checkout_is_started_by_the_module_that_it_has(tmp_path: Path) -> None:
    host = loopback(2)[1]
    old = Camomile(A, python="python3.12", checkout=tmp_path).command(host, host, tmp_path)
    assert old[:5] == ["env", f"--chdir={tmp_path}", "python3.12", "-m", "camomile_trio.cli"]
    assert Camomile().command(host, host, tmp_path)[4] == "camomile_trio"
