"""The contacts of one node: who has a seat in its routing table, and what it knows of each.

Rules of this file: plain calls; it is the ears of requests (`seams.Hooks`). A seat is given only to a node that has
proven its key at an address, in a handshake, and a contact that may be gone is pinged. An endpoint that a node
advertises takes the place of the one that it speaks from once a handshake of ours has found the same key there.
Records are unknown here. Source: Kademlia (2002), §2.2 and §4.1; docs/protocol.md, the routing table.
"""

from __future__ import annotations

import math
import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from camomile_trio.kademlia.contacts import Contact, Endpoint, is_sensible
from camomile_trio.kademlia.messages import IS_LEAVING, STORES_NOTHING, Message, Ping, Pong
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.logs import log
from camomile_trio.peer.packets import About
from camomile_trio.peer.paths import MISSED_FOR
from camomile_trio.peer.requests import Requests
from camomile_trio.peer.seams import Answer
from camomile_trio.peer.silence import CHECKED_AGAIN_AFTER, Silence
from camomile_trio.peer.stream_troubles import StreamTroubles
from camomile_trio.peer.table import Peer
from camomile_trio.peer.tellers import ANSWERED_WITHIN

CHECKED_AFTER: Final = 60.0  # seconds until a contact that answers is checked again
MOST_ADVERTISED: Final = 8192
LOGGED_AGAIN: Final = 600.0  # seconds until a line about the same trouble is logged again

_PING: Final = Ping()


