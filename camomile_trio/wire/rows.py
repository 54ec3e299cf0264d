"""Packed rows of contacts: `public-key ip port`, one behind the other.

Rules of this file: plain bytes, no protobuf. Both decoders read through it, so that a row means the same to both.
Senseless contacts (port 0) are left out singly and counted; a length that is no whole number of rows is malformed, and
so are more rows than a list may have contacts. A public key has 32 bytes; whether it is one is checked before its use.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import Final

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.messages import MAX_CONTACTS

_KEY_BYTES: Final = 32
ROW4_BYTES: Final = _KEY_BYTES + 6
ROW6_BYTES: Final = _KEY_BYTES + 18


def pack_contacts(contacts: Sequence[Contact]) -> tuple[bytes, bytes]:
    """The rows of the IPv4 contacts and those of the IPv6 ones, each in their order.

    ValueError for a contact without a public key: a classic node has none, and no place in a row.
    """
    together = b"".join([contact.public + contact.endpoint for contact in contacts])
    # Nearly always all are IPv4, and then the length tells it.
    if len(together) == ROW4_BYTES * len(contacts):
        return together, b""
    if not all(contact.public for contact in contacts):
        raise ValueError("a contact without a public key has no row")
    rows4 = b"".join([contact.public + contact.endpoint for contact in contacts if contact.endpoint.is_ipv4])
    rows6 = b"".join([contact.public + contact.endpoint for contact in contacts if not contact.endpoint.is_ipv4])
    return rows4, rows6


def split_contacts(rows4_untrusted: bytes, rows6_untrusted: bytes) -> tuple[tuple[Contact, ...], int]:
    """The contacts in the rows of a message, IPv4 and IPv6, and how many senseless ones were left out."""
    count, rest = divmod(len(rows4_untrusted), ROW4_BYTES)
    if rest:
        raise MalformedPacket("contact_rows")
    if count > MAX_CONTACTS:
        raise MalformedPacket("too_many_contacts")
    contacts, dropped = tuple(map(_contact4, _rows(ROW4_BYTES, count).unpack(rows4_untrusted))), 0
    # A port is 0 only if both of its bytes are, and nearly always neither is.
    if 0 in rows4_untrusted[ROW4_BYTES - 1 :: ROW4_BYTES]:
        contacts, dropped = _with_ports(contacts)
    if rows6_untrusted:
        contacts6, dropped6 = _contacts6(rows6_untrusted)
        contacts += contacts6
        dropped += dropped6
        if len(contacts) + dropped > MAX_CONTACTS:
            raise MalformedPacket("too_many_contacts")
    return contacts, dropped


def _contacts6(rows_untrusted: bytes) -> tuple[tuple[Contact, ...], int]:
    count, rest = divmod(len(rows_untrusted), ROW6_BYTES)
    if rest:
        raise MalformedPacket("contact_rows")
    if count > MAX_CONTACTS:
        raise MalformedPacket("too_many_contacts")
    return _with_ports(tuple(map(_contact6, _rows(ROW6_BYTES, count).unpack(rows_untrusted))))


def _with_ports(contacts: tuple[Contact, ...]) -> tuple[tuple[Contact, ...], int]:
    sensible = tuple(contact for contact in contacts if contact.endpoint.port)
    return sensible, len(contacts) - len(sensible)


@functools.lru_cache(maxsize=2 * (MAX_CONTACTS + 1))
def _rows(row_bytes: int, count: int) -> struct.Struct:
    return struct.Struct(f"{row_bytes}s" * count)


# Twenty rows come with an answer, and they are nearly always known. Then no Python frame and no object is made for any.
@functools.lru_cache(maxsize=8192)
def _contact4(row: bytes) -> Contact:
    return Contact.of(row[:_KEY_BYTES], Endpoint(row[_KEY_BYTES:]))


@functools.lru_cache(maxsize=8192)
def _contact6(row: bytes) -> Contact:
    """An IPv4-mapped address becomes IPv4."""
    return Contact.of(row[:_KEY_BYTES], Endpoint.of(row[_KEY_BYTES:-2], int.from_bytes(row[-2:], "big")))
