"""Inner packets are those of tests/vectors/inner_packets.json, which were made without our code."""

from __future__ import annotations

import json
from typing import Any

import pytest

from camomile_trio.identity import KeyPair, network_id, sign_record, verify_record
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    Message,
    NodeList,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
)
from camomile_trio.kademlia.records import RENEWABLE, Kind, PublisherKey, Record, RecordRow
from camomile_trio.wire.codec import Codec
from tests.vectors.make_vectors import DIRECTORY, INITIATOR_SEED, made

VECTORS: dict[str, dict[str, Any]] = json.loads((DIRECTORY / "inner_packets.json").read_text("utf-8"))


def of(name: str, field: str) -> bytes:
    return bytes.fromhex(VECTORS[name][field])


def contact(row: bytes) -> Contact:
    return Contact.of(row[:32], Endpoint(row[32:]))


def expected(name: str) -> Message:
    match name:
        case "ping":
            return Ping()
        case "pong":
            return Pong(Endpoint(of(name, "observed")), VECTORS[name]["clock"])
        case "find_node":
            return FindNode(NodeId(of(name, "node_id")))
        case "node_list":
            return NodeList((contact(of(name, "contacts4")), contact(of(name, "contacts6"))))
        case "store":
            row = RecordRow(of(name, "record"))
            return Store(StoreKind.PUBLISH, None, of(name, "value"), (row,), names_contacts=True)
        case _:
            return StoreResult(StoreStatus.STORED, Durability.SYSTEM, (), (contact(of(name, "contacts4")),))


@pytest.mark.parametrize("name", ["inner_packets.json", "stream_v2.json"])
def test_the_files_are_what_the_script_makes(name: str) -> None:
    assert (DIRECTORY / name).read_text("utf-8") == made()[name]


@pytest.mark.parametrize("name", VECTORS)
def test_a_packet_is_written_and_read_as_the_vectors_have_it(name: str) -> None:
    number, flags, packet = VECTORS[name]["number"], VECTORS[name]["flags"], of(name, "packet")
    assert Codec().encode(number, expected(name), flags) == packet
    assert Codec().decode_untrusted(packet) == (number, expected(name), flags)


def test_the_record_of_the_store_is_signed_as_the_vectors_have_it() -> None:
    store, network, publisher = VECTORS["store"], network_id("camomile"), KeyPair.from_seed(INITIATOR_SEED)
    key = Key(of("store", "key"))
    assert key == Key.of(of("store", "value"))
    terms = store["record_seq"], store["record_issued"], store["record_expires"]
    unsigned = Record(key, Kind.LEASE, RENEWABLE, PublisherKey(of("store", "record_publisher")), *terms)
    signed = sign_record(unsigned, publisher, network)
    assert signed.row() == of("store", "record")
    assert verify_record(RecordRow(of("store", "record")), key, network) == signed
