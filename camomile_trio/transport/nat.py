"""Nodes behind a NAT: they reach everybody, and are reached only by those whom they have just written to.

Rules of this file: no trio; the time is given in. It follows RFC 4787: a node keeps one outside endpoint (mapping is
endpoint-independent), each peer has to be written to before it gets through (filtering is address and port-dependent),
and only what goes out keeps the way open. A stream cannot be opened from outside at all.
"""

from __future__ import annotations

import attrs

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport.latency import require_seconds


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
