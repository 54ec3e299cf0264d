"""What lies between two endpoints of a simulated network: delay, loss, doubles, damage; cuts, partitions and NATs.

Rules of this file: no clock and no trio; the time is given in. What happens to a packet follows from the seed, the link
(source and destination) and the packet's number on that link, by a keyed hash. There is no shared generator of random
numbers, so traffic on one link never changes what happens on another one, and the same seed gives the same network
everywhere. NATs follow RFC 4787: a node keeps one outside endpoint (mapping is endpoint-independent), each peer has to
be written to before it gets through (filtering is address and port-dependent), and only what goes out keeps the way
open. A stream cannot be opened from outside at all.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Literal, NamedTuple

import attrs

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint

# Two times eight numbers for each packet: its way, and its damage.
_DRAWS = struct.Struct(">8I")
_UNIT = 2.0**-32
_HALF = 2.0**-33
_MOST_FLIPPED = 3  # bytes of a corrupted datagram


def require_seconds(name: str, seconds: float) -> None:
    """ConfigError unless it is a finite time of 0 s or more."""
    if not 0.0 <= seconds < math.inf:
        raise ConfigError(f"{name} is {seconds}", remedy=f"choose a {name} of 0 s or more")


def _require_chances(conditions: object, *names: str) -> None:
    for name in names:
        if not 0.0 <= getattr(conditions, name) <= 1.0:
            raise ConfigError(f"{name} is {getattr(conditions, name)}", remedy=f"choose a {name} from 0 to 1")


@attrs.frozen(kw_only=True)
class StreamConditions:
    """How a link treats the exchanges that are begun over it. At most one of its chances befalls an exchange.

    A reset or a stall strikes, by even chance, before the question has arrived or after it: then it has been heard.
    """

    refusal: float = 0.0  # chance that there is no connection
    reset: float = 0.0  # chance that the connection breaks before the answer is there
    stall: float = 0.0  # chance that nothing moves any more, until the asker gives up
    bandwidth: float = math.inf  # bytes per second, of each message for itself and in both directions

    def __attrs_post_init__(self) -> None:
        _require_chances(self, "refusal", "reset", "stall")
        if self.refusal + self.reset + self.stall > 1.0:
            raise ConfigError(
                f"refusal, reset and stall add up to {self.refusal + self.reset + self.stall}",
                remedy="choose chances that are 1 together at most: an exchange meets one of them",
            )
        if not self.bandwidth > 0.0:
            raise ConfigError(f"bandwidth is {self.bandwidth}", remedy="choose a bandwidth above 0 bytes per second")

    @property
    def are_sound(self) -> bool:
        """Whether there is nothing to draw."""
        return not (self.refusal or self.reset or self.stall)


@attrs.frozen(kw_only=True)
class LinkConditions:
    """How a link treats its packets. Times in seconds, chances from 0 to 1."""

    latency: float = 0.001  # one way; what every packet takes at least
    jitter: float = 0.0  # at most so much more, evenly spread
    loss: float = 0.0  # chance that a packet is lost; streams feel only a loss of 1, which is no link at all
    duplication: float = 0.0  # chance that a packet comes twice
    reordering: float = 0.0  # chance that a packet is held up, so that later ones overtake it
    reordering_delay: float = 0.01  # a packet held up takes at most so much more
    corruption: float = 0.0  # chance that a few bytes of a packet change: checksums of UDP have 16 bits, and cards lie
    truncation: float = 0.0  # chance that a packet loses its end
    largest: float = math.inf  # bytes; a larger packet is lost, and nobody is told: a small MTU behind a silent router
    streams: StreamConditions = StreamConditions()

    # Whether all packets of a link fare alike, so that there is nothing to draw.
    is_even: bool = attrs.field(init=False, eq=False, repr=False)

    @is_even.default
    def _decide_is_even(self) -> bool:
        spreads = self.jitter or self.loss or self.duplication or self.reordering
        return not (spreads or self.corruption or self.truncation or self.largest < math.inf)

    def __attrs_post_init__(self) -> None:
        _require_chances(self, "loss", "duplication", "reordering", "corruption", "truncation")
        for name in ("latency", "jitter", "reordering_delay"):
            require_seconds(name, getattr(self, name))

    def delay(self, draw: float) -> float:
        """Latency and jitter of one packet. `draw` is its chance, between 0 and 1."""
        return self.latency + self.jitter * draw


class StreamFault(NamedTuple):
    """What befalls an exchange. It is late if the question has arrived before."""

    kind: Literal["refused", "reset", "stalled"]
    is_late: bool


@attrs.define(eq=False)
class Cuts:
    """Cuts and at most one partition. A set and dicts that are only looked into, so their order tells nobody."""

    _cuts: set[tuple[Endpoint, Endpoint]] = attrs.field(init=False, factory=set)
    _group_of: dict[Endpoint, int] = attrs.field(init=False, factory=dict)
    # The group of those who are in none.
    _rest: int = attrs.field(init=False, default=0)
    _one_way: bool = attrs.field(init=False, default=False)

    def __bool__(self) -> bool:
        return bool(self._cuts or self._group_of)

    def cut(self, source: Endpoint, destination: Endpoint) -> None:
        """This way only."""
        self._cuts.add((source, destination))

    def heal(self, source: Endpoint, destination: Endpoint) -> None:
        """Takes a cut back, this way only."""
        self._cuts.discard((source, destination))

    def partition(self, groups: Iterable[Iterable[Endpoint]], *, one_way: bool = False) -> None:
        """From now on only members of one group reach each other. Who is in no group is in one more, the last.

        `one_way`: each group still hears the groups after it, and is not heard by them. A former partition ends; cuts
        of single links stay. ConfigError when an endpoint is in two groups: nothing has changed then.
        """
        group_of: dict[Endpoint, int] = {}
        count = 0
        for group in groups:
            for endpoint in group:
                if group_of.setdefault(endpoint, count) != count:
                    raise ConfigError(f"{endpoint} is in two groups of a partition", remedy="name it in one of them")
            count += 1
        self._group_of, self._rest, self._one_way = group_of, count, one_way

    def heal_all(self) -> None:
        """Ends the partition and all cuts."""
        self._cuts.clear()
        self._group_of = {}

    def block(self, source: Endpoint, destination: Endpoint) -> bool:
        """Whether nothing passes from one to the other."""
        if self._cuts and (source, destination) in self._cuts:
            return True
        if not self._group_of:
            return False
        speaks, hears = self._group_of.get(source, self._rest), self._group_of.get(destination, self._rest)
        return speaks < hears if self._one_way else speaks != hears


@attrs.define(eq=False)
class _Nat:
    timeout: float
    # When the node last wrote to each peer, the longest ago first.
    written: dict[Endpoint, float] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Nats:
    """Who is behind a NAT, and whom each lets in."""

    behind: dict[Endpoint, _Nat] = attrs.field(init=False, factory=dict)

    def put(self, endpoint: Endpoint, timeout: float | None) -> None:
        """Puts a node behind a new NAT that remembers for `timeout` seconds; None takes it out into the open."""
        if timeout is None:
            self.behind.pop(endpoint, None)
        else:
            require_seconds("timeout of a NAT", timeout)
            self.behind[endpoint] = _Nat(timeout)

    def note(self, now: float, source: Endpoint, destination: Endpoint) -> None:
        """`source` writes to `destination`."""
        nat = self.behind.get(source)
        if nat is None:
            return
        written = nat.written
        # To the end of the row, so that those whose time is up stand in front.
        written.pop(destination, None)
        written[destination] = now
        while (longest_ago := next(iter(written))) != destination and written[longest_ago] < now - nat.timeout:
            del written[longest_ago]

    def lets_in(self, now: float, source: Endpoint, destination: Endpoint) -> bool:
        """Whether a datagram from `source` gets through to `destination`."""
        nat = self.behind.get(destination)
        if nat is None:
            return True
        written = nat.written.get(source)
        return written is not None and now - written <= nat.timeout


@attrs.define(eq=False)
class Links:
    """All links of a network. Each is one way: from a source to a destination."""

    _seed: int
    _default: LinkConditions
    # What every datagram takes, while nothing at all sets one apart from another; else None. It saves every question.
    plain_delay: float | None = attrs.field(init=False, default=None)
    has_cuts: bool = attrs.field(init=False, default=False)
    _hash: blake2b = attrs.field(init=False)
    # What holds where nothing more specific does.
    _general: LinkConditions = attrs.field(init=False)
    _specific: dict[tuple[Endpoint | None, Endpoint | None], LinkConditions] = attrs.field(init=False, factory=dict)
    _slowness: dict[Endpoint, float] = attrs.field(init=False, factory=dict)
    _cuts: Cuts = attrs.field(init=False, factory=Cuts)
    # Packets so far on each link that is not even, by source and destination.
    _numbers: dict[Endpoint, dict[Endpoint, int]] = attrs.field(init=False, factory=dict)

    @_hash.default
    def _make_hash(self) -> blake2b:
        return blake2b(key=blake2b(str(self._seed).encode(), digest_size=32).digest(), digest_size=2 * _DRAWS.size)

    def __attrs_post_init__(self) -> None:
        self._general = self._default
        self._find_plain_delay()

    def set_conditions(
        self, source: Endpoint | None, destination: Endpoint | None, conditions: LinkConditions | None
    ) -> None:
        """Sets them for one link; None for an end means any. `conditions` None takes an earlier setting back.

        The most specific setting holds: a link's own, then its source's, then its destination's, then the network's.
        """
        if source is None and destination is None:
            self._general = self._default if conditions is None else conditions
        elif conditions is None:
            self._specific.pop((source, destination), None)
        else:
            self._specific[source, destination] = conditions
        self._find_plain_delay()

    def conditions(self, source: Endpoint, destination: Endpoint) -> LinkConditions:
        """Those that hold for a link."""
        if self._specific:
            for ends in ((source, destination), (source, None), (None, destination)):
                found = self._specific.get(ends)
                if found is not None:
                    return found
        return self._general

    def set_slowness(self, endpoint: Endpoint, slowness: float) -> None:
        """All that comes to `endpoint` and all that leaves it takes so many seconds more, on top of what links do."""
        require_seconds("slowness", slowness)
        if slowness:
            self._slowness[endpoint] = slowness
        else:
            self._slowness.pop(endpoint, None)
        self._find_plain_delay()

    def cut(self, source: Endpoint, destination: Endpoint) -> None:
        """Cuts the link, this way only."""
        self._cuts.cut(source, destination)
        self._find_plain_delay()

    def heal(self, source: Endpoint, destination: Endpoint) -> None:
        """Takes a cut back, this way only."""
        self._cuts.heal(source, destination)
        self._find_plain_delay()

    def partition(self, groups: Iterable[Iterable[Endpoint]], *, one_way: bool = False) -> None:
        """Only members of one group reach each other, or also hear the groups after theirs: see `Cuts`."""
        self._cuts.partition(groups, one_way=one_way)
        self._find_plain_delay()

    def heal_all(self) -> None:
        """Ends the partition and all cuts."""
        self._cuts.heal_all()
        self._find_plain_delay()

    def is_cut(self, source: Endpoint, destination: Endpoint) -> bool:
        """Whether nothing passes, by a cut or a partition."""
        return self._cuts.block(source, destination)

    def copies(self, source: Endpoint, destination: Endpoint, datagram: bytes) -> Sequence[tuple[float, bytes]]:
        """What becomes of the next datagram of a link: for each copy that arrives its delay, and what it brings.

        Nothing if it is lost. Only the first copy can be damaged, and another object than `datagram` if it is.
        """
        conditions = self.conditions(source, destination)
        if len(datagram) > conditions.largest:
            return ()
        slowness = self.slowness(source, destination) if self._slowness else 0.0
        if conditions.is_even:
            return ((conditions.delay(0.5) + slowness, datagram),)
        digest = self._digest(source, destination)
        lost, doubled, held_up, hold, jitter, other_jitter, *_ = _draws(digest)
        if lost < conditions.loss:
            return ()
        delay = conditions.delay(jitter) + slowness
        if held_up < conditions.reordering:
            delay += conditions.reordering_delay * hold
        first = datagram
        if conditions.corruption or conditions.truncation:
            first = _damaged(datagram, conditions, digest)
        if doubled < conditions.duplication:
            other_delay = conditions.delay(other_jitter) + slowness
            return ((delay, first), (other_delay, datagram))
        return ((delay, first),)

    def stream_delay(self, source: Endpoint, destination: Endpoint, length: int) -> float:
        """How long the next message of `length` bytes takes over a stream: TCP hides loss and order, not the time."""
        conditions = self.conditions(source, destination)
        jitter = 0.5 if conditions.is_even else _draws(self._digest(source, destination))[4]
        delay = conditions.delay(jitter) + length / conditions.streams.bandwidth
        return delay + self.slowness(source, destination)

    def stream_fault(self, source: Endpoint, destination: Endpoint) -> StreamFault | None:
        """What goes wrong with the next exchange that `source` begins."""
        streams = self.conditions(source, destination).streams
        if streams.are_sound:
            return None
        chance, late, *_ = _draws(self._digest(source, destination))
        if chance < streams.refusal:
            return StreamFault("refused", is_late=False)
        if chance < streams.refusal + streams.reset:
            return StreamFault("reset", late < 0.5)
        return StreamFault("stalled", late < 0.5) if chance < streams.refusal + streams.reset + streams.stall else None

    def carries_streams(self, source: Endpoint, destination: Endpoint) -> bool:
        """Whether a stream gets through at all."""
        return not self.is_cut(source, destination) and self.conditions(source, destination).loss < 1.0

    def slowness(self, source: Endpoint, destination: Endpoint) -> float:
        """How many seconds a packet takes longer because of its two ends."""
        return self._slowness.get(source, 0.0) + self._slowness.get(destination, 0.0)

    def _find_plain_delay(self) -> None:
        self.has_cuts = bool(self._cuts)
        differ = self._specific or self._slowness or self._cuts or not self._general.is_even
        self.plain_delay = None if differ else self._general.latency

    def _digest(self, source: Endpoint, destination: Endpoint) -> bytes:
        """What chance has for the next packet of this link."""
        numbers = self._numbers.setdefault(source, {})
        number = numbers[destination] = numbers.get(destination, 0) + 1
        state = self._hash.copy()
        state.update(b"%c%b%b%b" % (len(source), source, destination, number.to_bytes(8, "big")))
        return state.digest()


def _draws(digest: bytes, offset: int = 0) -> list[float]:
    """Eight numbers between 0 and 1, and neither of them."""
    return [draw * _UNIT + _HALF for draw in _DRAWS.unpack_from(digest, offset)]


def _damaged(datagram: bytes, conditions: LinkConditions, digest: bytes) -> bytes:
    """The datagram cut short, with a few bytes flipped, both, or itself; nothing can befall an empty one."""
    cut_short, corrupted, length, count, mask, *positions = _draws(digest, _DRAWS.size)
    if datagram and cut_short < conditions.truncation:
        datagram = datagram[: int(length * len(datagram))]
    if datagram and corrupted < conditions.corruption:
        flipped = bytearray(datagram)
        for position in positions[: 1 + int(count * _MOST_FLIPPED)]:
            place = int(position * len(datagram))
            # From the datagram, so that two flips of one byte do not undo each other.
            flipped[place] = datagram[place] ^ (1 + int(mask * 255))
        datagram = bytes(flipped)
    return datagram
