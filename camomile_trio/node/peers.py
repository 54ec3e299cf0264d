"""What a node remembers of the endpoints it deals with: round trips, proofs, tokens, failures.

Rules of this file: plain state without I/O; the caller tells the time. Bounded: the endpoint that was used least
recently is forgotten first. Nothing here decides who is in the routing table. Source of the timeout: RFC 6298.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import attrs

from camomile_trio.config import Requests
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.node.pending import Pending
from camomile_trio.transport.base import MAX_SENT_DATAGRAM

MISSED_FOR = 60.0  # how long a missed deadline makes an endpoint overdue at once, in seconds
# Every path carries so much in a datagram: IPv4's 576 bytes less its headers.
SURELY_PASSES = 548
# A path is narrow once so many exchanges in turn came through by a stream alone; chance does not lose that many.
VANISHED_IN_TURN = 3
NARROW_FOR = 600.0  # seconds until a large datagram is tried again on a narrow path
TOKEN_LIFE = 3600.0  # the least time that a write token is good for, in seconds


@attrs.define(eq=False)
class Peer:
    """One endpoint. Times are seconds of Trio's clock."""

    rto: float  # retransmission timeout by its round trips, in seconds; nobody waits for longer
    backoff: int = 1  # how many times that a retransmission waits
    smoothed: float = 0.0  # round trip; 0 before the first sample
    variation: float = 0.0
    least: float = math.inf  # the shortest round trip: how far away it is, however busy it may be
    is_proven: bool = False  # it has answered a request of ours
    knows_us: bool = False  # we have answered its ping, so it need not hold its answers short
    version: int = 0  # shown in a reply that we matched
    stores_nothing: bool = False  # it said so: nothing is stored there
    is_leaving: bool = False  # it has said so, and has not answered otherwise since
    token: bytes = b""  # lets us store there
    token_at: float = -math.inf  # when we were given it
    answered_at: float = -math.inf
    overdue_at: float = math.inf  # a request became overdue, the first one since an answer came
    missed_at: float = -math.inf  # a deadline passed or two requests in turn were overdue, and no answer came since
    pinged_at: float = -math.inf
    pinged: NodeId | None = None  # the node that was expected here when it was pinged last
    ping: Pending | None = None  # that ping
    probed_at: float = -math.inf  # when it was asked whether small datagrams pass
    vanished: int = 0  # exchanges in turn whose datagrams were lost twice, while a ping passed and a stream did it
    vanished_bytes: int = 0  # the larger datagram of the smallest of them
    narrow_until: float = -math.inf  # what may be large goes by a stream
    first_request_at: tuple[float, float] = (-math.inf, -math.inf)

    def may_ask_first(self, now: float) -> bool:
        """Whether one more request may go to this endpoint before it has proven itself; counts it if so."""
        older, newer = self.first_request_at
        if now - older < 60.0:
            return False
        self.first_request_at = (newer, now)
        return True

    def was_asked_since(self, time: float) -> bool:
        """Whether the later of its first requests was sent after `time`."""
        return self.first_request_at[1] > time

    @property
    def usual(self) -> float:
        """The longest of its usual round trips, in seconds: RFC 6298's estimate, without the slack that is added to it
        before anybody is taken for silent."""
        return self.smoothed + 4 * self.variation

    def is_narrow_for(self, request_bytes: int, answer_may_be_large: bool, now: float) -> bool:
        """Whether this request, or its answer, would vanish as a datagram."""
        return now < self.narrow_until and (answer_may_be_large or request_bytes >= self.vanished_bytes)

    def takes_stores(self, now: float) -> bool:
        """Whether a STORE by datagram would not be refused: one of ours that stores, knows us or gave us a token."""
        if not self.version or self.stores_nothing or self.is_leaving or self.is_suspect(now):
            return False
        return self.knows_us or (bool(self.token) and now - self.token_at < TOKEN_LIFE)

    def on_passed(self, size: int) -> None:
        """An exchange came through by datagrams, the larger one of `size` bytes."""
        if self.vanished and size >= self.vanished_bytes:
            self.vanished, self.narrow_until = 0, -math.inf

    @property
    def is_answering(self) -> bool:
        """Whether the last request to it that was answered or given up was answered."""
        return self.is_proven and self.missed_at == -math.inf

    def is_suspect(self, now: float) -> bool:
        """It missed a deadline within the last minute, or was overdue twice: overdue at once in every lookup."""
        return now - self.missed_at < MISSED_FOR


