"""The checks that both decoders make: lengths, counts, enums and the forms of records and endpoints.

Rules of this file: plain bytes, no protobuf. Each check returns what it checked, with its type, or raises
MalformedPacket with the one word by which it is counted. Nothing here looks at signatures, or at where an endpoint
leads.
"""

from __future__ import annotations

from typing import Final

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, Key, NodeId
from camomile_trio.kademlia.messages import MAX_KEYS, Durability, StoreKind, StoreStatus
from camomile_trio.kademlia.records import FORMAT, RENEWABLE, ROW_BYTES, Kind, PublisherKey, RecordRow
from camomile_trio.kademlia.registers import DIGEST_BYTES

MAX_TOKEN_BYTES: Final = 16
NETWORK_BYTES: Final = 8
PUBLIC_KEY_BYTES: Final = 32

_STORE_KINDS = {int(kind): kind for kind in StoreKind}
_STATUSES = {int(status): status for status in StoreStatus}
_DURABILITIES = {int(durability): durability for durability in Durability}
# Format, kind and flags of every record that this version knows: the same rule as Record.from_row's.
_RECORD_HEADS = frozenset(bytes((FORMAT, kind, flags)) for kind in Kind for flags in (0, RENEWABLE))


def sized(field: bytes, size: int, name: str) -> bytes:
    """A field of exactly `size` bytes."""
    if len(field) != size:
        raise MalformedPacket(name)
    return field


def sized_or_empty(field: bytes, size: int, name: str) -> bytes:
    """A field of exactly `size` bytes, or none."""
    return sized(field, size, name) if field else field


def check_node_id(field: bytes, name: str) -> NodeId:
    return NodeId(sized(field, ID_BYTES, name))


def check_key(field: bytes) -> Key:
    return Key(sized(field, ID_BYTES, "key"))


def check_key_or_none(field: bytes) -> Key | None:
    return Key(sized(field, ID_BYTES, "key")) if field else None


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


def check_alike(bits: int) -> int:
    """A bit for each key that may be asked for."""
    if bits >> MAX_KEYS:
        raise MalformedPacket("alike")
    return bits


def check_publisher(field: bytes) -> PublisherKey | None:
    return PublisherKey(sized(field, PUBLIC_KEY_BYTES, "publisher")) if field else None


def check_token(field: bytes) -> bytes:
    if len(field) > MAX_TOKEN_BYTES:
        raise MalformedPacket("token")
    return field


def check_store_kind(number: int) -> StoreKind:
    kind = _STORE_KINDS.get(number)
    if kind is None:
        raise MalformedPacket("store_class")
    return kind


def known_status(number: int) -> StoreStatus:
    """The status; UNKNOWN for that of a later version, which is still a refusal."""
    return _STATUSES.get(number, StoreStatus.UNKNOWN)


def known_durability(number: int) -> Durability:
    """The durability; NONE for that of a later version, since it promises nothing that we know."""
    return _DURABILITIES.get(number, Durability.NONE)


def check_record(row_untrusted: bytes) -> RecordRow:
    """A record of a known format, kind and flags, its signature unchecked; else MalformedPacket."""
    if len(row_untrusted) != ROW_BYTES or row_untrusted[:3] not in _RECORD_HEADS:
        raise MalformedPacket("record")
    return RecordRow(row_untrusted)


def check_endpoint(endpoint_untrusted: bytes) -> Endpoint | None:
    """An endpoint of 6 or 18 bytes, IPv4-mapped ones as IPv4; None for an empty field; else MalformedPacket."""
    if not endpoint_untrusted:
        return None
    if len(endpoint_untrusted) not in (6, 18):
        raise MalformedPacket("endpoint")
    return Endpoint.of(endpoint_untrusted[:-2], int.from_bytes(endpoint_untrusted[-2:], "big"))
