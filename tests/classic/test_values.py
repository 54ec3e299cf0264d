"""What classic nodes can hold, and how long it is known that they replicated a value."""

from __future__ import annotations

import pytest

from camomile_trio.classic.values import MAX_REPLICATED, Replicated, is_for_classic
from camomile_trio.kademlia.ids import Key


@pytest.mark.parametrize(
    ("value", "is_taken"),
    [
        (b"", False),
        (b"a", True),
        ("ABC, du är mina tankar".encode(), True),
        (b"x" * 1000, True),
        (b"x" * 1001, False),
        (b"\xff\xfe", False),
        ("ä".encode()[:1], False),
        (b"\x00", True),
    ],
)
def test_a_classic_node_takes_up_to_1000_bytes_of_utf_8(value: bytes, is_taken: bool) -> None:
    assert is_for_classic(value) is is_taken


def test_of_too_many_values_those_that_were_replicated_last_are_known() -> None:
    replicated = Replicated()
    keys = [Key(number.to_bytes(32, "big")) for number in range(MAX_REPLICATED + 2)]
    for number, key in enumerate(keys):
        replicated.add(key, float(number))
        replicated.add(keys[0], float(number))
    assert len(replicated) == MAX_REPLICATED
    assert [replicated.is_since(key, -1.0) for key in (*keys[:4], keys[-1])] == [True, False, False, True, True]
    assert not replicated.is_since(keys[0], float(len(keys) - 1)), "at that time, and not after it"
