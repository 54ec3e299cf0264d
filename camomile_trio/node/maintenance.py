"""What a node does by itself, each on a timer of its own: refresh, replicate, renew, expire; compare, remind, welcome.

Rules of this file: every period is jittered, so that nodes which started together do not move together. What a peer
or the disk does wrong is counted and does not end a task. Foreground requests never wait for anything here. Source:
Kademlia (2002), §2.3 and §2.5; docs/protocol.md, Records, rules 8 to 13.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

from camomile_trio.classic.network import ClassicNetwork
from camomile_trio.classic.values import MAX_CLASSIC_VALUE
from camomile_trio.errors import StorageError
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import StoreKind
from camomile_trio.node.comparing import Comparing
from camomile_trio.node.core import Core
from camomile_trio.node.handing_over import HandOver
from camomile_trio.node.refreshing import Refreshing
from camomile_trio.node.renewing import IDLE, Renewing
from camomile_trio.node.repair import PAGE, Repair
from camomile_trio.node.replication import Replication
from camomile_trio.node.rounds import Rounds
from camomile_trio.peer.silence import CHECKED_AGAIN_AFTER

# How many newcomers wait for their records; replication reaches the others.
MAX_NEWCOMERS = 256


class Maintenance:
    """The timers of one node. `run` starts them all."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.repair = Repair(core)
        self.rounds = Rounds(core, self.repair)
        self.replication = Replication(core, self.repair)
        self.renewing = Renewing(core, self.repair)
        self.refreshing = Refreshing(core)
        self._comparing = Comparing(core, self.repair)
        self._newcomers: OrderedDict[bytes, Contact] = OrderedDict()
        self._newcomer_came = trio.Event()
        self._failures = 0
        self.newcomers_left = 0  # to replication, since too many came at once

    @property
    def failures(self) -> int:
        """Times that the disk failed in the middle of something."""
        return self._failures + self.refreshing.failures + self._core.background_failures

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._expire)
            await self._core.readiness.wait()
            for task in (
                self.refreshing.run,
                self._replicate,
                self._replicate_classic,
                self._renew,
                self._welcome,
                self._remind,
                self._compare,
            ):
                nursery.start_soon(task)

    def on_new_contact(self, contact: Contact) -> None:
        """A contact has entered the table: it may be one of the closest to something we hold."""
        self._core.reminders.on_heard(contact, self._core.clock())
        self.renewing.on_new_contact()
        if len(self._newcomers) < MAX_NEWCOMERS:
            self._newcomers[contact.id] = contact
            self._newcomer_came.set()
        else:
            self.newcomers_left += 1

    def new_hand_over(self) -> HandOver:
        """To be run before this node leaves."""
        return HandOver(self._core, self.repair)

    def lasting_contacts(self) -> list[Contact]:
        """Contacts worth trying at the next start."""
        return self.refreshing.lasting_contacts()

    async def _replicate(self) -> None:
        """Offers every record to the other holders, but for what another holder has shown within the interval."""
        while True:
            await trio.sleep(self.rounds.pause())
            await self._guard(self.rounds.next_part)

    async def _replicate_classic(self) -> None:
        """Stores at classic nodes what they can hold, but for what one of them has stored here within the interval."""
        core = self._core
        if core.classic is None:
            return
        while True:
            await trio.sleep(core.jittered(core.config.records.replicate_interval))
            await self._guard(functools.partial(self._replicate_once, core.classic))

    async def _replicate_once(self, classic: ClassicNetwork) -> None:
        core, interval = self._core, self._core.config.records.replicate_interval
        for page in self.repair.pages():
            for key in page:
                size = core.holdings.state(key).size
                if size is None or size > MAX_CLASSIC_VALUE or classic.is_replicated_lately(key, interval):
                    continue
                served = core.holdings.served(key) if core.table.is_among_closest(key) else None
                if served is not None:
                    await self.repair.pace(core.config.kademlia.k * size)
                    await classic.store(key, served.value, StoreKind.REPLICATE)
            await trio.lowlevel.checkpoint()

    async def _welcome(self) -> None:
        """Gives a newcomer the records that it is now among the k closest to, if we are the closest of the others."""
        core = self._core
        while True:
            await self._newcomer_came.wait()
            self._newcomer_came = trio.Event()
            # A moment, so that many who come at once are served in one walk.
            await trio.sleep(core.jittered(0.5))
            newcomers = [core.table.get(each.id) for each in self._newcomers.values()]
            self._newcomers.clear()
            known = [each for each in newcomers if each is not None]
            await self._guard(functools.partial(self.replication.welcome, known))

    async def _remind(self) -> None:
        """Tells those who were silent what they have missed."""
        core = self._core
        while True:
            due = core.reminders.next_due()
            with trio.move_on_at(core.clock() + IDLE if due is None else due):
                await core.reminders.changed.wait()
            core.reminders.changed = trio.Event()
            for contact, keys in core.reminders.due(core.clock()):
                await self._guard(functools.partial(self._remind_one, contact, keys))

    async def _remind_one(self, contact: Contact, keys: list[Key]) -> None:
        reminders = self._core.reminders
        declined: set[Key] = set()
        is_told = False
        try:
            is_told = await self.repair.offer(contact, keys, declined=declined)
        finally:
            if is_told:
                reminders.on_told(contact, [key for key in keys if key not in declined])
            if declined or not is_told:
                reminders.on_silent(contact, self._core.clock())

    async def _renew(self) -> None:
        """Renews the leases of our publisher, each when it is this node's turn."""
        core, alarm = self._core, self._core.holdings.writes.renewal_alarm
        while True:
            await self._guard(self.renewing.renew_all)
            # A lease that is stored meanwhile may be due sooner.
            await alarm.wait(core.clock() + self._until_next())

    async def _expire(self) -> None:
        """Lets go of what has ended."""
        core = self._core
        while True:
            await self._guard(self.expire)
            core.holdings.cache.expire(core.clock())
            await trio.sleep(self._until_next())

    async def expire(self) -> None:
        """One round of it: everything that is due now, unless the clock that says so may be wrong."""
        core = self._core
        core.watch_clock()
        if not core.clocks.may_end():
            return
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
            self._failures += 1
            return IDLE
        if core.clocks.is_in_doubt:
            return CHECKED_AGAIN_AFTER
        if due is None or core.clocks.is_ahead():
            return core.jittered(IDLE)
        return min(max((due - core.wall_clock()) / 1000 + 0.01, 1.0), IDLE)

    async def _compare(self) -> None:
        """After a start with old records; then there is an answer to what may be woken of them."""
        while not self._core.holdings.comparisons.is_done:
            await self._guard(self._comparing.run)
            if not self._core.holdings.comparisons.is_done:
                await trio.sleep(self._core.jittered(1.0))  # the disk failed
        await self.renewing.wake()

    async def _guard(self, task: Callable[[], Awaitable[None]]) -> None:
        """The disk may fail in the middle of a round, also in a nursery of its own; the next round tries again."""
        try:
            await task()
        except* StorageError:
            self._failures += 1
