"""What each source of datagrams may cost: one that floods loses its own datagrams, and nobody else's.

Rules of this file: plain state without I/O; the clocks are the caller's. What counts is time of the processor, and only
turns after which more is waiting: whoever waits for answers before it sends more, as every node does, makes none of
these. A source is an ip (of IPv6 the first 64 bits, which one host may vary below), on loopback an ip and a port, since
a whole network may live there. A source address may be forged, and then the peer that lives there must not lose its
sessions: what is expected from a spent source is on a second share of the source, which a forger cannot spend. A flood
may seem to come from everywhere: all that nobody expected is on one more share, of all sources together. A share that
was spent is good again at `Shares.due` at the latest, by time and not by another datagram: the kernel drops what some
sources send, and there may be no other one. Bounded: when there are too many sources, those that owe nothing are
forgotten.
"""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Callable, Collection

import attrs

from camomile_trio.transport.sockaddr import SocketAddress

# What a source that floods may cost: this part of what the whole node spends, or of a processor, whichever is more. The
# first leaves clients their part where many processes share a processor, the second lets somebody in where all is idle.
OF_THE_NODE, OF_A_PROCESSOR = 0.2, 0.05
# Seconds that it may cost at once after it was quiet, and how much of them it has saved when it is heard again.
BURST, AGAIN_AT = 0.05, 0.02
# All that is unexpected may cost as much as so many sources. With one, a single source that floods would take the place
# of all strangers; with many, those who forge sources would take most of a node that has little of a processor.
UNEXPECTED = 2


@attrs.frozen
class Moment:
    """Seconds of two clocks: of the world, and of what this node has spent."""

    clock: float
    processor: float


@attrs.define(eq=False)
class Share:
    """One source's. `is_spent`: for now nothing on it is looked at."""

    prefix: bytes | None  # its address, or the part of it that counts; None for one of many on loopback
    size: int = 1  # of what the node spends, in shares of one source
    first: Share | None = None  # the source's, if this is its second one
    left: float = attrs.field(init=False)  # seconds
    at: Moment | None = None  # when that was
    is_spent: bool = False
    has_session: bool = False  # whether the source had a session when this share was spent
    _of_expected: Share | None = None

    def __attrs_post_init__(self) -> None:
        self.left = self.size * BURST

    @property
    def of_expected(self) -> Share:
        """The same source's second one, for what is expected from it while this one is spent. This one pays, too: so
        a peer that floods in its session does not get twice as much."""
        if self._of_expected is None:
            self._of_expected = Share(None, first=self)
        return self._of_expected

    @property
    def is_silenced(self) -> bool:
        """Whether nothing of the source is looked at, not even what is expected."""
        return self.is_spent and (not self.has_session or self.of_expected.is_spent)

    @property
    def owes(self) -> bool:
        return self.is_spent or (self._of_expected is not None and self._of_expected.is_spent)

    def saved(self, now: Moment) -> float:
        if self.at is None:
            return self.left
        by_node = (now.processor - self.at.processor) * OF_THE_NODE
        by_clock = (now.clock - self.at.clock) * OF_A_PROCESSOR
        return min(self.left + max(self.size * by_node, by_clock), self.size * BURST)

    @property
    def due(self) -> float:
        """When by the clock it has saved enough to be heard again, even if the node spends nothing meanwhile."""
        since = self.at.clock if self.at is not None else -math.inf
        return since + (self.size * AGAIN_AT - self.left) / OF_A_PROCESSOR

    def is_heard_again(self, now: Moment) -> bool:
        return now.clock >= self.due or self.saved(now) >= self.size * AGAIN_AT


class Shares:
    """The shares of all sources of one socket."""

    def __init__(self, most: int) -> None:
        self.any_spent = False
        self.unexpected = Share(None, UNEXPECTED)
        self._most = most
        self._shares: dict[str | SocketAddress, Share] = {}
        self._spent: list[Share] = []

    def __len__(self) -> int:
        return len(self._shares)

    @property
    def held_back(self) -> list[bytes]:
        """The prefixes of those of which nothing is looked at, for a sieve in the kernel.

        It cannot tell expected datagrams from others, so a source that has a session is not among them before it has
        spent its second share, too.
        """
        return [share.prefix for share in self._spent if share.prefix is not None and share.is_silenced]

    @property
    def due(self) -> float:
        """When by the clock the first of them is heard again at the latest; never, if there is none."""
        return min((share.due for share in self._spent), default=math.inf)

    def of(self, address: SocketAddress) -> Share:
        """The share that datagrams from a socket's address are on."""
        source, prefix = _source(address)
        share = self._shares.get(source)
        if share is None:
            if len(self._shares) >= self._most:
                # Whoever has spent its share stays spent, however many others it pretends to be. If all are, the
                # flood comes from everywhere, and there is nobody to be told apart.
                kept = {each: known for each, known in self._shares.items() if known.owes}
                self._shares = kept if len(kept) < self._most else {}
            share = self._shares[source] = Share(prefix)
        return share

    def charge(
        self,
        taken: Collection[Share],
        unexpected: int,
        seconds: float,
        now: Moment,
        has_session_at: Callable[[bytes], bool],
    ) -> bool:
        """A turn is over, with more waiting: the datagrams in it, on these shares, took so long together.

        `unexpected` is how many of them nobody expected. The result: whether a share was spent by that. Whether a
        session stands at its prefix is asked then, once.
        """
        each_costs = seconds / len(taken)
        before = len(self._spent)
        for share, count in (*Counter(taken).items(), (self.unexpected, unexpected)):
            for paying in (share, share.first):
                if paying is None:
                    continue
                paying.left = paying.saved(now) - each_costs * count
                paying.at = now
                if paying.left < 0 and not paying.is_spent:
                    paying.is_spent = self.any_spent = True
                    paying.has_session = paying.prefix is not None and has_session_at(paying.prefix)
                    self._spent.append(paying)
        return len(self._spent) > before

    def refill(self, now: Moment) -> bool:
        """A turn begins: those that have saved enough are heard again. Whether there are such."""
        before = self._spent
        for share in before:
            share.is_spent = not share.is_heard_again(now)
        self._spent = [share for share in before if share.is_spent]
        self.any_spent = bool(self._spent)
        return len(self._spent) < len(before)


def _source(address: SocketAddress) -> tuple[str | SocketAddress, bytes | None]:
    """What tells a source from others, and its prefix."""
    ip = address[0].removeprefix("::ffff:").partition("%")[0]
    if ip.startswith("127.") or ip == "::1":
        return address[:2], None
    if ":" in ip:
        prefix = socket.inet_pton(socket.AF_INET6, ip)[:8]
        return prefix.hex(), prefix
    return ip, socket.inet_aton(ip)
