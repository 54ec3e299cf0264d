"""`camomile simulate`: what it prints, what it promises by its exit code, and what it refuses."""

from __future__ import annotations

import _thread
import io
import json
import sys
from pathlib import Path

import attrs
import pytest
import trio
from click.testing import Result

from camomile_trio.simulation import command
from camomile_trio.simulation.command import bar_on_terminal
from camomile_trio.simulation.outcome import Claim, Outcome
from camomile_trio.simulation.outcome_page import clock_text, figure_text, seconds_text, sections
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.scenarios import SCENARIOS
from camomile_trio.simulation.seeds import Seed, Summary
from camomile_trio.simulation.world import World
from tests.cli.terminal import Run, complaint
from tests.simulation.orchard import APPLES_KEY, ORCHARD, grow, plan


@pytest.fixture(autouse=True)
def orchard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The orchard is one of the scenarios; so is one in which nothing comes true, and one that is interrupted."""

    async def lie(world: World, nodes: int) -> None:
        machines = await world.settle(2)
        world.claim("pigs fly", is_true=False, seen="[none]")
        world.violated("apples are red", "red", "[green]", machines[1])

    async def interrupt(world: World, nodes: int) -> None:
        await grow(world, nodes)
        _thread.interrupt_main()
        await trio.sleep(1000)

    monkeypatch.setitem(SCENARIOS, "orchard", ORCHARD)
    monkeypatch.setitem(SCENARIOS, "lie", attrs.evolve(ORCHARD, name="lie", run=lie))
    monkeypatch.setitem(SCENARIOS, "interrupt", attrs.evolve(ORCHARD, name="interrupt", run=interrupt))


def outcome_of(result: Result) -> dict[str, object]:
    found: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_people_see_figures_claims_and_what_repeats_it(run: Run) -> None:
    result = run("simulate", "--scenario", "orchard")
    assert result.exit_code == 0
    assert result.stderr == ""
    for words in ("orchard, 5 nodes, seed 1", "2 puts, 3 gets, 1 forgets; 0 failed", "✓ fruit is read: 2", "passed"):
        assert words in result.stdout
    assert "camomile simulate --scenario orchard --nodes 5 --seed 1" in result.stdout


def test_the_last_line_of_json_has_the_outcome(run: Run) -> None:
    result = run("simulate", "--scenario", "orchard", "--nodes", "6", "--seed", "3", "--json")
    assert result.exit_code == 0
    found = outcome_of(result)
    assert (found["scenario"], found["nodes"], found["seed"], found["passed"]) == ("orchard", 6, 3, True)
    assert (found["puts"], found["gets"], found["failed"], found["violations"]) == (2, 3, 0, [])
    assert found["repeat"] == "camomile simulate --scenario orchard --nodes 6 --seed 3"
    names = {
        "trace",
        "nodes",
        "seed",
        "scenario",
        "virtual_seconds",
        "messages",
        "puts",
        "gets",
        "failed",
        "violations",
    }
    assert names <= found.keys()
    assert len(result.stdout.splitlines()) == 1


def test_a_failed_run_says_what_was_expected_and_what_was_seen(run: Run) -> None:
    result = run("simulate", "--scenario", "lie", "--seed", "8")
    assert result.exit_code == 1
    for words in ("✗ pigs fly: [none]", "✗ apples are red", "seed 8, 0:00:", "at machine 1", "expected: red"):
        assert words in result.stdout
    assert "seen:     [green]" in result.stdout
    assert result.stdout.count("camomile simulate --scenario lie --nodes 5 --seed 8") == 2
    assert run("simulate", "--scenario", "lie", "--json").exit_code == 1


def test_who_interrupts_it_gets_the_figures_so_far(run: Run) -> None:
    result = run("simulate", "--scenario", "interrupt", "--json")
    assert result.exit_code == 130
    found = outcome_of(result)
    assert (found["interrupted"], found["passed"], found["puts"]) == (True, False, 2)
    for_people = run("simulate", "--scenario", "interrupt")
    assert for_people.exit_code == 130
    assert "interrupted: these are the figures so far" in for_people.stdout


def test_the_list_has_every_scenario(run: Run) -> None:
    result = run("simulate", "--list")
    assert result.exit_code == 0
    for each in SCENARIOS.values():
        assert each.name in result.stdout
    rows = json.loads(run("simulate", "--list", "--json").stdout)
    assert [row["name"] for row in rows] == list(SCENARIOS)
    assert all(row["summary"] and row["passes"] for row in rows)


def test_a_misspelt_scenario_is_met_with_the_nearest_names(run: Run) -> None:
    result = run("simulate", "--scenario", "stedy")
    assert result.exit_code == 2
    assert complaint(result).startswith("--scenario: there is no 'stedy'; did you mean steady")
    assert "camomile simulate --list" in complaint(run("simulate", "--scenario", "xyzzyq"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--jobs", "2"), "--jobs goes with --seeds"),
        (("--seeds", "2", "--trace", "t.jsonl"), "--trace is of one run"),
        (("--seeds", "0"), "--seeds"),
        (("--nodes", "0"), "--nodes"),
        (("--nodes", "-3"), "--nodes"),
        (("--trace", "/nonexistent/t.jsonl"), "No such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    result = run("simulate", "--scenario", "orchard", *words)
    assert result.exit_code in (1, 2)
    assert said in complaint(result)


def test_a_trace_changes_nothing_and_has_every_key_in_full(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "orchard.jsonl"
    traced = outcome_of(run("simulate", "--scenario", "orchard", "--json", "--trace", str(file)))
    assert traced["trace"] == simulate(plan()).trace
    about_apples = [json.loads(line) for line in file.read_text().splitlines() if APPLES_KEY.hex() in line]
    assert {"put", "get", "forget", "lookup", "packet"} <= {each["event"] for each in about_apples}


@pytest.mark.real_time
def test_many_seeds_each_run_in_a_process_of_its_own(run: Run) -> None:
    # Processes of their own know nothing of the orchard.
    result = run("simulate", "--nodes", "4", "--seed", "5", "--seeds", "3", "--jobs", "2", "--json")
    assert result.exit_code == 0, result.stdout
    found = outcome_of(result)
    assert (found["runs"], found["failed"], found["failures"]) == (3, 0, [])
    alone = outcome_of(run("simulate", "--nodes", "4", "--seed", "5", "--json"))
    assert isinstance(found["messages"], int)
    assert isinstance(alone["messages"], int)
    assert found["messages"] > alone["messages"]


@pytest.mark.real_time
def test_a_seed_that_takes_too_long_has_failed_and_says_what_repeats_it(run: Run) -> None:
    result = run("simulate", "--nodes", "300", "--seed", "5", "--seeds", "1", "--timeout", "0.5")
    assert result.exit_code == 1
    first, second, *rest = result.stdout.splitlines()
    assert first == "✗ seed 5: took longer than 0.5 s"
    assert second == "    camomile simulate --scenario steady --nodes 300 --seed 5"
    assert rest[0].startswith("1 of 1 runs, 1 failed")


@pytest.mark.real_time
def test_a_process_that_breaks_is_one_failed_seed(run: Run) -> None:
    result = run("simulate", "--scenario", "orchard", "--seeds", "1")
    assert result.exit_code == 1
    assert result.stdout.startswith("✗ seed 1: KeyError: 'orchard' (seeds.py, line ")


def test_a_summary_says_what_was_wrong_how_often_and_which_seed_was_slowest() -> None:
    good = simulate(plan())
    bad = attrs.evolve(good, seed=2, claims=(Claim("pigs fly", is_true=False, seen="none"),), violated_rules={"red": 3})
    summary = Summary(
        wanted=4,
        done=[seed(4, None), seed(2, bad), seed(1, good), seed(3, attrs.evolve(bad, seed=3, violated_rules={}))],
    )
    assert [each.seed for each in summary.failed] == [2, 3, 4]
    assert [each.seed for each in summary.outcomes] == [1, 2, 3]
    found = summary.as_mapping()
    assert found["wrong"] == {"failed: pigs fly": 2, "took too long": 1, "failed: red": 1}
    assert found["slowest"] == {"seed": 4, "seconds": 4.0}
    assert found["messages"] == 3 * good.messages


def test_a_terminal_shows_how_far_it_is_and_the_run_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    many = attrs.evolve(plan(), nodes=25)
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(command, "DRAWN_EVERY", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with bar_on_terminal() as watcher:
            assert watcher is not None
            outcome = simulate(many, on_beat=watcher)
    assert "joining" in terminal.getvalue()
    assert "messages/s" in terminal.getvalue()
    with bar_on_terminal() as nobody:
        assert nobody is None
    assert outcome.trace == simulate(many).trace


def seed(number: int, outcome: Outcome | None) -> Seed:
    return Seed(number, f"repeat {number}", float(number), outcome, "" if outcome else "took too long")


def test_figures_with_columns_in_common_stay_together_and_deeper_ones_come_after() -> None:
    figures = {
        "lost": 3,
        "put": {"count": 2, "p50": 0.1},
        "get": {"count": 9, "p95": 0.2},
        "load": {"mean": 4.0, "by_kind": {"ping": 1, "pong": 2}},
    }
    assert list(sections("", figures)) == [
        ("", {"lost": 3}),
        ("", {"put": {"count": 2, "p50": 0.1}, "get": {"count": 9, "p95": 0.2}}),
        ("load", {"mean": 4.0}),
        ("load · by_kind", {"ping": 1, "pong": 2}),
    ]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("count", 1234567, "1,234,567"),
        ("bytes", 2_000_000, "1.9 MiB"),
        ("p50", 0.12345, "0.123"),
        ("rate", 12345.6, "12,346"),
        ("p50_seconds", 0.012, "12 ms"),
        ("exact_share", 0.9998, "99.98 %"),
        ("exact", True, "yes"),
        ("since", None, "-"),
        ("copies", [], "-"),
        ("copies", [20], "20"),
        ("copies", [0, 10, 20], "▁▄█ 0 to 20"),
        ("copies", [(0.0, 20.0), (60.0, 10.0), (120.0, 20.0)], "█▁█ 20 to 20"),
        ("names", ["a", "b"], "a, b"),
        ("note", "two\nlines", "two lines"),
    ],
)
def test_a_figure_as_people_like_to_read_it(name: str, value: object, text: str) -> None:
    assert figure_text(name, value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9994, "999 ms"),
        (0.9999, "1.00 s"),
        (59.99, "59.99 s"),
        (60.0, "1 min"),
        (200.0, "3 min 20 s"),
        (7199.0, "2 h"),
        (7500.0, "2 h 5 min"),
        (86400.0, "1 d"),
        (533_000.0, "6 d 4 h"),
    ],
)
def test_times_are_told_as_people_say_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0:00:00.000"), (75.25, "0:01:15.250"), (3599.9996, "0:59:59.999"), (90061.5, "1 d 1:01:01.500")],
)
def test_virtual_time_as_a_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
