"""Which endpoints have had a session with this node, and how many keys a peer may have it try at one.

Rules of this file: plain state without I/O; the caller tells the time. Peers name nodes, and can name any number of
keys at the address of a victim, each of which would cost it an initiation. So each party that names nodes (a peer's
source network, or the peer itself where that has none) has two keys a minute tried at one endpoint. The bound is that
party's alone: what a liar names takes no place from the true key there, which others name. A key that has itself
answered there, and one that this node knows by itself, is not asked about here (`requests.py`). Bounded: what was used
least recently is forgotten first, and names push out no endpoint that had a session.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from camomile_trio.kademlia.contacts import Endpoint

MOST_KEYS: Final = 2
TRIED_FOR: Final = 60.0  # seconds


class Endpoints:
    """Those of one node; at most `most` of either kind."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._met: OrderedDict[Endpoint, None] = OrderedDict()
        # By endpoint and party, by public key: when it was tried there last.
        self._tried: OrderedDict[tuple[Endpoint, bytes], dict[bytes, float]] = OrderedDict()

    def has_met(self, endpoint: Endpoint) -> bool:
        """Whether a handshake was completed with a node there."""
        return endpoint in self._met

    def on_session(self, endpoint: Endpoint) -> None:
        """A handshake with a node there is complete."""
        self._met[endpoint] = None
        self._met.move_to_end(endpoint)
        if len(self._met) > self._most:
            self._met.popitem(last=False)

    def try_key(self, endpoint: Endpoint, public: bytes, party: bytes, now: float) -> bool:
        """Whether a handshake with this key may begin there now on the word of this party; it has been tried then."""
        where = endpoint, party
        tried = self._tried.pop(where, {})
        for other in [other for other, at in tried.items() if now - at >= TRIED_FOR]:
            del tried[other]
        self._tried[where] = tried
        if len(self._tried) > self._most:
            self._tried.popitem(last=False)
        if public not in tried and len(tried) >= MOST_KEYS:
            return False
        tried[public] = now
        return True
