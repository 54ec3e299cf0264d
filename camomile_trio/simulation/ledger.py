"""What users were told: every put, get and forget with its outcome, and what therefore must be true of each key.

Rules of this file: it believes only what operations returned, and looks at no node. Where an outcome leaves it open
what must be true (an operation failed, was cut off, or two overlapped; a forget was lost, as `tombstones.py` says), it
says so: `OPEN` demands only right bytes.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Literal

import attrs

from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import PublisherKey

OperationKind = Literal["put", "get", "forget"]

OK = "ok"
CUT_OFF = "cut off"  # the node died under its user


@attrs.define(eq=False)
class Operation:
    """One operation of one user. Times in virtual s; `ended` is None while it is under way."""

    number: int
    kind: OperationKind
    key: Key
    machine: int
    publisher: PublisherKey
    began: float
    # Whether faults were about when it began or ended: then two words of one publisher may cross.
    is_troubled: bool
    ttl: float | None = None
    ended: float | None = None
    outcome: str = ""  # OK, CUT_OFF, or the name of the error
    because: str = ""  # the error's message
    # What must be true of the key, when a get began: a failed get of something promised has failed.
    standing: Standing | None = None
    is_right: bool = True  # the bytes that a get brought are the key's
    origin: bytes = b""  # the node that a get's bytes came from
    is_own: bool = False  # they came from the asked node itself
    replicas: int = 0  # acknowledgements at the time of the answer
    sent: int = 0  # datagrams that the asked node sent meanwhile
    bytes: int = 0  # bytes that it sent and received meanwhile
    # Of a forget: faults have taken every copy of its tombstone (`tombstones.py`), so that nobody can know of it.
    is_lost: bool = False

    @property
    def seconds(self) -> float:
        return (self.ended if self.ended is not None else self.began) - self.began

    @property
    def has_failed(self) -> bool:
        """It ended otherwise than its user was promised."""
        if self.ended is None or self.outcome in (OK, CUT_OFF):
            return False
        if self.kind == "get":
            return self.standing is Standing.PROMISED or self.outcome not in ("NotFound", "Forgotten")
        # Who forgets what was never acknowledged, or is gone already, may hear so.
        return not (self.kind == "forget" and self.outcome == "NotFound" and self.standing is not Standing.PROMISED)


class Standing(enum.Enum):
    """What must be true of a key."""

    UNKNOWN = "unknown"  # nobody ever put it
    PROMISED = "promised"  # a put was acknowledged, and nobody forgot it since
    FORGOTTEN = "forgotten"  # every publisher that put it had it forgotten
    OPEN = "open"


@attrs.define(eq=False)
class Ledger:
    """All words about keys, in order. `keys` are in the order in which they were first put.

    `clock_spread` says how far wall clocks are apart, in s: a lease that is not renewed may end so much early or late.
    """

    _clock: Callable[[], float]
    _clock_spread: Callable[[], float]
    operations: list[Operation] = attrs.field(init=False, factory=list)
    _words: dict[Key, list[Operation]] = attrs.field(init=False, factory=dict)

    def begin(self, operation: Operation) -> None:
        """A user begins an operation."""
        self.operations.append(operation)
        if operation.kind in ("get", "forget"):
            operation.standing = self.standing(operation.key)
        if operation.kind != "get":
            self._words.setdefault(operation.key, []).append(operation)

    @property
    def keys(self) -> list[Key]:
        return list(self._words)

    def keys_that_are(self, standing: Standing) -> list[Key]:
        return [key for key in self._words if self.standing(key) is standing]

    def words(self, key: Key) -> list[Operation]:
        """The puts and forgets of a key, in the order in which they began."""
        return self._words.get(key, [])

    def standing(self, key: Key) -> Standing:
        """What must be true of the key now."""
        by_publisher: dict[PublisherKey, list[Operation]] = {}
        for word in self.words(key):
            by_publisher.setdefault(word.publisher, []).append(word)
        found = [self._weigh(words) for words in by_publisher.values()]
        for standing in (Standing.PROMISED, Standing.OPEN, Standing.FORGOTTEN):
            if standing in found:
                return standing
        return Standing.UNKNOWN

    def _weigh(self, words: list[Operation]) -> Standing:
        standing = _standing_of(words)
        if standing is not Standing.PROMISED:
            return standing
        # No put shortens a life (rule 3): of those since the last forget the one that promised most decides.
        effective = [word for word in words if word.outcome not in _DID_NOTHING]
        last = max((at for at, word in enumerate(effective) if word.kind == "forget"), default=-1)
        since = effective[last + 1 :]
        promised = [word for word in since if word.outcome == OK]
        end = max(_promised_until(word) for word in promised)
        # But for a put that came to nothing: it may have cut short what was acknowledged while it was under way.
        crossing = [word for word in since if word.outcome != OK and any(_may_cross(word, other) for other in promised)]
        end = min([end, *map(_promised_until, crossing)])
        is_over = end < math.inf and self._clock() > end - self._clock_spread()
        return Standing.OPEN if is_over else standing

    def promised_since(self, key: Key) -> float | None:
        """When the last acknowledged put of a promised key ended."""
        if self.standing(key) is not Standing.PROMISED:
            return None
        return max(word.ended for word in self.words(key) if word.kind == "put" and word.outcome == OK and word.ended)

    def forgotten_since(self, key: Key) -> float | None:
        """When the last forget of a forgotten key ended."""
        if self.standing(key) is not Standing.FORGOTTEN:
            return None
        return max(word.ended for word in self.words(key) if word.kind == "forget" and word.ended is not None)


def _promised_until(put: Operation) -> float:
    """Until when a put, once acknowledged, promises to keep its value (s of virtual time)."""
    return math.inf if put.ttl is None else put.began + put.ttl


# Outcomes of a forget that has changed nothing.
_DID_NOTHING = ("NotFound", "NotPublisher")


def _standing_of(words: list[Operation]) -> Standing:
    """Of one publisher's words about one key.

    A forget is dated ahead of every put that it could have met (rule 3), so it wins against puts before it. Of a put
    after a forget that is true only if the put could see the tombstone, and likewise of the next forget.
    """
    standing = Standing.UNKNOWN
    put: Operation | None = None
    forget: Operation | None = None
    for word in words:
        is_ok = word.ended is not None and word.outcome == OK
        if word.kind == "put":
            if is_ok:
                standing = Standing.OPEN if forget is not None and _may_cross(forget, word) else Standing.PROMISED
            elif standing is not Standing.PROMISED:
                standing = Standing.OPEN
            put = word
        elif word.outcome in _DID_NOTHING:
            continue
        else:
            overlaps = put is not None and (put.ended is None or word.began < put.ended)
            crosses = forget is not None and put is not None and _may_cross(put, word)
            is_known = is_ok and not word.is_lost
            standing = Standing.FORGOTTEN if is_known and not overlaps and not crosses else Standing.OPEN
            forget = word
    return standing


def _may_cross(earlier: Operation, later: Operation) -> bool:
    """Whether the later word may have been said without knowledge of the earlier one."""
    return earlier.ended is None or later.began < earlier.ended or earlier.is_troubled or later.is_troubled
