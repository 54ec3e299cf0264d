"""The rounds of replication: each record is offered to all of its holders, by one of them, once in an interval.

Rules of this file: first all holders are asked what they have, then what is missing is sent, the most endangered records
first: those of which the fewest copies were found. When a holder may skip a key is decided in `holding/replicas.py`. No
copy is given up because others say that they have it. A round goes through a node's keys part by part, spread over the
interval, from a place that is another for each node: nodes that started together do not move together. Source: Kademlia
(2002), §2.5; docs/protocol.md, Records, rules 8 and 13.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import trio

from camomile_trio.holding.replicas import is_own_turn
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import ID_BYTES, Key, NodeId
from camomile_trio.kademlia.messages import Holding
from camomile_trio.node.core import Core
from camomile_trio.node.repair import PAGE, Repair

# Keys that one part of a round walks over, and how many of them are offered at a time: so many that questions about
# them fill datagrams, so few that what is found missing is bounded.
KEYS_IN_A_PART = 2048
OFFERED_AT_ONCE = 256
# After a forget so many of the closest holders look around for others, who may have missed it.
LOOK_AROUND = 3
# Whom a node that is no holder, and keeps a copy all the same, asks whether the holders are well.
PROBED = 3


class Rounds:
    """The rounds of one node."""

    def __init__(self, core: Core, repair: Repair) -> None:
        self._core = core
        self._repair = repair
        self._after: Key | None = Key(core.rng.randbytes(ID_BYTES))
        self._number = self._part = 0  # how often the walk began anew, and parts since

    def pause(self) -> float:
        """Seconds to the next part."""
        core = self._core
        return core.jittered(core.config.records.replicate_interval / self._parts())

    async def next_part(self) -> None:
        """Offers every record of the part to the other holders, but for what may be skipped (`replicas.py`)."""
        silent: set[bytes] = set()
        keys: list[Key] = []
        holdings = self._core.holdings
        self._part += 1
        is_ours = is_own_turn(self._number, self._part, self._core.id)
        for page in self._next_pages():
            for key in page:
                holdings.note_place(key)
            keys += self._repair.worth_keeping(holdings.replicas.due(page, is_own_turn=is_ours))
            while len(keys) >= OFFERED_AT_ONCE:
                await self._offer(keys[:OFFERED_AT_ONCE], silent)
                del keys[:OFFERED_AT_ONCE]
            await trio.lowlevel.checkpoint()
        if keys:
            await self._offer(keys, silent)

    def _parts(self) -> int:
        return -(-self._core.storage.statistics.keys // KEYS_IN_A_PART) or 1

    def _next_pages(self) -> Iterator[list[Key]]:
        """From where the last part ended, over the end to the beginning, at most once around."""
        core, begin = self._core, self._after
        left, has_turned = -(-core.storage.statistics.keys // self._parts()), False
        while left:
            page = core.storage.keys(self._after, min(PAGE, left))
            if has_turned and begin is not None:
                page = [key for key in page if key <= begin]
            if page:
                self._after = page[-1]
                left -= len(page)
                yield page
            elif has_turned:
                return
            else:
                self._after, has_turned = None, True
                self._number += 1
                self._part = 0
                if begin is None:
                    return

    async def _offer(self, keys: list[Key], silent: set[bytes]) -> None:
        targets = {key: await self._holders(key) for key in await self._without_the_well(keys, silent)}
        before = self._repair.said(list(targets))
        await self._pass_around(targets, silent)
        # What we have learned from one we owe to those whom we asked before.
        after = self._repair.said(list(targets))
        newer = {key: holders for key, holders in targets.items() if after[key] != before[key]}
        if newer:
            await self._pass_around(newer, silent)

    async def _pass_around(self, targets: dict[Key, list[Contact]], silent: set[bytes]) -> None:
        """Asks all holders what they have of the keys, then sends what is missing."""
        contacts, replicas = self._core.contacts, self._core.holdings.replicas
        copies: Counter[Key] = Counter()
        lacking: list[tuple[Contact, Holding]] = []
        same: dict[Key, list[NodeId]] = {key: [] for key in targets}
        before = self._repair.said(list(targets))
        for contact, theirs in _by_contact(targets).items():
            if contact.id in silent or not contacts.is_storing(contact):
                continue
            for batch in self._repair.batches(theirs):
                holdings = await self._repair.compare(contact, batch, in_round=same)
                if holdings is None:
                    silent.add(contact.id)
                    break
                copies.update(batch)
                copies.subtract(each.key for each in holdings if not each.has_value)
                lacking += [(contact, each) for each in holdings]
        said = self._repair.said(list(targets))
        for key, holders in same.items():
            # Of what has changed meanwhile some have shown the one and some the other.
            if holders and said[key].digest == before[key].digest:
                replicas.on_own_round(key, said[key].rows, holders)
        lacking.sort(key=lambda each: copies[each[1].key])
        for contact, holding in lacking:
            if contact.id not in silent and not await self._repair.settle(contact, holding):
                silent.add(contact.id)

    async def _without_the_well(self, keys: list[Key], silent: set[bytes]) -> list[Key]:
        """Leaves out what this node has only published, or keeps as a spare copy, if its holders are there: they see to
        each other.

        To find all of them takes a lookup for each key; the closest that our table knows say as much for less.
        """
        core = self._core
        asked: dict[Contact, list[Key]] = {}
        for key in keys:
            if core.table.is_among_closest(key):
                continue
            if core.holdings.was_forgotten_lately(core.holdings.state(key)):
                continue
            nearest = [each for each in core.table.closest(key) if each.id not in silent]
            for contact in nearest[:PROBED]:
                asked.setdefault(contact, []).append(key)
        well: set[Key] = set()
        ill: set[Key] = set()
        for contact, theirs in asked.items():
            for batch in self._repair.batches(theirs):
                holdings = await self._repair.compare(contact, batch)
                if holdings is None:
                    silent.add(contact.id)
                    break
                # A newer lease than ours is well too: it has been renewed.
                ill |= {each.key for each in holdings if not each.has_value or self._repair.is_behind(each)}
                well |= set(batch)
                for holding in holdings:
                    self._repair.adopt(holding)
        return [key for key in keys if key not in well or key in ill]

    async def _holders(self, key: Key) -> list[Contact]:
        """The cover of the key, without ourselves: by our table where it knows it, else by a lookup."""
        core = self._core
        known = core.table.cover(key)
        if len(known) >= max(core.config.kademlia.k, 2) and core.table.is_among_closest(key):
            known = known[:-1]  # a node that is no holder gives away what it is given
        if self._knows_holders(key):
            return known
        await self._repair.pace_lookup()
        # One that is here no more, or that nobody answers: then what we know has to do.
        return list((await core.find_node(key)).contacts) or known

    def _knows_holders(self, key: Key) -> bool:
        core = self._core
        if len(core.table) < core.config.kademlia.k:
            return True  # these are all that there are
        rank = core.table.rank(key)
        if rank >= core.config.kademlia.k:
            return False
        # We know all that are closer than we are; of those farther off we may miss some. Where something was forgotten
        # lately each of them counts, and the closest few look for them.
        return rank >= LOOK_AROUND or not core.holdings.was_forgotten_lately(core.holdings.state(key))


def _by_contact(targets: dict[Key, list[Contact]]) -> dict[Contact, list[Key]]:
    """Which keys each of the nodes is asked about: many in a packet, so few packets."""
    wanted: defaultdict[Contact, list[Key]] = defaultdict(list)
    for key, contacts in targets.items():
        for contact in contacts:
            wanted[contact].append(key)
    return wanted
