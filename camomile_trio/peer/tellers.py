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
ALLOWED: Final = 2**12  # bytes: initiations to k nodes
ANSWERED_WITHIN: Final = 3600.0  # seconds


class Tellers:
    """Those of one node. `peers`: what it remembers of each public key."""

    def __init__(self, peers: Mapping[bytes, Peer]) -> None:
        self._peers = peers

    def can_pay(self, tellers: tuple[Contact, ...], size: int) -> bool:
        """Whether one of these peers has a credit of so many bytes."""
        return self._payer(tellers, size) is not None

    def pay(self, path: Path | None, tellers: tuple[Contact, ...], endpoint: Endpoint, size: int, now: float) -> bool:
        """Whether so many bytes may leave for an endpoint that these peers have named (empty: this node knows it by
        itself); one of them has paid then. `path`: that to the named node, if there is one."""
        if not self.is_to_pay(path, tellers, endpoint, now):
            return True
        peer = self._payer(tellers, size)
        if peer is None:
            return False
        peer.credit = min(peer.credit, MOST_CREDIT) - size
        if path is not None:
            if path.paid_by != peer.public:
                path.paid_by, path.paid = peer.public, 0  # what an earlier teller has paid is gone
            path.paid += size
        return True

    def allow(self, teller: bytes) -> None:
        """The operator has named this peer: it has a credit to begin with, once. In a network of three its answer is
        too short to pay for what asks the third node."""
        peer = self._peers.get(teller)
        if peer is not None and not peer.is_allowed:
            peer.is_allowed = True
            peer.credit += ALLOWED

    @staticmethod
    def is_to_pay(path: Path | None, tellers: tuple[Contact, ...], endpoint: Endpoint, now: float) -> bool:
        """Whether anything is to be paid for what leaves for there."""
        has_answered = path is not None and now - path.answered_at < ANSWERED_WITHIN
        return bool(tellers and not has_answered and public_network(endpoint.ip))

    def _payer(self, tellers: tuple[Contact, ...], size: int) -> Peer | None:
        for teller in tellers:
            peer = self._peers.get(teller.public)
            if peer is not None and peer.credit >= size:
                return peer
        return None

    def give_back(self, path: Path) -> None:
        """The named node has answered there."""
        peer = self._peers.get(path.paid_by) if path.paid else None
        if peer is not None:
            peer.credit += path.paid
        path.paid = 0
