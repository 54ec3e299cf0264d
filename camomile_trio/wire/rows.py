"""Packed rows of contacts: `id ip port`, one behind the other.

Rules of this file: plain bytes, no protobuf. Both decoders read through it, so that a row means the same to both.
Senseless contacts (port 0) are left out singly and counted; a length that is no whole number of rows is malformed, and
so are more rows than a list may have contacts.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable
from itertools import chain
from typing import Final

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, NodeId
from camomile_trio.kademlia.messages import MAX_CONTACTS

ROW4_BYTES: Final = ID_BYTES + 6
ROW6_BYTES: Final = ID_BYTES + 18
_ROWS6 = struct.Struct(f">{ID_BYTES}s16sH")

# Without a Python frame for each contact: twenty of them come with every answer.
_contact = functools.partial(tuple.__new__, Contact)


@functools.lru_cache(maxsize=MAX_CONTACTS + 1)
def _rows4(count: int) -> struct.Struct:
    return struct.Struct(f"{ID_BYTES}s6s" * count)


def pack_contacts(contacts: Iterable[Contact]) -> tuple[bytes, bytes]:
    """The rows of the IPv4 contacts and those of the IPv6 ones, each in their order."""
    contacts = tuple(contacts)
    together = b"".join(chain.from_iterable(contacts))
    # An IPv6 row is longer, so the length alone tells that there is none.
    if len(together) == ROW4_BYTES * len(contacts):
        return together, b""
    rows4 = b"".join(chain.from_iterable(contact for contact in contacts if contact.endpoint.is_ipv4))
    rows6 = b"".join(chain.from_iterable(contact for contact in contacts if not contact.endpoint.is_ipv4))
    return rows4, rows6


def split_contacts4(rows_untrusted: bytes) -> tuple[list[Contact], int]:
    """The contacts in IPv4 rows, and how many senseless ones were left out."""
    count, rest = divmod(len(rows_untrusted), ROW4_BYTES)
    if rest:
        raise MalformedPacket("contact_rows")
    if count > MAX_CONTACTS:
        raise MalformedPacket("too_many_contacts")
    parts = _rows4(count).unpack(rows_untrusted)
    contacts: list[Contact] = list(map(_contact, zip(parts[::2], map(Endpoint, parts[1::2]), strict=True)))
    # A port is 0 only if both of its bytes are, and nearly always neither is.
    if 0 in rows_untrusted[ROW4_BYTES - 1 :: ROW4_BYTES]:
        contacts = [contact for contact in contacts if contact.endpoint.port]
    return contacts, count - len(contacts)


def split_contacts6(rows_untrusted: bytes) -> tuple[list[Contact], int]:
    """The contacts in IPv6 rows (IPv4-mapped ones become IPv4), and how many senseless ones were left out."""
    count, rest = divmod(len(rows_untrusted), ROW6_BYTES)
    if rest:
        raise MalformedPacket("contact_rows")
    if count > MAX_CONTACTS:
        raise MalformedPacket("too_many_contacts")
    contacts = [
        Contact(NodeId(identifier), Endpoint.of(ip, port))
        for identifier, ip, port in _ROWS6.iter_unpack(rows_untrusted)
        if port
    ]
    return contacts, count - len(contacts)
