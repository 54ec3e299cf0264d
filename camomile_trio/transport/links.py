"""What the links of a simulated network do to each packet: its delay, its loss, its double, and where links are cut.

Rules of this file: pure, no clock and no trio. What happens to a packet follows from the seed, the link (source and
destination) and the packet's number on that link, by a keyed hash. There is no shared generator of random numbers, so
traffic on one link never changes what happens on another one, and the same seed gives the same network everywhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from hashlib import blake2b

import attrs

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint

_UNIT = 2.0**-64
_DRAWS = struct.Struct(">6Q")


@attrs.frozen(kw_only=True)
class LinkConditions:
    """How a link treats its packets. Times in seconds, chances from 0 to 1."""

    latency: float = 0.001  # one way; what every packet takes at least
    jitter: float = 0.0  # at most so much more, evenly spread
    loss: float = 0.0  # chance that a packet is lost; streams feel only a loss of 1, which is no link at all
    duplication: float = 0.0  # chance that a packet comes twice
    reordering: float = 0.0  # chance that a packet is held up, so that later ones overtake it
    reordering_delay: float = 0.01  # a packet held up takes at most so much more

    def __attrs_post_init__(self) -> None:
        for name in ("loss", "duplication", "reordering"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name)}", remedy=f"choose a {name} from 0 to 1")
        for name in ("latency", "jitter", "reordering_delay"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}", remedy=f"choose a {name} of 0 s or more")

    @property
    def is_even(self) -> bool:
        """Whether all packets fare alike, so that there is nothing to draw."""
        return not (self.jitter or self.loss or self.duplication or self.reordering)


@attrs.define(eq=False)
class Links:
    """All links of a network. Each is one way: from a source to a destination."""

    _seed: int
    _default: LinkConditions
    _key: bytes = attrs.field(init=False)
    _specific: dict[tuple[Endpoint | None, Endpoint | None], LinkConditions] = attrs.field(init=False, factory=dict)
    # Packets so far on each link that is not even, by source and destination.
    _numbers: dict[Endpoint, dict[Endpoint, int]] = attrs.field(init=False, factory=dict)
    _cuts: set[tuple[Endpoint, Endpoint]] = attrs.field(init=False, factory=set)
    _group_of: dict[Endpoint, int] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._key = blake2b(str(self._seed).encode(), digest_size=32).digest()

    def set_conditions(
        self, source: Endpoint | None, destination: Endpoint | None, conditions: LinkConditions | None
    ) -> None:
        """Sets them for one link; None for an end means any. `conditions` None takes an earlier setting back.

        The most specific setting holds: a link's own, then its source's, then its destination's, then the network's.
        """
        if conditions is None:
            self._specific.pop((source, destination), None)
        else:
            self._specific[source, destination] = conditions

    def conditions(self, source: Endpoint, destination: Endpoint) -> LinkConditions:
        """Those that hold for a link."""
        if not self._specific:
            return self._default
        for ends in ((source, destination), (source, None), (None, destination), (None, None)):
            found = self._specific.get(ends)
            if found is not None:
                return found
        return self._default

    def cut(self, source: Endpoint, destination: Endpoint) -> None:
        """Cuts the link, this way only."""
        self._cuts.add((source, destination))

    def heal(self, source: Endpoint, destination: Endpoint) -> None:
        """Takes a cut back, this way only."""
        self._cuts.discard((source, destination))

    def partition(self, groups: Iterable[Iterable[Endpoint]]) -> None:
        """From now on only members of one group reach each other. Who is in no group is in one more, of the rest.

        A former partition ends; cuts of single links stay.
        """
        self._group_of = {endpoint: number for number, group in enumerate(groups) for endpoint in group}

    def heal_all(self) -> None:
        """Ends the partition and all cuts."""
        self._cuts.clear()
        self._group_of = {}

    def is_severed(self, source: Endpoint, destination: Endpoint) -> bool:
        """Whether nothing passes, by a cut or a partition."""
        if self._cuts and (source, destination) in self._cuts:
            return True
        return bool(self._group_of) and self._group_of.get(source) != self._group_of.get(destination)

    def delays(self, source: Endpoint, destination: Endpoint) -> tuple[float, ...]:
        """What happens to the next packet of a link: one delay in seconds per copy that arrives; none if it is lost."""
        conditions = self.conditions(source, destination)
        if conditions.is_even:
            return (conditions.latency,)
        lost, doubled, held_up, hold, jitter, jitter_of_double = self._draw(source, destination)
        if lost < conditions.loss:
            return ()
        delay = conditions.latency + conditions.jitter * jitter
        if held_up < conditions.reordering:
            delay += conditions.reordering_delay * hold
        if doubled < conditions.duplication:
            return (delay, conditions.latency + conditions.jitter * jitter_of_double)
        return (delay,)

    def stream_delay(self, source: Endpoint, destination: Endpoint) -> float:
        """How long the next message takes over a stream: TCP hides loss and order, not latency and jitter."""
        conditions = self.conditions(source, destination)
        if conditions.is_even:
            return conditions.latency
        return conditions.latency + conditions.jitter * self._draw(source, destination)[4]

    def carries_streams(self, source: Endpoint, destination: Endpoint) -> bool:
        """Whether a stream gets through at all."""
        return not self.is_severed(source, destination) and self.conditions(source, destination).loss < 1.0

    def _draw(self, source: Endpoint, destination: Endpoint) -> tuple[float, ...]:
        """Six numbers from 0 to below 1, of the next packet of this link."""
        numbers = self._numbers.setdefault(source, {})
        number = numbers[destination] = numbers.get(destination, 0) + 1
        packet = bytes((len(source),)) + source + destination + number.to_bytes(8, "big")
        digest = blake2b(packet, key=self._key, digest_size=_DRAWS.size).digest()
        return tuple(draw * _UNIT for draw in _DRAWS.unpack(digest))
