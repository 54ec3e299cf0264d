"""What other holders have shown of the records that are held here: when a holder may skip its round, and how many
replicas are known of.

Rules of this file: plain state without I/O. All rules of who may skip a round are here:

- *A word* is good for one interval of replication: another holder of the key has shown that it holds the latest records
  which are held here, or asks all holders of them. It counts only from a member of the table that counts in the cover
  of the key. The same holder's next word counts only after a round of this node's own, or after the words of `WORDS`
  other holders. So a holder that lies keeps no key quiet for longer than an interval, and as many as the rule of
  counting leaves beside a key not for ever. What is written of a key ends the word, but not whose word was taken.
- *In one round of `OWN_ROUND`* a holder skips nothing, whatever was shown to it: all keys of a part in the same round,
  so that what it asks of one node goes into few packets.

How many replicas are known is for people to see, and decides nothing. Counted is a holder that has named the record: by
its answer, by a round of its own, or by its acknowledgement of the STORE of it alone. It is not counted when it has
lost its seat since, which only the silent do, nor while it is a member whose word about the key does not count. Both
are bounded: what was shown longest ago is forgotten, and such a key is offered once more.
"""

from __future__ import annotations

import math
import struct
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from camomile_trio.alarm import Clock
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.records import SIGNATURE_BYTES, RecordRow
from camomile_trio.kademlia.routing import RoutingTable

MAX_HEARD = 200_000
# Of 20 holders five are as many as ids that were ground beside a key can be and count. Each further word costs rounds:
# at rest 1.4 in an interval for each key with none remembered, 1.7 with six.
WORDS = 6
# Every so many rounds a holder offers a key whatever it has heard.
OWN_ROUND = 24
# Records, of which each takes as many bytes as some hundred for each holder.
MAX_CONFIRMED = 65_536
# Of one record; more than k holders are not asked, but some come and go.
MAX_HOLDERS = 40

_BEGIN_BYTES = 8  # of a holder's id
# Behind the beginning of its id: when it said so in whole seconds, and whether the table had it then. Packed, for there
# may be many.
_STAMP = struct.Struct(">I?")
_ENTRY = struct.Struct(f">{_BEGIN_BYTES}sI?")
_ENTRY_BYTES = _ENTRY.size
_NAME_BYTES = 16
_NOT_HEARD = (-math.inf, b"")


def may_skip(heard_at: float, now: float, interval: float, *, is_own_turn: bool) -> bool:
    """Whether a holder may leave a key out of its round at `now`: another one's word came within the interval, and this
    round is not one of those in which nothing is skipped. `heard_at` is -inf where no word was taken."""
    return not is_own_turn and now - heard_at < interval


def is_own_turn(number: int, part: int, node: NodeId) -> bool:
    """Whether this part of this round is one in which `node` skips nothing: others have their turn in other rounds."""
    return (number + part + node[-1]) % OWN_ROUND == 0


def with_word(taken: bytes, begin: bytes) -> bytes | None:
    """Whose words were taken, oldest first, once that of the holder whose id begins so is; None if it is not taken."""
    at = taken.find(begin)
    while at % _BEGIN_BYTES and at > 0:
        at = taken.find(begin, at + 1)
    return None if at >= 0 else (taken + begin)[-WORDS * _BEGIN_BYTES :]


