"""Where records belong, and how they get there: replication, and what newcomers are given.

Rules of this file: a walk goes over all keys, page by page, and asks before it sends (`repair.py`). A routing table
knows its own neighbourhood and little else: of a key to which this node is not close it does not know the holders, so
they are looked up. Source: Kademlia (2002), §2.5; docs/protocol.md, Records, rules 8 and 13.
"""

from __future__ import annotations

import trio

from camomile_trio.kademlia import registers
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.core import Core
from camomile_trio.node.repair import Repair

# For how many rounds after a forget the closest of the holders look around for others, who may have missed it.
YOUNG_FOR = 3
LOOK_AROUND = 3


class Replication:
    """The walks over one node's keys."""

    def __init__(self, core: Core, repair: Repair) -> None:
        self._core = core
        self._repair = repair

    async def replicate(self, interval: float) -> None:
        """One round: offers every record to the other holders, but for what one of them has shown within `interval`."""
        core = self._core
        silent: set[bytes] = set()
        for page in self._repair.pages():
            wanted: dict[Contact, list[Key]] = {}
            gone: dict[Key, list[Contact]] = {}
            now = core.clock()
            for key in page:
                heard = core.holdings.heard_at(key)
                if heard is not None and now - heard < interval:
                    continue
                if not self._is_worth_keeping(key):
                    continue
                targets = await self._holders(key, interval)
                if not core.table.is_among_closest(key) and not core.holdings.state(key).published:
                    gone[key] = targets
                for contact in targets:
                    wanted.setdefault(contact, []).append(key)
            reached: dict[Key, int] = {}
            # Ours first: they may know of a tombstone, and classic nodes are not to be sent what was forgotten.
            for contact, keys in sorted(wanted.items(), key=lambda item: not core.is_ours(item[0])):
                if contact.id in silent:
                    continue
                if await self._repair.offer(contact, keys):
                    for key in keys:
                        reached[key] = reached.get(key, 0) + 1
                else:
                    silent.add(contact.id)
            for key, holders in gone.items():
                # We are no holder any more, and all who are have been given it; classic ones alone keep no lease.
                if reached.get(key, 0) >= core.config.kademlia.k and any(map(core.is_ours, holders)):
                    core.holdings.drop_copy(key)
            await trio.lowlevel.checkpoint()

    async def _holders(self, key: Key, interval: float) -> list[Contact]:
        """The k closest to the key: by our table where it knows them, else by a lookup."""
        core = self._core
        known = core.table.closest(key)
        if self._knows_holders(key, interval):
            return known
        await self._repair.pace_lookup()
        # One that is here no more, or that nobody answers: then what we know has to do.
        return list((await core.find_node(key)).contacts) or known

    def _knows_holders(self, key: Key, interval: float) -> bool:
        core = self._core
        if len(core.table) < core.config.kademlia.k:
            return True  # these are all that there are
        rank = core.table.rank(key)
        if rank >= core.config.kademlia.k:
            return False
        # We know all that are closer than we are; of those farther off we may miss some. Where something was forgotten
        # lately each of them counts, and the closest few look for them.
        since = core.wall_clock() - int(YOUNG_FOR * interval * 1000)
        state = core.holdings.state(key)
        is_young = any(each.record.is_tombstone and each.record.issued > since for each in state.registers)
        return not (is_young and rank < LOOK_AROUND)

    async def welcome(self, newcomers: list[Contact]) -> None:
        """One walk for the newcomers."""
        core = self._core
        classic: int | None = None
        for page in self._repair.pages():
            wanted: dict[Contact, list[Key]] = {}
            if classic is None:
                classic = sum(not core.is_ours(each) for each in core.table)
            for key in page:
                if core.table.rank(key) > classic + 1:
                    continue  # somebody of ours is closer than we are, and no newcomer
                nearest = core.table.closest(key)
                # Classic nodes hand nothing over.
                nearer = [each.id for each in nearest[: core.table.rank(key)] if core.is_ours(each)]
                for contact in newcomers:
                    if contact in nearest and all(each == contact.id for each in nearer):
                        wanted.setdefault(contact, []).append(key)
            for contact, keys in wanted.items():
                await self._repair.offer(contact, keys)
            await trio.lowlevel.checkpoint()

    def _is_worth_keeping(self, key: Key) -> bool:
        state, wall = self._core.holdings.state(key), self._core.wall_clock()
        return registers.is_served(state, wall) or registers.has_tombstone(state, wall)
