"""Which other holders have said lately that they hold the very records that are held here: what is known of copies.

Rules of this file: plain state without I/O; the caller tells the time. Only an answer counts that names the record, or
acknowledges the STORE of it alone; nobody is counted because he should hold it. Bounded: the record that was confirmed
longest ago is forgotten first, and then nothing is known of it. Nothing is decided by this, it is for people to see.
"""

from __future__ import annotations

import struct
from collections import OrderedDict

from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.records import SIGNATURE_BYTES, RecordRow

# As many bytes as some hundred for each.
MAX_CONFIRMED = 65_536
# Of one record; more than k holders are not asked, but some come and go.
MAX_HOLDERS = 40

# The beginning of a node's id, and when it said so in whole seconds. Packed, for there may be many.
_ENTRY = struct.Struct(">8sI")


class Confirmations:
    """Of one node. Times are seconds of Trio's clock; what is older than `life` seconds is not known any more."""

    def __init__(self, life: float) -> None:
        self._life = life
        self._by_record: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_record)

    def confirm(self, row: RecordRow, holder: NodeId, now: float) -> None:
        """`holder` holds this record now, and the value that belongs to it."""
        name, begin = _name(row), holder[:8]
        entries = [each for each in self._recent(name, now) if each[0] != begin]
        entries.append((begin, int(now)))
        self._by_record[name] = b"".join(_ENTRY.pack(*each) for each in entries[-MAX_HOLDERS:])
        self._by_record.move_to_end(name)
        if len(self._by_record) > MAX_CONFIRMED:
            self._by_record.popitem(last=False)

    def count(self, row: RecordRow, now: float) -> int | None:
        """How many others hold the record, as far as they have said lately; None if nobody has said anything."""
        return len(self._recent(_name(row), now)) or None

    def _recent(self, name: bytes, now: float) -> list[tuple[bytes, int]]:
        entries = _ENTRY.iter_unpack(self._by_record.get(name, b""))
        return [(holder, at) for holder, at in entries if at + self._life >= now]


def _name(row: RecordRow) -> bytes:
    """A record is named by its signature, which another rank, key or publisher changes."""
    begin = len(row) - SIGNATURE_BYTES
    return row[begin : begin + 16]
