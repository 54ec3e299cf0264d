"""What a node remembers of the path to each contact: round trips, silence, and which sizes pass.

Rules of this file: plain state without I/O; the caller tells the time. A path is that to one key at one address, so
a wrong address that a peer names for a node makes the path to the right one no worse. A session keeps the path to its
peer (`Session.path`), so a packet costs no look-up. Bounded: of paths that were not used lately the oldest is forgotten
first, and those that were never answered are bounded apart, so that names without nodes push out no peers.
Sources: RFC 6298 (the timeout); Corbató, A Paging Experiment with the Multics System, 1968 (a second chance for what
was used).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

import attrs

from camomile_trio.config import Requests as Settings
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.peer.deadlines import Awaited
from camomile_trio.peer.packets import LARGEST_DATAGRAM

MISSED_FOR: Final = 60.0  # how long a missed deadline makes a contact overdue at once, in seconds
# Every path carries so much in a datagram: IPv4's 576 bytes less its headers.
SURELY_PASSES: Final = 548
# A path is narrow once so many exchanges in turn came through by a stream alone; chance does not lose that many.
VANISHED_IN_TURN: Final = 3
DOUBTED_FOR: Final = 3600.0  # seconds that an answer which was promised and did not come is remembered
NARROW_FOR: Final = 600.0  # seconds until a large datagram is tried again on a narrow path


@attrs.define(eq=False)
class Path:
    """The path to one contact. Times are seconds of the caller's clock."""

    _settings: Settings
    rto: float  # retransmission timeout by its round trips, in seconds; nothing waits for longer
    backoff: int = 1  # how many times that a retransmission waits
    smoothed: float = 0.0  # round trip; 0 before the first sample
    variation: float = 0.0
    least: float = math.inf  # the shortest round trip: how far away it is, however busy it may be
    flags: int = 0  # of its latest answer or handshake
    answered_at: float = -math.inf
    overdue_at: float = math.inf  # a request became overdue, the first one since an answer came
    missed_at: float = -math.inf  # a deadline passed or two requests in turn were overdue, and no answer came since
    vanished: int = 0  # exchanges in turn whose datagrams were lost twice while smaller ones passed and a stream did it
    vanished_bytes: int = 0  # the larger datagram of the smallest of them
    narrow_until: float = -math.inf  # what may be large goes by a stream
    checked_at: float = -math.inf  # when the routing table pinged it last, to see whether it is there
    check: Awaited | None = None  # that ping
    broke_its_word_at: float = -math.inf  # it said that it had an answer too large for a datagram, and gave none
    paid_by: bytes = b""  # the public key of the peer that named it, and that has paid for what was sent there
    paid: int = 0  # bytes that it is given back at an answer
    is_kept: bool = False  # by `Paths`; False once it is forgotten there
    was_used: bool = False  # since it was kept, or had to go and was spared

    @property
    def usual(self) -> float:
        """The longest of its usual round trips, in seconds: RFC 6298's estimate, without the slack that is added to it
        before a peer is taken for silent."""
        return self.smoothed + 4 * self.variation

    @property
    def resend_after(self) -> float:
        """How long after a request it is sent again, in seconds."""
        return min(self.rto * self.backoff, self._settings.most_rto)

    @property
    def is_answering(self) -> bool:
        """Whether the last request to it that was answered or given up was answered."""
        return self.answered_at > -math.inf and self.missed_at == -math.inf

    def is_suspect(self, now: float) -> bool:
        """It missed a deadline within the last minute, or was overdue twice: overdue at once in every lookup."""
        return now - self.missed_at < MISSED_FOR

    def is_narrow_for(self, request_bytes: int, answer_may_be_large: bool, now: float) -> bool:
        """Whether this request, or its answer, would vanish as a datagram."""
        return now < self.narrow_until and (answer_may_be_large or request_bytes >= self.vanished_bytes)

    def on_answer(self, now: float, round_trip: float | None) -> None:
        self.answered_at = now
        self.overdue_at = math.inf
        self.missed_at = -math.inf
        if round_trip is None:
            return
        self.least = min(self.least, round_trip)
        if self.smoothed:
            off = self.smoothed - round_trip
            self.variation = 0.75 * self.variation + 0.25 * (off if off >= 0.0 else -off)
            self.smoothed = 0.875 * self.smoothed + 0.125 * round_trip
        else:
            self.smoothed = round_trip
            self.variation = round_trip / 2
        # The floor is on the variation (§2.3's max(G, K*RTTVAR)), not on the sum: where round trips hardly differ, a
        # sum without slack calls a peer overdue for the first packet that waits in a queue somewhere.
        settings = self._settings
        slack = 4 * self.variation
        rto = self.smoothed + (max(settings.least_rto, slack))
        self.rto = min(settings.most_rto, rto)
        self.backoff = 1

    def on_retransmitted(self) -> None:
        """The next requests wait twice as long before they are sent again, until there is a clear sample (RFC 6298,
        §5.5 and §5.7).

        Without this a peer that is slower than its timeout would never be measured, and be overdue for ever. But they
        are overdue as soon as before: while one that has just died fails its first requests, there may be many more.
        """
        if self.rto * self.backoff < self._settings.most_rto:
            self.backoff *= 2

    def on_overdue(self, sent_at: float, now: float) -> None:
        """A request, sent at that time, is overdue. If an earlier one was so already by then, the peer is suspect:
        while one that has just died lets its first requests run into their deadline, there may be hundreds more."""
        if sent_at >= self.overdue_at:
            self.missed_at = now
        self.overdue_at = min(self.overdue_at, now)

    def on_missed(self, now: float) -> None:
        """A request passed its deadline."""
        self.missed_at = now

    def keeps_its_word(self, now: float) -> bool:
        """Whether, when it last said within the hour that it had an answer too large for a datagram, it gave one."""
        return now - self.broke_its_word_at >= DOUBTED_FOR

    def on_vanished(self, size: int, now: float) -> None:
        """A stream did what two datagrams could not, the larger one of `size` bytes, while smaller ones passed: a
        router on the way drops what is too large for the next link and does not say so, or it was chance."""
        if SURELY_PASSES < size <= LARGEST_DATAGRAM:
            self.vanished_bytes = min(size, self.vanished_bytes) if self.vanished else size
            self.vanished += 1
            if self.vanished >= VANISHED_IN_TURN:
                self.narrow_until = now + NARROW_FOR

    def on_passed(self, size: int) -> None:
        """An exchange came through by datagrams, the larger one of `size` bytes."""
        if self.vanished and size >= self.vanished_bytes:
            self.vanished, self.narrow_until = 0, -math.inf


