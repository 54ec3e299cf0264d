"""What a node does by itself, each on a timer of its own: refresh, replicate, renew, expire; compare and hand over.

Rules of this file: every period is jittered, so that nodes which started together do not move together. What a peer
or the disk does wrong is counted and does not end a task. Foreground requests never wait for anything here. Source:
Kademlia (2002), §2.3 and §2.5; docs/protocol.md, Records, rules 8 to 13.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

from camomile_trio.errors import StorageError
from camomile_trio.identity import sign_record
from camomile_trio.kademlia import leases, registers
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import ID_BITS, Key, bucket_index, random_id_in_bucket
from camomile_trio.kademlia.messages import FindNode, Leave, StoreKind
from camomile_trio.node.core import Core
from camomile_trio.node.lookup import Lookup
from camomile_trio.node.repair import KEYS_AT_ONCE, PAGE, Repair
from camomile_trio.node.spread import Spread

# How many newcomers wait for their records; replication reaches the others.
MAX_NEWCOMERS = 256
# The longest a timer sleeps when nothing is due: it looks again then.
IDLE = 60.0
# How many neighbours are asked about what was stored before this start.
COMPARED_WITH = 3
SAVED_CONTACTS = 200
# How many nodes are tried for a record that has to be handed over.
HEIRS_TRIED = 3


class Maintenance:
    """The timers of one node. `run` starts them all."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.repair = Repair(core)
        self._newcomers: OrderedDict[bytes, Contact] = OrderedDict()
        self._newcomer_came = trio.Event()
        self.failures = 0
        self.newcomers_left = 0  # to replication, since too many came at once

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for task in (self._refresh, self._replicate, self._renew, self._expire, self._welcome, self._compare):
                nursery.start_soon(task)

    def on_new_contact(self, contact: Contact) -> None:
        """A contact has entered the table: it may be one of the closest to something we hold."""
        if len(self._newcomers) < MAX_NEWCOMERS:
            self._newcomers[contact.id] = contact
            self._newcomer_came.set()
        else:
            self.newcomers_left += 1

    # Refresh -------------------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        """Looks up a random id in every bucket that no lookup touched for an interval, and pings the silent."""
        core = self._core
        await core.readiness.wait()
        interval = core.config.kademlia.refresh_interval
        pause = min(1.0, interval / 64)
        began = core.clock()
        await self._look_around(pause)
        # The far buckets fill up by and by, within the first interval: a node can do its work without them.
        first_due: dict[int, float] = {}
        while True:
            for index in core.table.stale_buckets(core.clock() - interval):
                if index not in first_due:
                    first_due[index] = began + core.rng.uniform(0.0, interval)
                if core.clock() < first_due[index]:
                    continue
                await trio.sleep(core.jittered(pause))
                await core.find_node(random_id_in_bucket(core.id, index, core.rng))
            for contact in core.table.silent_since(core.clock() - interval):
                core.rpc.prove(contact, again_after=0.0)
                await trio.sleep(pause / 16)
            self._save_contacts()
            await trio.sleep(core.jittered(interval / 8))

    async def _look_around(self, pause: float) -> None:
        """Fills the bucket in which our neighbourhood ends, and finds a few contacts in each one beyond.

        That is enough for short ways, at little cost.
        """
        core = self._core
        few = core.config.kademlia.alpha
        neighbours = core.table.closest(core.id)
        if len(neighbours) < core.config.kademlia.k:
            return  # then these are all that there are
        edge = bucket_index(core.id, neighbours[-1].id)
        await trio.sleep(core.jittered(pause))
        await core.find_node(random_id_in_bucket(core.id, edge, core.rng))
        for index in range(edge + 1, ID_BITS):
            if core.table.count(index) < few:
                await trio.sleep(core.jittered(pause))
                target = random_id_in_bucket(core.id, index, core.rng)
                await Lookup(core.rpc, FindNode(target), k=few, alpha=few).run()

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

    # Replicate -----------------------------------------------------------------------------------------------------

    async def _replicate(self) -> None:
        """Offers every record to the other holders, but for what another holder has shown within the interval."""
        core = self._core
        interval = core.config.records.replicate_interval
        await core.readiness.wait()
        while True:
            await trio.sleep(core.jittered(interval))
            await self._guard(functools.partial(self.replicate, interval))

    async def replicate(self, interval: float) -> None:
        """One round of it."""
        core = self._core
        silent: set[bytes] = set()
        for page in self.repair.pages():
            wanted: dict[Contact, list[Key]] = {}
            gone: list[Key] = []
            now = core.clock()
            for key in page:
                heard = core.holdings.heard_at(key)
                if heard is not None and now - heard < interval:
                    continue
                if not self._is_worth_keeping(key):
                    continue
                targets = core.table.closest(key)
                if not core.table.is_among_closest(key) and not core.holdings.state(key).published:
                    gone.append(key)
                for contact in targets:
                    wanted.setdefault(contact, []).append(key)
            reached: dict[Key, int] = {}
            # Ours first: they may know of a tombstone, and classic nodes are not to be sent what was forgotten.
            for contact, keys in sorted(wanted.items(), key=lambda item: not core.is_ours(item[0])):
                if contact.id in silent:
                    continue
                if await self.repair.offer(contact, keys):
                    for key in keys:
                        reached[key] = reached.get(key, 0) + 1
                else:
                    silent.add(contact.id)
            for key in gone:
                # We are no holder any more, and all who are have been given it; classic ones alone keep no lease.
                holders = core.table.closest(key)
                if reached.get(key, 0) >= core.config.kademlia.k and any(map(core.is_ours, holders)):
                    core.holdings.drop_copy(key)
            await trio.lowlevel.checkpoint()

    # Hand over -----------------------------------------------------------------------------------------------------

    async def _welcome(self) -> None:
        """Gives a newcomer the records that it is now among the k closest to, if we are the closest of the others."""
        core = self._core
        await core.readiness.wait()
        while True:
            await self._newcomer_came.wait()
            self._newcomer_came = trio.Event()
            # A moment, so that many who come at once are served in one walk.
            await trio.sleep(core.jittered(0.5))
            newcomers = [core.table.get(each.id) for each in self._newcomers.values()]
            self._newcomers.clear()
            await self._guard(functools.partial(self.welcome, [each for each in newcomers if each is not None]))

    async def welcome(self, newcomers: list[Contact]) -> None:
        """One walk for the newcomers."""
        core = self._core
        classic: int | None = None
        for page in self.repair.pages():
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
                await self.repair.offer(contact, keys)
            await trio.lowlevel.checkpoint()

    async def hand_over(self) -> int:
        """Before this node leaves: gives each record to the node that takes our place among the k closest.

        Returns how many keys could not be placed. Then tells all contacts that we go.
        """
        core = self._core
        unplaced = 0
        silent: set[bytes] = set()
        for page in self.repair.pages():
            keys = [key for key in page if self._is_worth_keeping(key)]
            for _ in range(HEIRS_TRIED):
                wanted: dict[Contact, list[Key]] = {}
                for key in keys:
                    heir = self._heir(key, silent)
                    if heir is not None:
                        wanted.setdefault(heir, []).append(key)
                keys = []
                for contact, theirs in wanted.items():
                    if not await self.repair.offer(contact, theirs):
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

    def _is_worth_keeping(self, key: Key) -> bool:
        state, wall = self._core.holdings.state(key), self._core.wall_clock()
        return registers.is_served(state, wall) or registers.has_tombstone(state, wall)

    # Renew ---------------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        """Renews the leases of our publisher, each when it is this node's turn."""
        core = self._core
        await core.readiness.wait()
        while True:
            await self._guard(self.renew_all)
            await trio.sleep(self._until_next())

    async def renew_all(self) -> None:
        """One round of it: up to a page of leases that are due now."""
        core = self._core
        for key in core.storage.renewable(core.wall_clock(), PAGE):
            await self.renew(key)

    async def renew(self, key: Key) -> None:
        """Renews our lease on `key`, if it is still due: the turn may have changed, or somebody was quicker."""
        core = self._core
        state = core.holdings.state(key)
        now = core.wall_clock()
        due = core.holdings.renewal_time(state)
        register = state.register(core.publisher.public)
        if not due or due > now or register is None:
            core.holdings.reschedule(key)
            return
        life = max(int(core.config.records.lease * 1000), register.record.expires - register.record.issued)
        unsigned = leases.renewal(register.record, now=now, life_ms=life)
        if unsigned is None:
            core.holdings.reschedule(key)
            return
        found = await core.find_node(key)
        if not found.answered and not core.stands_alone:
            # Nobody to renew it with: a node that is cut off renews nothing on its own.
            await trio.sleep(core.jittered(min(IDLE, life / 16000)))
            return
        record = sign_record(unsigned, core.publisher, core.network)
        value = core.holdings.value(key)
        spread = Spread(core, record, value, with_value=False, kind=StoreKind.REPLICATE)
        with trio.move_on_after(core.config.requests.operation_deadline):
            await spread.run(found.contacts, publish=False)
        if spread.beaten_by is not None:
            core.holdings.store(key, None, (spread.beaten_by.row(),), lambda result: None)

    # Expire --------------------------------------------------------------------------------------------------------

    async def _expire(self) -> None:
        """Lets go of what has ended."""
        core = self._core
        while True:
            await self._guard(self.expire)
            core.holdings.cache.expire(core.clock())
            await trio.sleep(self._until_next())

    async def expire(self) -> None:
        """One round of it: everything that is due now."""
        core = self._core
        before: list[Key] = []
        while (keys := core.storage.due(core.wall_clock(), PAGE)) and keys != before:
            for key in keys:
                core.holdings.expire(key)
            before = keys
            await trio.lowlevel.checkpoint()

    def _until_next(self) -> float:
        """Seconds until something is due, within a second and IDLE. The wall clock may jump: so never for long."""
        core = self._core
        try:
            due = core.storage.next_due()
        except StorageError:
            self.failures += 1
            return IDLE
        if due is None:
            return core.jittered(IDLE)
        return min(max((due - core.wall_clock()) / 1000 + 0.01, 1.0), IDLE)

    # Compare -------------------------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        """After a start with old records: asks the neighbours for newer ones before they are served."""
        core = self._core
        await core.readiness.wait()
        if core.holdings.is_compared:
            return
        if not core.stands_alone:
            for page in self.repair.pages():
                wanted: dict[Contact, list[Key]] = {}
                for key in page:
                    for contact in core.table.closest(key, COMPARED_WITH):
                        if core.is_ours(contact):
                            wanted.setdefault(contact, []).append(key)
                for contact, keys in wanted.items():
                    await self._guard(functools.partial(self._compare_with, contact, keys))
                core.holdings.compared_up_to = page[-1]
        core.holdings.is_compared = True

    async def _compare_with(self, contact: Contact, keys: list[Key]) -> None:
        for start in range(0, len(keys), KEYS_AT_ONCE):
            holdings = await self.repair.ask(contact, tuple(keys[start : start + KEYS_AT_ONCE]))
            if holdings is None:
                return
            for holding in holdings:
                self.repair.adopt(holding)

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        """The disk may fail in the middle of a round; the next round tries again."""
        try:
            await task()
        except StorageError:
            self.failures += 1
