"""The forms of records and endpoints; lengths and counts are tested through `decode_untrusted`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import ROW_BYTES, Record
from camomile_trio.wire.checks import check_endpoint, check_record
from tests.wire.strategies import rows

ALICE = Endpoint.parse("10.1.2.3:8118")
BOB = Endpoint.parse("[fd00::1]:258")


@settings(max_examples=200)
@given(
    rows(),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
    st.sampled_from([ROW_BYTES, ROW_BYTES - 1, ROW_BYTES + 1]),
)
def test_a_record_is_known_here_exactly_where_records_are_known(
    row: bytes, form: int, kind: int, flags: int, size: int
) -> None:
    for head in (row[:3], bytes([form, kind, flags]), bytes([form % 2, kind % 4, flags % 4])):
        candidate = (head + row[3:] + b"\0")[:size]
        try:
            Record.from_row(candidate, Key(bytes(32)))
        except ValueError:
            with pytest.raises(MalformedPacket, match="record"):
                check_record(candidate)
        else:
            assert check_record(candidate) == candidate


def test_an_endpoint_has_6_or_18_bytes_or_is_absent() -> None:
    assert check_endpoint(b"") is None
    assert check_endpoint(bytes(ALICE)) == ALICE
    assert check_endpoint(bytes(BOB)) == BOB
    assert check_endpoint(bytes(10) + b"\xff\xff" + ALICE) == ALICE
    for size in (1, 5, 7, 17, 19):
        with pytest.raises(MalformedPacket, match="endpoint"):
            check_endpoint(bytes(size))
