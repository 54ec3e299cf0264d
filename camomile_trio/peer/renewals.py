"""The renewal of sessions after the network key was changed, also of those that nothing is sent by.

Rules of this file: plain calls, and one deadline at a time. A renewal that finds no place or no answer is tried once
more; after that the session is renewed when something is sent by it (`Session.renew_at`).
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Final

from camomile_trio.alarm import Clock
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.peer.deadlines import Deadlines
from camomile_trio.peer.sessions import Sessions

# When each round begins, and over how many seconds it goes: all is done within a minute, and a handshake may take 2 s.
# Short: all nodes make handshakes at once with all others. Long: whoever has the former key is in for longer.
ROUNDS: Final = ((0.0, 40.0), (45.0, 10.0))


class Renewals:
    """Those of one node. `renew` begins a handshake with the contact, unless one is under way or has no place."""

    def __init__(
        self,
        sessions: Sessions,
        renew: Callable[[Contact], object],
        deadlines: Deadlines,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._sessions = sessions
        self._renew = renew
        self._deadlines = deadlines
        self._clock = clock
        self._rng = rng
        self._began_at = 0.0
        self._due: list[tuple[float, bytes]] = []  # when, and which peer's; the next one last

    def begin(self) -> None:
        """The network key that is sent under is another one now. What was to be renewed before is looked for anew."""
        self._began_at = self._clock()
        self._due = []
        for number, (after, _) in enumerate(ROUNDS):
            begin = functools.partial(self._begin_round, number, self._due)
            self._deadlines.set(self._began_at + after, begin)

    def _begin_round(self, number: int, due: list[tuple[float, bytes]]) -> None:
        if due is not self._due:
            return  # the key was changed again
        after, lasts = ROUNDS[number]
        begins = self._began_at + after
        peers = self._sessions.under_former_keys()
        due[:] = sorted(((begins + self._rng.uniform(0.0, lasts), peer) for peer in peers), reverse=True)
        self._set_next(due)

    def _set_next(self, due: list[tuple[float, bytes]]) -> None:
        if due:
            self._deadlines.set(due[-1][0], functools.partial(self._on_due, due))

    def _on_due(self, due: list[tuple[float, bytes]]) -> None:
        if due is not self._due:
            return
        _, public = due.pop()
        session = self._sessions.under_former_key(public)
        if session is not None:
            self._renew(session.contact)
        self._set_next(due)
