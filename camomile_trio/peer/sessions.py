"""The sessions of one node: told what arrived and what is to be sent, it says everything there is to do.

Rules of this file: plain state without I/O. `now` is monotonic and in seconds, `wall_ms` is the wall clock, in
milliseconds since 1970; both are the caller's, and so is the randomness. Each method returns one value with the whole
decision, and an exception is the caller's mistake, but for `open_untrusted`: it is the way of nearly every datagram,
one look-up and a tag, and makes no decision of it. What is dropped has a reason, and is counted under it.
Source: docs/protocol.md.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Endpoint, is_sensible
from camomile_trio.peer.budget import HandshakeRates
from camomile_trio.peer.decisions import Decision, Dropped, NotForUs, Opened, Reply, Responded, Sealed
from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.initiator import Initiator
from camomile_trio.peer.local import Local
from camomile_trio.peer.packets import (
    COOKIE,
    HELLO,
    HELLO_ANSWER,
    INDEX_BYTES,
    INITIATION,
    NONCE_BYTES,
    RESPONSE,
    SEALED,
    About,
    CookieReply,
    Hello,
    HelloAnswer,
    Initiation,
    Response,
    unframe_untrusted,
)
from camomile_trio.peer.responder import Responder
from camomile_trio.peer.session import Session
from camomile_trio.peer.table import Peer, SessionTable

REKEY_AFTER: Final = 3600.0  # seconds, by the side that began; the other one waits an eighth longer
MOST_PEERS: Final = 8192  # a peer takes some two kilobytes; a node has a few hundred members


class Sessions:
    """All sessions of one node in one network: its table, and its side of handshakes."""

    def __init__(
        self, local: Local, now: float, *, most_peers: int = MOST_PEERS, rates: HandshakeRates | None = None
    ) -> None:
        self.local = local
        self.table = SessionTable(local.static.node_id, most_peers, local.rng)
        self.initiator = Initiator(local, self.table)
        self.responder = Responder(local, self.table, rates or HandshakeRates(), now)
        self.dropped: Counter[str] = Counter()  # by reason, all of them constants
        self.replied: Counter[str] = Counter()  # by the reply's `why`
        self._promoted_at = -math.inf  # when the network key that is sent under last became another one

    def seal(self, public: bytes, inner: bytes, now: float) -> Sealed | None:
        """`inner` for the peer, at the address of its current session; None if it has no confirmed session."""
        peer = self.table.peers.get(public)
        session = peer.current if peer is not None else None
        if peer is None or session is None:
            return None
        datagram = session.seal(self.local.suite, inner)
        if datagram is None:
            return None
        self.table.use(peer)
        return Sealed(datagram, session.endpoint, now >= session.renew_at and self.may_renew(peer, now))

    def may_renew(self, peer: Peer, now: float) -> bool:
        """Of a session that is due for a new one (`Session.renew_at`): whether no initiation has left lately."""
        return now >= peer.initiated_at + peer.wait

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint, now: float, wall_ms: int) -> Decision:
        """What to do about a datagram."""
        try:
            field, body_untrusted = unframe_untrusted(datagram_untrusted)
            if field == SEALED:
                return self._on_sealed(body_untrusted, source, now)
            decision = self._on_handshake(field, body_untrusted, len(datagram_untrusted), source, now, wall_ms)
        except (MalformedPacket, NotForUs) as error:
            self.dropped[error.reason] += 1
            return Dropped(error.reason)
        if isinstance(decision, Reply):
            self.replied[decision.why] += 1
        elif isinstance(decision, Responded):
            self._time_renewals(self.table.peers[decision.contact.public])
        return decision

    def open_untrusted(self, body_untrusted: bytes, source: Endpoint, now: float) -> tuple[Session, bytes]:
        """The session and the inner packet of the body of a `sealed`. MalformedPacket or NotForUs: it has to be dropped
        and counted. If the session is not confirmed yet, it is by this packet: `confirm` has to be called.
        """
        session = self.table.by_index.get(body_untrusted[:INDEX_BYTES])
        if session is None:
            raise NotForUs("unknown_index")
        if session.endpoint != source:
            raise NotForUs("other_address")
        inner = session.open_untrusted(self.local.suite, body_untrusted)
        if session.confirmed_at is not None:
            peer = self.table.peers[session.peer]
            peer.heard_at = now
            peer.credit += len(body_untrusted)
            if not peer.is_member:
                self.table.use(peer)
        return session, inner

    def confirm(self, session: Session, size: int, now: float) -> tuple[About, bool]:
        """The peer's first sealed packet has come, with a body of so many bytes.

        What the peer told of itself in the handshake, and whether two of its runs alternate.
        """
        session.handshake_bytes += size
        told = self.table.confirm(session, now)
        self._time_renewals(self.table.peers[session.peer])
        return told

    def is_expected(self, datagram_untrusted: bytes, source: Endpoint) -> bool:
        """Whether it names an index that this node gave to exactly this source, for a session or a handshake, or the
        nonce of a hello.

        These are random, so a forger who does not see the packets between the two can name none. It costs a look-up.
        """
        try:
            field, body_untrusted = unframe_untrusted(datagram_untrusted)
        except MalformedPacket:
            return False
        index = body_untrusted[:INDEX_BYTES]
        if field == SEALED:
            session = self.table.by_index.get(index)
            return session is not None and session.endpoint == source
        if field == HELLO_ANSWER:
            return self.initiator.is_asked(body_untrusted[:NONCE_BYTES], source)
        return field in (RESPONSE, COOKIE) and self.initiator.is_expected(index, source)

    def _on_sealed(self, body_untrusted: bytes, source: Endpoint, now: float) -> Decision:
        session, inner = self.open_untrusted(body_untrusted, source, now)
        if session.confirmed_at is not None:
            return Opened(session.contact, inner)
        return Opened(session.contact, inner, *self.confirm(session, len(body_untrusted), now))

    def _on_handshake(
        self, field: int, body_untrusted: bytes, size: int, source: Endpoint, now: float, wall_ms: int
    ) -> Decision:
        if field == INITIATION and not self.responder.has_for(body_untrusted, source, now):
            raise NotForUs("over_budget")
        if not is_sensible(source):  # a session has the address of its handshake, so sealed packets need no look at it
            raise NotForUs("senseless_source")
        if field == INITIATION:
            return self.responder.on_initiation(Initiation.decode_untrusted(body_untrusted), size, source, now)
        if field == RESPONSE:
            return self.initiator.on_response(Response.decode_untrusted(body_untrusted), size, source, now)
        if field == COOKIE:
            return self.initiator.on_cookie(CookieReply.decode_untrusted(body_untrusted), source, now, wall_ms)
        if field == HELLO:
            hello_untrusted = Hello.decode_untrusted(body_untrusted)
            own = self.initiator.own_hello(hello_untrusted, now)
            if own is None:
                return self.responder.on_hello(hello_untrusted, now)
            self.dropped["own_hello"] += 1
            return own
        if field == HELLO_ANSWER:
            return self.initiator.on_hello_answer(HelloAnswer.decode_untrusted(body_untrusted), source, now)
        raise NotForUs("not_a_handshake")

    def change_keys(self, network_keys: tuple[NetworkKey, ...], now: float) -> None:
        """Accept these network keys from now on, and send under the first.

        Sessions and initiations under any other key end at once. Sessions that were begun under another than the first
        are due for a new one (`Session.renew_at`; `renewals.py` renews those without traffic). Open streams have made
        handshakes of their own, and are not known here: the node calls this and then has its streams end those that
        were made under a key that is accepted no more.
        """
        if network_keys[0] != self.local.network_keys[0]:
            self._promoted_at = now
        self.local.network_keys = network_keys
        accepted = frozenset(key.psk for key in network_keys)
        self.table.end_other_keys(accepted, now)
        for peer in self.table.peers.values():
            self._time_renewals(peer)
        self.initiator.end_other_keys(accepted, now)
        self.responder.forget_answers()

    def under_former_key(self, public: bytes) -> Session | None:
        """The peer's session, if it is due for a new one because of its network key."""
        session = self.table.current(public)
        return session if session is not None and self._is_under_former_key(session) else None

    def under_former_keys(self) -> list[bytes]:
        """The peers with such sessions."""
        return [public for public in self.table.peers if self.under_former_key(public) is not None]

    def counts(self) -> dict[str, int]:
        """How full each table of this node is, by name; all have a bound. What is beyond it is dropped or forgotten."""
        return {**self.table.counts(), **self.initiator.counts(), **self.responder.counts()}

    def _time_renewals(self, peer: Peer) -> None:
        """When its sessions are due for new ones: at an age, or at once. (A spent counter tells by itself.)"""
        for session in (peer.current, *peer.older):
            if session is None or session.confirmed_at is None:
                continue
            if self._is_under_former_key(session):
                session.renew_at = -math.inf
            else:
                after = REKEY_AFTER if session.is_initiator else REKEY_AFTER * 9 / 8
                session.renew_at = session.confirmed_at + after

    def _is_under_former_key(self, session: Session) -> bool:
        """Whether it was begun before this node has promoted the key that it sends under, and under another one.

        One begun later is under another key because the peer has yet to promote it, and will renew the session then. If
        this node did so at once, two that disagree about the first key would replace each other's sessions for ever.
        """
        return session.network_psk != self.local.network_keys[0].psk and session.begun_at <= self._promoted_at
