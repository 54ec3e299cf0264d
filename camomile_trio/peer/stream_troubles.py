"""Which peers answer by datagrams although no stream to them comes about: TCP is closed where UDP is open.

Rules of this file: plain state and one line in the log. A failed stream alone says nothing, since the peer may have
died: the log names a peer once it has answered a ping since. Bounded: the peer noted first is forgotten first.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import attrs

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.logs import log

MAX_KNOWN = 256
LOGGED_AGAIN_AFTER = 3600.0  # seconds from one such line to the next
REMEDY = "let TCP pass as well as UDP, to the same port of every node"


@attrs.define(eq=False)
class StreamTroubles:
    """Of one node."""

    failures: int = 0  # streams to peers that had answered a datagram within the minute before
    _failing: OrderedDict[Endpoint, str] = attrs.field(init=False, factory=OrderedDict)
    _logged_at: float = attrs.field(init=False, default=-math.inf)

    def on_failure(self, endpoint: Endpoint, why: str) -> None:
        """No stream to a peer that has just answered a datagram."""
        self.failures += 1
        self._failing.pop(endpoint, None)
        if len(self._failing) >= MAX_KNOWN:
            self._failing.popitem(last=False)
        self._failing[endpoint] = why

    def on_success(self, endpoint: Endpoint) -> None:
        self._failing.pop(endpoint, None)

    def on_alive(self, endpoint: Endpoint, now: float) -> None:
        """The peer has answered a ping after its stream had failed."""
        why = self._failing.get(endpoint)
        if why is not None and now - self._logged_at >= LOGGED_AGAIN_AFTER:
            self._logged_at = now
            log.warning(
                "a peer answers by UDP but not by TCP",
                peer=str(endpoint),
                because=why,
                meaning="values above about 1 kB reach neither it nor others behind the same firewall",
                remedy=REMEDY,
            )

    def in_words(self, *, since: int) -> str:
        """What to add to an error of something during which `failures` has grown from `since`; empty if it has not."""
        if self.failures == since or not self._failing:
            return ""
        return f"TCP failed to {len(self._failing)} nodes that answer by UDP"
