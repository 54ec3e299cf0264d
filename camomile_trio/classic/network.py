"""The classic network as this node sees it: classic nodes are met, asked, told and answered here, and nowhere else.

Rules of this file: classic nodes prove nothing, so nothing here counts for a majority, gives credit, or becomes a
contact of ours. Their table, their requests and their lookups are their own. An address where one of ours was ever
found is not spoken classic with. `on_datagram` returns at once; everything that can grow is in `counts`.
Source: docs/protocol.md, Classic nodes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection

import trio

from camomile_trio.alarm import Clock
from camomile_trio.classic.answers import ClassicAnswers
from camomile_trio.classic.lookup import FoundValue, Lookup
from camomile_trio.classic.requests import KINDS, ClassicRequests, Statistics
from camomile_trio.classic.values import ClassicHoldings, is_for_classic
from camomile_trio.config import Kademlia, Requests
from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint, is_sensible
from camomile_trio.kademlia.ids import Key, NodeId, random_id_in_bucket
from camomile_trio.kademlia.messages import StoreKind
from camomile_trio.kademlia.routing import CHECK_AFTER, RoutingTable
from camomile_trio.wire.classic import FindNode, FindValue, Message, NodeList, Pong, Store, Value, decode_untrusted


class ClassicNetwork:
    """One node among classic ones."""

    def __init__(
        self,
        *,
        own: NodeId,
        send: Callable[[bytes, Endpoint], object],
        requests: Requests,
        kademlia: Kademlia,
        rng: random.Random,
        clock: Clock,
        holdings: ClassicHoldings,
        is_ours: Callable[[Endpoint], bool],
        own_endpoints: Callable[[], Collection[Endpoint]],
    ) -> None:
        """`send` sends a datagram now or not at all. `is_ours`: whether one of ours was ever found at this address.
        `own_endpoints`: where this node itself is reached, as far as it knows."""
        self.table = RoutingTable(own, kademlia.k, check_after=CHECK_AFTER)
        self._settings = requests
        self._kademlia = kademlia
        self._rng = rng
        self._clock = clock
        self._is_ours = is_ours
        self._own_endpoints = own_endpoints
        self._requests = ClassicRequests(
            table=self.table, send=send, settings=requests, rng=rng, clock=clock, may_contact=self._may_contact
        )
        self._answers = ClassicAnswers(self._requests, holdings, send=send, budget=requests.classic_budget)

    @property
    def statistics(self) -> Statistics:
        return self._requests.statistics

    def counts(self) -> dict[str, int]:
        """How many there are now of what is bounded."""
        return {
            "contacts": len(self.table),
            "requests": len(self._requests),
            "strangers": self._requests.strangers,
            "addresses": len(self._requests.addresses),
            "deadlines": len(self._requests.deadlines),
            "replicated": len(self._answers.replicated),
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the deadlines of requests, and the table fresh; until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._requests.deadlines.run)
            nursery.start_soon(self._refresh)
            task_status.started()

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        """A datagram that is not sealed has come."""
        dropped = self.statistics.dropped
        if not is_sensible(source):
            dropped["senseless_source"] += 1
            return
        if self._is_ours(source):
            dropped["from_one_of_ours"] += 1
            return
        try:
            packet = decode_untrusted(datagram_untrusted)
        except MalformedPacket as error:
            dropped[error.reason] += 1
            return
        self.statistics.received[KINDS[type(packet.message)]] += 1
        if isinstance(packet.message, Pong | NodeList | Value):
            self._requests.on_answer(packet, source)
        elif packet.sender == self.table.own or source in self._own_endpoints():
            dropped["from_ourselves"] += 1
            self._requests.on_own_request(packet.session)
        else:
            self._answers.handle(packet, source, len(datagram_untrusted))

    def forget(self, endpoint: Endpoint) -> None:
        """One of ours was found at this address: no classic node lives there."""
        self._requests.forget(endpoint)

    async def meet(self, endpoint: Endpoint) -> bool:
        """Joins through the classic node at an address that the operator gave; whether one answered there."""
        is_met = await self._ask(endpoint, FindNode(self.table.own))
        if is_met:
            await self._look_up(FindNode(self.table.own))
        return is_met

    async def find_value(self, key: Key) -> FoundValue | None:
        """The value from the first classic node that has it; None if none of the k closest to the key has."""
        return (await self._look_up(FindValue(key))).found

    async def store(self, key: Key, value: bytes, kind: StoreKind) -> int:
        """Sends the value to the k closest classic nodes; to how many. None of them says what became of it."""
        if not is_for_classic(value):
            return 0
        closest = (await self._look_up(FindNode(NodeId(key)))).closest
        for contact in closest:
            self._requests.tell(contact.endpoint, Store(kind, value))
        return len(closest)

    def is_replicated_lately(self, key: Key, within: float) -> bool:
        """Whether a classic node has replicated this value to us within so many seconds: then it did so for us."""
        return self._answers.replicated.is_since(key, self._clock() - within)

    def _may_contact(self, endpoint: Endpoint, told_by: Endpoint | None = None) -> bool:
        return (
            is_sensible(endpoint, told_by=told_by)
            and not self._is_ours(endpoint)
            and endpoint not in self._own_endpoints()
        )

    async def _ask(self, endpoint: Endpoint, question: FindNode) -> bool:
        """Whether a node answered there. What it names is not looked at."""
        answers: list[Message] = []
        done = trio.Event()

        def on_reply(contact: Contact, message: Message) -> None:
            answers.append(message)
            done.set()

        pending = self._requests.request(
            endpoint, question, node=None, on_reply=on_reply, on_failed=done.set, is_named=True
        )
        if pending is None:
            return False
        try:
            await done.wait()
        finally:
            pending.detach()
        return bool(answers)

    async def _look_up(self, question: FindNode | FindValue) -> Lookup:
        """A lookup that has ended, or that had no more time."""
        lookup = Lookup(
            self._requests,
            question,
            settings=self._kademlia,
            may_contact=lambda told_by, endpoint: self._may_contact(endpoint, told_by),
        )
        with trio.move_on_after(self._settings.operation_deadline):
            await lookup.run()
        return lookup

    async def _refresh(self) -> None:
        """Looks up a random id in every bucket that no lookup touched for an interval, and pings the silent."""
        interval = self._kademlia.refresh_interval
        pause = min(1.0, interval / 64)
        first_due: dict[int, float] = {}
        while True:
            # Spread by chance, so that nodes that started together do not ask together.
            await trio.sleep(interval / 8 * self._rng.uniform(0.75, 1.25))
            for index in self.table.stale_buckets(self._clock() - interval):
                # The far buckets fill up by and by, within an interval: a node can do its work without them.
                due = first_due.setdefault(index, self._clock() + self._rng.uniform(0.0, interval))
                if self._clock() >= due:
                    await trio.sleep(pause * self._rng.uniform(0.75, 1.25))
                    await self._look_up(FindNode(random_id_in_bucket(self.table.own, index, self._rng)))
            for contact in self.table.silent_since(self._clock() - interval):
                self._requests.ping(contact, again_after=0.0)
                await trio.sleep(pause / 16)
