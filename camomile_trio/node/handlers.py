"""What this node answers: one function for each request of a peer.

Rules of this file: every handler is idempotent, since requests are sent again with the same session, and returns at
once; one that needs the disk answers from the commit's callback. Handlers believe nothing about the sender beyond
what `inbox.Request` says is proven. Classic peers get classic answers.
"""

from __future__ import annotations

from camomile_trio.errors import StorageError
from camomile_trio.identity import BadSignature, KeyPair, sign_pong
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    Leave,
    NodeList,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    Value,
)
from camomile_trio.kademlia.networks import source_network
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.node.classic import is_for_classic
from camomile_trio.node.confirmations import Confirmations
from camomile_trio.node.holdings import Holdings
from camomile_trio.node.inbox import Request
from camomile_trio.node.quotas import Bringer
from camomile_trio.node.rpc import Rpc
from camomile_trio.node.tokens import Tokens
from camomile_trio.node.verdicts import CHECKED_AGAIN_AFTER

# A value of this many bytes fits into a datagram with one record; each more takes so much of it.
HIT_WITH_ONE_RECORD = 1000
ROW_ON_THE_WIRE = 126
# Beside its records a holding takes so much, and an answer to digests has room for so much of holdings.
HOLDING_ON_THE_WIRE = 42
ROOM_FOR_HOLDINGS = 1000


