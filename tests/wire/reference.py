"""The encoder of the protobuf library, for comparison: messages as the schema's classes, and their bytes.

Rules of this file: it knows fields by the names that schemas/packet.proto gives them, and no numbers.
"""

from __future__ import annotations

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
from camomile_trio.wire.generated import camomile as schema
from camomile_trio.wire.rows import pack_contacts


def encode_reference(number: int, message: Message, flags: int) -> bytes:
    raw = schema.Inner(number=number, flags=flags)
    match message:
        case Ping():
            raw.ping = schema.Ping()
        case Pong(observed, clock):
            raw.pong = schema.Pong(observed=observed or b"", clock=clock)
        case Store():
            raw.store = _store(message)
        case Value():
            raw.value = _value(message)
        case FindNode(target):
            raw.find_node = schema.FindNode(node_id=target)
        case FindValue(key, publisher):
            raw.find_value = schema.FindValue(key=key, publisher=publisher or b"")
        case NodeList():
            raw.node_list = _node_list(message)
        case StoreResult():
            raw.store_result = _store_result(message)
        case Have():
            raw.have = _have(message)
        case HaveResult(holdings, alike):
            raw.have_result = schema.HaveResult(holdings=list(map(_holding, holdings)), alike=alike)
        case TooLarge(size):
            raw.too_large = schema.TooLarge(size=size)
        case Leave():
            raw.leave = schema.Leave()
    return bytes(raw)


def _store(store: Store) -> schema.Store:
    return schema.Store(
        class_=schema.StoreClass(store.kind),
        key=(store.key or b"") if store.value is None else b"",
        value=store.value or b"",
        records=list(store.records),
        cached=store.cached,
        name_contacts=store.names_contacts,
    )


def _value(value: Value) -> schema.Value:
    return schema.Value(
        value=value.value or b"",
        node_list=_node_list(value) if value.contacts else None,
        records=list(value.records),
        cached=value.cached,
    )


def _node_list(message: NodeList | Value) -> schema.NodeList:
    contacts4, contacts6 = pack_contacts(message.contacts)
    return schema.NodeList(contacts4=contacts4, contacts6=contacts6)


def _store_result(result: StoreResult) -> schema.StoreResult:
    contacts4, contacts6 = pack_contacts(result.contacts)
    return schema.StoreResult(
        status=schema.StoreStatus(result.status),
        durability=schema.Durability(result.durability),
        records=list(result.records),
        contacts4=contacts4,
        contacts6=contacts6,
    )


def _have(have: Have) -> schema.Have:
    return schema.Have(
        keys=b"".join(have.keys),
        publisher=have.publisher or b"",
        digests=b"".join(have.digests),
        is_round=have.is_round,
    )


def _holding(holding: Holding) -> schema.Holding:
    return schema.Holding(
        key=holding.key, has_value=holding.has_value, records=list(holding.records), classic=holding.classic
    )