class Paths:
    """The paths of one node, by use."""

    def __init__(self, settings: Settings) -> None:
        self.forgotten = 0  # since there were too many
        self._settings = settings
        self._answered: OrderedDict[Contact, Path] = OrderedDict()
        self._silent: OrderedDict[Contact, Path] = OrderedDict()  # never answered

    def __len__(self) -> int:
        return len(self._answered) + len(self._silent)

    def known(self, contact: Contact) -> Path | None:
        return self._answered.get(contact) or self._silent.get(contact)

    def get(self, contact: Contact) -> Path:
        """What is remembered of a path; a new memory if nothing is."""
        path = self.known(contact)
        if path is None:
            path = Path(self._settings, rto=self._settings.first_rto)
            self._keep(self._silent, contact, path)
        else:
            path.was_used = True
        return path

    def answered(self, contact: Contact) -> Path:
        """The same, kept among those that were answered."""
        path = self.get(contact)
        if contact not in self._answered:
            del self._silent[contact]
            path.was_used = False
            self._keep(self._answered, contact, path)
        return path

    def on_answer(self, contact: Contact, now: float, round_trip: float | None, flags: int) -> Path:
        """A matched answer came, or the packet that confirms a handshake of the peer. `round_trip` is None where it is
        not known (Karn)."""
        path = self.answered(contact)
        path.flags = flags
        path.on_answer(now, round_trip)
        return path

    def _keep(self, among: OrderedDict[Contact, Path], contact: Contact, path: Path) -> None:
        if len(among) >= self._settings.max_peers:
            self._forget_one(among)
        path.is_kept = True
        among[contact] = path

    def _forget_one(self, among: OrderedDict[Contact, Path]) -> None:
        """The oldest that was not used since it was kept, or spared."""
        while True:
            contact, path = next(iter(among.items()))
            if not path.was_used:
                break
            path.was_used = False
            among.move_to_end(contact)
        del among[contact]
        path.is_kept = False
        self.forgotten += 1
