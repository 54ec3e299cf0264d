"""What handshakes may cost: Diffie-Hellman in all and for each source network, and answers without Diffie-Hellman.

Rules of this file: token buckets, no clock of their own. A source address is a claim until a cookie has proven it, so
initiations without a cookie have buckets of their own: forged sources can spend these, and never what addresses that
have proven themselves share. Streams have others, and so have members of the routing table: what strangers spend keeps
no member from a new session. Bounded: the source network that was used least recently is forgotten first, and has a
full bucket when it comes back; the bucket of all holds then.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

MOST_NETWORKS = 4096


@attrs.frozen
class Rate:
    """So many a second, and so many at once after a pause.

    A handshake costs its responder a third of a millisecond. With too few a second, nodes that start together wait for
    each other; with too many, a flood of valid initiations takes the processor from peers that have sessions.
    """

    each_second: float
    at_once: float


@attrs.frozen
class HandshakeRates:
    """What handshakes that others begin may take of this node."""

    # Without a cookie. Forged sources can spend it; then an honest handshake takes one more round trip.
    unproven: Rate = attrs.field(default=Rate(100.0, 200.0))
    unproven_of_network: Rate = attrs.field(default=Rate(25.0, 100.0))
    # With a cookie: together with those without, some 12 % of a processor.
    proven: Rate = attrs.field(default=Rate(250.0, 500.0))
    # Over streams, whose addresses TCP has proven: 4 % more.
    streams: Rate = attrs.field(default=Rate(100.0, 200.0))
    # Of either kind, from the address of a member of the routing table: as much again.
    members: Rate = attrs.field(default=Rate(100.0, 200.0))
    # Of one source network in each of these three.
    proven_of_network: Rate = attrs.field(default=Rate(25.0, 100.0))
    # Cookies to strangers and to members' addresses, hellos and repeated responses, each: a few hashes, never larger
    # than what they answer.
    replies: Rate = attrs.field(default=Rate(1000.0, 1000.0))


@attrs.define(eq=False)
class Bucket:
    """Tokens, refilled by time."""

    rate: Rate
    level: float
    at: float

    @classmethod
    def full(cls, rate: Rate, now: float) -> Bucket:
        return cls(rate, rate.at_once, now)

    def has(self, now: float) -> bool:
        self.level = min(self.rate.at_once, self.level + max(0.0, now - self.at) * self.rate.each_second)
        self.at = now
        return self.level >= 1.0

    def take(self, now: float) -> bool:
        """Whether there was a token; it is gone then."""
        if not self.has(now):
            return False
        self.level -= 1.0
        return True


class SharedBudget:
    """One bucket for all, and one for each source network. Loopback, whose source network is empty, has none."""

    def __init__(self, in_all: Rate, each_network: Rate, now: float) -> None:
        self._all = Bucket.full(in_all, now)
        self._each_network = each_network
        self._networks: OrderedDict[bytes, Bucket] = OrderedDict()

    def __len__(self) -> int:
        """How many source networks are remembered."""
        return len(self._networks)

    def has(self, now: float) -> bool:
        """Whether the bucket of all has a token."""
        return self._all.has(now)

    def take(self, network: bytes, now: float) -> bool:
        """Whether both had a token; neither has lost one otherwise."""
        if not network:
            return self._all.take(now)
        bucket = self._networks.get(network)
        if bucket is None:
            if len(self._networks) >= MOST_NETWORKS:
                self._networks.popitem(last=False)
            bucket = self._networks[network] = Bucket.full(self._each_network, now)
        else:
            self._networks.move_to_end(network)
        return bucket.has(now) and self._all.take(now) and bucket.take(now)
