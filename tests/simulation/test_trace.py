"""A trace is a hash over all that happened; told as JSON lines, it is the same run."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.run import simulate
from camomile_trio.simulation.trace import Happening, Trace
from camomile_trio.simulation.trace_file import writing
from tests.simulation.orchard import APPLES_KEY, plan

ALICE, BOB = Endpoint.parse("10.0.0.1:8118"), Endpoint.parse("10.0.0.2:8118")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trace of one run of the orchard."""
    path = tmp_path_factory.mktemp("orchard") / "trace.jsonl"
    with writing(path, plan()) as writer:
        writer.end(simulate(plan(), tell=writer.tell))
    return path


def lines(file: Path) -> list[Happening]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def packets(file: Path, kind: str) -> list[Happening]:
    """Those with a message of this kind."""
    return [each for each in lines(file) if each["event"] == "packet" and each.get("kind") == kind]


def test_equal_events_give_an_equal_digest_and_any_difference_another() -> None:
    def digest(time: float = 1.0, payload: bytes = b"hello", machine: int = 3) -> str:
        trace = Trace()
        trace.on_packet(time, ALICE, BOB, payload)
        trace.note(2.0, "crash", machine=machine)
        return trace.digest()

    assert digest() == digest()
    assert len({digest(), digest(time=1.5), digest(payload=b"hallo"), digest(machine=4)}) == 4


def test_it_counts_what_was_received() -> None:
    trace = Trace()
    trace.on_packet(1.0, ALICE, BOB, b"hello")
    trace.on_packet(1.0, BOB, ALICE, b"hi")
    trace.note(2.0, "crash", machine=1)
    assert (trace.messages, trace.bytes_received) == (2, 7)


def test_who_listens_changes_nothing(file: Path) -> None:
    assert lines(file)[-1]["trace"] == simulate(plan()).trace


def test_the_first_line_says_which_run_it_was_and_the_last_how_it_ended(file: Path) -> None:
    first, last = lines(file)[0], lines(file)[-1]
    assert (first["event"], first["scenario"], first["nodes"], first["seed"]) == ("run", "orchard", 5, 1)
    assert first["repeat"] == plan().command
    assert (last["event"], last["passed"]) == ("end", True)


def test_everything_is_told_in_the_order_in_which_it_happened(file: Path) -> None:
    times = [each["time"] for each in lines(file)]
    assert times == sorted(times, key=lambda time: float(str(time)))
    events = {str(each["event"]) for each in lines(file)}
    assert {"start", "ready", "packet", "lookup", "put", "get", "forget", "claim", "crash"} <= events


def test_a_packet_is_told_with_what_is_in_it(file: Path) -> None:
    find = packets(file, "find_value")[-1]
    assert find["key"] == APPLES_KEY.hex()
    assert find["from"] in range(5)
    back = {"number": find["number"], "from": find["to"], "to": find["from"]}
    assert any(each.items() >= back.items() for each in packets(file, "value"))
    stores = [each for each in packets(file, "store") if each["key"] == APPLES_KEY.hex()]
    records = stores[0]["records"]
    assert isinstance(records, list)
    assert (stores[0]["why"], stores[0]["size"], records[0]["kind"]) == ("publish", 8, "lease")
    assert {each["status"] for each in packets(file, "store_result")} == {"stored"}
    contacts = [each["contacts"] for each in packets(file, "node_list")]
    assert any(contacts)
    # What is long is cut: a pear of 3 kB is told by its size alone.
    assert max(len(json.dumps(each)) for each in lines(file)) < 1000


def test_a_handshake_is_told_with_who_begins_it_and_what_it_asks(file: Path) -> None:
    handshakes = [each for each in lines(file) if each.get("datagram") == "initiation"]
    assert all(each["kind"] in ("ping", "find_node", "find_value") for each in handshakes)
    assert all(len(str(each["id"])) == 16 for each in handshakes)
    asked = {(each["from"], each["to"], each["number"]) for each in handshakes}
    answers = [each for each in lines(file) if each.get("datagram") == "response"]
    assert {(each["to"], each["from"], each["number"]) for each in answers} <= asked


def test_everything_that_arrives_can_be_read() -> None:
    told: list[Happening] = []
    simulate(plan(), tell=told.append)
    found = [each for each in told if each["event"] == "packet"]
    assert {"hello", "hello_answer", "initiation", "response", "sealed", "stream_handshake", "stream"} <= {
        each["datagram"] for each in found
    }
    assert not [each for each in found if each["datagram"] == "unreadable" or "because" in each]


def test_what_is_really_sealed_is_told_as_sealed() -> None:
    told: list[Happening] = []
    outcome = simulate(attrs.evolve(plan(), has_real_crypto=True), tell=told.append)
    assert outcome.passed, outcome.surprises
    found = [each for each in told if each["event"] == "packet"]
    assert {"initiation", "response", "sealed"} <= {each["datagram"] for each in found}
    assert not [each for each in found if "kind" in each or "id" in each or "number" in each]
