"""Our side of handshakes that peers begin, and of hellos that they send.

Rules of this file: the order of the checks is that of their cost. First whether anything is left that could be spent on
it (`has_for`); then mac1, two hashes for each accepted network key; then whether the same bytes were answered before;
then mac2, if there is one, and whether the same bytes were let in by it before, which is a replay and costs no budget;
then the budget; then Diffie-Hellman, and the version. Where the budget is spent, or an initiation may be a replay, the
answer is a cookie, never larger than the question. A response has at most three times the size of its initiation.
Source: Donenfeld, WireGuard (2017), section 5.3 and 5.4.7.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import Final

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.networks import source_network
from camomile_trio.peer.budget import Bucket, HandshakeRates, SharedBudget
from camomile_trio.peer.decisions import Decision, Handshake, Initiated, NotForUs, Reply
from camomile_trio.peer.handshake import (
    NetworkKey,
    cookie_for,
    is_for,
    is_under,
    keyed_hash,
    mac2_of,
    read_initiation,
    write_cookie_reply,
    write_hello_answer,
    write_response,
)
from camomile_trio.peer.local import Local
from camomile_trio.peer.packets import (
    NO_COOKIE,
    Hello,
    Initiation,
    InitiationPayload,
    ResponsePayload,
    room_for_answer,
)
from camomile_trio.peer.session import Session
from camomile_trio.peer.suite import KEY_BYTES
from camomile_trio.peer.table import Peer, SessionTable

COOKIE_LIFE: Final = 120.0  # seconds until the secret behind the cookies changes; the one before is good for as long
REPEATED_FOR: Final = 10.0  # how long a response is kept, in seconds
MOST_REPEATED: Final = 3  # times that it is repeated
MOST_ANSWERED: Final = 1024  # responses kept
MOST_RUNS: Final = 8  # of one peer that are let in by one cookie or its successor


@attrs.define(eq=False, repr=False)
class _Answered:
    """The response to an initiation, to be repeated if the initiation is; empty until there is an answer."""

    until: float
    datagram: bytes = b""
    repeated: int = 0


@attrs.frozen(repr=False)
class CookieSecrets:
    """The secrets behind a node's cookies, each derived from one random key and the secret's generation.

    Generations count from 1, so 0 stands for no cookie. Nothing in here changes, and the text form shows no key.
    """

    _key: bytes
    _begun_at: float  # seconds

    def generation(self, now: float) -> int:
        """That of the present secret."""
        return 1 + int((now - self._begun_at) // COOKIE_LIFE)

    def cookie(self, source: Endpoint, generation: int) -> bytes:
        """The cookie of a source address under the secret of this generation."""
        return cookie_for(keyed_hash(self._key, generation.to_bytes(8, "big"), KEY_BYTES), source)

    def made_with(self, untrusted: Initiation, source: Endpoint, now: float) -> tuple[bytes, int] | None:
        """The cookie that an initiation was made with, and its generation.

        NO_COOKIE and 0 if there is no mac2; None if mac2 is wrong, or its cookie too old.
        """
        if untrusted.mac2 == NO_COOKIE:
            return NO_COOKIE, 0
        present = self.generation(now)
        for generation in (present, present - 1):
            cookie = self.cookie(source, generation)
            if hmac.compare_digest(mac2_of(cookie, untrusted.before_mac2), untrusted.mac2):
                return cookie, generation
        return None


class Responder:
    """The responses of one node."""

    def __init__(self, local: Local, table: SessionTable, rates: HandshakeRates, now: float) -> None:
        self._local = local
        self._table = table
        self._answered: OrderedDict[tuple[Endpoint, bytes], _Answered] = OrderedDict()
        self._unproven = SharedBudget(rates.unproven, rates.unproven_of_network, now)
        self._proven = SharedBudget(rates.proven, rates.proven_of_network, now)
        self._proven_members = SharedBudget(rates.members, rates.proven_of_network, now)
        self._streams = SharedBudget(rates.streams, rates.proven_of_network, now)
        self._member_streams = SharedBudget(rates.members, rates.proven_of_network, now)
        self._hellos = Bucket.full(rates.replies, now)
        self._repeats = Bucket.full(rates.replies, now)
        self._cookie_replies = Bucket.full(rates.replies, now)
        self._member_cookie_replies = Bucket.full(rates.replies, now)
        # mac1 of the initiations that were let in by a cookie, by its generation; as many as `proven` pays for.
        self._let_in: dict[int, set[bytes]] = {}
        self._cookies = CookieSecrets(local.rng.randbytes(KEY_BYTES), now)

    def has_for(self, body_untrusted: bytes, source: Endpoint, now: float) -> bool:
        """Whether the budgets have anything for an initiation, whatever is in it. One with a cookie has one of its own.

        Where they have not, a flood costs nothing but this.
        """
        return not body_untrusted.endswith(NO_COOKIE) or self._unproven.has(now) or self._cookies_to(source.ip).has(now)

    def on_initiation(self, untrusted: Initiation, size: int, source: Endpoint, now: float) -> Decision:
        local = self._local
        network = next((key for key in local.network_keys if is_for(key, local.static.public, untrusted)), None)
        if network is None:
            raise NotForUs("wrong_mac1")
        where = (source, untrusted.mac1)
        answered = self._answered.get(where)
        if answered is not None and now < answered.until:
            return self._repeat(answered, now)
        made_with = self._cookies.made_with(untrusted, source, now)
        if made_with is None:
            return self._send_cookie(network, untrusted, source, now)
        cookie, generation = made_with
        if generation:
            self._let_in_by_cookie(untrusted.mac1, generation, source.ip, now)
        elif not self._unproven.take(source_network(source.ip), now):
            return self._send_cookie(network, untrusted, source, now)
        noise, payload = read_initiation(network, local.suite, local.static.key, untrusted, cookie)
        if noise.rs == local.static.public:
            raise NotForUs("own_key")
        if payload.about.version != local.version:
            raise NotForUs("other_version")
        known = self._table.peers.get(noise.rs)
        if known is not None and not self._is_fresh(known, payload, generation, now):
            if generation:
                raise NotForUs("replayed")
            return self._send_cookie(network, untrusted, source, now)
        peer = self._table.on_initiation(noise.rs, source.ip, now)
        peer.last_time = max(peer.last_time, payload.time)
        if generation:
            peer.proven[generation, payload.about.run] = payload.time
        self._keep_answer(where, now)
        room = room_for_answer(size, local.advertised)
        handshake = Handshake(network, noise, untrusted.index, where, now, size)
        contact = Contact(peer.node_id, source, peer.public)
        return Initiated(contact, payload.about, payload.request, room, handshake)

    def respond(self, initiated: Initiated, answer: bytes, now: float, wall_ms: int) -> bytes | None:
        """The datagram that answers an initiation; its session waits for the initiator's first sealed packet.

        To be called once. None if a later initiation of the same peer has been answered already.
        """
        if len(answer) > initiated.room:
            raise ValueError(f"there is room for {initiated.room} bytes of an answer, not {len(answer)}")
        handshake, index = initiated.handshake, self._table.new_index(now)
        datagram = write_response(
            handshake.network,
            handshake.noise,
            handshake.receiver,
            ephemeral=self._local.ephemeral(),
            payload=ResponsePayload(index, self._local.about(wall_ms), answer),
        ).encode()
        receive, send = handshake.noise.symmetric.split()
        session = Session(
            peer=initiated.contact.public,
            endpoint=initiated.contact.endpoint,
            is_initiator=False,
            own_index=index,
            peer_index=handshake.receiver,
            send_key=send.k,
            receive_key=receive.k,
            network_psk=handshake.network.psk,
            begun_at=handshake.begun_at,
            handshake_bytes=handshake.size,
            about=initiated.about,
        )
        if not self._table.on_response(session, now):
            return None
        answered = self._answered.get(handshake.answered)
        if answered is not None:
            answered.datagram = datagram
        return datagram

    def afford_stream(self, ip: bytes, now: float) -> bool:
        """Whether a handshake over a stream can be afforded; it is paid then. TCP proves addresses as cookies do."""
        budget = self._member_streams if self._table.has_member_at(ip) else self._streams
        return budget.take(source_network(ip), now)

    def on_hello(self, untrusted: Hello, now: float) -> Decision:
        if not self._hellos.has(now):
            raise NotForUs("over_budget")
        local = self._local
        network = next((key for key in local.network_keys if is_under(key, untrusted)), None)
        if network is None:
            raise NotForUs("wrong_mac1")
        _pay_for_a_reply(self._hellos, now)
        answer = write_hello_answer(network, local.suite, local.static.public, untrusted, local.rng)
        return Reply(answer.encode(), "hello")

    def _keep_answer(self, where: tuple[Endpoint, bytes], now: float) -> None:
        """A place for the response that will be made. Those that are not repeated any more take no memory meanwhile."""
        kept = self._answered
        kept[where] = _Answered(now + REPEATED_FOR)
        kept.move_to_end(where)
        while len(kept) > MOST_ANSWERED or next(iter(kept.values())).until <= now:
            kept.popitem(last=False)

    def forget_answers(self) -> None:
        """Repeat no response that was made until now."""
        self._answered.clear()

    def counts(self) -> dict[str, int]:
        """How full its tables are, which all have a bound."""
        return {
            "responses": len(self._answered),  # kept, to be repeated
            "let_in": sum(len(each) for each in self._let_in.values()),  # by a cookie that is still good
            # Source networks whose budgets are remembered.
            "networks": sum(
                len(each)
                for each in (self._unproven, self._proven, self._proven_members, self._streams, self._member_streams)
            ),
        }

    def _let_in_by_cookie(self, mac1: bytes, generation: int, ip: bytes, now: float) -> None:
        """NotForUs for a replay, and where the budget is spent. A replay spends nothing: it may have been recorded, and
        would take from the node that made it."""
        for old in [each for each in self._let_in if each < self._cookies.generation(now) - 1]:
            del self._let_in[old]
        let_in = self._let_in.setdefault(generation, set())
        if mac1 in let_in:
            raise NotForUs("replayed")
        budget = self._proven_members if self._table.has_member_at(ip) else self._proven
        if not budget.take(source_network(ip), now):
            raise NotForUs("over_budget")
        let_in.add(mac1)

    def _repeat(self, answered: _Answered, now: float) -> Decision:
        if not answered.datagram:
            raise NotForUs("being_answered")
        if answered.repeated >= MOST_REPEATED:
            raise NotForUs("repeated_too_often")
        _pay_for_a_reply(self._repeats, now)
        answered.repeated += 1
        return Reply(answered.datagram, "repeated")

    def _is_fresh(self, peer: Peer, payload: InitiationPayload, generation: int, now: float) -> bool:
        """Whether an initiation was made after all that were accepted: its time says so, or its cookie does.

        A recorded initiation is good for as long as its cookie. So under one cookie the times of one run have to grow.
        A run that is new under it is a restart, and its clock may have gone back; there are a few of these at most.
        """
        if not generation:
            return payload.time > peer.last_time
        for each in [each for each in peer.proven if each[0] < self._cookies.generation(now) - 1]:
            del peer.proven[each]
        before = peer.proven.get((generation, payload.about.run))
        return len(peer.proven) < MOST_RUNS if before is None else payload.time > before

    def _send_cookie(self, network: NetworkKey, untrusted: Initiation, source: Endpoint, now: float) -> Decision:
        _pay_for_a_reply(self._cookies_to(source.ip), now)
        cookie = self._cookies.cookie(source, self._cookies.generation(now))
        local = self._local
        reply = write_cookie_reply(network, local.suite, local.static.public, untrusted, cookie, local.rng)
        return Reply(reply.encode(), "cookie")

    def _cookies_to(self, ip: bytes) -> Bucket:
        """What pays for a cookie to this ip. (It may be forged; only who lives there can use the cookie.)"""
        return self._member_cookie_replies if self._table.has_member_at(ip) else self._cookie_replies


def _pay_for_a_reply(bucket: Bucket, now: float) -> None:
    if not bucket.take(now):
        raise NotForUs("over_budget")
