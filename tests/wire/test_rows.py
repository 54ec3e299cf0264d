"""Packed rows of contacts, byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import MAX_CONTACTS
from camomile_trio.wire.rows import pack_contacts, split_contacts
from tests.wire.strategies import contact_lists, in_wire_order

ALICE = Contact.of(b"a" * 32, Endpoint.parse("10.1.2.3:8118"))
BOB = Contact.of(b"b" * 32, Endpoint.parse("[fd00::1]:258"))
ROW4 = ALICE.public + ALICE.endpoint
ROW6 = BOB.public + BOB.endpoint


def test_a_row_is_a_public_key_an_ip_and_a_port() -> None:
    assert pack_contacts([BOB, ALICE]) == (
        b"a" * 32 + bytes([10, 1, 2, 3]) + b"\x1f\xb6",
        b"b" * 32 + b"\xfd" + bytes(14) + b"\x01" + b"\x01\x02",
    )


@settings(max_examples=100)
@given(contact_lists)
def test_rows_split_into_what_was_packed(contacts: list[Contact]) -> None:
    split, dropped = split_contacts(*pack_contacts(contacts))
    assert (split, dropped) == (in_wire_order(contacts), 0)
    assert all(type(contact) is Contact and type(contact.endpoint) is Endpoint for contact in split)


def test_the_id_of_a_contact_is_that_of_its_public_key() -> None:
    (alice, bob), _ = split_contacts(ROW4, ROW6)
    assert (alice.id, bob.id) == (NodeId.of(b"a" * 32), NodeId.of(b"b" * 32))


def test_a_contact_with_port_0_is_left_out_and_counted() -> None:
    assert split_contacts(ROW4 + ROW4[:-2] + b"\0\0" + ROW4, b"") == ((ALICE, ALICE), 1)
    assert split_contacts(b"", ROW6[:-2] + b"\0\0" + ROW6) == ((BOB,), 1)
    assert split_contacts(ROW4[:-2] + b"\0\0", ROW6[:-2] + b"\0\0") == ((), 2)


@pytest.mark.parametrize("port", [1, 255, 256, 0xFF00, 0xFFFF])
def test_a_port_with_one_zero_byte_is_a_port(port: int) -> None:
    contact = Contact.of(ALICE.public, Endpoint.of(ALICE.endpoint.ip, port))
    assert split_contacts(contact.public + contact.endpoint, b"") == ((contact,), 0)


def test_a_mapped_address_among_the_long_rows_becomes_ipv4() -> None:
    assert split_contacts(b"", ALICE.public + bytes(10) + b"\xff\xff" + ALICE.endpoint) == ((ALICE,), 0)


@pytest.mark.parametrize(("rows4", "rows6"), [(b"\0", b""), (ROW4 * 2 + bytes(37), b""), (ROW4, ROW6[:-1])])
def test_half_a_row_is_malformed(rows4: bytes, rows6: bytes) -> None:
    with pytest.raises(MalformedPacket, match="contact_rows"):
        split_contacts(rows4, rows6)


@pytest.mark.parametrize("extra4", [0, 1, 28])
def test_more_rows_than_a_list_may_have_contacts_are_malformed(extra4: int) -> None:
    most4, most6 = MAX_CONTACTS - 28 + extra4, 28 - extra4
    assert len(split_contacts(ROW4 * most4, ROW6 * most6)[0]) == MAX_CONTACTS
    for rows4, rows6 in ((most4 + 1, most6), (most4, most6 + 1)):
        with pytest.raises(MalformedPacket, match="too_many_contacts"):
            split_contacts(ROW4 * rows4, ROW6 * rows6)
    # One without a port counts as well.
    with pytest.raises(MalformedPacket, match="too_many_contacts"):
        split_contacts(ROW4 * most4, ROW6 * most6 + ROW6[:-2] + b"\0\0")


def test_a_contact_without_a_public_key_has_no_row() -> None:
    classic = Contact(NodeId(b"c" * 32), ALICE.endpoint)
    for contacts in ([classic], [ALICE, classic], [classic, BOB]):
        with pytest.raises(ValueError, match="public key"):
            pack_contacts(contacts)
