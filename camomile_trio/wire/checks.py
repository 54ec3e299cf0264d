"""The checks that both decoders make: lengths, counts, enums and the forms of records and endpoints.

Rules of this file: plain bytes, no protobuf. Each check returns what it checked, with its type, or raises
MalformedPacket with the one word by which it is counted. Nothing here looks at signatures, or at where an endpoint
leads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, Key, NodeId
from camomile_trio.kademlia.messages import MAX_KEYS, Durability, Store, StoreKind, StoreStatus
from camomile_trio.kademlia.records import FORMAT, RENEWABLE, ROW_BYTES, Kind, PublisherKey, RecordRow
from camomile_trio.kademlia.registers import DIGEST_BYTES

PUBLIC_KEY_BYTES: Final = 32
LONGEST_ROW: Final = 512  # bytes, of a record of a later format

_STORE_KINDS = {int(kind): kind for kind in StoreKind}
STATUSES: Final = {int(status): status for status in StoreStatus}
DURABILITIES: Final = {int(durability): durability for durability in Durability}
# Format, kind and flags of every record that this version knows: the same rule as Record.from_row's.
RECORD_HEADS: Final = frozenset(bytes((FORMAT, kind, flags)) for kind in Kind for flags in (0, RENEWABLE))


def sized(field: bytes, size: int, name: str) -> bytes:
    """A field of exactly `size` bytes."""
    if len(field) != size:
        raise MalformedPacket(name)
    return field


def check_node_id(field: bytes, name: str) -> NodeId:
    return NodeId(sized(field, ID_BYTES, name))


def check_key(field: bytes) -> Key:
    return Key(sized(field, ID_BYTES, "key"))


def check_keys(packed: bytes) -> tuple[Key, ...]:
    """1 to 32 keys, one behind the other."""
    count, rest = divmod(len(packed), ID_BYTES)
    if rest or not 1 <= count <= MAX_KEYS:
        raise MalformedPacket("keys")
    return tuple(Key(packed[start : start + ID_BYTES]) for start in range(0, len(packed), ID_BYTES))


def check_digests(packed: bytes, keys: int) -> tuple[bytes, ...]:
    """None, or one for each of so many keys."""
    if not packed:
        return ()
    if len(packed) != keys * DIGEST_BYTES:
        raise MalformedPacket("digests")
    return tuple(packed[start : start + DIGEST_BYTES] for start in range(0, len(packed), DIGEST_BYTES))


def check_flags(bits: int) -> int:
    """Eight flags; unknown ones are left alone."""
    if bits >> 8:
        raise MalformedPacket("flags")
    return bits


def check_publisher(field: bytes) -> PublisherKey | None:
    return PublisherKey(sized(field, PUBLIC_KEY_BYTES, "publisher")) if field else None


def known_status(number: int) -> StoreStatus:
    """The status; UNKNOWN for that of a later version, which is still a refusal."""
    return STATUSES.get(number, StoreStatus.UNKNOWN)


def known_durability(number: int) -> Durability:
    """The durability; NONE for that of a later version, since it promises nothing that we know."""
    return DURABILITIES.get(number, Durability.NONE)


def check_records(rows_untrusted: Iterable[bytes]) -> tuple[RecordRow, ...]:
    """The records of a known format, kind and flags, their signatures unchecked.

    A later version may have others. They are skipped, so that the rest of its message is taken. MalformedPacket for a
    row that is no record of any version: format 1 always has 123 bytes, a later one may have more.
    """
    rows = []
    for row in rows_untrusted:
        size = len(row)
        if size == ROW_BYTES:
            if row[:3] in RECORD_HEADS:
                rows.append(RecordRow(row))
        elif not ROW_BYTES < size <= LONGEST_ROW or row[0] == FORMAT:
            raise MalformedPacket("record")
    return tuple(rows)


def check_store(
    kind: int, key: bytes, value: bytes, records: tuple[RecordRow, ...], cached: bool, names_contacts: bool
) -> Store:
    """A STORE is about a value or a key, and has a record that this version knows."""
    if not (value or key):
        raise MalformedPacket("empty_store")
    if not records:
        raise MalformedPacket("records")
    known = _STORE_KINDS.get(kind)
    if known is None:
        raise MalformedPacket("store_class")
    return Store(known, check_key(key) if key else None, value or None, records, cached, names_contacts)


def check_endpoint(endpoint_untrusted: bytes) -> Endpoint | None:
    """An endpoint of 6 or 18 bytes, IPv4-mapped ones as IPv4; None for an empty field; else MalformedPacket."""
    if not endpoint_untrusted:
        return None
    if len(endpoint_untrusted) not in (6, 18):
        raise MalformedPacket("endpoint")
    return Endpoint.of(endpoint_untrusted[:-2], int.from_bytes(endpoint_untrusted[-2:], "big"))