class Replicas:
    """Of one node, by a table of its contacts. `interval`: seconds between two rounds of replication."""

    def __init__(self, table: RoutingTable, clock: Clock, interval: float) -> None:
        self._table = table
        self._clock = clock
        self._interval = interval
        # Until this node has made a round of its own again, however its jitter falls.
        self._life = 1.25 * (OWN_ROUND + 1) * interval
        # When a word was taken (-inf: not since something was written), and the holders whose words were taken.
        self._heard: OrderedDict[Key, tuple[float, bytes]] = OrderedDict()
        self._confirmed: OrderedDict[bytes, bytes] = OrderedDict()  # by the record

    def __len__(self) -> int:
        """Of how many records something is known."""
        return len(self._confirmed)

    # What others show -----------------------------------------------------------------------------------------------

    def on_word(self, key: Key, holder: NodeId) -> None:
        """`holder` has the latest of the key, if its word counts."""
        if self._table.counts(holder, key):
            self._take_word(key, holder)

    def on_round(self, key: Key, rows: Iterable[RecordRow], holder: NodeId, *, is_word: bool) -> None:
        """`holder`, which holds just these records of the key and its value, asks all holders, if its word counts.

        `is_word`: one round does for all of them.
        """
        if self._table.counts(holder, key):
            if is_word:
                self._take_word(key, holder)
            self._note_holder(rows, holder, is_member=True)

    def on_same(self, key: Key, rows: Iterable[RecordRow], holder: NodeId) -> None:
        """`holder` was asked, and holds just these records of the key, and its value."""
        self.on_word(key, holder)
        self.confirm(key, rows, holder)

    def confirm(self, key: Key, rows: Iterable[RecordRow], holder: NodeId) -> None:
        """`holder` says that it holds these records of the key, and perhaps others, and its value."""
        is_member = self._table.counts(holder, key)
        if is_member or holder not in self._table:
            self._note_holder(rows, holder, is_member=is_member)

    def on_own_round(self, key: Key, rows: Iterable[RecordRow], holders: Sequence[NodeId]) -> None:
        """All holders were asked about the key, and these have shown that they hold just these records of it."""
        table, now = self._table, self._clock()
        self._note_heard(key, now, b"")
        counted = {contact[0] for contact in table.cover(key)}
        of_member, of_stranger = _STAMP.pack(int(now), True), _STAMP.pack(int(now), False)
        entries = b"".join(
            [
                holder[:_BEGIN_BYTES] + (of_member if holder in counted else of_stranger)
                for holder in holders
                if holder in counted or holder not in table
            ]
        )
        for row in rows:
            self._note(row, entries)

    def on_written(self, key: Key) -> None:
        """What was heard was about what was here before."""
        known = self._heard.get(key)
        if known is not None:
            self._heard[key] = (-math.inf, known[1])

    def drop(self, key: Key) -> None:
        """Nothing is held of the key any more."""
        self._heard.pop(key, None)

    # What is known ---------------------------------------------------------------------------------------------------

    def heard_at(self, key: Key) -> float | None:
        """When another holder showed, to this node's round or by a word that was taken, that it has the latest."""
        at = self._heard.get(key, _NOT_HEARD)[0]
        return None if at == -math.inf else at

    def due(self, keys: list[Key], *, is_own_turn: bool) -> list[Key]:
        """Those of the keys that this node's round may not skip."""
        heard, now, interval = self._heard, self._clock(), self._interval
        return [
            key for key in keys if not may_skip(heard.get(key, _NOT_HEARD)[0], now, interval, is_own_turn=is_own_turn)
        ]

    def count(self, row: RecordRow) -> int | None:
        """How many others hold the record, as far as they have said lately; None if nothing was said."""
        members = {contact.id[:_BEGIN_BYTES] for contact in self._table}
        entries = _ENTRY.iter_unpack(self._confirmed.get(_name(row), b""))
        # Not every holder is a member of the table: of the others it is not known whether they are still there.
        since = self._clock() - self._life
        heard = [begin for begin, at, was_member in entries if at >= since and was_member <= (begin in members)]
        return len(heard) or None

    def _take_word(self, key: Key, holder: NodeId) -> None:
        taken = with_word(self._heard.get(key, _NOT_HEARD)[1], holder[:_BEGIN_BYTES])
        if taken is not None:
            self._note_heard(key, self._clock(), taken)

    def _note_heard(self, key: Key, at: float, taken: bytes) -> None:
        heard = self._heard
        heard[key] = (at, taken)
        heard.move_to_end(key)
        if len(heard) > MAX_HEARD:
            heard.popitem(last=False)

    def _note_holder(self, rows: Iterable[RecordRow], holder: NodeId, *, is_member: bool) -> None:
        entry = holder[:_BEGIN_BYTES] + _STAMP.pack(int(self._clock()), is_member)
        for row in rows:
            self._note(row, entry)

    def _note(self, row: RecordRow, entries: bytes) -> None:
        """Of each of the holders the entry behind those that came before, instead of its last one."""
        name, confirmed = _name(row), self._confirmed
        known = confirmed.get(name)
        if known is not None:
            begins = {entries[at : at + _BEGIN_BYTES] for at in range(0, len(entries), _ENTRY_BYTES)}
            kept = [
                known[at : at + _ENTRY_BYTES]
                for at in range(0, len(known), _ENTRY_BYTES)
                if known[at : at + _BEGIN_BYTES] not in begins
            ]
            entries = b"".join([*kept, entries])
        confirmed[name] = entries[-MAX_HOLDERS * _ENTRY_BYTES :]
        confirmed.move_to_end(name)
        if len(confirmed) > MAX_CONFIRMED:
            confirmed.popitem(last=False)


def _name(row: RecordRow) -> bytes:
    """A record is named by its signature, which another rank, key or publisher changes."""
    begin = len(row) - SIGNATURE_BYTES
    return row[begin : begin + _NAME_BYTES]
