"""The forms of records and endpoints; lengths and counts are tested through `decode_untrusted`."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import FORMAT, ROW_BYTES, Record
from camomile_trio.wire.checks import LONGEST_ROW, check_endpoint, check_records
from tests.wire.corpus import ROW
from tests.wire.strategies import rows

ALICE = Endpoint.parse("10.1.2.3:8118")
BOB = Endpoint.parse("[fd00::1]:258")

heads = st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3)) | st.tuples(*[st.integers(0, 255)] * 3)


@settings(max_examples=300)
@given(rows(), heads)
def test_a_record_is_taken_exactly_where_records_are_known_and_skipped_elsewhere(
    row: bytes, head: tuple[int, int, int]
) -> None:
    candidate = bytes(head) + row[3:]
    try:
        Record.from_row(candidate, Key(bytes(32)))
    except ValueError:
        assert check_records([row, candidate, row]) == (row, row)
    else:
        assert check_records([row, candidate, row]) == (row, candidate, row)


@given(st.integers(0, 255), st.integers(0, LONGEST_ROW + 200))
@example(FORMAT + 1, ROW_BYTES)
@example(FORMAT + 1, ROW_BYTES - 1)
@example(FORMAT + 1, LONGEST_ROW)
@example(FORMAT + 1, LONGEST_ROW + 1)
@example(FORMAT, ROW_BYTES + 1)
@example(FORMAT, ROW_BYTES)
def test_only_a_later_format_may_have_longer_rows_and_none_has_shorter_ones(form: int, size: int) -> None:
    candidate = (bytes([form]) + ROW[1:]).ljust(size, b"r")[:size]
    if size == ROW_BYTES or (form != FORMAT and ROW_BYTES < size <= LONGEST_ROW):
        assert check_records([candidate]) == ((candidate,) if form == FORMAT else ())
    else:
        with pytest.raises(MalformedPacket, match="record"):
            check_records([ROW, candidate])


def test_an_endpoint_has_6_or_18_bytes_or_is_absent() -> None:
    assert check_endpoint(b"") is None
    assert check_endpoint(bytes(ALICE)) == ALICE
    assert check_endpoint(bytes(BOB)) == BOB
    assert check_endpoint(bytes(10) + b"\xff\xff" + ALICE) == ALICE
    for size in (1, 5, 7, 17, 19):
        with pytest.raises(MalformedPacket, match="endpoint"):
            check_endpoint(bytes(size))
