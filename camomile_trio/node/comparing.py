"""After a start with old records: asks the neighbours what became of them, before they are served.

Rules of this file: a walk over all keys under `repair_rate`, and before it what users ask for. Newer records are taken
over; who shows an older one is told ours there and then, for he may be the next to be asked. Foreground never waits
here. Source: docs/protocol.md, Records, rules 6 and 8.
"""

from __future__ import annotations

import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.core import Core
from camomile_trio.node.repair import Repair

# How many neighbours are asked about a key, and how many times others where none of them answered.
COMPARED_WITH = 3
ROUNDS = 3


class Comparing:
    """The comparison of one start."""

    def __init__(self, core: Core, repair: Repair) -> None:
        self._core = core
        self._repair = repair

    async def run(self) -> None:
        """Until everything is compared."""
        comparisons = self._core.holdings.comparisons
        if not comparisons.is_done and (len(self._core.table) or not self._core.stands_alone):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._serve_wanted)
                await self._walk()
                nursery.cancel_scope.cancel()
        comparisons.is_done = True

    async def _walk(self) -> None:
        for page in self._repair.pages():
            await self._compare(page)
            self._core.holdings.comparisons.up_to = page[-1]

    async def _serve_wanted(self) -> None:
        comparisons = self._core.holdings.comparisons
        while True:
            asked_for = trio.Event()
            comparisons.on_wanted = asked_for.set
            keys = comparisons.take_wanted()
            if not keys:
                await asked_for.wait()
                continue
            await self._compare(keys, is_urgent=True)
            for key in keys:
                comparisons.on_stored(key)

    async def _compare(self, keys: list[Key], *, is_urgent: bool = False) -> None:
        """Asks the closest nodes about each of the keys; where none of them answers, the next ones."""
        table = self._core.table
        asked: set[bytes] = set()
        for _ in range(ROUNDS):
            wanted: dict[Contact, list[Key]] = {}
            for key in keys:
                unasked = [each for each in table.closest(key) if each.id not in asked]
                for contact in unasked[:COMPARED_WITH]:
                    wanted.setdefault(contact, []).append(key)
            heard: set[Key] = set()
            for contact, theirs in wanted.items():
                asked.add(contact.id)
                if await self._compare_with(contact, theirs, is_urgent=is_urgent):
                    heard.update(theirs)
            keys = [key for key in keys if key not in heard]
            if not keys:
                return

    async def _compare_with(self, contact: Contact, keys: list[Key], *, is_urgent: bool) -> bool:
        for batch in self._repair.batches(keys):
            holdings = await self._repair.compare(contact, batch, is_urgent=is_urgent)
            if holdings is None:
                return False
            for holding in holdings:
                if self._repair.is_behind(holding):
                    await self._repair.settle(contact, holding)
                else:
                    self._repair.adopt(holding)
        return True
