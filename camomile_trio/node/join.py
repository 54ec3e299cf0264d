"""Finding the network: bootstrap, the lookup of ourselves, readiness, and coming back after everybody was lost.

Rules of this file: it never gives up. Names are resolved again at every try (`names.py`), each address of a name is a
node to try, and so is each contact that an earlier run remembered. An address without a key is asked for it first. A
try asks a bounded number of them, the next try the next ones. A node that has met nobody and is told of nobody is the
first of its network.
Source: Kademlia (2002), §2.3.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

import attrs
import trio

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.contacts import Contact, Endpoint, is_sensible
from camomile_trio.kademlia.ids import NodeId, distance
from camomile_trio.kademlia.messages import FindNode, Message, NodeList
from camomile_trio.logs import log
from camomile_trio.node.core import CUT_OFF, Core
from camomile_trio.node.names import Address, Names, Resolver
from camomile_trio.node.neighbours import meet_named
from camomile_trio.peer.seams import Answer

ASKED_AT_ONCE = 16
# What a node says that none of its addresses to join has answered.
NOBODY_ANSWERS = (
    "none of the nodes to join answers: unreachable, another network or network key, or a classic node (see --classic)"
)
# Seconds that a try waits for names that are still being resolved. What comes later is for the next try.
NAMES_PATIENCE = 5.0
LOGGED_AGAIN = 600.0  # seconds until a copied key is logged again
LEAST_BACKOFF, MOST_BACKOFF = 0.5, 30.0
# Seconds between the looks at our neighbourhood that go before readiness, and those after it.
SETTLING = (0.1, 0.3, 1.0, 2.0)
SETTLED = (5.0, 15.0, 40.0)
# Once joined, how often the names are looked at again: two networks that were started apart find each other.
LOOK_AGAIN = 60.0


@attrs.define(eq=False)
class _Try:
    """The requests of one try."""

    asked: set[Address] = attrs.field(factory=set)
    open: int = 0
    is_answered: bool = False


class Join:
    """The one task that makes a node a member of its network, and keeps it one."""

    def __init__(self, core: Core, resolver: Resolver) -> None:
        self._core = core
        self._news = trio.Event()  # a name was resolved, an address has answered, or none can any more
        self._names = Names(core.config.join, resolver, core.background, on_change=self._on_names)
        self._named: set[NodeId] = set()  # by others, while we settle, as nodes of our neighbourhood
        self._saved = self._load_saved()
        self.attempts = 0
        self._copied_key_logged_at = -math.inf
        self._try = _Try()  # the latest one
        self._has_lost_patience = False  # `first_patience` is over, and nobody has answered

    @property
    def is_first(self) -> bool:
        """Nobody to join: no names, and no other node was ever met."""
        return not self._core.config.join and not self._core.membership.has_met

    @property
    def _has_company(self) -> bool:
        core = self._core
        return bool(len(core.table) or (core.classic is not None and len(core.classic.table)))

    def stand_alone_if_first(self) -> None:
        """Before `run`: the first node of a network has nobody to wait for, and is ready at once."""
        if self.is_first:
            self._core.readiness.set("")

    async def run(self) -> None:
        """Until cancelled."""
        core = self._core
        began = core.clock()
        backoff = LEAST_BACKOFF
        while True:
            await self._attempt()
            if self._has_company and not core.readiness.is_joined:
                await self._settle()
            if self.is_first or (self._has_company and not core.readiness.is_cut_off):
                # Whoever joins a first node asks first; there is nobody to look for.
                backoff = LEAST_BACKOFF
                with trio.move_on_after(core.jittered(LOOK_AGAIN)):
                    await core.readiness.change()
                continue
            pause = core.jittered(backoff)
            patience = began + core.config.first_patience - core.clock()
            if patience > 0:
                pause = min(pause, max(patience, 0.01))
            elif not core.readiness.is_joined and (
                not self._has_lost_patience or core.membership.may_go_on_alone  # since the node was told so by a reload
            ):
                self._has_lost_patience = True
                self._go_on_alone()
            await trio.sleep(pause)
            backoff = min(backoff * 2, MOST_BACKOFF)

    def _go_on_alone(self) -> None:
        """Nobody has answered within `first_patience`."""
        core = self._core
        if core.membership.may_go_on_alone or (core.config.first and core.membership.counts_alone):
            core.readiness.set("")
            if core.readiness.is_joined:
                log.info("stands alone", patience=core.config.first_patience)
        elif core.membership.has_met and self._copied_key_logged_at == -math.inf:
            core.readiness.set(CUT_OFF)

    async def _settle(self) -> None:
        """Looks ourselves up, and again while the neighbourhood changes; then we are ready, and watch it for a while.

        When many nodes start at once the first lookup of each finds little: a node that served users then would not
        find what is there. Of two that look at the same time neither may find the other.
        """
        core = self._core
        found = await self._look()
        for pause in SETTLING:
            await trio.sleep(core.jittered(pause))
            before, found = found, await self._look_again(found)
            if found == before:
                break
        core.readiness.set("")
        for pause in SETTLED:
            await trio.sleep(core.jittered(pause))
            found = await self._look_again(found)
        self._named.clear()

    async def _look(self) -> tuple[Contact, ...]:
        return (await self._core.find_node(self._core.id, on_answer=self._check_own_id)).contacts

    def _check_own_id(self, contact: Contact, answer: Answer[Message]) -> bool:
        """Where others know our id beside this node: an earlier address of ours, or a node with a copy of our key."""
        core = self._core
        named = answer.message.contacts if isinstance(answer.message, NodeList) else ()
        elsewhere = [each.endpoint for each in named if each.id == core.id]
        # An honest answer names one. With more of them a peer could send our hellos to any number of addresses.
        for endpoint in elsewhere[:1]:
            if endpoint not in core.contacts.own_endpoints and core.contacts.may_contact(endpoint, contact.endpoint):
                core.background(functools.partial(self._ask_for_our_key, endpoint, answer.contact))
        return False

    async def _ask_for_our_key(self, endpoint: Endpoint, told_by: Contact) -> None:
        if (
            await self._core.requests.hellos.public_key_at(endpoint, told_by=(told_by,))
            == self._core.local.static.public
        ):
            self.on_copied_key(endpoint)

    def on_copied_key(self, endpoint: Endpoint) -> None:
        """The node at `endpoint` names our own key as its own. In an open network anybody could: it is said, and
        changes nothing else."""
        core = self._core
        if core.clock() - self._copied_key_logged_at >= LOGGED_AGAIN:
            self._copied_key_logged_at = core.clock()
            log.error(
                "another node names the key of this one as its own",
                at=str(endpoint),
                id=core.id.hex(),
                meaning="its data directory, or its node.key, is a copy: each takes the place of the other",
                remedy="stop one of the two, delete node.key in its data directory, and start it again",
            )
        if not core.readiness.is_joined:
            core.readiness.set(
                f"the node at {endpoint} has the same identity (a copied data directory): stop one of the two, delete "
                "its node.key, and start it again"
            )

    async def _look_again(self, found: tuple[Contact, ...]) -> tuple[Contact, ...]:
        """The nodes closest to us, where a former lookup found these. A whole lookup only if it may find others."""
        if len(found) < self._core.config.kademlia.k or await self._is_told_of_others(found):
            return await self._look()
        return found

    async def _is_told_of_others(self, found: tuple[Contact, ...]) -> bool:
        """Whether the few nodes closest to us name somebody who belongs to the neighbourhood that was `found`.

        Whoever has asked us since is in our table already, and nobody who was named before is looked for twice.
        """
        core = self._core
        radius = distance(core.id, found[-1].id)
        is_told = False

        def on_answer(contact: Contact, answer: Answer[Message]) -> bool:
            nonlocal is_told
            if isinstance(answer.message, NodeList):
                for named in answer.message.contacts:
                    if distance(core.id, named.id) < radius and named.id not in self._named:
                        self._named.add(named.id)
                        is_told |= named.id not in core.table and named not in found and named.id != core.id
            return False

        few = core.config.kademlia.alpha
        await attrs.evolve(core.lookups, k=few, alpha=few).find_node(core.id, on_answer=on_answer)
        return is_told

    def _on_names(self) -> None:
        self._news.set()

    async def _attempt(self) -> None:
        """Asks known addresses for the nodes closest to us, those of names as they come; ends with the first answer."""
        core = self._core
        turn, self.attempts = self.attempts, self.attempts + 1
        known = {contact.endpoint for contact in core.table}
        # What a peer can make this node take for its own address is asked all the same: a hello finds out.
        avoided = known | core.contacts.given_endpoints
        current = self._try = _Try()
        if not known:
            saved = [Address(each.endpoint, each.public) for each in self._saved if each.endpoint not in avoided]
            self._ask(_in_turn(saved, turn), current)
        self._names.look_up()
        patience = core.clock() + NAMES_PATIENCE
        while True:
            self._news = trio.Event()
            taken = self._names.take()
            found = [each for each in taken if is_sensible(each.endpoint) and each.endpoint not in avoided]
            self._ask(_in_turn(found, turn), current)
            is_waiting = self._names.under_way and core.clock() < patience
            if current.is_answered:
                return
            if not (current.open or is_waiting):
                self._say_that_nobody_answers(current)
                return
            with trio.move_on_at(patience if is_waiting else math.inf):
                await self._news.wait()

    def _say_that_nobody_answers(self, current: _Try) -> None:
        readiness = self._core.readiness
        if current.asked and not readiness.is_joined and self._copied_key_logged_at == -math.inf:
            has_met = self._core.membership.has_met
            readiness.set(CUT_OFF if has_met and self._has_lost_patience else NOBODY_ANSWERS)

    def _ask(self, addresses: Iterable[Address], current: _Try) -> None:
        for address in addresses:
            if address not in current.asked:
                current.asked.add(address)
                current.open += 1
                self._core.background(functools.partial(self._ask_one, address, current))

    async def _ask_one(self, address: Address, current: _Try) -> None:
        core = self._core
        public = address.public or await core.requests.hellos.public_key_at(address.endpoint)
        if public is not None:
            is_answered = await self._ask_node(public, address.endpoint)
        else:
            # One after the other: one of ours with `--classic` answers both, and would be taken for a classic node.
            is_answered = core.classic is not None and await core.classic.meet(address.endpoint)
        if is_answered:
            current.is_answered = True
        current.open -= 1
        if current.is_answered or not current.open:
            self._news.set()

    async def _ask_node(self, public: bytes, endpoint: Endpoint) -> bool:
        """Whether one of ours has answered there."""
        core = self._core
        if public == core.local.static.public:
            self.on_copied_key(endpoint)
            return False
        contact = Contact.of(public, endpoint)
        answer = await core.requests.ask(contact, FindNode(core.id), only_there=True)
        if answer is not None:
            core.requests.on_named_by_operator(public)
        if answer is not None and core.readiness.is_joined:
            meet_named(core, answer)
        return answer is not None

    def _load_saved(self) -> list[Contact]:
        try:
            return self._core.storage.contacts()
        except StorageError:
            return []


def _in_turn(candidates: Sequence[Address], turn: int) -> list[Address]:
    """At most `ASKED_AT_ONCE` of them, by the number of the try: after a few tries each has been asked."""
    begin = turn * ASKED_AT_ONCE % max(len(candidates), 1)
    return [*candidates[begin:], *candidates[:begin]][:ASKED_AT_ONCE]
