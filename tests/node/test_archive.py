"""The file of an export: what was written comes back, and nothing that was not signed gets through."""

from __future__ import annotations

import json
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.identity import KeyPair, network_id, sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.node import archive
from camomile_trio.node.archive import BadEntry, End, Entry, Header, check, entry_line, read_line

NOW = 1_800_000_000_000
HOUR = 3_600_000
NETWORK = network_id("meadow")
ALICE = KeyPair.new(random.Random(1))
VALUE = b"a value that lasts"
KEY = Key.of(VALUE)


def lease(*, now: int = NOW, network: bytes = NETWORK) -> RecordRow:
    unsigned = leases.new_lease(KEY, ALICE.public, seen=0, now=now, life_ms=HOUR)
    return sign_record(unsigned, ALICE, network).row()


def tombstone() -> RecordRow:
    return sign_record(leases.new_tombstone(KEY, ALICE.public, seen=0, now=NOW), ALICE, NETWORK).row()


def reasons(entry: Entry, *, now: int = NOW) -> list[str]:
    return check(entry, NETWORK, now)[1]


@given(st.binary(min_size=1, max_size=300), st.lists(st.binary(min_size=123, max_size=123), min_size=1, max_size=32))
def test_what_was_written_comes_back(value: bytes, rows: list[bytes]) -> None:
    entry = Entry(Key.of(value), tuple(map(RecordRow, rows)), value)
    line = entry_line(entry)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= archive.longest_line(len(value))
    assert read_line(line, max_value_size=300) == entry


@given(
    st.binary(max_size=400) | st.recursive(st.none() | st.integers(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_other_line_is_one_error(line: bytes) -> None:
    with pytest.raises(BadEntry):
        read_line(line, max_value_size=100)


@given(st.data())
def test_a_line_with_any_byte_changed_is_refused_or_says_something_else(data: st.DataObject) -> None:
    line = bytearray(entry_line(Entry(KEY, (lease(),), VALUE)))
    place = data.draw(st.integers(0, len(line) - 2))
    line[place] ^= data.draw(st.integers(1, 255))
    try:
        entry = read_line(bytes(line), max_value_size=100)
        assert isinstance(entry, Entry)
        good, _ = check(entry, NETWORK, NOW)
    except BadEntry:
        return
    # A change that base64 or JSON does not notice changes nothing.
    assert [record.row() for record in good] in ([], [lease()])
    assert entry.value in {VALUE, None}


def test_header_and_end_come_back() -> None:
    assert read_line(archive.header_line("mead öw"), max_value_size=1) == Header("mead öw")
    assert read_line(archive.end_line(7), max_value_size=1) == End(7)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"format": "a diary", "version": 1, "network": "n"}, "not an export"),
        ({"format": archive.FORMAT, "version": 2, "network": "n"}, "unknown version"),
        ({"format": archive.FORMAT, "version": True, "network": "n"}, "unknown version"),
        ({"format": archive.FORMAT, "version": 1, "network": ""}, "malformed"),
        ({"key": "00" * 32, "records": []}, "malformed"),
        ({"key": "00" * 32, "records": ["A" * 164] * (archive.MOST_RECORDS + 1)}, "malformed"),
        ({"key": "00" * 32, "records": ["AAAA"]}, "malformed"),
        ({"key": "00" * 31, "records": ["A" * 164]}, "malformed"),
        ({"key": "00" * 32, "records": [5]}, "malformed"),
        ({"key": "00" * 32, "records": ["A" * 164], "value": None}, "malformed"),
        ({"key": "00" * 32, "records": ["A" * 164], "value": ""}, "malformed"),
        ({"key": "00" * 32, "records": ["A" * 164], "value": "A" * 400}, "too large"),
        ({"key": "00" * 32, "records": ["A" * 164], "note": "hello"}, "malformed"),
    ],
)
def test_a_line_of_another_form_says_why(line: object, reason: str) -> None:
    with pytest.raises(BadEntry) as refused:
        read_line(json.dumps(line).encode(), max_value_size=100)
    assert refused.value.reason == reason


def test_deep_nesting_and_long_numbers_are_no_trouble() -> None:
    for line in (b"[" * 5000, b"9" * 5000, b'{"entries":' + b"9" * 5000 + b"}"):
        with pytest.raises(BadEntry):
            read_line(line, max_value_size=10_000)


def test_what_is_good_is_good() -> None:
    good, refused = check(Entry(KEY, (lease(), tombstone()), VALUE), NETWORK, NOW)
    assert [record.row() for record in good] == [lease(), tombstone()]
    assert refused == []


def test_a_value_that_is_not_the_keys_condemns_the_entry() -> None:
    with pytest.raises(BadEntry) as refused:
        check(Entry(KEY, (lease(),), VALUE + b"!"), NETWORK, NOW)
    assert refused.value.reason == "wrong value"


def test_each_record_is_judged_by_itself() -> None:
    forged = RecordRow(lease()[:-1] + bytes([lease()[-1] ^ 1]))
    elsewhere = lease(network=network_id("another"))
    early = lease(now=NOW + HOUR)
    assert reasons(Entry(KEY, (forged, elsewhere, early, lease()), VALUE)) == [
        "bad signature",
        "bad signature",
        "not yet valid",
    ]
    assert reasons(Entry(KEY, (lease(),), VALUE), now=NOW + HOUR) == ["expired"]
    assert reasons(Entry(KEY, (lease(),), None)) == ["value missing"]
    assert reasons(Entry(KEY, (tombstone(),), None)) == []


def test_a_lease_that_is_longer_than_any_may_be_is_refused_whoever_signed_it() -> None:
    unsigned = leases.new_lease(KEY, ALICE.public, seen=0, now=NOW, life_ms=HOUR)
    unsigned = attrs.evolve(unsigned, expires=NOW + 25 * HOUR)
    assert reasons(Entry(KEY, (sign_record(unsigned, ALICE, NETWORK).row(),), VALUE)) == ["bad terms"]
