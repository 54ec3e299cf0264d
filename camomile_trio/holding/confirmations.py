"""Which other holders have said lately that they hold the very records that are held here: what is known of copies.

Rules of this file: plain state without I/O; the caller tells the time. Only a word counts that names the record: an
answer, the question of a holder who makes a round for all, or the acknowledgement of the STORE of it alone; nobody is
counted because he should hold it, nor when he has lost his place in the routing table since, which only the silent do,
nor a member of the table whose word about the key does not count.
Bounded: the record that was confirmed longest ago is forgotten first, and then nothing is known of it. Nothing is
decided by this, it is for people to see.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.records import SIGNATURE_BYTES, RecordRow
from camomile_trio.kademlia.routing import RoutingTable

# As many bytes as some hundred for each.
MAX_CONFIRMED = 65_536
# Of one record; more than k holders are not asked, but some come and go.
MAX_HOLDERS = 40

# The beginning of a node's id, when it said so in whole seconds, and whether the table had it then. Packed, for there
# may be many.
_ENTRY = struct.Struct(">8sI?")
_BEGIN_BYTES = 8
_NAME_BYTES = 16


class Confirmations:
    """Of one node. Times are seconds of Trio's clock; what is older than `life` seconds is not known any more."""

    def __init__(self, table: RoutingTable, life: float) -> None:
        self._table = table
        self._life = life
        self._by_record: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_record)

    def confirm(self, key: Key, row: RecordRow, holder: NodeId, now: float) -> None:
        """`holder` says that it holds this record of the key now, and the value that belongs to it."""
        is_member = holder in self._table
        if is_member and not self._table.counts(holder, key):
            return
        name, begin = _name(row), holder[:_BEGIN_BYTES]
        known = self._by_record.get(name, b"")
        at = _place(known, begin)
        if at >= 0:
            known = known[:at] + known[at + _ENTRY.size :]
        entry = _ENTRY.pack(begin, int(now), is_member)
        # Each is behind those that were heard before.
        self._by_record[name] = (known + entry)[-MAX_HOLDERS * _ENTRY.size :]
        self._by_record.move_to_end(name)
        if len(self._by_record) > MAX_CONFIRMED:
            self._by_record.popitem(last=False)

    def count(self, row: RecordRow, now: float) -> int | None:
        """How many others hold the record, as far as they have said lately; None if nobody has said anything."""
        members = {contact.id[:_BEGIN_BYTES] for contact in self._table}
        entries = _ENTRY.iter_unpack(self._by_record.get(_name(row), b""))
        # Not every holder is a member of the table: of the others nobody knows whether they are still there.
        heard = [
            begin for begin, at, was_member in entries if at + self._life >= now and was_member <= (begin in members)
        ]
        return len(heard) or None


def _name(row: RecordRow) -> bytes:
    """A record is named by its signature, which another rank, key or publisher changes."""
    begin = len(row) - SIGNATURE_BYTES
    return row[begin : begin + _NAME_BYTES]


def _place(entries: bytes, begin: bytes) -> int:
    """Where the entry is that begins so; -1 if there is none."""
    at = entries.find(begin)
    while at % _ENTRY.size and at >= 0:
        at = entries.find(begin, at + 1)
    return at
