"""When a put or a forget has succeeded: the count of its acknowledgements.

Rules of this file: a tally of one operation, told of each event by plain calls, which never sends, waits or tells the
time. Events may come in any order, twice, and after the outcome; the outcome, once there, stays. It is told of our own
nodes only: classic ones cannot acknowledge, and are not counted. Source: docs/protocol.md, Records, "Acknowledgement".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable

import attrs

from camomile_trio.kademlia.ids import NodeId, distance
from camomile_trio.kademlia.messages import Durability, StoreStatus

# One reason to whoever counts a majority: of some holders the disk is full, others hold as much as they may.
_ALIKE = {StoreStatus.NO_ROOM: StoreStatus.FULL}


@attrs.frozen
class Success:
    """A majority has acknowledged."""


@attrs.frozen
class Refused:
    """A majority refused, for one and the same reason; FULL stands for NO_ROOM too."""

    status: StoreStatus


@attrs.frozen
class Failed:
    """No majority can acknowledge any more, for reasons that differ. It is safe to repeat."""

    alone: bool = False  # no other node answered at all
    short: bool = False  # fewer nodes answered than a majority of those that are counted at least


Outcome = Success | Refused | Failed


class Acknowledgements:
    """The answers to one put or forget.

    `own` is this node; its copy counts as that of any other node if it is one of those that count.
    `alone` says that this node may count without any other: it never had a contact, or stands alone on purpose.
    `least`: the majority is that of so many nodes at least, however few answer; at most k.
    `candidates`, while a lookup goes on beside the STOREs, tells those that count of its closest candidates, which have
    answered or may be hoped for, and this node if it is one of them: one that has not answered yet keeps those behind
    it from counting before the lookup's end. By default they are the k closest that have answered.
    """

    def __init__(self, k: int, *, target: bytes, own: NodeId, alone: bool = False, least: int = 1) -> None:
        self._k = k
        self._least = min(least, k)
        self._target = target
        self._own = own
        self._alone = alone
        self._answered: set[NodeId] = set()
        self._acknowledged: dict[NodeId, Durability] = {}
        self._declined: dict[NodeId, StoreStatus | None] = {}  # None: no answer before the deadline
        self._counted: tuple[NodeId, ...] | None = None  # those that count; fixed when the lookup ends
        self.outcome: Outcome | None = None  # how it ended; None while it is open
        self.candidates: Callable[[], Collection[NodeId]] = self._closest_answered

    @property
    def replicas(self) -> int:
        """All acknowledgements so far, those of nodes that do not count included."""
        return len(self._acknowledged)

    @property
    def durable(self) -> int:
        """Those of them that have reached the operating system or the disk."""
        return sum(durability >= Durability.SYSTEM for durability in self._acknowledged.values())

    @property
    def refusals(self) -> Counter[StoreStatus]:
        """How many have refused so far, by their reason."""
        return Counter(status for status in self._declined.values() if status is not None)

    @property
    def may_count_alone(self) -> bool:
        """Whether this node may count without any other."""
        return self._alone

    def on_answered(self, node: NodeId) -> None:
        """`node` has answered the lookup. Call it for this node too where it counts."""
        self._answered.add(node)
        self._judge()

    def on_lookup_end(self, counted: Iterable[NodeId]) -> None:
        """The lookup has ended; `counted` are the closest nodes that answered and count, this one included if it does.

        From now on the majority is that of these.
        """
        self._counted = tuple(dict.fromkeys(counted))
        self._answered.update(self._counted)
        self._judge()

    def on_acknowledged(self, node: NodeId, durability: Durability) -> None:
        """`node` has stored it. What it says later takes nothing of that back."""
        self._answered.add(node)
        self._acknowledged[node] = max(durability, self._acknowledged.get(node, Durability.NONE))
        if self._declined:
            self._declined.pop(node, None)
        # Cheap before exact: this is called for every answer of every put.
        if self._counted is not None or len(self._acknowledged) > self._k // 2:
            self._judge()

    def on_own_copy(self, durability: Durability) -> None:
        """This node has stored its own copy, as a holder or as the publisher. It counts alone if m is 0."""
        self.on_acknowledged(self._own, durability)

    def on_refused(self, node: NodeId, status: StoreStatus) -> None:
        """`node` will not store it, and says why."""
        self._decline(node, status)

    def on_failed(self, node: NodeId) -> None:
        """No answer to the STORE came from `node` before its deadline."""
        self._decline(node, None)

    def _decline(self, node: NodeId, status: StoreStatus | None) -> None:
        if node not in self._acknowledged:
            self._declined[node] = status
        self._judge()

    def _judge(self) -> None:
        if self.outcome is None:
            self.outcome = self._judge_early() if self._counted is None else self._judge_counted(self._counted)

    def _judge_early(self) -> Outcome | None:
        """While the lookup goes on there is only success: a majority of those that count so far, or of k if that is
        more."""
        needed = self._k // 2 + 1
        if len(self._acknowledged) < needed or self._is_cut_off():
            return None
        counted = self.candidates()
        acknowledged = sum(node in self._acknowledged for node in counted)
        return Success() if acknowledged >= max(needed, len(counted) // 2 + 1) else None

    def _closest_answered(self) -> list[NodeId]:
        return sorted(self._answered, key=lambda node: distance(self._target, node))[: self._k]

    def _judge_counted(self, counted: tuple[NodeId, ...]) -> Outcome | None:
        if self._is_cut_off():
            return Failed(alone=True)
        # No node answered, and this one may count alone: then the publisher's own copy counts.
        members = counted or (self._own,)
        needed = max(len(members), self._least) // 2 + 1
        acknowledged = sum(node in self._acknowledged for node in members)
        if acknowledged >= needed:
            return Success()
        declined = [self._declined[node] for node in members if node in self._declined]
        still_open = len(members) - acknowledged - len(declined)
        if acknowledged + still_open >= needed:
            return None
        reasons = Counter(_ALIKE.get(status, status) for status in declined if status is not None)
        status, refusals = max(reasons.items(), key=lambda item: item[1], default=(StoreStatus.UNKNOWN, 0))
        if refusals >= needed:
            return Refused(status)
        # Hopeless, but one dead node must not hide that the others refuse for good: a majority may yet give one reason.
        return None if refusals and refusals + still_open >= needed else Failed(short=len(members) < needed)

    def _is_cut_off(self) -> bool:
        """Whether no other node has answered, which only a node that may stand alone can do without."""
        return not self._alone and self._answered <= {self._own}
