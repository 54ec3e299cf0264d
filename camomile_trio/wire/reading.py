"""From the protobuf library's classes to checked messages: the reference decoder.

Rules of this file: what comes in has passed `shape.check_shape`, so each field is there at most as often as it may be
and has its own type. Every length, count, enum and range is checked; MalformedPacket is the one error. Source of the
fields: docs/protocol.md.
"""

from __future__ import annotations

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    Leave,
    Message,
    NodeList,
    Ping,
    Pong,
    Store,
    StoreResult,
    TooLarge,
    Value,
)
from camomile_trio.wire.checks import (
    check_digests,
    check_endpoint,
    check_flags,
    check_key,
    check_keys,
    check_node_id,
    check_publisher,
    check_records,
    check_store,
    known_durability,
    known_status,
)
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.rows import split_contacts
from camomile_trio.wire.shape import check_shape


def decode_reference(inner_untrusted: bytes) -> tuple[int, Message, int]:
    """The number, the message and the flags, in any layout that protobuf allows; MalformedPacket otherwise."""
    check_shape(inner_untrusted)
    try:
        raw = schema.Inner.parse(inner_untrusted)
    except (ValueError, TypeError, EOFError) as error:
        # What the library makes of something that passed the look is not ours to foresee.
        raise MalformedPacket("protobuf", str(error)) from None
    return raw.number, _message(raw), check_flags(raw.flags)


def _message(raw: schema.Inner) -> Message:
    if raw.ping is not None:
        return Ping()
    if raw.pong is not None:
        return Pong(check_endpoint(raw.pong.observed), raw.pong.clock)
    if raw.store is not None:
        return _store(raw.store)
    if raw.value is not None:
        return _value(raw.value)
    if raw.find_node is not None:
        return FindNode(check_node_id(raw.find_node.node_id, "target"))
    if raw.find_value is not None:
        return FindValue(check_key(raw.find_value.key), check_publisher(raw.find_value.publisher))
    if raw.node_list is not None:
        return NodeList(*split_contacts(raw.node_list.contacts4, raw.node_list.contacts6))
    if raw.store_result is not None:
        return _store_result(raw.store_result)
    if raw.have is not None:
        keys = check_keys(raw.have.keys)
        digests = check_digests(raw.have.digests, len(keys))
        return Have(keys, check_publisher(raw.have.publisher), digests, raw.have.is_round)
    if raw.have_result is not None:
        if not raw.have_result.holdings and not raw.have_result.alike:
            raise MalformedPacket("holdings")
        return HaveResult(tuple(map(_holding, raw.have_result.holdings)), raw.have_result.alike)
    if raw.too_large is not None:
        return TooLarge(raw.too_large.size)
    if raw.leave is not None:
        return Leave()
    raise MalformedPacket("no_message")


def _value(raw: schema.Value) -> Value:
    contacts, dropped = (
        split_contacts(raw.node_list.contacts4, raw.node_list.contacts6) if raw.node_list is not None else ((), 0)
    )
    return Value(raw.value or None, contacts, check_records(raw.records), raw.cached, dropped)


def _store(raw: schema.Store) -> Store:
    records = check_records(raw.records)
    return check_store(int(raw.class_), raw.key, raw.value, records, raw.cached, raw.name_contacts)


def _store_result(raw: schema.StoreResult) -> StoreResult:
    return StoreResult(
        known_status(int(raw.status)),
        known_durability(int(raw.durability)),
        check_records(raw.records),
        *split_contacts(raw.contacts4, raw.contacts6),
    )


def _holding(raw: schema.Holding) -> Holding:
    return Holding(check_key(raw.key), raw.has_value, check_records(raw.records), raw.classic)
