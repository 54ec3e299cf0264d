"""What may be sent to addresses that this node knows by a peer's word alone: as much as that peer, the teller, sent.

Rules of this file: plain state without I/O; the caller tells the time. A peer can name the address of a victim, for any
number of keys, and as its own. So each datagram that leaves for a named address is paid from the teller's credit:
the bytes that came from it, sealed or in a handshake that is confirmed. Then a teller makes all nodes together send its
victim no more than it has sent them. The named node gives the teller back what was paid once it answers there. A
contact that answered within the hour costs nothing, nor does a private address, which only a private peer can name.
Bounded: a credit is a number of the peer's entry in the session table, and what was paid one of the path.
Source: docs/protocol.md, Requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.networks import public_network
from camomile_trio.peer.paths import Path
from camomile_trio.peer.table import Peer

MOST_CREDIT: Final = 2**16  # bytes: what was saved in long peace is not all sent to one victim at once
ANSWERED_WITHIN: Final = 3600.0  # seconds


class Tellers:
    """Those of one node. `peers`: what it remembers of each public key."""

    def __init__(self, peers: Mapping[bytes, Peer]) -> None:
        self._peers = peers

    def pay(self, teller: Contact | None, endpoint: Endpoint, size: int) -> bool:
        """Whether so many bytes may leave for an endpoint that this peer has named; they are paid then. None: this
        node knows the endpoint by itself."""
        if teller is None or not public_network(endpoint.ip):
            return True
        peer = self._peers.get(teller.public)
        if peer is None or peer.credit < size:
            return False
        peer.credit = min(peer.credit, MOST_CREDIT) - size
        return True

    def pay_for(self, path: Path, teller: Contact | None, endpoint: Endpoint, size: int, now: float) -> bool:
        """The same for the path to a named node, which may have answered lately."""
        if teller is None or now - path.answered_at < ANSWERED_WITHIN:
            return True
        if not self.pay(teller, endpoint, size):
            return False
        if path.paid_by != teller.public:
            path.paid_by, path.paid = teller.public, 0  # what an earlier teller has paid is gone
        path.paid += size
        return True

    def give_back(self, path: Path) -> None:
        """The named node has answered there."""
        peer = self._peers.get(path.paid_by) if path.paid else None
        if peer is not None:
            peer.credit += path.paid
        path.paid = 0
