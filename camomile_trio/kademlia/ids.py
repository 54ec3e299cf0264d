"""Identifiers of nodes and keys of values, and the XOR metric between them.

Rules of this file: an id is raw bytes, most significant first; its width is its length, 32 bytes in a real network and
1 or 2 in tests. Nothing here knows of endpoints, messages or time. Source: Maymounkov and Mazières, Kademlia (2002),
§2.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Iterable

from camomile_trio.errors import BadKey, BadNodeId

ID_BYTES = 32
ID_BITS = ID_BYTES * 8


class NodeId(bytes):
    """The id of a node, 32 bytes: the BLAKE2b-256 hash of its public key."""

    __slots__ = ()

    @classmethod
    def of(cls, public: bytes) -> NodeId:
        """The id of the node with this public key."""
        return _node_id(public)

    @classmethod
    def parse(cls, text: str) -> NodeId:
        """The id written as 64 hexadecimal digits, upper or lower case; `BadNodeId` for anything else."""
        raw = _from_hex(text)
        if raw is None:
            raise BadNodeId(f"a node id is 64 hexadecimal digits, not {text[:80]!r}")
        return cls(raw)

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"NodeId({self.hex()})"


class Key(bytes):
    """The key of a value: its BLAKE2b-256 hash, 32 bytes. A `bytes` with words of its own."""

    __slots__ = ()

    @classmethod
    def of(cls, value: bytes) -> Key:
        """The key of `value`."""
        return cls(hashlib.blake2b(value, digest_size=ID_BYTES).digest())

    @classmethod
    def parse(cls, text: str) -> Key:
        """The key written as 64 hexadecimal digits, upper or lower case; `BadKey` for anything else."""
        raw = _from_hex(text)
        if raw is None:
            raise BadKey(f"a key is 64 hexadecimal digits, not {text[:80]!r}")
        return cls(raw)

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"Key({self.hex()})"


# Twenty keys come with an answer, and they are nearly always known.
@functools.lru_cache(maxsize=8192)
def _node_id(public: bytes) -> NodeId:
    return NodeId(hashlib.blake2b(public, digest_size=ID_BYTES).digest())


def _from_hex(text: str) -> bytes | None:
    """The 32 bytes that 64 hexadecimal digits stand for; None for any other text."""
    if len(text) != 2 * ID_BYTES:
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    # fromhex skips white space, so the length of what came out counts.
    return raw if len(raw) == ID_BYTES else None


def as_int(identifier: bytes) -> int:
    """The identifier as an unsigned number: XOR of two such numbers is their distance."""
    return int.from_bytes(identifier, "big")


def distance(a: bytes, b: bytes) -> int:
    """The XOR distance of two ids of the same width (§2.1)."""
    return int.from_bytes(a, "big") ^ int.from_bytes(b, "big")


def bucket_index(own: bytes, other: bytes) -> int:
    """The bucket in which `own` keeps `other`: the position of the highest bit in which they differ, 0 to bits - 1.

    Bucket i covers the distances 2**i up to 2**(i + 1) - 1. `own` itself is in no bucket: ValueError.
    """
    apart = distance(own, other)
    if not apart:
        raise ValueError("an id is in no bucket of its own table")
    return apart.bit_length() - 1


def random_id_in_bucket(own: bytes, index: int, rng: random.Random) -> NodeId:
    """A random id at a distance from `own` that bucket `index` covers, the width of `own`."""
    apart = (1 << index) | rng.getrandbits(index) if index else 1
    return NodeId((as_int(own) ^ apart).to_bytes(len(own), "big"))


def closest(target: bytes, ids: Iterable[bytes], count: int) -> list[bytes]:
    """The `count` ids closest to `target`, closest first."""
    number = as_int(target)
    return sorted(ids, key=lambda identifier: as_int(identifier) ^ number)[:count]
