"""Copies that other nodes push: each is a hint, and is served once a holder has confirmed that the value is live.

Rules of this file: synchronous. A push by itself makes this node send nothing. The first request for the key makes it
ask one holder: a member of the table that counts in the cover of the key, and not the node that pushed. A holder
confirms by a live lease and by saying that it has the value. A key is asked about once in the life of a hint, whatever
is pushed and requested meanwhile, so that a node that pushes cannot go on until a holder that lies is asked. Only
holders with a session are asked: the question is smaller than the push. Source: docs/protocol.md, Lookups.
"""

from __future__ import annotations

import functools
from collections import OrderedDict

from camomile_trio.errors import StorageError
from camomile_trio.holding.holdings import Holdings
from camomile_trio.identity import BadSignature
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import Have, HaveResult, Message
from camomile_trio.peer.contacts import Contacts
from camomile_trio.peer.seams import Answer

# Keys that were asked about in the life of a hint; a hint for one more is not asked about.
MAX_ASKED = 4096


class Hints:
    """The hints of one node, which are kept among its cached copies."""

    def __init__(self, contacts: Contacts, holdings: Holdings) -> None:
        self._contacts = contacts
        self._holdings = holdings
        self._asked: OrderedDict[Key, float] = OrderedDict()  # until when, in seconds of the clock
        self._turn = 0

    def want(self, key: Key) -> None:
        """A node asks for the key, and it was not served: if there is a hint, a holder is asked about it."""
        holdings = self._holdings
        now = holdings.clock()
        hint = holdings.cache.hint(key, now)
        if hint is None or not self._may_ask(key, now):
            return
        holder = self._next_holder(key, pushed_by=hint.origin)
        if holder is None:
            return
        self._asked[key] = hint.fresh_until
        self._contacts.requests.request(
            holder,
            Have((key,)),
            on_reply=functools.partial(self._on_reply, key),
            on_failed=functools.partial(self._on_failed, key),
        )

    def _may_ask(self, key: Key, now: float) -> bool:
        if self._asked.get(key, now) > now:
            return False
        self._asked.pop(key, None)
        while self._asked and next(iter(self._asked.values())) <= now:
            self._asked.popitem(last=False)
        return len(self._asked) < MAX_ASKED

    def _next_holder(self, key: Key, pushed_by: NodeId) -> Contact | None:
        """Another one each time, so that no holder is the only one whose word is ever asked for."""
        table, requests = self._contacts.table, self._contacts.requests
        holders = [each for each in table.cover(key) if each.id != pushed_by and requests.has_session(each.public)]
        self._turn += 1
        return holders[self._turn % len(holders)] if holders else None

    def _on_reply(self, key: Key, answer: Answer[Message]) -> None:
        cache = self._holdings.cache
        hint = cache.hint(key, self._holdings.clock())
        if hint is None:
            return
        outcome = "refused"
        if isinstance(answer.message, HaveResult):
            for holding in answer.message.holdings:
                if holding.key != key or not holding.has_value:
                    continue
                try:
                    records = self._holdings.check(holding.records, key)
                except (BadSignature, StorageError):
                    continue
                if self._holdings.keep_cached(key, hint.value, records, hint.origin):
                    outcome = "confirmed"
        if outcome == "refused":
            cache.drop(key)
        cache.hints[outcome] += 1

    def _on_failed(self, key: Key) -> None:
        self._holdings.cache.hints["unanswered"] += 1
