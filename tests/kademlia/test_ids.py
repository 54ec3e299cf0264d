"""Ids, keys and the distance between them.

Rules of this file: numbers small enough to be checked by eye, and the laws of the metric for all others.
"""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.errors import BadKey, BadNodeId
from camomile_trio.kademlia.ids import (
    ID_BITS,
    ID_BYTES,
    Key,
    NodeId,
    as_int,
    bucket_index,
    closest,
    distance,
    random_id_in_bucket,
)

MIND = "ABC, du är mina tankar".encode()
MIND_KEY = "bde0e9f6e9d3fabd5bf6849e179f0aee485630f6d5c1c4398517cc1543fb9386"

ids = st.binary(min_size=2, max_size=2)


def test_a_key_is_the_hash_that_classic_camomile_gives_to_the_value() -> None:
    assert Key.of(MIND).hex() == MIND_KEY
    assert Key.of(b"") == hashlib.blake2b(b"", digest_size=32).digest()


def test_a_key_is_read_in_upper_and_in_lower_case() -> None:
    assert Key.parse(MIND_KEY) == Key.parse(MIND_KEY.upper()) == Key.of(MIND)


def test_a_key_is_written_as_it_is_read() -> None:
    key = Key.of(MIND)
    assert str(key) == f"{key}" == MIND_KEY
    assert repr(key) == f"Key({MIND_KEY})"
    assert isinstance(Key.parse(str(key)), Key)


def test_a_node_id_is_written_as_it_is_read() -> None:
    node = NodeId.parse(MIND_KEY.upper())
    assert str(node) == f"{node}" == node.hex() == MIND_KEY
    assert repr(node) == f"NodeId({MIND_KEY})"
    assert node == bytes.fromhex(MIND_KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        MIND_KEY[:-1],
        MIND_KEY[:-2],
        MIND_KEY + "00",
        MIND_KEY[:-1] + "g",
        MIND_KEY[:-2] + "  ",  # bytes.fromhex would skip the white space
        MIND_KEY[:-1] + "\u0663",  # a digit, but not one of the sixteen
        "0x" + MIND_KEY[2:],
    ],
)
def test_what_is_not_64_hexadecimal_digits_is_neither_a_key_nor_a_node_id(text: str) -> None:
    with pytest.raises(BadKey, match="64 hexadecimal digits"):
        Key.parse(text)
    with pytest.raises(BadNodeId, match="64 hexadecimal digits"):
        NodeId.parse(text)


def test_a_monstrous_key_gives_a_short_error() -> None:
    with pytest.raises(BadKey) as caught:
        Key.parse("f" * 100_000)
    assert len(str(caught.value)) < 200


def test_distance_is_xor_with_the_first_byte_weighing_most() -> None:
    assert distance(b"\x01\x00", b"\x00\x01") == 0x0101
    assert distance(b"\x80\x00", b"\x00\x00") == 0x8000
    assert as_int(b"\x01\x02") == 0x0102


@given(ids, ids, ids)
def test_distance_is_a_metric_in_which_no_two_ids_are_equally_far(a: bytes, b: bytes, c: bytes) -> None:
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert (distance(a, b) == distance(a, c)) == (b == c)


@pytest.mark.parametrize(("other", "index"), [(0b0001, 0), (0b0010, 1), (0b0011, 1), (0b0100, 2), (0xFF, 7)])
def test_a_bucket_is_numbered_by_the_highest_bit_that_differs(other: int, index: int) -> None:
    assert bucket_index(b"\x00", bytes([other])) == index


def test_an_id_has_no_place_in_its_own_buckets() -> None:
    with pytest.raises(ValueError, match="own table"):
        bucket_index(b"\x07", b"\x07")


@given(ids, st.integers(0, 15), st.integers(0, 1000))
def test_a_random_id_in_a_bucket_is_in_that_bucket(own: bytes, index: int, seed: int) -> None:
    found = random_id_in_bucket(NodeId(own), index, random.Random(seed))
    assert len(found) == len(own)
    assert bucket_index(own, found) == index


def test_random_ids_reach_every_place_of_a_bucket() -> None:
    rng = random.Random(8118)
    found = {random_id_in_bucket(NodeId(b"\x00"), 3, rng)[0] for _ in range(400)}
    assert found == set(range(8, 16))


def test_a_real_id_has_256_buckets() -> None:
    assert ID_BITS == ID_BYTES * 8 == 256
    own = NodeId(bytes(ID_BYTES))
    assert bucket_index(own, random_id_in_bucket(own, 255, random.Random(1))) == 255


def test_the_closest_come_first_and_no_more_than_were_asked_for() -> None:
    assert closest(b"\x05", [b"\x00", b"\x04", b"\x07", b"\x05"], 3) == [b"\x05", b"\x04", b"\x07"]
    assert closest(b"\x05", [b"\x00"], 3) == [b"\x00"]
    assert closest(b"\x05", [], 3) == []
