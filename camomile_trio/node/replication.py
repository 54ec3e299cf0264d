"""Where records go when nodes come and go: welcoming newcomers, handing over before we leave.

Rules of this file: a walk goes over all keys, page by page, and asks before it sends (`repair.py`). What is done about
nodes that are gone without a word is in `rounds.py`. Source: Kademlia (2002), §2.5; docs/protocol.md, Records.
"""

from __future__ import annotations

import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Leave
from camomile_trio.node.core import Core
from camomile_trio.node.repair import Repair

# How many nodes are tried for a record that has to be handed over.
HEIRS_TRIED = 3


class Replication:
    """The walks over one node's keys."""

    def __init__(self, core: Core, repair: Repair) -> None:
        self._core = core
        self._repair = repair

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

    async def hand_over(self) -> int:
        """Before this node leaves: gives each record to the node that takes our place among the k closest.

        Returns how many keys could not be placed. Then tells all contacts that we go.
        """
        core = self._core
        unplaced = 0
        silent: set[bytes] = set()
        for page in self._repair.pages():
            keys = [key for key in page if self._repair.is_worth_keeping(key)]
            for _ in range(HEIRS_TRIED):
                wanted: dict[Contact, list[Key]] = {}
                for key in keys:
                    heir = self._heir(key, silent)
                    if heir is not None:
                        wanted.setdefault(heir, []).append(key)
                keys = []
                for contact, theirs in wanted.items():
                    if not await self._repair.offer(contact, theirs):
                        silent.add(contact.id)
                        keys += theirs
            unplaced += len(keys)
        for contact in core.table:
            if core.is_ours(contact):
                core.rpc.tell(contact.endpoint, Leave())
        return unplaced

    def _heir(self, key: Key, silent: set[bytes]) -> Contact | None:
        """Who becomes one of the k closest when we are gone: the last of ours among them, of those that answer.

        A classic node only where there is nobody else: it says nothing and keeps no lease.
        """
        core = self._core
        k = core.config.kademlia.k
        nearest = [each for each in core.table.closest(key, k + len(silent)) if each.id not in silent][:k]
        ours = [each for each in nearest if core.is_ours(each)]
        return (ours or nearest)[-1] if nearest else None
