"""What each source of datagrams may cost: one that floods loses its own datagrams, and nobody else's.

Rules of this file: plain state without I/O; the clocks are the caller's. What counts is time of the processor. A
source is an ip (of IPv6 the first 64 bits, which one host may vary below), on loopback an ip and a port, since a whole
network may live there. Whoever waits for answers before it sends more, as every node does, sends few at a time and is
hardly ever charged. Bounded: when there are too many sources, those that owe nothing are forgotten.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

import attrs

from camomile_trio.transport.sockaddr import SocketAddress

# What one source may cost: seconds of a processor in each second, and at once after it was quiet.
RATE = 0.2
BURST = 0.05
# A source that has spent its share is heard again once it has saved so much.
AGAIN_AT = 0.02
# The first datagrams of a turn are not measured, for reading the clock of the processor costs as much as some of them.
# A turn that is over soon after them is nobody's flood, and nobody is charged.
UNMEASURED = 8
FLOOD = 16


@attrs.define(eq=False)
class Share:
    """One source's. `is_spent`: nothing of it is looked at for now."""

    left: float = BURST  # seconds
    at: float = 0.0  # when that was
    is_spent: bool = False


class Shares:
    """The shares of all sources of one socket."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._shares: dict[str | SocketAddress, Share] = {}
        self._spent: list[Share] = []

    def __len__(self) -> int:
        return len(self._shares)

    @property
    def any_spent(self) -> bool:
        return bool(self._spent)

    def of(self, address: SocketAddress) -> Share:
        """The share that datagrams from a socket's address are on."""
        source = _source(address)
        share = self._shares.get(source)
        if share is None:
            if len(self._shares) >= self._most:
                # Whoever has spent its share stays spent, however many others it pretends to be. If all are, the
                # flood comes from everywhere, and there is nobody to be told apart.
                kept = {each: known for each, known in self._shares.items() if known.is_spent}
                self._shares = kept if len(kept) < self._most else {}
            share = self._shares[source] = Share()
        return share

    def charge(
        self, taken: list[Share], began: float, processor: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        """A turn is over, in which datagrams on these shares were looked at.

        `began` is what the processor's clock said once `UNMEASURED` of them had been; all count as the others do.
        """
        if len(taken) < FLOOD:
            return
        each_costs = (processor() - began) / (len(taken) - UNMEASURED)
        now = clock()
        for share, count in Counter(taken).items():
            saved = share.left + (now - share.at) * RATE
            share.left = min(saved, BURST) - each_costs * count
            share.at = now
            if share.left < 0 and not share.is_spent:
                share.is_spent = True
                self._spent.append(share)

    def refill(self, now: float) -> None:
        """A turn begins: those that have saved enough are heard again."""
        still: list[Share] = []
        for share in self._spent:
            if share.left + (now - share.at) * RATE < AGAIN_AT:
                still.append(share)
            else:
                share.is_spent = False
        self._spent = still


def _source(address: SocketAddress) -> str | SocketAddress:
    ip = address[0]
    if ip.startswith(("127.", "::1", "::ffff:127.")):
        return address[:2]
    if ":" in ip and not ip.startswith("::ffff:"):
        return socket.inet_pton(socket.AF_INET6, ip.partition("%")[0])[:8].hex()
    return ip
