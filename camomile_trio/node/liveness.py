"""Notices within half a minute that no contact answers any more, also while nobody asks for anything.

Rules of this file: only answers count, since a request shows that its sender reaches us and not that we reach it. It
pings, and decides nothing about who is in the table: while everybody seems dead it may be we who are offline. What it
costs is written in docs/operating.md, "Sizes".
"""

from __future__ import annotations

import math

import trio

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.node.core import Core

# Seconds without an answer of anybody after which somebody is asked for one.
QUIET = 20.0
# How many are asked then, one batch after another until one answers; after the last of these all others. A batch has
# PATIENCE seconds, as long as a request may take: with QUIET that makes 28.
BATCHES = (1, 3, 12)
PATIENCE = 2.0
# While nobody answers: how many are asked again, and how often, in seconds.
FEW, AGAIN = 3, 5.0


class Liveness:
    """Of one node. It says `set_cut_off` to the node's readiness, and nothing else."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def run(self) -> None:
        """Until cancelled."""
        core = self._core
        await core.readiness.wait()
        while True:
            await self._until_quiet()
            if not await self._does_anybody_answer():
                core.readiness.set_cut_off(True)
                await self._until_somebody_answers()
                core.readiness.set_cut_off(False)

    async def _until_quiet(self) -> None:
        """Nobody has answered for a while, and this node needs others."""
        core = self._core
        # Shortened by chance, so that nodes that started together do not ask together.
        quiet = QUIET * core.rng.uniform(0.8, 1.0)
        while True:
            now, last = core.clock(), core.table.last_answer
            due = now + quiet if core.stands_alone or last is None else last + quiet
            if due <= now:
                return
            await trio.sleep_until(due)

    async def _does_anybody_answer(self) -> bool:
        core = self._core
        last = core.table.last_answer
        # Every contact has its turn to be the first. If that one is silent, those heard of latest are likely there.
        silent = core.table.silent_since(math.inf)
        waiting = [*silent[:1], *reversed(silent[1:])]
        for most in (*BATCHES, len(waiting)):
            batch, waiting = waiting[:most], waiting[most:]
            if batch:
                await self._ask(batch, PATIENCE)
            if core.table.last_answer != last:
                return True
        return False

    async def _until_somebody_answers(self) -> None:
        core = self._core
        last = core.table.last_answer
        while core.table.last_answer == last and not core.membership.may_go_on_alone:  # which a reload may change
            contacts = list(core.table)
            await self._ask(core.rng.sample(contacts, min(FEW, len(contacts))), core.jittered(AGAIN))

    async def _ask(self, contacts: list[Contact], patience: float) -> None:
        """Pings them, and waits until anybody at all answers, or `patience` (s) is over."""
        our_contacts = self._core.contacts
        answered = trio.Event()

        def on_answer(contact: Contact) -> None:
            answered.set()

        our_contacts.listeners.append(on_answer)
        try:
            for contact in contacts:
                our_contacts.check(contact, again_after=0.0)
            with trio.move_on_after(patience):
                await answered.wait()
        finally:
            our_contacts.listeners.remove(on_answer)
