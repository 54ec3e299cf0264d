"""Where records go when nodes come: what newcomers are given.

Rules of this file: a walk goes over all keys, page by page, and asks before it sends (`repair.py`). What is done about
nodes that are gone without a word is in `rounds.py`, about those that leave in order in `handing_over.py`. Source:
Kademlia (2002), §2.5; docs/protocol.md, Records.
"""

from __future__ import annotations

import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.core import Core
from camomile_trio.node.repair import Repair


class Replication:
    """The walks over one node's keys."""

    def __init__(self, core: Core, repair: Repair) -> None:
        self._core = core
        self._repair = repair

    async def welcome(self, newcomers: list[Contact]) -> None:
        """One walk for the newcomers."""
        core = self._core
        for page in self._repair.pages():
            wanted: dict[Contact, list[Key]] = {}
            for key in page:
                rank = core.table.rank(key)
                if rank > 1:
                    continue  # another one is closer than we are, and no newcomer
                nearest = core.table.closest(key)
                for contact in newcomers:
                    if contact in nearest and all(each.id == contact.id for each in nearest[:rank]):
                        wanted.setdefault(contact, []).append(key)
            for contact, keys in wanted.items():
                await self._repair.offer(contact, keys)
            await trio.lowlevel.checkpoint()
