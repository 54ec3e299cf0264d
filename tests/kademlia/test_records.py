"""Records: the bytes that are signed and sent, and the total order between two of them (rules 1 and 2)."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.kademlia.records import ROW_BYTES, Kind, PublisherKey, Record
from tests.kademlia.record_builders import ALICE, DAY, HOUR, KEY, NOW, lease, tombstone

U64 = st.integers(0, 2**64 - 1)
RECORDS = st.builds(
    Record,
    key=st.just(KEY),
    kind=st.sampled_from(Kind),
    flags=st.integers(0, 1),
    publisher=st.binary(min_size=32, max_size=32).map(PublisherKey),
    seq=U64,
    issued=U64,
    expires=U64,
    signature=st.binary(min_size=64, max_size=64),
)


def test_the_signed_bytes_are_those_of_rule_1_in_their_order() -> None:
    network = bytes(range(32))
    record = lease(seq=5, issued=NOW, life=HOUR)
    form, kind, flags = 1, 1, 1
    expected = b"camomile record\0" + bytes([form, kind, flags]) + network + KEY + ALICE
    expected += struct.pack(">QQQ", 5, NOW, NOW + HOUR)
    assert record.signed_bytes(network) == expected


def test_a_tombstone_and_a_lease_that_may_not_be_renewed_sign_other_bytes() -> None:
    network = bytes(32)
    assert tombstone().signed_bytes(network)[16:19] == b"\x01\x02\x00"
    assert lease(renewable=False).signed_bytes(network)[16:19] == b"\x01\x01\x00"


def test_a_row_leaves_out_key_and_network_and_ends_with_the_signature() -> None:
    record = lease(signature=b"\x99" * 64)
    row = record.row()
    assert len(row) == ROW_BYTES == 123
    assert row == record.signed_bytes(bytes(32))[16:19] + ALICE + record.signed_bytes(bytes(32))[-24:] + b"\x99" * 64


@settings(max_examples=100, deadline=None)
@given(RECORDS)
def test_a_record_survives_its_row(record: Record) -> None:
    assert Record.from_row(record.row(), KEY) == record


@pytest.mark.parametrize(
    ("offset", "byte"),
    [(0, 0), (0, 2), (1, 0), (1, 3), (2, 2), (2, 0x81)],
    ids=["format 0", "format 2", "kind 0", "kind 3", "flag 1", "flag 7"],
)
def test_a_row_of_an_unknown_form_is_no_record(offset: int, byte: int) -> None:
    row = bytearray(lease().row())
    row[offset] = byte
    with pytest.raises(ValueError, match=r"format|kind|flags"):
        Record.from_row(bytes(row), KEY)


@pytest.mark.parametrize("length", [0, 122, 124])
def test_a_row_of_another_length_is_no_record(length: int) -> None:
    with pytest.raises(ValueError, match="123 bytes"):
        Record.from_row(bytes(length), KEY)


def test_a_greater_seq_wins_over_everything_else() -> None:
    assert lease(seq=2, life=HOUR).rank > tombstone(seq=1).rank
    assert lease(seq=2, life=HOUR).rank > lease(seq=1, life=DAY).rank


def test_of_one_seq_the_tombstone_wins_over_the_lease() -> None:
    # This lease lasts longer than the tombstone, which only a forger of clocks can do, and loses all the same.
    assert tombstone(seq=1).rank > lease(seq=1, issued=NOW + 7 * DAY).rank


def test_of_one_seq_and_kind_the_later_expiry_wins() -> None:
    assert lease(seq=1, life=2 * HOUR, signature=bytes(64)).rank > lease(seq=1, life=HOUR, signature=b"\xff" * 64).rank


def test_of_one_stamp_the_signed_bytes_decide_and_then_the_signature() -> None:
    assert lease(renewable=True).rank > lease(renewable=False, signature=b"\xff" * 64).rank
    assert lease(issued=NOW, life=HOUR).rank > lease(issued=NOW - HOUR, life=2 * HOUR).rank
    assert lease(signature=b"\x01" * 64).rank > lease(signature=bytes(64)).rank


def test_two_renewals_of_one_moment_have_one_stamp() -> None:
    assert lease(issued=NOW, life=HOUR).stamp == lease(issued=NOW - HOUR, life=2 * HOUR).stamp
    assert len({lease(seq=1).stamp, lease(seq=2).stamp, lease(seq=1, life=HOUR).stamp, tombstone(seq=1).stamp}) == 4


SIMILAR = st.builds(
    lease,
    seq=st.integers(1, 2),
    issued=st.integers(0, 2),
    life=st.integers(0, 2),
    renewable=st.booleans(),
    signature=st.sampled_from([bytes(64), b"\x01" * 64]),
) | st.builds(tombstone, seq=st.integers(1, 2), issued=st.integers(0, 2), life=st.integers(0, 2))


@settings(max_examples=100, deadline=None)
@given(st.lists(SIMILAR, min_size=2, max_size=6))
def test_the_order_is_total(records: list[Record]) -> None:
    for one, other in itertools.combinations(records, 2):
        assert (one.rank == other.rank) == (one == other)
    assert len({record.rank for record in records}) == len(set(records))


def test_only_a_lease_that_says_so_may_be_renewed() -> None:
    assert lease(renewable=True).is_renewable
    assert not lease(renewable=False).is_renewable
    assert not Record(KEY, Kind.TOMBSTONE, 1, ALICE, 1, NOW, NOW + HOUR).is_renewable
