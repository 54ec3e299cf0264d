"""The rounds of replication: each record is offered to all of its holders, by one of them, once in an interval.

Rules of this file: first everybody is asked what he has, then what is missing is sent, the most endangered records
first: those of which the fewest copies were found. A holder that is asked by another about what both have in common
leaves the round to it; but now and then it makes one of its own (`heard.py`), so that nobody's word keeps it quiet for
ever, and what only it knows of the neighbourhood counts as well. No copy is given up because others say that they have
it. A round goes through a node's keys part by part, spread over the interval, from a place that is another for each
node: nodes that started together do not move together. Source: Kademlia (2002), §2.5; docs/protocol.md, Records, rules
8 and 13.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import attrs
import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import ID_BYTES, Key
from camomile_trio.kademlia.messages import Holding
from camomile_trio.node.core import Core
from camomile_trio.node.repair import PAGE, Repair

# Keys that one part of a round walks over, and how many of them are offered at a time: so many that questions about
# them fill datagrams, so few that what is found missing is bounded.
KEYS_IN_A_PART = 2048
OFFERED_AT_ONCE = 256
# Every so many rounds a holder offers a key whatever it has heard.
OWN_ROUND = 24
# After a forget so many of the closest holders look around for others, who may have missed it.
LOOK_AROUND = 3
# Whom a node that is no holder, and keeps a copy all the same, asks whether the holders are well.
PROBED = 3


@attrs.define(eq=False)
class _Offer:
    """Some keys on their way around, and what came of it."""

    targets: dict[Key, list[Contact]] = attrs.field(factory=dict)
    silent: set[bytes] = attrs.field(factory=set)

    def by_contact(self, keys: list[Key]) -> dict[Contact, list[Key]]:
        wanted: dict[Contact, list[Key]] = {}
        for key in keys:
            for contact in self.targets[key]:
                if contact.id not in self.silent:
                    wanted.setdefault(contact, []).append(key)
        return wanted


class Rounds:
    """The rounds of one node."""

    def __init__(self, core: Core, repair: Repair) -> None:
        self._core = core
        self._repair = repair
        self._after: Key | None = Key(core.rng.randbytes(ID_BYTES))
        self._number = 0

    def pause(self) -> float:
        """Seconds to the next part."""
        core = self._core
        return core.jittered(core.config.records.replicate_interval / self._parts())

    async def next_part(self) -> None:
        """Offers every record of the part to the other holders, but for what one of them has shown lately."""
        silent: set[bytes] = set()
        keys: list[Key] = []
        for page in self._next_pages():
            for key in page:
                self._core.holdings.note_place(key)
            keys += self._repair.worth_keeping(list(filter(self._is_due, page)))
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
                if begin is None:
                    return

    def _is_due(self, key: Key) -> bool:
        core = self._core
        heard = core.holdings.heard.at(key)
        is_fresh = heard is not None and core.clock() - heard < core.config.records.replicate_interval
        # The nodes take turns, each key at another time.
        is_our_turn = (key[-1] + core.id[-1] + self._number) % OWN_ROUND == 0
        return is_our_turn or not is_fresh

    async def _offer(self, keys: list[Key], silent: set[bytes]) -> None:
        offer = _Offer(silent=silent)
        for key in await self._without_the_well(keys, silent):
            offer.targets[key] = await self._holders(key)
        before = self._repair.said(list(offer.targets))
        await self._pass_around(offer, list(offer.targets))
        # What we have learned from one we owe to those whom we asked before.
        newer = [key for key, said in self._repair.said(list(offer.targets)).items() if said != before[key]]
        if newer:
            await self._pass_around(offer, newer)

    async def _pass_around(self, offer: _Offer, keys: list[Key]) -> None:
        """Asks all holders what they have of `keys`, then sends what is missing."""
        core = self._core
        copies: Counter[Key] = Counter()
        lacking: list[tuple[Contact, Holding]] = []
        for contact, theirs in offer.by_contact(keys).items():
            if not core.contacts.is_storing(contact):
                continue
            for batch in self._repair.batches(theirs):
                holdings = await self._repair.compare(contact, batch, is_round=True)
                if holdings is None:
                    offer.silent.add(contact.id)
                    break
                copies.update(batch)
                copies.subtract(each.key for each in holdings if not each.has_value)
                lacking += [(contact, each) for each in holdings]
        lacking.sort(key=lambda each: copies[each[1].key])
        for contact, holding in lacking:
            if contact.id not in offer.silent and not await self._repair.settle(contact, holding):
                offer.silent.add(contact.id)

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