class Contacts:
    """Those of one node. `begin` has to be called before anything else."""

    requests: Requests[Message]
    _peers: dict[bytes, Peer]

    def __init__(self, table: RoutingTable, *, bound: Endpoint, advertise: Endpoint | None, rng: random.Random) -> None:
        self.table = table
        self.observed: Endpoint | None = None  # where the latest pong says that we are seen
        self.silence = Silence(table, self.check, rng)
        self.stream_troubles = StreamTroubles()
        # Told of every contact that enters the table.
        self.on_new_contact: Callable[[Contact], None] = lambda contact: None
        # Told of every contact that answers, as long as they are in here.
        self.listeners: list[Callable[[Contact], None]] = []
        # Told of the wall clock (ms) that a contact shows.
        self.on_clock: Callable[[Contact, int], None] = lambda contact, wall_ms: None
        # Told of the kind of a request and its round trip in seconds.
        self.on_round_trip: Callable[[str, float], None] = lambda kind, seconds: None
        # Told of an endpoint that has a session: no classic node is there.
        self.on_session: Callable[[Endpoint], None] = lambda endpoint: None
        # Where the operator has this node reached.
        self.given_endpoints = {bound, advertise} if advertise is not None else {bound}
        self._advertised: OrderedDict[bytes, Endpoint] = OrderedDict()  # by public key, the earliest first
        self._logged_at: dict[str, float] = {}

    def begin(self, requests: Requests[Message]) -> None:
        self.requests = requests
        self._peers = requests.sessions.table.peers
        self.table.on_displaced = self._on_displaced

    @property
    def own_endpoints(self) -> set[Endpoint]:
        """Where this node itself is reached, as far as it knows."""
        endpoints = self.given_endpoints | self.requests.hellos.own_endpoints.keys()
        return endpoints if self.observed is None else endpoints | {self.observed}

    def may_contact(self, endpoint: Endpoint, told_by: Endpoint) -> bool:
        """Whether an endpoint that a peer named makes sense, and is not one that the operator gave this node.

        Where else it is reached it knows from peers only, and they cannot make it avoid an address that way.
        """
        return is_sensible(endpoint, told_by=told_by) and endpoint not in self.given_endpoints

    def knows(self, contact: Contact) -> bool:
        """Whether this node knows a contact there by itself: it has its seat there, or has answered within the hour."""
        if self.table.get(contact.id) == contact:
            return True
        path = self.requests.paths.known(contact)
        return path is not None and self.requests.clock() - path.answered_at < ANSWERED_WITHIN

    def party(self, contact: Contact) -> bytes:
        """What a peer is one of where a lookup goes by its word: the source network that it counts under, or itself."""
        diversity = self.table.diversity
        return (diversity.network(contact.endpoint.ip) if diversity is not None else b"") or contact.public

    def has_met(self, endpoint: Endpoint) -> bool:
        """Whether one of ours was ever found at this endpoint."""
        return self.requests.endpoints.has_met(endpoint)

    # What is known of a contact --------------------------------------------------------------------------------------

    def is_storing(self, contact: Contact) -> bool:
        """Whether it keeps records at all: it may have said that it does not."""
        path = self.requests.path(contact)
        return path is None or not path.flags & STORES_NOTHING

    def is_leaving(self, contact: Contact) -> bool:
        """Whether it has said that it is about to leave."""
        path = self.requests.path(contact)
        return path is not None and bool(path.flags & IS_LEAVING)

    def is_answering(self, contact: Contact) -> bool:
        """Whether the last request to it that was answered or given up was answered."""
        path = self.requests.path(contact)
        return path is not None and path.is_answering

    def is_doubtful(self, contact: Contact, now: float) -> bool:
        """Whether it may be gone: it has missed a deadline lately, or has said that it is about to leave."""
        path = self.requests.path(contact)
        return path is not None and (bool(path.flags & IS_LEAVING) or path.is_suspect(now))

    def takes_stores(self, contact: Contact, now: float) -> bool:
        """Whether a STORE may go there at once: there is a session, and it stores, stays and is not silent."""
        peer = self._peers.get(contact.public)
        if peer is None or peer.current is None:
            return False
        path = self.requests.path(contact)
        return path is not None and not (path.flags & (STORES_NOTHING | IS_LEAVING) or path.is_suspect(now))

    def on_leave(self, contact: Contact) -> None:
        """It says that it is about to leave, and is believed until it answers otherwise. It may have answered a check a
        moment ago, and is checked all the same."""
        self.requests.paths.get(self.requests.reached(contact)).flags |= IS_LEAVING
        self.check(contact, again_after=0.0)

    # Checking --------------------------------------------------------------------------------------------------------

    def check(
        self,
        contact: Contact,
        *,
        again_after: float = CHECKED_AFTER,
        only_there: bool = False,
        told_by: tuple[Contact, ...] = (),
        on_alive: Callable[[], None] | None = None,
    ) -> bool:
        """Pings a contact to learn whether it is there; its answer gives it a seat, if there is one. False: it may not
        be asked now.

        Not more often than every `again_after` seconds: two nodes whose full buckets have no seat for each other would
        answer ping with ping for ever. `only_there`: at this very endpoint. `told_by`: by the word of these peers alone
        it is known. `on_alive` is called if it answers.
        """
        requests, now = self.requests, self.requests.clock()
        path = requests.paths.get(contact if only_there else requests.reached(contact))
        if -math.inf < path.answered_at < path.checked_at:
            # It has answered once, and not the last check: one that died and came back need not wait for as long.
            again_after = min(again_after, CHECKED_AGAIN_AFTER)
        is_under_way = path.check is not None and not path.check.done
        if is_under_way or now - path.checked_at < again_after:
            return True

        def on_reply(answer: Answer[Message]) -> None:
            if on_alive is not None:
                on_alive()

        path.check = requests.request(contact, _PING, on_reply=on_reply, only_there=only_there, told_by=told_by)
        if path.check is None:
            return False
        path.checked_at = now
        return True

    # What requests tell ----------------------------------------------------------------------------------------------

    def on_responded(self, contact: Contact, about: About) -> None:
        """A handshake of ours has proven which node is at this address."""
        self._on_handshake(contact, about)

    def on_confirmed(self, contact: Contact, about: About) -> None:
        """A handshake that the peer began is confirmed by its first sealed packet.

        It asks nobody in its bucket whether they are there: they would be asked by a handshake too, and so on from full
        bucket to full bucket.
        """
        self._on_handshake(contact, about, may_check=False)

    def on_answered(self, request: Message, answer: Answer[Message], now: float) -> None:
        """The peer is there."""
        message, contact = answer.message, answer.contact
        if isinstance(message, Pong):
            self.observed = message.observed or self.observed
            if message.clock is not None:
                self.on_clock(contact, message.clock)
        if answer.round_trip is not None:
            self.on_round_trip(request.label, answer.round_trip)
        if answer.by_stream:
            self.stream_troubles.on_success(contact.endpoint)
        self._seat(contact, now)

    def on_missed(self, contact: Contact, asked_at: float) -> None:
        """It did not answer until the deadline."""
        now = self.requests.clock()
        if self.silence.on_missed(contact, asked_at, now):
            self.requests.sessions.table.release(contact.public, now)

    def on_stream_failed(self, contact: Contact, why: str) -> None:
        """A stream has reasons of its own to fail: a ping tells whether the peer is there."""
        now = self.requests.clock()
        path = self.requests.path(contact)
        if path is not None and path.answered_at >= now - MISSED_FOR:
            self.stream_troubles.on_failure(contact.endpoint, why)
        self.check(
            contact,
            again_after=CHECKED_AGAIN_AFTER,
            on_alive=lambda: self.stream_troubles.on_alive(contact.endpoint, self.requests.clock()),
        )

    def on_copied_key(self, contact: Contact) -> None:
        """Two runs of one key alternate."""
        seat = self.table.get(contact.id)
        self._warn(
            "copied key",
            "two nodes have the same key",
            id=contact.id.hex(),
            at=str(contact.endpoint),
            and_at=str(seat.endpoint) if seat is not None else "",
            meaning="the data directory of one, or its node.key, is a copy: each takes the place of the other",
            remedy="stop one of the two, delete node.key in its data directory, and start it again",
        )

    def on_foreign(self, source: Endpoint, reason: str) -> None:
        """A handshake came that this node cannot take part in. Each is counted; the log has a line once in a while."""
        meaning = (
            "it speaks another version of the protocol"
            if reason == "other_version"
            else "it is in another network, has another network key, or took this node for another one"
        )
        self._warn(reason, "a node cannot speak with this one", at=str(source), meaning=meaning)

    def _on_handshake(self, contact: Contact, about: About, *, may_check: bool = True) -> None:
        self.on_session(contact.endpoint)
        self.on_clock(contact, about.wall_ms)
        advertised = Endpoint(about.advertised)
        self._advertised.pop(contact.public, None)
        if advertised:
            if len(self._advertised) >= MOST_ADVERTISED:
                self._advertised.popitem(last=False)
            self._advertised[contact.public] = advertised
        self._seat(contact, self.requests.clock(), may_check=may_check)
        if contact.id not in self.table:
            self._advertised.pop(contact.public, None)  # strangers, of which one host can be many, push out no member's
        if advertised and advertised != contact.endpoint and self.may_contact(advertised, contact.endpoint):
            self.check(Contact(contact.id, advertised, contact.public), only_there=True, told_by=(contact,))

    def _seat(self, contact: Contact, now: float, *, may_check: bool = True) -> None:
        """It is there: it gets a seat or keeps its own. In a full bucket a member that may be gone is pinged for it."""
        table = self.table
        peer = self._peers.get(contact.public)
        # Who is a member for the session table has a seat.
        has_seat = peer is not None and peer.is_member
        if not has_seat or contact.public in self._advertised:
            known = table.get(contact.id)
            has_seat = known is not None
            if known is not None and known.endpoint == self._advertised.get(contact.public):
                contact = known  # it wants to be reached there, and was
        check = table.on_answer(contact, now)
        is_new = not has_seat and contact.id in table
        if (is_new or has_seat) and (peer is None or not peer.is_member):
            self.requests.sessions.table.keep(contact.public)
        if self.silence.is_waiting:
            self.silence.on_answer(contact)
        if check is not None and may_check:
            self.check(check, again_after=CHECKED_AGAIN_AFTER)
        if self.listeners:
            for listener in tuple(self.listeners):
                listener(contact)
        if is_new:
            self.on_new_contact(contact)

    def _on_displaced(self, contact: Contact) -> None:
        """It has lost its seat, and is a stranger again."""
        self.requests.sessions.table.release(contact.public, self.requests.clock())

    def _warn(self, trouble: str, event: str, **words: str) -> None:
        now = self.requests.clock()
        if now - self._logged_at.get(trouble, -math.inf) >= LOGGED_AGAIN:
            self._logged_at[trouble] = now
            log.warning(event, **words)