class Peers:
    """The endpoints, by use. Those that never answered are bounded apart: a flood from forged addresses makes us
    forget no real peer."""

    def __init__(self, settings: Requests) -> None:
        self.forgotten = 0  # endpoints, since there were too many
        self._settings = settings
        self._proven: OrderedDict[Endpoint, Peer] = OrderedDict()
        self._candidates: OrderedDict[Endpoint, Peer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._proven) + len(self._candidates)

    def known(self, endpoint: Endpoint) -> Peer | None:
        return self._proven.get(endpoint) or self._candidates.get(endpoint)

    def get(self, endpoint: Endpoint) -> Peer:
        """What is remembered of an endpoint; a new memory if nothing is."""
        peer = self._proven.get(endpoint)
        if peer is not None:
            self._proven.move_to_end(endpoint)
            return peer
        peer = self._candidates.get(endpoint)
        if peer is None:
            peer = Peer(rto=self._settings.first_rto)
            self._keep(self._candidates, endpoint, peer)
        else:
            self._candidates.move_to_end(endpoint)
        return peer

    def _keep(self, among: OrderedDict[Endpoint, Peer], endpoint: Endpoint, peer: Peer) -> None:
        if len(among) >= self._settings.max_peers:
            among.popitem(last=False)
            self.forgotten += 1
        among[endpoint] = peer

    def is_proven(self, endpoint: Endpoint) -> bool:
        return endpoint in self._proven

    def on_answer(self, endpoint: Endpoint, now: float, *, round_trip: float | None, version: int) -> Peer:
        """A matched answer came. `round_trip` is None when it may belong to either of two transmissions (Karn)."""
        peer = self.get(endpoint)
        if not peer.is_proven:
            peer.is_proven = True
            self._candidates.pop(endpoint, None)
            self._keep(self._proven, endpoint, peer)
        peer.version = version
        peer.answered_at = now
        peer.overdue_at = math.inf
        peer.missed_at = -math.inf
        if round_trip is not None:
            peer.least = min(peer.least, round_trip)
            if peer.smoothed:
                peer.variation = 0.75 * peer.variation + 0.25 * abs(peer.smoothed - round_trip)
                peer.smoothed = 0.875 * peer.smoothed + 0.125 * round_trip
            else:
                peer.smoothed = round_trip
                peer.variation = round_trip / 2
            # The floor is on the variation (§2.3's max(G, K*RTTVAR)), not on the sum: where round trips hardly differ,
            # a sum without slack calls a peer overdue for the first packet that waits its turn somewhere.
            slack = max(4 * peer.variation, self._settings.least_rto)
            peer.rto = min(peer.smoothed + slack, self._settings.most_rto)
            peer.backoff = 1
        return peer

    def resend_after(self, endpoint: Endpoint) -> float:
        """How long after a request it is sent again, in seconds."""
        peer = self.get(endpoint)
        return min(peer.rto * peer.backoff, self._settings.most_rto)

    def on_retransmitted(self, endpoint: Endpoint) -> None:
        """A request to it was sent again: the next ones wait twice as long for that, until there is a clear sample
        (RFC 6298, §5.5 and §5.7).

        Without this a peer that is slower than its timeout would never be measured, and be overdue for ever. But they
        are overdue as soon as before: while one that has just died fails its first requests, there may be many more.
        """
        peer = self.get(endpoint)
        if peer.rto * peer.backoff < self._settings.most_rto:
            peer.backoff *= 2

    def on_overdue(self, endpoint: Endpoint, sent_at: float, now: float) -> None:
        """A request to it, sent at that time, is overdue. If an earlier one was so already by then, it is suspect:
        while one that has just died lets its first requests run into their deadline, there may be hundreds more."""
        peer = self.get(endpoint)
        if sent_at >= peer.overdue_at:
            peer.missed_at = now
        peer.overdue_at = min(peer.overdue_at, now)

    def on_vanished(self, endpoint: Endpoint, size: int, now: float) -> None:
        """A stream did what two datagrams could not, the larger one of `size` bytes, while a ping was answered: a
        router on the way drops what is too large for the next link and does not say so, or it was chance."""
        if not SURELY_PASSES < size <= MAX_SENT_DATAGRAM:
            return
        peer = self.get(endpoint)
        peer.vanished_bytes = min(size, peer.vanished_bytes) if peer.vanished else size
        peer.vanished += 1
        if peer.vanished >= VANISHED_IN_TURN:
            peer.narrow_until = now + NARROW_FOR

    def on_missed(self, endpoint: Endpoint, now: float) -> None:
        """A request to it passed its deadline."""
        peer = self.get(endpoint)
        peer.missed_at = now
        # It may have restarted and forgotten us and the token with it.
        peer.knows_us = False
        peer.token = b""
