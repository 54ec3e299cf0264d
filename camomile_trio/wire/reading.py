"""From the protobuf library's classes to checked messages: the reference decoder.

Rules of this file: what comes in has passed `shape.check_shape`, so each field is there at most as often as it may be
and has its own type. Every length, count, enum and range is checked; MalformedPacket is the one error. A packet
without a version is a classic one, and has none of the fields that classic nodes do not know. Source of the fields:
docs/protocol.md.
"""

from __future__ import annotations

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, NodeId
from camomile_trio.kademlia.messages import (
    CHALLENGE_BYTES,
    MAX_CONTACTS,
    SESSION_BYTES,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    Leave,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreResult,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import SIGNATURE_BYTES, RecordRow
from camomile_trio.wire.checks import (
    NETWORK_BYTES,
    PUBLIC_KEY_BYTES,
    check_alike,
    check_digests,
    check_endpoint,
    check_key,
    check_key_or_none,
    check_keys,
    check_node_id,
    check_publisher,
    check_record,
    check_store_kind,
    check_token,
    known_durability,
    known_status,
    sized,
    sized_or_empty,
)
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.rows import split_contacts4, split_contacts6
from camomile_trio.wire.shape import check_shape


def decode_reference(packet_untrusted: bytes) -> Packet:
    """The checked packet in any layout that protobuf allows; MalformedPacket otherwise."""
    check_shape(packet_untrusted)
    try:
        raw = schema.Packet.parse(packet_untrusted)
    except (ValueError, TypeError, EOFError) as error:
        # What the library makes of something that passed the look is not ours to foresee.
        raise MalformedPacket("protobuf", str(error)) from None
    is_classic = raw.version == 0
    if is_classic:
        _refuse_if(raw.network, raw.advertised, raw.flags, raw.padding)
    return Packet(
        session=sized(raw.session_id, SESSION_BYTES, "session"),
        sender=check_node_id(raw.sender_id, "sender"),
        message=_message(raw, is_classic),
        version=raw.version,
        network=sized_or_empty(raw.network, NETWORK_BYTES, "network"),
        advertised=check_endpoint(raw.advertised),
        flags=raw.flags,
        padding=len(raw.padding),
    )


def _message(raw: schema.Packet, is_classic: bool) -> Message:
    if raw.find_node is not None:
        return FindNode(check_node_id(raw.find_node.node_id, "target"))
    if raw.node_list is not None:
        contacts, dropped = _contacts(raw.node_list, is_classic)
        return NodeList(contacts, check_token(raw.node_list.write_token), dropped)
    if raw.find_value is not None:
        return _find_value(raw.find_value, is_classic)
    if raw.value is not None:
        return _value(raw.value, is_classic)
    if raw.store is not None:
        return _store(raw.store, is_classic)
    if raw.ping is not None:
        return Ping(sized(raw.ping.challenge, CHALLENGE_BYTES, "challenge"))
    if raw.pong is not None:
        return _pong(raw.pong, is_classic)
    message = _message_of_ours(raw)
    if is_classic:
        raise MalformedPacket("extension_without_version")
    return message


def _message_of_ours(raw: schema.Packet) -> Message:
    if raw.store_result is not None:
        return _store_result(raw.store_result)
    if raw.have is not None:
        keys = check_keys(raw.have.keys)
        digests = check_digests(raw.have.digests, len(keys))
        return Have(keys, check_publisher(raw.have.publisher), digests, raw.have.is_round)
    if raw.have_result is not None:
        if not raw.have_result.holdings and not raw.have_result.alike:
            raise MalformedPacket("holdings")
        return HaveResult(tuple(map(_holding, raw.have_result.holdings)), check_alike(raw.have_result.alike))
    if raw.too_large is not None:
        return TooLarge(raw.too_large.size)
    if raw.leave is not None:
        return Leave()
    raise MalformedPacket("no_message" if raw.sealed is None else "unsupported")


def _pong(raw: schema.Pong, is_classic: bool) -> Pong:
    if is_classic:
        _refuse_if(raw.public_key, raw.signature, raw.observed, raw.clock is not None)
    return Pong(
        challenge=sized(raw.challenge, CHALLENGE_BYTES, "challenge"),
        public_key=sized_or_empty(raw.public_key, PUBLIC_KEY_BYTES, "public_key"),
        signature=sized_or_empty(raw.signature, SIGNATURE_BYTES, "signature"),
        observed=check_endpoint(raw.observed),
        clock=raw.clock,
    )


def _find_value(raw: schema.FindValue, is_classic: bool) -> FindValue:
    if is_classic:
        _refuse_if(raw.publisher)
    return FindValue(check_key(raw.key), check_publisher(raw.publisher))


def _value(raw: schema.Value, is_classic: bool) -> Value:
    if is_classic:
        _refuse_if(raw.records, raw.cached, raw.write_token)
    contacts, dropped = _contacts(raw.node_list, is_classic) if raw.node_list is not None else ((), 0)
    return Value(
        key=check_key_or_none(raw.key),
        value=raw.value or None,
        contacts=contacts,
        records=_records(raw.records),
        cached=raw.cached,
        token=check_token(raw.write_token),
        dropped=dropped,
    )


def _store(raw: schema.Store, is_classic: bool) -> Store:
    if is_classic:
        _refuse_if(raw.records, raw.write_token, raw.cached, raw.name_contacts)
    if not raw.value and not (raw.key and raw.records):
        raise MalformedPacket("empty_store")
    return Store(
        kind=check_store_kind(int(raw.class_)),
        key=check_key_or_none(raw.key),
        value=raw.value or None,
        records=_records(raw.records),
        token=check_token(raw.write_token),
        cached=raw.cached,
        names_contacts=raw.name_contacts,
    )


def _store_result(raw: schema.StoreResult) -> StoreResult:
    contacts, dropped = _rows(raw.contacts4, raw.contacts6)
    return StoreResult(
        known_status(int(raw.status)),
        known_durability(int(raw.durability)),
        _records(raw.records),
        contacts,
        dropped,
    )


def _holding(raw: schema.Holding) -> Holding:
    return Holding(check_key(raw.key), raw.has_value, _records(raw.records), raw.classic)


def _contacts(raw: schema.NodeList, is_classic: bool) -> tuple[tuple[Contact, ...], int]:
    """The sensible contacts of a list, in whichever of its three forms, and how many others there were."""
    if is_classic:
        _refuse_if(raw.contacts4, raw.contacts6, raw.write_token)
    nodes = tuple(contact for node in raw.nodes if (contact := _contact(node)) is not None)
    rows, dropped = _rows(raw.contacts4, raw.contacts6)
    if len(raw.nodes) + len(rows) + dropped > MAX_CONTACTS:
        raise MalformedPacket("too_many_contacts")
    return nodes + rows, dropped + len(raw.nodes) - len(nodes)


def _rows(rows4_untrusted: bytes, rows6_untrusted: bytes) -> tuple[tuple[Contact, ...], int]:
    """The sensible contacts in packed rows, and how many others there were."""
    contacts, dropped = split_contacts4(rows4_untrusted)
    contacts6, dropped6 = split_contacts6(rows6_untrusted)
    dropped += dropped6
    if len(contacts) + len(contacts6) + dropped > MAX_CONTACTS:
        raise MalformedPacket("too_many_contacts")
    return (*contacts, *contacts6), dropped


def _contact(raw: schema.NodeInfo) -> Contact | None:
    """The contact, or None for one that makes no sense. Classic nodes send such: an empty ip for themselves."""
    if len(raw.node_id) != ID_BYTES or len(raw.ip) not in (4, 16) or not 0 < raw.port <= 0xFFFF:
        return None
    return Contact(NodeId(raw.node_id), Endpoint.of(raw.ip, raw.port))


def _records(rows_untrusted: list[bytes]) -> tuple[RecordRow, ...]:
    return tuple(map(check_record, rows_untrusted))


def _refuse_if(*extensions: object) -> None:
    """Refuses a packet without a version in which any of these fields has a content."""
    if any(extensions):
        raise MalformedPacket("extension_without_version")
