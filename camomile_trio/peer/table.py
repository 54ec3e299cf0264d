"""The session table: which peers have sessions, which session is current, and which indexes are in use.

Rules of this file: it moves sessions about and knows no message. Of each peer it keeps the current session, two older
ones (two, because both sides may have begun at once), and one that the peer has not confirmed, which displaces none of
the others. Members of the routing table stay; strangers share an eighth, half of that for those whose session is not
confirmed yet, so that forged sources push out none that are. Every index is random, and none is used again for three
minutes: what is still under way under it then reaches no other session.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from typing import Final

import attrs

from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.networks import source_network
from camomile_trio.peer.packets import INDEX_BYTES, About
from camomile_trio.peer.session import Session
from camomile_trio.peer.strangers import Strangers

INDEX_RESTS: Final = 180.0  # seconds
MOST_RESTING: Final = 2**17
SILENCE: Final = 1.0  # seconds of nothing authentic before a new initiation may replace a session
KEPT_OLDER: Final = 2
STRANGERS: Final = 8  # one in so many places
STRANGERS_OF_ONE_NETWORK: Final = 8  # one in so many of the strangers' places


@attrs.define(eq=False)
class Peer:
    """What is remembered of one public key."""

    public: bytes
    node_id: NodeId
    is_member: bool = False
    current: Session | None = None
    older: list[Session] = attrs.field(factory=list)  # newest first
    unconfirmed: Session | None = None
    last_time: int = -1  # the greatest time of an accepted initiation
    is_allowed: bool = False  # the operator has named it, and it had a credit for that
    credit: int = 0  # bytes of what it has sent, less what was sent on its word (tellers.py)
    proven: dict[tuple[int, bytes], int] = attrs.field(factory=dict)
    """The greatest time of an accepted initiation with a cookie, by the cookie's generation and the peer's run."""
    heard_at: float = -math.inf  # when something authentic came last
    initiated_at: float = -math.inf  # when an initiation left last
    wait: float = SILENCE  # until the next one may, after that
    run: bytes = b""
    earlier_run: bytes = b""
    member_ip: bytes = b""  # where its session is, if it is a member


class SessionTable:
    """All sessions of one node."""

    def __init__(self, own_id: NodeId, most_peers: int, rng: random.Random) -> None:
        self.peers: dict[bytes, Peer] = {}
        self.by_index: dict[bytes, Session] = {}
        self.forgotten = 0  # strangers that had to go for others
        self._own_id = own_id
        self._rng = rng
        places = max(2, most_peers // STRANGERS)
        self._most_members = most_peers - places
        self._members = 0
        self._member_ips: Counter[bytes] = Counter()
        confirmed = places // 2
        self._confirmed = Strangers(confirmed, max(1, confirmed // STRANGERS_OF_ONE_NETWORK))
        self._unconfirmed = Strangers(places - confirmed, max(1, (places - confirmed) // STRANGERS_OF_ONE_NETWORK))
        self._resting: deque[tuple[float, bytes]] = deque()
        self._indexes: set[bytes] = set()  # in use or resting

    def current(self, public: bytes) -> Session | None:
        """The session that what goes to this peer is sealed in; None if there is none that it has confirmed."""
        peer = self.peers.get(public)
        return None if peer is None else peer.current

    def is_member(self, public: bytes) -> bool:
        peer = self.peers.get(public)
        return peer is not None and peer.is_member

    def has_member_at(self, ip: bytes) -> bool:
        """Whether a member of the routing table has its session at this ip."""
        return ip in self._member_ips

    def new_index(self, now: float) -> bytes:
        """A random index that is not in use, nor was within three minutes. It is in use now."""
        while self._resting and (self._resting[0][0] <= now or len(self._resting) > MOST_RESTING):
            self._indexes.discard(self._resting.popleft()[1])
        while (index := self._rng.randbytes(INDEX_BYTES)) in self._indexes:
            pass
        self._indexes.add(index)
        return index

    def rest(self, index: bytes, now: float) -> None:
        """The index is not in use any more."""
        self._resting.append((now + INDEX_RESTS, index))

    def use(self, peer: Peer) -> None:
        """Something was sent to it or came from it."""
        if not peer.is_member:
            self._confirmed.use(peer.public)

    def on_initiation(self, public: bytes, ip: bytes, now: float) -> Peer:
        """The peer, remembered as a stranger that has confirmed nothing if it was unknown."""
        peer = self.peers.get(public)
        if peer is None:
            peer = self.peers[public] = Peer(public, NodeId.of(public))
            self._forget(self._unconfirmed.add(public, source_network(ip)), now)
        return peer

    def on_response(self, session: Session, now: float) -> bool:
        """A session waits for the peer's first packet, in the place of one that waited before.

        False, and nothing has changed, if that one was begun later: the answer to this one came too late.
        """
        peer = self.on_initiation(session.peer, session.endpoint.ip, now)
        waiting = peer.unconfirmed
        if waiting is not None and waiting.begun_at > session.begun_at:
            self.rest(session.own_index, now)
            return False
        if waiting is not None:
            self._end(waiting, now)
        peer.unconfirmed = session
        self.by_index[session.own_index] = session
        return True

    def confirm(self, session: Session, now: float) -> tuple[About, bool]:
        """The peer has proven that it has the session's keys, for the first time.

        What it told of itself in the handshake, and whether two of its runs alternate.
        """
        about, session.about = session.about, None
        assert about is not None
        peer = self.peers.get(session.peer)
        if peer is None:
            peer = self.peers[session.peer] = Peer(session.peer, NodeId.of(session.peer))
        self.by_index[session.own_index] = session
        session.confirmed_at = peer.heard_at = now
        peer.credit += session.handshake_bytes
        peer.wait, peer.initiated_at = SILENCE, -math.inf
        if peer.unconfirmed is session:
            peer.unconfirmed = None
        if not peer.is_member and session.peer not in self._confirmed:
            self._unconfirmed.discard(session.peer)
            self._forget(self._confirmed.add(session.peer, source_network(session.endpoint.ip)), now)
        current = peer.current
        if current is None:
            peer.current = session
        elif self._yields(session, current, peer):
            peer.older.insert(0, session)
        else:
            peer.current = session
            peer.older.insert(0, current)
        for ended in peer.older[KEPT_OLDER:]:
            self._end(ended, now)
        del peer.older[KEPT_OLDER:]
        if peer.is_member:
            self._note_ip(peer)
        return about, self._alternates(peer, about.run)

    def _yields(self, session: Session, current: Session, peer: Peer) -> bool:
        """Whether both sides began at once, and `current` is the one of the lower id: both then agree on it."""
        began_at_once = session.is_initiator != current.is_initiator and session.begun_at <= (
            current.confirmed_at or 0.0
        )
        return began_at_once and current.is_initiator == (self._own_id < peer.node_id)

    @staticmethod
    def _alternates(peer: Peer, run: bytes) -> bool:
        if run == peer.run:
            return False
        alternates = run == peer.earlier_run
        peer.run, peer.earlier_run = run, peer.run
        return alternates

    def keep(self, public: bytes) -> bool:
        """The peer is a member of the routing table now. False if it has no session, or there are too many members."""
        peer = self.peers.get(public)
        if peer is not None and peer.is_member:
            return True
        if peer is None or peer.current is None or self._members >= self._most_members:
            return False
        peer.is_member = True
        self._members += 1
        self._note_ip(peer)
        self._confirmed.discard(public)
        return True

    def release(self, public: bytes, now: float) -> None:
        """The peer is a member no more: a stranger, used just now."""
        peer = self.peers.get(public)
        if peer is not None and peer.is_member:
            peer.is_member = False
            self._members -= 1
            self._note_ip(peer)
            if peer.current is None:
                self.remove(public, now)
            else:
                self._forget(self._confirmed.add(public, source_network(peer.current.endpoint.ip)), now)

    def remove(self, public: bytes, now: float) -> None:
        """Forget the peer and end its sessions."""
        peer = self.peers.pop(public, None)
        if peer is None:
            return
        self._members -= peer.is_member
        peer.is_member = False
        self._note_ip(peer)
        self._confirmed.discard(public)
        self._unconfirmed.discard(public)
        for session in (peer.current, peer.unconfirmed, *peer.older):
            if session is not None:
                self._end(session, now)

    def end_other_keys(self, accepted: frozenset[bytes], now: float) -> None:
        """End all sessions that were made under no network key of these. A member without any stays remembered."""
        for peer in list(self.peers.values()):
            mine = [peer.current, *peer.older]
            kept = [each for each in mine if each is not None and each.network_psk in accepted]
            for session in (*mine, peer.unconfirmed):
                if session is not None and session.network_psk not in accepted:
                    self._end(session, now)
            if peer.unconfirmed is not None and peer.unconfirmed.network_psk not in accepted:
                peer.unconfirmed = None
            peer.current, peer.older = (kept[0], kept[1:]) if kept else (None, [])
            self._note_ip(peer)
            if peer.current is None and not peer.is_member:
                self.remove(peer.public, now)

    def count_by_key(self, heard_since: float) -> Counter[bytes]:
        """How many peers that were heard from since then have their current session under each network key, by psk."""
        peers = self.peers.values()
        return Counter(
            peer.current.network_psk for peer in peers if peer.current is not None and peer.heard_at >= heard_since
        )

    def has_session_at(self, prefix: bytes) -> bool:
        """Whether a peer's current session is at an address that begins so: 4 bytes of IPv4, or less than 16 of IPv6.

        It looks at all peers.
        """
        length = 6 if len(prefix) == 4 else 18
        return any(
            peer.current is not None
            and peer.current.endpoint.startswith(prefix)
            and len(peer.current.endpoint) == length
            for peer in self.peers.values()
        )

    def counts(self) -> dict[str, int]:
        """How full the table is; all of it has a bound."""
        return {
            "members": self._members,  # these three are all peers
            "strangers": len(self._confirmed),
            "unconfirmed_strangers": len(self._unconfirmed),
            "sessions": len(self.by_index),
            "indexes": len(self._indexes),  # of sessions, of initiations under way, and at rest
            "resting_indexes": len(self._resting),
        }

    def _note_ip(self, peer: Peer) -> None:
        """Whether it is a member, or its current session, may have changed."""
        ip = peer.current.endpoint.ip if peer.is_member and peer.current is not None else b""
        if ip == peer.member_ip:
            return
        if peer.member_ip:
            self._member_ips[peer.member_ip] -= 1
            if not self._member_ips[peer.member_ip]:
                del self._member_ips[peer.member_ip]
        if ip:
            self._member_ips[ip] += 1
        peer.member_ip = ip

    def _forget(self, public: bytes | None, now: float) -> None:
        if public is not None:
            self.forgotten += 1
            self.remove(public, now)

    def _end(self, session: Session, now: float) -> None:
        self.by_index.pop(session.own_index, None)
        self.rest(session.own_index, now)
