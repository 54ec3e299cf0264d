"""The routing table: k-buckets of contacts that have answered us, each with a bounded cache of replacements.

Rules of this file: pure, and told the time (seconds of one monotonic clock). `on_answer` is the only way in, so a
contact that has not proven its key at its endpoint can be in no bucket and in no cache. A member leaves only through
`on_failure`, and only while others answer. A bucket never holds more than k members; one that is not full has no
replacements. An id is a member or a replacement, once, at the endpoint of its latest answer. A member of a source
network that has more seats than may count (`counting.py`) keeps its seat until a node of another network wants it.
Source: Maymounkov and Mazières, Kademlia (2002), §2.2 to §2.4 and §4.1; docs/protocol.md.

Why the order of buckets is read from bits: with d the distance of the target from our own id, bucket i lies nearer to
the target than we do if bit i of d is set, else farther. Of the nearer ones a higher bucket is nearer, of the farther
ones a lower one, and each bucket is one unbroken range of distances. So `closest` sorts a bucket or two, not the
table, and `rank` counts without comparing a single id.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import NamedTuple

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.counting import (
    LEAST_NETWORKS,
    PER_NETWORK,
    Counting,
    Density,
    Diversity,
    Networks,
    density,
    is_plain,
    most,
)
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
_id_of = operator.itemgetter(0)

# From the id as a number to who has it, least recently seen first: a dict keeps the order of insertion.
_Seats = dict[int, _Seen]
# Of a bucket that has members: the bit that stands for it, they, and how many they are.
_Filled = tuple[int, _Seats, int]


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

    def evict(self, number: int, counts: Callable[[Contact], bool]) -> Contact | None:
        """The member leaves. The most recently seen replacement takes the seat, one that `counts` if there is any."""
        del self.members[number]
        if not self.replacements:
            return None
        latest = list(reversed(self.replacements))
        successor = next((each for each in latest if counts(self.replacements[each].contact)), latest[0])
        self.members[successor] = seen = self.replacements.pop(successor)
        self.members = dict(sorted(self.members.items(), key=lambda seat: seat[1].at))
        return seen.contact


class RoutingTable:
    """The contacts of the node `own`, whose width gives the number of buckets.

    `k` bounds a bucket, `replacements` (default k) its cache. `check_after`, in seconds: the least recently seen member
    of a full bucket is not questioned on a newcomer's account while it was heard of more recently than that. With 0
    each answer of a newcomer costs a ping; with much more, the dead keep their seats longer.

    `diversity`: in an open network, where ids are free. In a closed one (None) every member counts.
    """

    def __init__(
        self,
        own: NodeId,
        k: int,
        *,
        replacements: int | None = None,
        check_after: float = 0.0,
        diversity: Diversity | None = None,
    ) -> None:
        self.own = own
        self.k = k
        self.last_answer: float | None = None  # when anyone answered last
        self.version = 0  # of what counts: another one with each change of who has a seat, or where
        self._number = as_int(own)
        self._most_replacements = k if replacements is None else replacements
        self._check_after = check_after
        self._seatings: dict[int, _Seating] = {}
        self._filled = 0  # bit i: bucket i has members
        # These buckets, from the nearest to our own id and from the farthest; None: to be made again.
        self._upward: list[_Filled] = []
        self._downward: list[_Filled] | None = None
        self._touched: dict[int, float] = {}
        # Told of a member that has lost its seat to one that counts.
        self.on_displaced: Callable[[Contact], None] = lambda contact: None
        self._open = diversity
        self.diversity: Diversity | None = None  # by which members count now; None while all do
        self._networks = None if diversity is None else Networks(diversity)  # of the members
        self._size = 0  # members
        self._neighbours: list[int] | None = None  # see `density_at`; None: to be found again
        self._densities: dict[int, Density | None] = {}  # by the bucket of the target
        self._latest: tuple[bytes, int, list[Contact]] | None = None  # of `_nearest`
        self._covers: tuple[bytes, frozenset[NodeId]] | None = None  # the latest of `counts`

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
        known = members.pop(number, None)
        if known is None and len(members) >= self.k and not self._displaces(contact, seating):
            seating.wait(number, _Seen(contact, now), self._most_replacements)
            oldest = next(iter(members.values()))
            return oldest.contact if now - oldest.at >= self._check_after else None
        members[number] = _Seen(contact, now)  # the most recently seen, whether it is new or was there before
        if known is None or known.contact[1] != contact[1]:
            self._note_change(known.contact if known is not None else None, contact)
            seating.replacements.pop(number, None)
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
            self._evict(number, index, seating)
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
            self._evict(number, index, seating)

    def __len__(self) -> int:
        return self._size

    def __contains__(self, node: object) -> bool:
        return isinstance(node, bytes) and self.get(NodeId(node)) is not None

    def __iter__(self) -> Iterator[Contact]:
        """The members, bucket by bucket from the nearest. The table must not be changed meanwhile."""
        for index in sorted(self._seatings):
            for seen in self._seatings[index].members.values():
                yield seen.contact

    def closest(self, target: bytes, count: int | None = None, *, excluding: NodeId | None = None) -> list[Contact]:
        """The `count` (k) members closest to `target` that count, closest first, but for `excluding` (whoever asks for
        them). Where these are too few, those follow that do not count."""
        wanted = self.k if count is None else count
        # One more than is wanted, in case the excluded one is among them.
        found = self._nearest(target, wanted if excluding is None else wanted + 1)
        if excluding is not None:
            found = [contact for contact in found if contact[0] != excluding]
        if self._open is None or self._is_plain(target, found, wanted):
            return found[:wanted]
        nearest = self._nearest(target, max(most(self.k), wanted) + 1)
        nearest = [contact for contact in nearest if contact[0] != excluding]
        counted = self.counting(target).cover(nearest, wanted).counted
        ids = {contact[0] for contact in counted}
        return (counted + [contact for contact in nearest if contact[0] not in ids])[:wanted]

    def named(self, target: bytes, *, excluding: NodeId) -> list[Contact]:
        """What `excluding` is answered, which asks for the closest: k of them that count, as `closest`.

        But where the cover is longer only half of them are the closest, and the others are spread over the rest, for
        each node from another place. So ids made beside the target cannot hide the nodes behind them.
        """
        k = self.k
        nearest = [contact for contact in self._nearest(target, k + 1) if contact[0] != excluding]
        if self._open is None or self._is_plain(target, nearest, k):
            return nearest[:k]
        nearest = [contact for contact in self._nearest(target, most(k) + 1) if contact[0] != excluding]
        cover = self.counting(target).cover(nearest, k).counted
        if len(cover) <= k:
            return self.closest(target, excluding=excluding)
        half = k // 2
        others, wanted = cover[half:], k - half
        places = sorted((self._number + turn * (len(others) // wanted)) % len(others) for turn in range(wanted))
        return cover[:half] + [others[place] for place in places]

    def cover(self, target: bytes) -> list[Contact]:
        """The members that count in the cover of `target` (`counting.py`), closest first: the k closest, most often."""
        nearest = self._nearest(target, self.k + 1)
        if self._open is None or (len(nearest) >= self.k and self._is_plain(target, nearest, self.k)):
            return nearest[: self.k]
        return self.counting(target).cover(self._nearest(target, most(self.k)), self.k).counted

    def counting(self, target: bytes) -> Counting:
        """The rule of counting for `target`, by what this table knows at each moment."""
        return Counting(target, self)

    def counts(self, node: NodeId, target: bytes) -> bool:
        """Whether the word of `node` about `target` counts: it is a member that counts in the cover of `target`."""
        if self._covers is None or self._covers[0] != target:
            self._covers = target, frozenset(map(_id_of, self.cover(target)))
        return node in self._covers[1]

    @property
    def networks(self) -> int:
        """How many source networks of public addresses, untrusted ones, the members have; 0 in a closed network."""
        return 0 if self._networks is None else self._networks.size

    def density_at(self, target: int) -> Density | None:
        """By this node's closest members that count; None where they say too little, and in a closed network."""
        if self._open is None or self._size < self.k:
            return None  # these are all that there are, and none is too many
        apart = target ^ self._number
        bucket = apart.bit_length()
        if bucket not in self._densities:
            if self._neighbours is None:
                self._neighbours = self._find_neighbours()
            self._densities[bucket] = density(self._neighbours, apart, self.k)
        return self._densities[bucket]

    def is_among_closest(self, target: bytes) -> bool:
        """Whether this node belongs to the cover of `target`, of all that it knows, itself included."""
        # Fewer than k that are closer cannot become more by not counting.
        return self._closer(target) < self.k or self.rank(target) < self.k

    def rank(self, target: bytes) -> int:
        """How many members are closer to `target` than this node is, and count. k or more: this node is not in the
        cover. The last places in a cover that is longer than k are all of rank k - 1."""
        closer = self._closer(target)
        if self._open is None or closer <= PER_NETWORK:
            return closer
        return self._rank_counted(target, closer)

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

    def _nearest(self, target: bytes, count: int) -> list[Contact]:
        """The members closest to `target`, closest first, whether or not they count. Not to be changed."""
        if self._latest is not None and self._latest[0] == target and self._latest[1] == count:
            return self._latest[2]
        number = int.from_bytes(target, "big")
        distance = number.__xor__  # a key without a Python frame of its own
        apart = number ^ self._number
        found: list[Contact] = []
        missing = count
        downward = self._downward or self._line_up()
        for is_nearer, buckets in ((True, downward), (False, self._upward)):
            for bit, members, size in buckets:
                if (apart & bit != 0) is not is_nearer or missing <= 0:
                    continue
                nearest = sorted(members, key=distance)
                if size > missing:
                    del nearest[missing:]
                missing -= size
                # A seat is a contact and a time; again without a frame for each.
                found += map(_contact_of, map(members.__getitem__, nearest))
        # What is asked is asked again a moment later: whether a node is among the closest, and who they are.
        self._latest = target, count, found
        return found

    def _rank_counted(self, target: bytes, closer: int) -> int:
        """`rank` where so many members are closer."""
        k = self.k
        if self._open is None or (closer < k and self.diversity is None):
            return closer
        if closer < k:
            return len(self.counting(target).cover(self._nearest(target, closer), k).counted)
        if self._is_plain(target, self._nearest(target, k + 1), k):
            return closer
        cover = self.counting(target).cover(self._nearest(target, min(closer, most(k))), k)
        return closer if cover.is_whole else min(len(cover.counted), k - 1)

    def _is_plain(self, target: bytes, nearest: list[Contact], wanted: int) -> bool:
        """Whether the first k of these, or as many as are wanted, or are there, are a cover in which all count."""
        number, enough = int.from_bytes(target, "big"), min(wanted, self.k, len(nearest))
        is_crowded = self._networks is not None and self._networks.crowded
        return is_plain(nearest, enough, number, self.density_at(number), self.diversity if is_crowded else None)

    def _find_neighbours(self) -> list[int]:
        """The distances of the 2k closest members that count under diversity, closest first."""
        own, enough, diversity = self._number, 2 * self.k, self.diversity
        networks = None if diversity is None else Networks(diversity)
        distances: list[int] = []
        self._line_up()
        for _, members, _ in self._upward:
            distances += sorted(
                [
                    number ^ own
                    for number in members
                    if networks is None or networks.take(members[number].contact.endpoint.ip)
                ]
            )
            if len(distances) >= enough:
                break
        return distances[:enough]

    def _displaces(self, newcomer: Contact, seating: _Seating) -> bool:
        """Whether a member of the full bucket makes room, since it does not count and the newcomer does."""
        networks = self._networks
        if networks is None or self.diversity is None or not networks.has_room(newcomer.endpoint.ip):
            return False
        for number, seen in seating.members.items():
            if networks.is_crowded(seen.contact.endpoint.ip):
                del seating.members[number]
                self._note_change(seen.contact, None)
                seating.wait(number, seen, self._most_replacements)
                self.on_displaced(seen.contact)
                return True
        return False

    def _evict(self, number: int, index: int, seating: _Seating) -> None:
        gone = seating.members[number].contact
        successor = seating.evict(number, self._has_room)
        self._note_change(gone, successor)
        if not seating.members:
            self._filled ^= 1 << index

    def _has_room(self, contact: Contact) -> bool:
        return self._networks is None or self._networks.has_room(contact.endpoint.ip)

    def _note_change(self, gone: Contact | None, came: Contact | None) -> None:
        """Who has a seat, or where, has changed."""
        self._latest = self._covers = None
        self._downward = None
        self.version += 1
        self._size += (came is not None) - (gone is not None)
        if self._networks is None:
            return
        if gone is not None:
            self._networks.remove(gone[1][:-2])
        if came is not None:
            self._networks.add(came[1][:-2])
        self.diversity = self._open if self._networks.size >= LEAST_NETWORKS else None
        self._neighbours = None
        self._densities = {}

    def _closer(self, target: bytes) -> int:
        """How many members are closer to the target than we are (see the top), whether or not they count."""
        apart = int.from_bytes(target, "big") ^ self._number
        closer = 0
        for bit, _, size in self._downward or self._line_up():
            if apart & bit:
                closer += size
        return closer

    def _line_up(self) -> list[_Filled]:
        """The buckets that have members, the farthest from our own id first."""
        self._upward = [
            (1 << index, seating.members, len(seating.members))
            for index, seating in sorted(self._seatings.items())
            if seating.members
        ]
        self._downward = self._upward[::-1]
        return self._downward

    @staticmethod
    def _failed(seen: _Seen | None, endpoint: Endpoint, asked_at: float) -> bool:
        return seen is not None and seen.contact.endpoint == endpoint and seen.at <= asked_at
