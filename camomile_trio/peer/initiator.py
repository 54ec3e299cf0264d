"""Our side of handshakes that this node begins, and of hellos that it sends.

Rules of this file: one handshake with a peer at an address is under way at a time, and its initiation stays the same
bytes until it is answered or replaced; only a cookie makes another one of it. What arrives is looked up by an index of
ours that was random, so a datagram that answers nothing costs one look-up.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.decisions import Decision, Introduced, NotForUs, OwnHello, Reply, Responded
from camomile_trio.peer.handshake import (
    NetworkKey,
    read_cookie_reply,
    read_hello_answer,
    read_response,
    write_hello,
    write_initiation,
)
from camomile_trio.peer.local import Local
from camomile_trio.peer.noise import HandshakeState
from camomile_trio.peer.packets import (
    LARGEST_DATAGRAM,
    MOST_REQUEST,
    NO_COOKIE,
    CookieReply,
    Hello,
    HelloAnswer,
    InitiationPayload,
    Response,
)
from camomile_trio.peer.session import Session
from camomile_trio.peer.table import SILENCE, Peer, SessionTable

LONGEST_WAIT: Final = 8.0  # seconds between two initiations to one silent peer
MOST_INITIATING: Final = 1024  # initiations under way
MOST_COOKIES: Final = 3  # taken for one initiation
MOST_FAILURES: Final = 8  # responses with a right mac1 that one initiation is tried with
MOST_HELLOS: Final = 64  # under way
HELLO_LIFE: Final = 10.0  # seconds


@attrs.define(eq=False, repr=False)
class _Initiating:
    """A handshake that has not been answered, with one initiation of it for each cookie."""

    peer: bytes
    endpoint: Endpoint
    network: NetworkKey
    request: bytes
    padded_to: int
    begun_at: float
    wait: float = SILENCE  # until another one may take its place, in seconds
    cookie: bytes = NO_COOKIE
    cookies_taken: int = 0
    failures: int = 0
    sent: list[_Sent] = attrs.field(factory=list)  # newest last


@attrs.frozen(eq=False, repr=False)
class _Sent:
    """One initiation of a handshake. A response to any of them is good."""

    handshake: _Initiating
    index: bytes
    noise: HandshakeState
    mac1: bytes
    datagram: bytes


class Initiator:
    """The initiations of one node."""

    def __init__(self, local: Local, table: SessionTable) -> None:
        self._local = local
        self._table = table
        self._time = 0
        self._by_index: dict[bytes, _Sent] = {}
        self._to: dict[tuple[bytes, Endpoint], _Initiating] = {}  # oldest first
        self._hellos: OrderedDict[bytes, tuple[Endpoint, NetworkKey, float]] = OrderedDict()

    def initiate(
        self, public_untrusted: bytes, endpoint: Endpoint, request: bytes, now: float, wall_ms: int, padded_to: int = 0
    ) -> bytes:
        """The datagram that begins a handshake with the node of this key, and carries a first request to it.

        It replaces an initiation to the same peer and address. `padded_to` is the datagram's least size, so that a full
        answer fits into three times as much. MalformedPacket if no node can have such a key.
        """
        self._local.suite.check_public_untrusted(public_untrusted)
        public = public_untrusted
        if public == self._local.static.public:
            raise ValueError("a node has no session with itself")
        if len(request) > MOST_REQUEST or padded_to > LARGEST_DATAGRAM:
            raise ValueError(f"a first request has at most {MOST_REQUEST} bytes, not {len(request)}")
        started = _Initiating(public, endpoint, self._local.network_keys[0], request, padded_to, now)
        before = self._to.get((public, endpoint))
        if before is not None:
            started.cookie, started.wait = before.cookie, min(2 * before.wait, LONGEST_WAIT)
            self._give_up(before, now)
        elif len(self._to) >= MOST_INITIATING:
            self._give_up(next(iter(self._to.values())), now)
        peer = self._with_session(public, endpoint)
        if peer is not None:
            if peer.initiated_at > peer.heard_at:
                peer.wait = min(2 * peer.wait, LONGEST_WAIT)
            peer.initiated_at = now
        self._to[public, endpoint] = started
        return self._write(started, now, wall_ms)

    def retransmission(self, public: bytes, endpoint: Endpoint) -> bytes | None:
        """The initiation that is under way to this peer there, byte for byte; None if there is none."""
        started = self._to.get((public, endpoint))
        return started.sent[-1].datagram if started is not None else None

    def may_initiate_at(self, public: bytes, endpoint: Endpoint) -> float:
        """When a new initiation may leave to this peer at this address, in seconds; -inf if none was tried before.

        At doubling intervals after the one before. Where the peer has a session at this address, and a request and its
        retransmission are overdue, not before a second after something authentic came, either.
        """
        started = self._to.get((public, endpoint))
        at = -math.inf if started is None else started.begun_at + started.wait
        peer = self._with_session(public, endpoint)
        return at if peer is None else max(at, peer.heard_at + SILENCE, peer.initiated_at + peer.wait)

    def is_expected(self, receiver_untrusted: bytes, source: Endpoint) -> bool:
        """Whether an initiation under this index is under way to this address."""
        sent = self._by_index.get(receiver_untrusted)
        return sent is not None and sent.handshake.endpoint == source

    def on_response(self, untrusted: Response, size: int, source: Endpoint, now: float) -> Decision:
        sent = self._expected(untrusted.receiver, source)
        started = sent.handshake
        if started.failures >= MOST_FAILURES:
            raise NotForUs("too_many_responses")
        try:
            noise, payload = read_response(started.network, self._local.static.key, sent.noise, untrusted)
        except MalformedPacket as error:
            started.failures += error.reason != "wrong_response_mac"
            raise
        if payload.about.version != self._local.version:
            started.failures += 1
            raise NotForUs("other_version")
        started.sent.remove(sent)  # its index is the session's now
        del self._by_index[sent.index]
        self._give_up(started, now)
        send, receive = noise.symmetric.split()
        session = Session(
            peer=started.peer,
            endpoint=source,
            is_initiator=True,
            own_index=sent.index,
            peer_index=payload.index,
            send_key=send.k,
            receive_key=receive.k,
            network_psk=started.network.psk,
            begun_at=started.begun_at,
            handshake_bytes=size,
            about=payload.about,
        )
        about, is_copied = self._table.confirm(session, now)
        return Responded(session.contact, about, payload.answer, is_copied)

    def on_cookie(self, untrusted: CookieReply, source: Endpoint, now: float, wall_ms: int) -> Decision:
        sent = self._expected(untrusted.receiver, source)
        started = sent.handshake
        if started.cookies_taken >= MOST_COOKIES:
            raise NotForUs("too_many_cookies")
        cookie = read_cookie_reply(started.network, self._local.suite, started.peer, sent.mac1, untrusted)
        started.cookies_taken += 1
        started.cookie = cookie
        # Not the same initiation with a mac2: what is sealed in it is bound to the cookie. A response to the one before
        # stays good, since in an open network an observer can forge a cookie.
        return Reply(self._write(started, now, wall_ms), "with_cookie")

    def hello(self, endpoint: Endpoint, now: float) -> bytes:
        """The datagram that asks an address for its node's public key."""
        network = self._local.network_keys[0]
        hello = write_hello(network, self._local.rng)
        if len(self._hellos) >= MOST_HELLOS:
            self._hellos.popitem(last=False)
        self._hellos[hello.nonce] = (endpoint, network, now + HELLO_LIFE)
        return hello.encode()

    def on_hello_answer(self, untrusted: HelloAnswer, source: Endpoint, now: float) -> Decision:
        asked = self._hellos.get(untrusted.asked)
        if asked is None or asked[0] != source or now >= asked[2]:
            raise NotForUs("not_asked")
        public = read_hello_answer(asked[1], self._local.suite, untrusted)
        del self._hellos[untrusted.asked]
        return Introduced(public, source)

    def is_asked(self, nonce_untrusted: bytes, source: Endpoint) -> bool:
        """Whether a hello with this nonce is under way to this address."""
        asked = self._hellos.get(nonce_untrusted)
        return asked is not None and asked[0] == source

    def own_hello(self, untrusted: Hello, now: float) -> OwnHello | None:
        """The address that a hello asked, if this node sent it: the address is its own. None for any other hello.

        The node that was asked, or a host on the way to it, can send our hello back too. That does no more harm than
        if it gave no answer.
        """
        asked = self._hellos.get(untrusted.nonce)
        return OwnHello(asked[0]) if asked is not None and now < asked[2] else None

    def counts(self) -> dict[str, int]:
        """How full its tables are, which all have a bound."""
        return {
            "handshakes": len(self._to),  # begun here, and not answered
            "initiations": len(self._by_index),  # of these handshakes; a cookie adds one
            "hellos": len(self._hellos),
        }

    def end_other_keys(self, accepted: frozenset[bytes], now: float) -> None:
        """Give up what was begun under no network key of these."""
        for started in list(self._to.values()):
            if started.network.psk not in accepted:
                self._give_up(started, now)

    def _with_session(self, public: bytes, endpoint: Endpoint) -> Peer | None:
        """The peer, if its current session is at this address. (Others can name it at any other address.)"""
        peer = self._table.peers.get(public)
        return peer if peer is not None and peer.current is not None and peer.current.endpoint == endpoint else None

    def _expected(self, receiver_untrusted: bytes, source: Endpoint) -> _Sent:
        sent = self._by_index.get(receiver_untrusted)
        if sent is None:
            raise NotForUs("unknown_index")
        if sent.handshake.endpoint != source:
            raise NotForUs("other_address")
        return sent

    def _write(self, started: _Initiating, now: float, wall_ms: int) -> bytes:
        """Under a new index, with a new ephemeral key and a greater time."""
        self._time = max(self._time + 1, 1000 * wall_ms)
        index = self._table.new_index(now)
        noise, initiation = write_initiation(
            started.network,
            self._local.suite,
            self._local.static.key,
            started.peer,
            ephemeral=self._local.ephemeral(),
            index=index,
            payload=InitiationPayload(self._time, self._local.about(wall_ms), started.request),
            cookie=started.cookie,
            padded_to=started.padded_to,
        )
        sent = _Sent(started, index, noise, initiation.mac1, initiation.encode())
        started.sent.append(sent)
        self._by_index[index] = sent
        return sent.datagram

    def _give_up(self, started: _Initiating, now: float) -> None:
        del self._to[started.peer, started.endpoint]
        for sent in started.sent:
            del self._by_index[sent.index]
            self._table.rest(sent.index, now)
