"""From messages to the protobuf library's classes and to bytes: the reference encoder.

Rules of this file: one message has one encoding, its fields in ascending order. Version 0 is the classic form and has
no field that classic nodes do not know: what they cannot say is left out. What has no classic form at all is a bug of
ours: ValueError. Messages are values that the rest of the node made, so lengths are not checked again. Source of the
fields: docs/protocol.md.
"""

from __future__ import annotations

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    Leave,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreResult,
    TooLarge,
    Value,
)
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.rows import pack_contacts


def encode_reference(packet: Packet) -> bytes:
    """The bytes of `packet`, made by the protobuf library."""
    if packet.version == 0:
        raw = schema.Packet(session_id=packet.session, sender_id=packet.sender)
    else:
        raw = schema.Packet(
            session_id=packet.session,
            sender_id=packet.sender,
            version=packet.version,
            network=packet.network,
            advertised=packet.advertised or b"",
            flags=packet.flags,
            padding=bytes(packet.padding),
        )
    message = packet.message
    if isinstance(message, StoreResult | Have | HaveResult | TooLarge | Leave):
        if packet.version == 0:
            raise ValueError(f"a {type(message).__name__} has no classic form")
        # The library writes fields in the order of the schema, where a oneof stands together. Protobuf allows a packet
        # to be put together from parts, so the field numbers above the padding's come as a part of their own.
        return bytes(raw) + bytes(_message_of_ours(message))
    _add_classic_message(raw, message, packet.version == 0)
    return bytes(raw)


def _add_classic_message(
    raw: schema.Packet,
    message: Ping | Pong | Store | Value | FindNode | FindValue | NodeList,
    is_classic: bool,
) -> None:
    match message:
        case Ping(challenge):
            raw.ping = schema.Ping(challenge=challenge)
        case Pong():
            raw.pong = _pong(message, is_classic)
        case Store():
            raw.store = _store(message, is_classic)
        case Value():
            raw.value = _value(message, is_classic)
        case FindNode(target):
            raw.find_node = schema.FindNode(node_id=target)
        case FindValue(key, publisher):
            raw.find_value = schema.FindValue(key=key, publisher=b"" if is_classic else publisher or b"")
        case NodeList(contacts, token):
            raw.node_list = _node_list(contacts, is_classic)
            raw.node_list.write_token = b"" if is_classic else token


def _message_of_ours(message: StoreResult | Have | HaveResult | TooLarge | Leave) -> schema.Packet:
    match message:
        case StoreResult(status, durability, records, contacts):
            contacts4, contacts6 = pack_contacts(contacts)
            return schema.Packet(
                store_result=schema.StoreResult(
                    status=schema.StoreStatus(status),
                    durability=schema.Durability(durability),
                    records=list[bytes](records),
                    contacts4=contacts4,
                    contacts6=contacts6,
                )
            )
        case Have(keys, publisher, digests, is_round):
            have = schema.Have(
                keys=b"".join(keys), publisher=publisher or b"", digests=b"".join(digests), is_round=is_round
            )
            return schema.Packet(have=have)
        case HaveResult(holdings, alike):
            return schema.Packet(have_result=schema.HaveResult(holdings=list(map(_holding, holdings)), alike=alike))
        case TooLarge(size):
            return schema.Packet(too_large=schema.TooLarge(size=size))
        case Leave():
            return schema.Packet(leave=schema.Leave())


def _pong(pong: Pong, is_classic: bool) -> schema.Pong:
    if is_classic:
        return schema.Pong(challenge=pong.challenge)
    return schema.Pong(
        challenge=pong.challenge,
        public_key=pong.public_key,
        signature=pong.signature,
        observed=pong.observed or b"",
        clock=pong.clock,
    )


def _store(store: Store, is_classic: bool) -> schema.Store:
    raw = schema.Store(class_=schema.StoreClass(store.kind), value=store.value or b"")
    if is_classic:
        if store.value is None:
            raise ValueError("a store without a value has no classic form")
        return raw
    if store.value is None:
        # With a value the key does not travel: the receiver must hash the value anyway, and 34 bytes decide whether
        # a value of 1000 bytes fits into a datagram.
        raw.key = store.key or b""
    raw.records = list(store.records)
    raw.write_token = store.token
    raw.cached = store.cached
    raw.name_contacts = store.names_contacts
    return raw


def _value(value: Value, is_classic: bool) -> schema.Value:
    if is_classic:
        # Classic nodes send a list with a hit too, an empty one.
        return schema.Value(
            key=value.key or b"", value=value.value or b"", node_list=_node_list(value.contacts, is_classic)
        )
    return schema.Value(
        value=value.value or b"",
        node_list=_node_list(value.contacts, is_classic) if value.contacts else None,
        records=list(value.records),
        cached=value.cached,
        write_token=value.token,
    )


def _holding(holding: Holding) -> schema.Holding:
    return schema.Holding(
        key=holding.key, has_value=holding.has_value, records=list(holding.records), classic=holding.classic
    )


def _node_list(contacts: tuple[Contact, ...], is_classic: bool) -> schema.NodeList:
    if is_classic:
        return schema.NodeList(
            nodes=[
                schema.NodeInfo(node_id=contact.id, ip=contact.endpoint.ip, port=contact.endpoint.port)
                for contact in contacts
            ]
        )
    contacts4, contacts6 = pack_contacts(contacts)
    return schema.NodeList(contacts4=contacts4, contacts6=contacts6)
