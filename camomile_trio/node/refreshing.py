"""Keeps the routing table fresh: looks into buckets that no lookup touched, pings who has been silent, and asks those
far off who is near.

Rules of this file: it decides nothing about who is in the table, only whom to ask. Far buckets fill up at leisure,
since a node can do its work without them. Source: Kademlia (2002), §2.3.
"""

from __future__ import annotations

import functools

import attrs
import trio

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.counting import TOO_FEW_NETWORKS, TOO_FEW_NETWORKS_REMEDY, are_few
from camomile_trio.kademlia.ids import ID_BITS, bucket_index, random_id_in_bucket
from camomile_trio.kademlia.messages import FindNode
from camomile_trio.logs import log
from camomile_trio.node.core import Core
from camomile_trio.node.neighbours import meet_named

SAVED_CONTACTS = 200


class Refreshing:
    """The refresh timer of one node."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.failures = 0
        self._has_told = False  # that few source networks are known

    async def run(self) -> None:
        """Looks up a random id in every bucket that no lookup touched for an interval, and pings the silent."""
        core = self._core
        interval = core.config.kademlia.refresh_interval
        pause = min(1.0, interval / 64)
        began = core.clock()
        await self._look_around(pause)
        # The far buckets fill up by and by, within the first interval: a node can do its work without them.
        first_due: dict[int, float] = {}
        asked_afar = began
        while True:
            if core.clock() - asked_afar >= interval:
                asked_afar = core.clock()
                await self._ask_afar(pause)
            for index in core.table.stale_buckets(core.clock() - interval):
                if index not in first_due:
                    first_due[index] = began + core.rng.uniform(0.0, interval)
                if core.clock() < first_due[index]:
                    continue
                await trio.sleep(core.jittered(pause))
                await core.find_node(random_id_in_bucket(core.id, index, core.rng))
            for contact in core.table.silent_since(core.clock() - interval):
                core.contacts.check(contact, again_after=0.0)
                await trio.sleep(pause / 16)
            self._save_contacts()
            await trio.sleep(core.jittered(interval / 8))
            self._tell_of_networks()

    async def _look_around(self, pause: float) -> None:
        """Fills the bucket in which our neighbourhood ends, and finds a few contacts in each one beyond.

        That is enough for short ways, at little cost.
        """
        core = self._core
        few = core.config.kademlia.alpha
        neighbours = core.table.closest(core.id)
        if len(neighbours) < core.config.kademlia.k:
            return  # then these are all that there are
        edge = max(bucket_index(core.id, contact.id) for contact in neighbours)
        await trio.sleep(core.jittered(pause))
        await core.find_node(random_id_in_bucket(core.id, edge, core.rng))
        for index in range(edge + 1, ID_BITS):
            if core.table.count(index) < few:
                await trio.sleep(core.jittered(pause))
                target = random_id_in_bucket(core.id, index, core.rng)
                await attrs.evolve(core.lookups, k=few, alpha=few).find_node(target)

    async def _ask_afar(self, pause: float) -> None:
        """Asks somebody of each bucket beyond our neighbourhood who is close to us."""
        core = self._core
        near = core.table.closest(core.id)
        for bucket in core.table.buckets():
            others = [contact for contact in bucket.contacts if contact not in near]
            if others:
                core.requests.request(
                    core.rng.choice(others), FindNode(core.id), on_reply=functools.partial(meet_named, core)
                )
                await trio.sleep(pause / 16)

    def _tell_of_networks(self) -> None:
        """Once, and not at the start, when a node of any network knows few."""
        networks = self._core.table.networks
        if are_few(networks) and not self._has_told:
            self._has_told = True
            log.warning(TOO_FEW_NETWORKS, source_networks=networks, remedy=TOO_FEW_NETWORKS_REMEDY)

    def _save_contacts(self) -> None:
        try:
            self._core.storage.save_contacts(self.lasting_contacts())
            self._core.holdings.save_uptime()
        except StorageError:
            self.failures += 1

    def lasting_contacts(self) -> list[Contact]:
        """Contacts worth trying at the next start: some of every distance."""
        contacts: list[Contact] = []
        buckets = [bucket.contacts for bucket in self._core.table.buckets()]
        share = max(SAVED_CONTACTS // max(len(buckets), 1), 1)
        for bucket in buckets:
            contacts += bucket[-share:]
        return contacts[:SAVED_CONTACTS]
