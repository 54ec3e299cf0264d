"""What this node answers: one function for each request of a peer.

Rules of this file: every handler is idempotent, since requests are sent again with the same number, and returns at
once; one that needs the disk answers from the commit's callback. The asker has proven its key, and its address where
the request is confirmed; unconfirmed ones are finds and pings only (`wire.codec.Codec.may_begin`).
"""

from __future__ import annotations

from camomile_trio.errors import StorageError
from camomile_trio.holding.anti_entropy import ROW_ON_THE_WIRE, AntiEntropy
from camomile_trio.holding.holdings import Holdings
from camomile_trio.holding.quotas import Bringer
from camomile_trio.identity import BadSignature
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    FindValue,
    Have,
    Leave,
    Message,
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
from camomile_trio.node.hints import Hints
from camomile_trio.peer.contacts import Contacts
from camomile_trio.peer.seams import Request

# A value of this many bytes fits into a datagram with one record; each more takes ROW_ON_THE_WIRE of it.
HIT_WITH_ONE_RECORD = 1000


class Handlers:
    """The requests that one node serves."""

    def __init__(
        self,
        *,
        contacts: Contacts,
        holdings: Holdings,
        anti_entropy: AntiEntropy,
        max_value_size: int,
    ) -> None:
        self._contacts = contacts
        self._table = contacts.table
        self._holdings = holdings
        self._anti_entropy = anti_entropy
        self._hints = Hints(contacts, holdings)
        self._max_value_size = max_value_size

    def handle(self, request: Request[Message]) -> None:
        match request.message:
            case FindNode() as message:
                self.find_node(request, message)
            case FindValue() as message:
                self.find_value(request, message)
            case Store() as message:
                self.store(request, message)
            case Ping():
                self.ping(request)
            case Have() as message:
                self.have(request, message)
            case Leave():
                self.leave(request)

    def ping(self, request: Request[Message]) -> None:
        request.answer(Pong(request.contact.endpoint, self._holdings.wall_clock()))

    def find_node(self, request: Request[Message], message: FindNode) -> None:
        request.answer(NodeList(self._closest(request, message.target)))

    def find_value(self, request: Request[Message], message: FindValue) -> None:
        key = message.key
        try:
            served = self._holdings.served(key)
            if served is not None:
                rows = [record.row() for record in served.records]
                if message.publisher is not None and not served.is_cached:
                    rows = self._rows(key, message)
                # More records than fit beside the value would send the asker round by a stream.
                del rows[1 + max(0, (HIT_WITH_ONE_RECORD - len(served.value)) // ROW_ON_THE_WIRE) :]
                value = Value(served.value, (), tuple(rows), served.is_cached)
            else:
                # It may be here, from before this start: then it is compared next, and served to who asks again.
                self._holdings.want(key)
                self._hints.want(key)
                value = Value(None, self._closest(request, key), tuple(self._rows(key, message)))
        except StorageError:
            value = Value(None, self._closest(request, key))
        request.answer(value)

    def store(self, request: Request[Message], message: Store) -> None:
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
        if key is None:
            self._refuse(request, StoreStatus.VALUE_NEEDED)
            return

        def done(result: StoreResult) -> None:
            if result.status is StoreStatus.STORED and message.kind is StoreKind.REPLICATE:
                self._holdings.replicas.on_word(key, request.contact.id)
            self._answer_store(request, result, key if message.names_contacts else None)

        if message.cached:
            self._store_cached(request, key, message)
        else:
            self._holdings.store(key, value, message.records, done, bringer=self._bringer(request, key, message.kind))

    def have(self, request: Request[Message], message: Have) -> None:
        request.answer(self._anti_entropy.answer(message, request.contact.id))

    def leave(self, request: Request[Message]) -> None:
        known = self._table.get(request.contact.id)
        if known is not None:
            self._contacts.on_leave(known)

    def _bringer(self, request: Request[Message], key: Key, kind: StoreKind) -> Bringer:
        """Which source network is charged: a stranger's, or that of another holder for what it replicates.

        Any node can say REPLICATE, so a node is another holder only if its word about the key counts here.
        """
        network = source_network(request.contact.endpoint.ip)
        if kind is not StoreKind.REPLICATE:
            return Bringer(network)
        return Bringer(network, self._table.counts(request.contact.id, key), is_replicating=True)

    def _store_cached(self, request: Request[Message], key: Key, message: Store) -> None:
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
        kept = self._holdings.keep_cached(key, message.value, records, request.contact.id, is_hint=True)
        self._holdings.cache.hints["kept"] += kept
        request.answer(StoreResult(StoreStatus.STORED if kept else StoreStatus.EXPIRED, Durability.MEMORY))

    def _rows(self, key: Key, message: FindValue) -> list[RecordRow]:
        state = self._holdings.state(key)
        now = self._holdings.wall_clock()
        return [record.row() for record in registers.answer(state, now, publisher=message.publisher)]

    def _closest(self, request: Request[Message], target: bytes) -> tuple[Contact, ...]:
        """Without the asker. But where it looks itself up, and its key is known at another ip, that is named too: so it
        learns of a copy of its key."""
        table, asker = self._table, request.contact
        if target == asker.id:
            known = table.get(asker.id)
            if known is not None and known.endpoint.ip != asker.endpoint.ip:
                return (known, *table.closest(target, table.k - 1, excluding=asker.id))
        return tuple(table.named(target, excluding=asker.id))

    def _refuse(
        self,
        request: Request[Message],
        status: StoreStatus,
        winners: tuple[RecordRow, ...] = (),
        *,
        key: Key | None = None,
    ) -> None:
        self._holdings.refused[status.name.lower()] += 1
        self._answer_store(request, StoreResult(status, Durability.NONE, winners), key)

    def _answer_store(self, request: Request[Message], result: StoreResult, key: Key | None) -> None:
        """With a key, the STORE was the question of a lookup for it: the closest contacts are named too."""
        if key is not None:
            contacts = self._closest(request, key)
            result = StoreResult(result.status, result.durability, result.records, contacts)
        request.answer(result)
