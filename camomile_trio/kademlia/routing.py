"""The routing table: k-buckets of contacts that have answered us, each with a bounded cache of replacements.

Rules of this file: pure, and told the time (seconds of one monotonic clock). `on_answer` is the only way in, so a
contact that has not proven its key at its endpoint can be in no bucket and in no cache. A member leaves only through
`on_failure`, and only while others answer. A bucket never holds more than k members; one that is not full has no
replacements. An id is a member or a replacement, once, at the endpoint of its latest answer.
Source: Maymounkov and Mazières, Kademlia (2002), §2.2 to §2.4 and §4.1; docs/protocol.md.

Why the order of buckets is read from bits: with d the distance of the target from our own id, bucket i lies nearer to
the target than we do if bit i of d is set, else farther. Of the nearer ones a higher bucket is nearer, of the farther
ones a lower one, and each bucket is one unbroken range of distances. So `closest` sorts a bucket or two, not the
table, and `rank` counts without comparing a single id.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import NamedTuple

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId, as_int

# A node's own `check_after`, in seconds.
CHECK_AFTER = 60.0


@attrs.frozen
class Bucket:
    """One bucket as it was when it was asked for: distances of 2**index up to 2**(index + 1) - 1."""

    index: int
    contacts: tuple[Contact, ...]  # the members, least recently seen first
    replacements: tuple[Contact, ...]  # likewise


class _Seen(NamedTuple):
    contact: Contact
    at: float  # when it answered last


_contact_of = operator.itemgetter(0)

# From the id as a number to who has it, least recently seen first: a dict keeps the order of insertion.
_Seats = dict[int, _Seen]


@attrs.define(eq=False)
class _Seating:
    """What is behind a Bucket."""

    members: _Seats = attrs.field(factory=dict)
    replacements: _Seats = attrs.field(factory=dict)

    def wait(self, number: int, seen: _Seen, most: int) -> None:
        """It is the most recently seen replacement now; the least recently seen one gives way beyond `most`."""
        self.replacements.pop(number, None)
        self.replacements[number] = seen
        if len(self.replacements) > most:
            del self.replacements[next(iter(self.replacements))]

    def evict(self, number: int) -> None:
        """The member leaves, and the most recently seen replacement takes the seat."""
        del self.members[number]
        if self.replacements:
            successor, seen = self.replacements.popitem()
            self.members[successor] = seen
            self.members = dict(sorted(self.members.items(), key=lambda seat: seat[1].at))


class RoutingTable:
    """The contacts of the node `own`, whose width gives the number of buckets.

    `k` bounds a bucket, `replacements` (default k) its cache. `check_after`, in seconds: the least recently seen member
    of a full bucket is not questioned on a newcomer's account while it was heard of more recently than that. With 0
    each answer of a newcomer costs a ping; with much more, the dead keep their seats longer.
    """

    def __init__(self, own: NodeId, k: int, *, replacements: int | None = None, check_after: float = 0.0) -> None:
        self.own = own
        self.k = k
        self.last_answer: float | None = None  # when anyone answered last
        self._number = as_int(own)
        self._most_replacements = k if replacements is None else replacements
        self._check_after = check_after
        self._seatings: dict[int, _Seating] = {}
        self._filled = 0  # bit i: bucket i has members
        self._touched: dict[int, float] = {}

    def on_answer(self, contact: Contact, now: float) -> Contact | None:
        """`contact` has answered a request of ours: it enters, or its seat is fresh again.

        It has proven its key at this endpoint, so its seat moves there from any other one. If its bucket is full the
        contact becomes a replacement, and the least recently seen member is returned if it should be pinged; else None.
        Our own id is ignored. ValueError if the id is not as wide as ours.
        """
        if len(contact.id) != len(self.own):
            raise ValueError(f"an id of {len(contact.id)} bytes in a table of {len(self.own)}")
        if contact.id == self.own:
            return None
        self.last_answer = now
        number = as_int(contact.id)
        index = (number ^ self._number).bit_length() - 1
        seating = self._seatings.get(index)
        if seating is None:
            seating = self._seatings[index] = _Seating()
        members = seating.members
        if members.pop(number, None) is None and len(members) >= self.k:
            seating.wait(number, _Seen(contact, now), self._most_replacements)
            oldest = next(iter(members.values()))
            return oldest.contact if now - oldest.at >= self._check_after else None
        members[number] = _Seen(contact, now)  # the most recently seen, whether it is new or was there before
        self._filled |= 1 << index
        return None

    def on_failure(self, node: NodeId, endpoint: Endpoint, *, asked_at: float, now: float) -> bool:
        """The request that was sent to `node` at `endpoint` at `asked_at` has missed its deadline (`now`).

        The member, or the replacement, that is known at that endpoint goes, unless it has answered another request
        since, or nobody at all has: then it is we who are offline, and everybody stays. Returns whether a member went.
        ValueError if the request would have failed before it was sent.
        """
        if asked_at > now:
            raise ValueError(f"a request of {asked_at} cannot have failed at {now}")
        if self.last_answer is None or self.last_answer <= asked_at:
            return False
        number = as_int(node)
        index = (number ^ self._number).bit_length() - 1
        seating = self._seatings.get(index)
        if seating is None:
            return False
        # A node has answered since it was asked. If that was this one itself, it has not failed.
        if self._failed(seating.members.get(number), endpoint, asked_at):
            seating.evict(number)
            if not seating.members:
                self._filled ^= 1 << index
            return True
        if self._failed(seating.replacements.get(number), endpoint, asked_at):
            del seating.replacements[number]
        return False

    def get(self, node: NodeId) -> Contact | None:
        """The member with this id."""
        number = as_int(node)
        seating = self._seatings.get((number ^ self._number).bit_length() - 1)
        seen = seating.members.get(number) if seating is not None else None
        return seen.contact if seen is not None else None

    def discard(self, node: NodeId) -> None:
        """The node with this id is known to live elsewhere, or to be none for this table: it leaves, wherever it is."""
        number = as_int(node)
        index = (number ^ self._number).bit_length() - 1
        seating = self._seatings.get(index)
        if seating is None:
            return
        seating.replacements.pop(number, None)
        if number in seating.members:
            seating.evict(number)
            if not seating.members:
                self._filled ^= 1 << index

    def __len__(self) -> int:
        return sum(len(seating.members) for seating in self._seatings.values())

    def __contains__(self, node: object) -> bool:
        return isinstance(node, bytes) and self.get(NodeId(node)) is not None

    def __iter__(self) -> Iterator[Contact]:
        """The members, bucket by bucket from the nearest. The table must not be changed meanwhile."""
        for index in sorted(self._seatings):
            for seen in self._seatings[index].members.values():
                yield seen.contact

    def closest(self, target: bytes, count: int | None = None, *, excluding: NodeId | None = None) -> list[Contact]:
        """The `count` (k) members closest to `target`, closest first, but for `excluding` (whoever asks for them)."""
        wanted = self.k if count is None else count
        # One more than is wanted, in case the excluded one is among them.
        enough = wanted if excluding is None else wanted + 1
        number = as_int(target)
        distance = number.__xor__  # a key without a Python frame of its own
        found: list[Contact] = []
        for seating in self._nearest_first(number ^ self._number):
            members = seating.members
            nearest = sorted(members, key=distance)
            del nearest[enough - len(found) :]
            # A seat is a contact and a time; again without a frame for each.
            found += map(_contact_of, map(members.__getitem__, nearest))
            if len(found) >= enough:
                break
        if excluding is not None:
            found = [contact for contact in found if contact[0] != excluding]
            del found[wanted:]
        return found

    def counts(self, node: NodeId, target: bytes) -> bool:
        """Whether this node's word about `target` counts."""
        return node in self

    def is_among_closest(self, target: bytes) -> bool:
        """Whether this node is one of the k closest to `target` of all that it knows, itself included."""
        return self.rank(target) < self.k

    def rank(self, target: bytes) -> int:
        """How many members are closer to `target` than this node is."""
        nearer = self._filled & (as_int(target) ^ self._number)
        closer = 0
        while nearer:
            index = nearer.bit_length() - 1
            closer += len(self._seatings[index].members)
            nearer ^= 1 << index
        return closer

    def silent_since(self, before: float) -> list[Contact]:
        """The members that have not answered since `before`, longest silent first."""
        silent = [seen for seating in self._seatings.values() for seen in seating.members.values() if seen.at < before]
        silent.sort(key=lambda seen: seen.at)
        return [seen.contact for seen in silent]

    def touch(self, target: bytes, now: float) -> None:
        """A lookup for `target` was made: its bucket is fresh. (Our own id is in no bucket.)"""
        apart = as_int(target) ^ self._number
        if apart:
            self._touched[apart.bit_length() - 1] = now

    def stale_buckets(self, before: float) -> list[int]:
        """The buckets without a lookup since `before`, empty ones included, from the lowest that has members upward.

        Below that one there is nothing to find but what a lookup of our own id finds.
        """
        if not self._filled:
            return []
        lowest = (self._filled & -self._filled).bit_length() - 1
        return [i for i in range(lowest, len(self.own) * 8) if self._touched.get(i, -math.inf) < before]

    def count(self, index: int) -> int:
        """How many members bucket `index` has."""
        seating = self._seatings.get(index)
        return len(seating.members) if seating is not None else 0

    def buckets(self) -> list[Bucket]:
        """The buckets that have members, nearest first."""
        return [
            Bucket(
                index,
                tuple(seen.contact for seen in seating.members.values()),
                tuple(seen.contact for seen in seating.replacements.values()),
            )
            for index, seating in sorted(self._seatings.items())
            if seating.members
        ]

    def _nearest_first(self, apart: int) -> Iterator[_Seating]:
        """The filled buckets in order of distance from the target that is `apart` from us (see the top)."""
        nearer = self._filled & apart
        while nearer:
            index = nearer.bit_length() - 1
            yield self._seatings[index]
            nearer ^= 1 << index
        farther = self._filled & ~apart
        while farther:
            lowest = farther & -farther
            yield self._seatings[lowest.bit_length() - 1]
            farther ^= lowest

    @staticmethod
    def _failed(seen: _Seen | None, endpoint: Endpoint, asked_at: float) -> bool:
        return seen is not None and seen.contact.endpoint == endpoint and seen.at <= asked_at
