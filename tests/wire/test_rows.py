"""Packed rows of contacts, byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.wire.rows import pack_contacts, split_contacts4, split_contacts6
from tests.wire.strategies import contact_lists

ALICE = Contact(NodeId(b"a" * 32), Endpoint.parse("10.1.2.3:8118"))
BOB = Contact(NodeId(b"b" * 32), Endpoint.parse("[fd00::1]:258"))


def test_a_row_is_an_id_an_ip_and_a_port() -> None:
    assert pack_contacts([BOB, ALICE]) == (
        b"a" * 32 + bytes([10, 1, 2, 3]) + b"\x1f\xb6",
        b"b" * 32 + b"\xfd" + bytes(14) + b"\x01" + b"\x01\x02",
    )


@settings(max_examples=100)
@given(contact_lists)
def test_rows_split_into_what_was_packed(contacts: list[Contact]) -> None:
    rows4, rows6 = pack_contacts(contacts)
    assert split_contacts4(rows4) == ([contact for contact in contacts if contact.endpoint.is_ipv4], 0)
    assert split_contacts6(rows6) == ([contact for contact in contacts if not contact.endpoint.is_ipv4], 0)
    assert all(type(contact) is Contact for contact in split_contacts4(rows4)[0])


def test_a_contact_with_port_0_is_left_out_and_counted() -> None:
    row4, row6 = ALICE.id + ALICE.endpoint, BOB.id + BOB.endpoint
    assert split_contacts4(row4 + row4[:-2] + b"\0\0" + row4) == ([ALICE, ALICE], 1)
    assert split_contacts6(row6[:-2] + b"\0\0" + row6) == ([BOB], 1)


@pytest.mark.parametrize("port", [1, 255, 256, 0xFF00, 0xFFFF])
def test_a_port_with_one_zero_byte_is_a_port(port: int) -> None:
    contact = Contact(ALICE.id, Endpoint.of(ALICE.endpoint.ip, port))
    assert split_contacts4(contact.id + contact.endpoint) == ([contact], 0)


def test_a_mapped_address_among_the_long_rows_becomes_ipv4() -> None:
    row = ALICE.id + bytes(10) + b"\xff\xff" + ALICE.endpoint
    assert split_contacts6(row) == ([ALICE], 0)


@pytest.mark.parametrize("missing", [1, 37])
def test_half_a_row_is_malformed(missing: int) -> None:
    with pytest.raises(MalformedPacket, match="contact_rows"):
        split_contacts4((ALICE.id + ALICE.endpoint) * 2 + bytes(missing))
    with pytest.raises(MalformedPacket, match="contact_rows"):
        split_contacts6((BOB.id + BOB.endpoint) + bytes(missing))
