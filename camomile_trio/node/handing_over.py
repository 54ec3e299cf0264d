"""Before a node leaves: makes sure that what it holds is held by others that stay, the most endangered first.

Rules of this file: a copy counts only if its holder has said so since we began to leave, and stays itself, and if its
word about the key counts among the members of the table. Who should hold a key is asked before anything is sent; a key
that nobody asked has goes at once, others wait until all have been asked, those with the fewest known copies first.
What comes in meanwhile is handed over too, and then nothing is taken any more, so nothing that was acknowledged here
goes with us unseen. Whoever calls bounds the time: what has no known copy elsewhere by then is told. Source: Kademlia
(2002), §2.5; docs/protocol.md, Records, rule 13.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.messages import IS_LEAVING, Holding, Leave, StoreStatus
from camomile_trio.node.core import Core
from camomile_trio.node.repair import KEYS_AT_ONCE, Lack, Repair

# Of those that should hold a key without us so many are asked, and given what they lack: the one that becomes a holder
# because we go, and the closest, which give the key to newcomers.
ASKED = 3
# How often others are asked where some were silent, and to how many more a key is offered that none of these took.
ROUNDS, OTHERS_TRIED = 3, 3
# Keys that are asked about together, and what is under way at a time.
WINDOW = 512
QUESTIONS_AT_ONCE, GIFTS_AT_ONCE = 16, 8
# Keys with a known copy that wait until all have been asked about; beyond it they are not kept waiting.
MAX_WAITING = 65_536
NAMED = 10  # of the keys that were not placed

# It is there, or there is something better, or nothing that anybody would keep.
_PLACED = frozenset({StoreStatus.STORED, StoreStatus.STALE, StoreStatus.EXPIRED})


@attrs.define(eq=False)
class _Place:
    """What is known of one key around us."""

    key: Key
    copies: int = 0  # with others that stay
    asked: set[NodeId] = attrs.field(factory=set)
    lacking: dict[Contact, Lack] = attrs.field(factory=dict)

    @property
    def heard(self) -> int:
        return self.copies + len(self.lacking)


class HandOver:
    """One node's leaving. `run` may be broken off at any time; what is left without a known copy is told after it."""

    def __init__(self, core: Core, repair: Repair) -> None:
        self._core = core
        self._repair = repair
        self._out: set[NodeId] = set()  # silent, or leaving as well
        self._open: dict[Key, None] = {}  # looked at, and not known to be anywhere else yet
        self._unplaced = 0
        self._named: list[Key] = []
        self._walked = 0
        self._waiting: list[list[_Place]] = [[] for _ in range(ASKED + 1)]  # for a copy more, by how many are known
        self._questions = trio.CapacityLimiter(QUESTIONS_AT_ONCE)
        self._is_all_seen = False

    @property
    def unplaced(self) -> int:
        """Keys of which nobody else that stays is known to have a copy."""
        return self._unplaced + len(self._open)

    @property
    def unseen(self) -> int:
        """Keys that nobody was asked about, since the time was up; those that came in meanwhile may be among them."""
        if self._is_all_seen:
            return self._core.holdings.arrived
        return max(self._core.storage.statistics.keys - self._walked, 0)

    @property
    def somebody_stays(self) -> bool:
        """Not all others have said that they leave too: whoever ends a whole network need not be told what ends."""
        return any(not self._core.contacts.is_leaving(each) for each in self._core.table)

    @property
    def named(self) -> list[Key]:
        """Some of the unplaced keys, at most NAMED."""
        return [*self._named, *self._open][:NAMED]

    async def run(self) -> None:
        """Hands over, and then tells all contacts that we go. StorageError if our own disk fails."""
        core = self._core
        core.local.flags |= IS_LEAVING
        core.holdings.begin_to_leave()
        window: list[Key] = []
        for page in self._repair.pages():
            window += page
            if len(window) >= WINDOW:
                await self._look_at(window)
                window = []
        await self._look_at(window)
        self._is_all_seen = True
        await self._give_all()
        arrived = core.holdings.take_nothing_more()
        for start in range(0, len(arrived), WINDOW):
            await self._look_at(arrived[start : start + WINDOW])
        await self._give_all()
        for contact in core.table:
            core.requests.tell(contact, Leave())

    async def _look_at(self, keys: Sequence[Key]) -> None:
        """Asks who has the keys, and gives away at once those that nobody has."""
        places = {key: _Place(key) for key in keys if self._repair.is_worth_keeping(key)}
        self._open |= dict.fromkeys(places)
        self._walked += len(keys)
        await self._ask_around(places)
        for place in places.values():
            self._await_turn(place)
        await self._give(0)
        if sum(map(len, self._waiting)) > MAX_WAITING:
            await self._give_all()

    def _heirs(self, key: Key) -> list[Contact]:
        """Those that should hold the key when we are gone, in the order in which they are asked.

        First the one that has not been among them before, then the closest. Who is likely to be silent, or said before
        that it leaves, comes last.
        """
        core = self._core
        now = core.clock()
        heirs = [each for each in self._nearest(key) if core.contacts.is_storing(each)]
        return sorted([*heirs[-1:], *heirs[:-1]], key=lambda each: core.contacts.is_doubtful(each, now))

    def _nearest(self, key: Key) -> list[Contact]:
        """The k closest that stay."""
        k = self._core.config.kademlia.k
        return [each for each in self._core.table.closest(key, k + len(self._out)) if each.id not in self._out][:k]

    async def _ask_around(self, places: dict[Key, _Place]) -> None:
        for _ in range(ROUNDS):
            wanted: dict[Contact, list[Key]] = {}
            for place in places.values():
                if place.heard >= ASKED:
                    continue
                unasked = [each for each in self._heirs(place.key) if each.id not in place.asked]
                for contact in unasked[: ASKED - place.heard]:
                    place.asked.add(contact.id)
                    wanted.setdefault(contact, []).append(place.key)
            if not wanted:
                return
            async with trio.open_nursery() as nursery:
                for contact, keys in wanted.items():
                    for start in range(0, len(keys), KEYS_AT_ONCE):
                        nursery.start_soon(self._ask, contact, tuple(keys[start : start + KEYS_AT_ONCE]), places)

    async def _ask(self, contact: Contact, keys: tuple[Key, ...], places: dict[Key, _Place]) -> None:
        async with self._questions:
            if contact.id in self._out:
                return
            holdings = await self._repair.ask(contact, keys, is_urgent=True)
        if holdings is None or self._core.contacts.is_leaving(contact):
            self._out.add(contact.id)
            return
        unheard = set(keys)
        for holding in holdings:
            if holding.key not in unheard:
                continue
            unheard.remove(holding.key)
            place = places[holding.key]
            try:
                lack = self._repair.lack_of(contact, holding)
            except StorageError:
                continue  # the key stays unplaced
            if lack is None:
                self._count_copy(place, contact)
            else:
                place.lacking[contact] = lack

    def _await_turn(self, place: _Place) -> None:
        if place.key in self._open or place.lacking:
            self._waiting[place.copies].append(place)

    async def _give_all(self) -> None:
        for copies in range(ASKED):
            await self._give(copies)

    async def _give(self, copies: int) -> None:
        """One more copy of each key that has so many; then it waits among those that have more."""
        places, self._waiting[copies] = self._waiting[copies], []
        left = iter(places)

        async def give() -> None:
            for place in left:
                await self._give_one(place)
                self._await_turn(place)

        async with trio.open_nursery() as nursery:
            for _ in range(min(GIFTS_AT_ONCE, len(places))):
                nursery.start_soon(give)

    async def _give_one(self, place: _Place) -> None:
        while place.lacking:
            contact = next(iter(place.lacking))
            if await self._is_placed(contact, place.key, place.lacking.pop(contact)) and self._count_copy(
                place, contact
            ):
                return
        if place.copies or await self._is_taken_by_another(place):
            return
        if place.key in self._open:
            del self._open[place.key]
            self._unplaced += 1
            if len(self._named) < NAMED:
                self._named.append(place.key)

    def _count_copy(self, place: _Place, contact: Contact) -> bool:
        """Whether that contact's word counts, among those that stay."""
        k = self._core.config.kademlia.k
        nearest = sorted(self._nearest(place.key), key=lambda each: distance(each.id, place.key))
        if contact not in self._core.table.counting(place.key).cover(nearest, k).counted:
            return False
        place.copies += 1
        self._open.pop(place.key, None)
        return True

    async def _is_taken_by_another(self, place: _Place) -> bool:
        others = [each for each in self._heirs(place.key) if each.id not in place.asked]
        for contact in others[:OTHERS_TRIED]:
            try:
                lack = self._repair.lack_of(contact, Holding(place.key, False, ()))
            except StorageError:
                return False
            if (
                lack is not None
                and await self._is_placed(contact, place.key, lack)
                and self._count_copy(place, contact)
            ):
                return True
        return False

    async def _is_placed(self, contact: Contact, key: Key, lack: Lack) -> bool:
        if contact.id in self._out:
            return False
        try:
            status = await self._repair.give(contact, key, lack)
        except StorageError:
            return False
        if status is None or self._core.contacts.is_leaving(contact):
            self._out.add(contact.id)
            return False
        return status in _PLACED
