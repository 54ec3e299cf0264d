"""Stories out of a trace: what became of a key, how an operation went, what a machine did."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.explain.chapters import Chapter
from camomile_trio.simulation.explain.machine_story import story_of_machine
from camomile_trio.simulation.explain.story import NoSuchStory, story_of_key, story_of_operation
from camomile_trio.simulation.explain.words import seconds_text
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.trace_file import TraceFile, writing
from tests.simulation.orchard import APPLES_KEY, PEAR, plan


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> TraceFile:
    path = tmp_path_factory.mktemp("orchard") / "trace.jsonl"
    with writing(path, plan()) as writer:
        writer.end(simulate(plan(), tell=writer.tell))
    return TraceFile(path)


class Village:
    """A trace made by hand: alice is machine 0, bob 1, carol 2. Ids differ from the key in their first digit."""

    KEY = "0" * 64
    IDS = ("f" + "0" * 63, "4" + "0" * 63, "0f" + "0" * 62)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: list[dict[str, object]] = [
            {"time": 0.0, "event": "run", "format": 1, "scenario": "village", "nodes": 3, "seed": 1, "repeat": "…"}
        ]
        for number, identifier in enumerate(self.IDS):
            self.tell(0.0, "start", machine=number, life=1, id=identifier)

    def tell(self, time: float, event: str, **particulars: object) -> None:
        self._lines.append({"time": time, "event": event, **particulars})

    def packet(self, time: float, session: str, kind: str, source: int, destination: int, **more: object) -> None:
        identifier = self.IDS[source][:16]
        self._lines.append(
            {"time": time, "event": "packet", "session": session, "kind": kind, "from": source, "to": destination}
            | {"bytes": 100, "id": identifier, "version": 1, **more}
        )

    def file(self) -> TraceFile:
        lines = sorted(self._lines, key=lambda line: float(str(line["time"])))
        self.path.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in lines))
        return TraceFile(self.path)


@pytest.fixture
def village(tmp_path: Path) -> Village:
    return Village(tmp_path / "village.jsonl")


def a_get_in_two_hops(village: Village) -> None:
    """Alice knows bob; bob tells her of carol; carol has the value."""
    village.packet(0.5, "aa", "ping", 0, 1)
    village.packet(0.6, "aa", "pong", 1, 0)
    village.packet(1.02, "bb", "find_value", 0, 1, key=village.KEY)
    village.packet(1.04, "bb", "value", 1, 0, contacts=[village.IDS[2][:16], village.IDS[0][:16]], records=[])
    village.packet(1.06, "cc", "find_value", 0, 2, key=village.KEY)
    lease = {"kind": "lease", "seq": 1, "expires": 1_800_000_000_000 + 7_200_000}
    village.packet(1.08, "cc", "value", 2, 0, size=5, contacts=[], records=[lease])
    village.tell(1.08, "lookup", machine=0, kind="value", target=village.KEY, began=1.0, hops=2, requests=2, closest=[])
    village.tell(1.08, "get", number=0, machine=0, key=village.KEY, began=1.0, outcome="ok")


def words(chapters: Iterable[Chapter]) -> str:
    return "\n".join(
        "\n".join([chapter.title, *(f"{line.who} {line.what}" for line in chapter.lines), chapter.ending])
        for chapter in chapters
    )


def test_a_lookup_is_told_hop_by_hop(village: Village) -> None:
    a_get_in_two_hops(village)
    (chapter,) = story_of_operation(village.file(), 0).chapters
    bob, carol = chapter.lines
    assert (bob.who, bob.hop, bob.bits, bob.at, bob.until) == ("machine 1", 1, 1, 1.02, 1.04)
    assert bob.what == "find_value → no value; 2 contacts, 1 of them new"
    assert (carol.who, carol.hop, carol.bits) == ("machine 2", 2, 4)
    assert carol.what == "find_value → the value, 5 bytes; lease for 2 h"
    assert chapter.title == "get at machine 0 (operation 0)"
    assert chapter.ending == "ok after 80 ms; its lookup took 2 hops and 2 requests"
    assert chapter.is_good


def test_a_question_without_an_answer_stands_alone(village: Village) -> None:
    a_get_in_two_hops(village)
    village.packet(1.07, "dd", "find_value", 0, 1, key=village.KEY)
    village.packet(1.30, "dd", "find_value", 0, 1, key=village.KEY)
    (chapter,) = story_of_operation(village.file(), 0).chapters
    assert not chapter.lines[-1].is_good
    assert chapter.lines[-1].what == "find_value, arrived 2 times → no answer arrived"


def test_an_answer_too_large_for_a_datagram_comes_over_a_stream(village: Village) -> None:
    village.packet(1.02, "bb", "find_value", 0, 1, key=village.KEY)
    village.packet(1.04, "bb", "too_large", 1, 0, size=5000)
    village.packet(1.06, "bb", "find_value", 0, 1, key=village.KEY)
    village.packet(1.08, "bb", "value", 1, 0, size=5000, contacts=[], records=[])
    village.tell(1.08, "get", number=0, machine=0, key=village.KEY, began=1.0, outcome="ok")
    (chapter,) = story_of_operation(village.file(), 0).chapters
    (line,) = chapter.lines
    assert line.what == "find_value → the value, 5000 bytes; no record, over a stream"


def test_a_forged_answer_from_somebody_else_is_none(village: Village) -> None:
    village.packet(1.02, "bb", "find_value", 0, 1, key=village.KEY)
    village.packet(1.03, "bb", "value", 2, 0, size=5, contacts=[], records=[])
    village.tell(1.08, "get", number=0, machine=0, key=village.KEY, began=1.0, outcome="NotFound")
    (chapter,) = story_of_operation(village.file(), 0).chapters
    assert chapter.lines[0].what == "find_value → no answer arrived"
    assert not chapter.is_good


def test_what_nodes_do_without_a_user_is_a_chapter_of_its_own(village: Village) -> None:
    a_get_in_two_hops(village)
    village.packet(3600.0, "ee", "store", 2, 1, key=village.KEY, why="replicate", size=5, records=[])
    village.packet(3600.1, "ee", "store_result", 1, 2, status="stored", durability="system", records=[])
    village.packet(7200.0, "ff", "store", 2, 1, key=village.KEY, why="replicate", size=5, records=[])
    village.packet(7200.1, "ff", "store_result", 1, 2, status="no_token", durability="none", records=[])
    get, first, second = story_of_key(village.file(), "00").chapters
    assert get.title.startswith("get at")
    assert first.title == second.title == "machine 2 offers its copy to other holders"
    assert first.lines[0].what == "store 5 bytes (replicate) → stored, in system"
    assert second.lines[0].what == "store 5 bytes (replicate) → refused: no token"
    assert not second.lines[0].is_good


def test_troubles_and_crashes_of_who_takes_part_are_told_between(village: Village) -> None:
    a_get_in_two_hops(village)
    village.tell(100.0, "trouble", name="partition")
    village.tell(200.0, "crash", machine=2, power_loss=False)
    village.tell(200.0, "crash", machine=0, power_loss=False)
    village.tell(300.0, "get", number=1, machine=1, key=village.KEY, began=299.0, outcome="NotFound")
    titles = [chapter.title for chapter in story_of_key(village.file(), village.KEY).chapters]
    assert titles == [
        "get at machine 0 (operation 0)",
        "trouble: partition",
        "machine 2 crashes",
        "get at machine 1 (operation 1)",
    ]


def test_after_the_scenario_everybody_is_taken_down_which_is_no_part_of_a_story(village: Village) -> None:
    a_get_in_two_hops(village)
    village.tell(10.0, "scenario_over")
    village.tell(10.0, "crash", machine=0, power_loss=False)
    (life,) = story_of_machine(village.file(), 0).chapters
    assert "crashes" not in words([life])


def test_the_story_of_an_apple_from_its_put_to_its_end(orchard: TraceFile) -> None:
    story = story_of_key(orchard, APPLES_KEY.hex()[:10])
    assert story.title == f"key {APPLES_KEY.hex()}"
    told = words(story.chapters)
    kinds = [chapter.title.split()[0] for chapter in story.chapters if "operation" in chapter.title]
    assert kinds == ["put", "get", "forget", "get"]
    assert "store 8 bytes (publish) → stored, in system" in told
    assert "store a tombstone (publish) → stored, in system" in told
    assert "has the value; lease for 1 d" in told
    assert "no value; tombstone for 7 d" in words(story.chapters[-2:])
    assert "Forgotten after" in told
    read = next(chapter for chapter in story.chapters if chapter.title == "get at machine 2 (operation 2)")
    assert read.lines == ()
    assert read.ending == "ok after 0 ms; it had the value itself and asked nobody"


def test_a_pear_does_not_fit_into_a_datagram(orchard: TraceFile) -> None:
    told = words(story_of_key(orchard, Key.of(PEAR).hex()).chapters)
    assert f"store {len(PEAR)} bytes (publish) → stored, in system" in told


def test_a_node_that_joins_looks_itself_up(orchard: TraceFile) -> None:
    start = next(each for each in orchard.events() if each["event"] == "start" and each["machine"] == 4)
    titles = [chapter.title for chapter in story_of_key(orchard, str(start["id"])).chapters]
    assert "machine 4 looks itself up" in titles


def test_the_life_of_a_machine(orchard: TraceFile) -> None:
    story = story_of_machine(orchard, 3)
    (life,) = story.chapters
    told = words([life])
    assert life.title.startswith("life 1 of machine 3: node ")
    assert "has joined, and serves" in told
    assert "looked itself up" in told
    assert life.lines[-1].what == "crashes"
    assert "find_node" in life.ending
    at_users = words(story_of_machine(orchard, 1).chapters)
    assert f"put {APPLES_KEY.hex()[:12]}… (operation 0): ok" in at_users


def test_with_all_its_packets_the_life_is_longer(orchard: TraceFile) -> None:
    (short,) = story_of_machine(orchard, 3).chapters
    (long,) = story_of_machine(orchard, 3, with_packets=True).chapters
    assert len(long.lines) > len(short.lines)
    assert "ping → pong" in words([long])


def test_what_is_not_in_the_trace_is_said_to_be_so(orchard: TraceFile) -> None:
    with pytest.raises(NoSuchStory, match="no operation 99") as no_operation:
        story_of_operation(orchard, 99)
    assert "0 to 5" in no_operation.value.remedy
    with pytest.raises(NoSuchStory, match="no machine 99"):
        story_of_machine(orchard, 99)
    with pytest.raises(NoSuchStory, match="nothing in the trace"):
        story_of_key(orchard, "0" * 20)


def test_a_prefix_that_two_keys_share_is_not_enough(village: Village) -> None:
    a_get_in_two_hops(village)
    village.tell(5.0, "get", number=1, machine=0, key="01" + "0" * 62, began=5.0, outcome="NotFound")
    with pytest.raises(NoSuchStory, match="2 keys begin with 0"):
        story_of_key(village.file(), "0")
    assert story_of_key(village.file(), "01").title == f"key 01{'0' * 62}"


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


def test_the_loss_of_the_last_tombstone_is_told_to_its_key_only(village: Village) -> None:
    other = "1" * 64
    for number, key in enumerate((village.KEY, other)):
        village.tell(1.0, "forget", number=number, machine=0, key=key, began=0.9, outcome="ok")
        village.tell(2.0, "forget_lost", number=number, key=key)
    titles = [chapter.title for chapter in story_of_key(village.file(), village.KEY).chapters]
    assert titles[-1] == "the last tombstone is gone (operation 0)"
    assert len(titles) == 2