class Handlers:
    """The requests that one node serves."""

    def __init__(
        self,
        *,
        identity: KeyPair,
        rpc: Rpc,
        holdings: Holdings,
        tokens: Tokens,
        confirmations: Confirmations,
        max_value_size: int,
    ) -> None:
        self._identity = identity
        self._rpc = rpc
        self._holdings = holdings
        self._tokens = tokens
        self._confirmations = confirmations
        self._max_value_size = max_value_size

    def handle(self, request: Request) -> None:
        match request.packet.message:
            case FindNode() as message:
                self.find_node(request, message)
            case FindValue() as message:
                self.find_value(request, message)
            case Store() as message:
                self.store(request, message)
            case Ping() as message:
                self.ping(request, message)
            case Have() as message:
                self.have(request, message)
            case Leave():
                self.leave(request)

    def ping(self, request: Request, message: Ping) -> None:
        if self._rpc.tests_our_key(message):
            # The sender passes our own question on to us, and wants to answer it with what we sign.
            self._rpc.statistics.dropped["own_challenge"] += 1
            return
        peer = self._rpc.peers.known(request.source)
        if peer is not None:
            peer.knows_us = True
        if request.is_classic:
            request.answer(Pong(message.challenge))
            return
        request.answer(
            Pong(
                message.challenge,
                self._identity.public,
                sign_pong(message.challenge, self._identity, self._rpc.network),
                request.source,
                self._holdings.wall_clock(),
            )
        )

    def find_node(self, request: Request, message: FindNode) -> None:
        request.answer(NodeList(self._closest(request, message.target), self._token(request)))

    def find_value(self, request: Request, message: FindValue) -> None:
        key = message.key
        try:
            served = self._holdings.served(key)
            if served is not None and (not request.is_classic or is_for_classic(served.value)):
                rows = [record.row() for record in served.records]
                if message.publisher is not None and not served.is_cached:
                    rows = self._rows(key, message)
                # More records than fit beside the value would send the asker round by a stream.
                del rows[1 + max(0, (HIT_WITH_ONE_RECORD - len(served.value)) // ROW_ON_THE_WIRE) :]
                value = Value(key, served.value, (), tuple(rows), served.is_cached, self._token(request))
            else:
                # It may be here, from before this start: then it is compared next, and served to who asks again.
                self._holdings.want(key)
                rows = [] if request.is_classic else self._rows(key, message)
                value = Value(key, None, self._closest(request, key), tuple(rows), False, self._token(request))
        except StorageError:
            value = Value(key, None, self._closest(request, key), (), False, self._token(request))
        request.answer(value)

    def store(self, request: Request, message: Store) -> None:
        if not request.is_proven and not self._tokens.is_valid(message.token, request.source.ip, self._rpc.clock()):
            self._refuse(request, StoreStatus.NO_TOKEN)
            return
        if self._holdings.takes_nothing:
            self._refuse(request, StoreStatus.BUSY)
            return
        value = message.value
        if value is not None and len(value) > self._max_value_size:
            self._refuse(request, StoreStatus.TOO_LARGE, key=Key.of(value) if message.names_contacts else None)
            return
        key = message.key
        if value is not None:
            hashed = Key.of(value)
            if key is not None and key != hashed:
                self._refuse(request, StoreStatus.BAD_HASH)
                return
            key = hashed
        if key is None or (value is None and not message.records):
            self._refuse(request, StoreStatus.VALUE_NEEDED)
            return
        if not (message.records or self._rpc.classic):
            self._refuse(request, StoreStatus.BAD_SIGNATURE)
            return

        def done(result: StoreResult) -> None:
            if result.status is StoreStatus.STORED and message.records and message.kind is StoreKind.REPLICATE:
                self._holdings.heard_from_holder(key)
            self._answer_store(request, result, key if message.names_contacts else None)

        if message.records and message.cached:
            self._store_cached(request, key, message)
        elif message.records:
            self._holdings.store(key, value, message.records, done, bringer=self._bringer(request, key, message.kind))
        elif value is not None:
            self._holdings.store_classic(key, value, message.kind, done)

    def have(self, request: Request, message: Have) -> None:
        holdings: list[Holding] = []
        now = self._holdings.wall_clock()
        is_round = message.is_round and self._is_member(request)
        alike, room = 0, ROOM_FOR_HOLDINGS
        states = self._holdings.states(message.keys)
        for number, key in enumerate(message.keys):
            state = states.get(key)
            if state is None:
                continue
            said = registers.said(state, now) if message.digests else None
            if said is not None and said.is_alike(message.digests[number]):
                alike |= 1 << number
                if is_round:
                    self._holdings.heard_in_round(state)
                    for row in said.rows:
                        self._confirmations.confirm(row, request.packet.sender, self._rpc.clock())
                continue
            records = registers.answer(state, now, publisher=message.publisher, ended=True)
            rows = tuple(record.row() for record in records)
            room -= HOLDING_ON_THE_WIRE + len(rows) * ROW_ON_THE_WIRE
            if message.digests and holdings and room < 0:
                continue  # it is asked for again
            is_classic = registers.is_served(state, now) and not registers.is_live(state, now)
            holdings.append(Holding(key, state.size is not None, rows, is_classic))
        request.answer(HaveResult(tuple(holdings), alike))

    def _is_member(self, request: Request) -> bool:
        """Whether it comes from a member of our table: what somebody unknown says lets no holder rest."""
        known = self._rpc.table.get(request.packet.sender)
        return request.is_proven and known is not None and known.endpoint in (request.source, request.packet.advertised)

    def leave(self, request: Request) -> None:
        # A hint from an address that anybody could have forged: see whether the node is still there.
        known = self._rpc.table.get(request.packet.sender)
        if known is not None and known.endpoint == request.source:
            self._rpc.peers.get(request.source).is_leaving = True  # until it answers otherwise
            self._rpc.prove(known, again_after=CHECKED_AGAIN_AFTER)

    def _bringer(self, request: Request, key: Key, kind: StoreKind) -> Bringer:
        """Whose account is charged: a stranger's network, or that of another holder for what it replicates.

        Anybody can say REPLICATE, so only a member of our table counts, at the address it answered from, and if it is
        one of the closest to the key.
        """
        is_fellow_holder = False
        if kind is StoreKind.REPLICATE:
            known = self._rpc.table.get(request.packet.sender)
            is_at_home = known is not None and known.endpoint.ip == request.source.ip
            is_fellow_holder = is_at_home and known in self._rpc.table.closest(key)
        return Bringer(source_network(request.source.ip), is_fellow_holder)

    def _store_cached(self, request: Request, key: Key, message: Store) -> None:
        if message.value is None:
            self._refuse(request, StoreStatus.VALUE_NEEDED)
            return
        try:
            state = self._holdings.state(key)
            records = self._holdings.check(message.records, key, state)
        except BadSignature:
            self._refuse(request, StoreStatus.BAD_SIGNATURE)
            return
        except StorageError:
            self._refuse(request, StoreStatus.FAILED)
            return
        known = {each.record.publisher: each.record for each in state.registers}
        if any(record.publisher in known and known[record.publisher].rank > record.rank for record in records):
            winners = tuple(known[each.publisher].row() for each in records if each.publisher in known)
            self._refuse(request, StoreStatus.STALE, winners)
            return
        kept = self._holdings.keep_cached(key, message.value, records, request.packet.sender)
        request.answer(StoreResult(StoreStatus.STORED if kept else StoreStatus.EXPIRED, Durability.MEMORY))

    def _rows(self, key: Key, message: FindValue) -> list[RecordRow]:
        state = self._holdings.state(key)
        now = self._holdings.wall_clock()
        return [record.row() for record in registers.answer(state, now, publisher=message.publisher)]

    def _closest(self, request: Request, target: bytes) -> tuple[Contact, ...]:
        """Without the asker. But where it looks itself up, and its id is known at another endpoint, that is named too:
        so it learns of a node with a copy of its key."""
        table, asker = self._rpc.table, request.packet.sender
        if target == asker:
            known = table.get(asker)
            if (
                known is not None
                and known.endpoint.ip != request.source.ip
                and known.endpoint != request.packet.advertised
            ):
                return (known, *table.closest(target, table.k - 1, excluding=asker))
        return tuple(table.closest(target, excluding=asker))

    def _token(self, request: Request) -> bytes:
        if request.is_classic:
            return b""
        return self._tokens.token(request.source.ip, self._rpc.clock())

    def _refuse(
        self, request: Request, status: StoreStatus, winners: tuple[RecordRow, ...] = (), *, key: Key | None = None
    ) -> None:
        self._holdings.refused[status.name.lower()] += 1
        self._answer_store(request, StoreResult(status, Durability.NONE, winners), key)

    def _answer_store(self, request: Request, result: StoreResult, key: Key | None) -> None:
        """With a key, the STORE was the question of a lookup for it: the closest contacts are named too."""
        if request.is_classic:
            return
        if key is not None:
            contacts = self._closest(request, key)
            result = StoreResult(result.status, result.durability, result.records, contacts)
        request.answer(result)
