"""What two holders say of their keys when they compare: digests, and the answer to those of another.

Rules of this file: synchronous, and it writes nothing. What is said of a key is read once for all nodes that are asked
and that ask, and anew once something was written. Source: docs/protocol.md, have and have_result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from camomile_trio.holding.holdings import Holdings
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import Have, HaveResult, Holding
from camomile_trio.kademlia.registers import NOTHING, KeyState, Said

# What is said of this many keys is remembered, for at most so many seconds.
MAX_SAID = 512
SAID_FOR = 10.0
SAID_NOTHING = Said((), NOTHING, is_whole=False)
# A record takes so much of an answer, a holding without its records so much; an answer to digests has room for so much.
ROW_ON_THE_WIRE = 126
HOLDING_ON_THE_WIRE = 42
ROOM_FOR_HOLDINGS = 1000


class AntiEntropy:
    """Of one node."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._said: dict[Key, Said] = {}
        self._forgotten: set[Key] = set()  # of these keys, those with a tombstone
        self._said_at = 0  # by the writes
        self._said_since = holdings.clock()

    def said(self, keys: Sequence[Key]) -> Mapping[Key, Said]:
        """What is said of the keys, and perhaps of others; of one that the disk does not give, that there is nothing.

        It stays as it is, whatever is written afterwards.
        """
        holdings = self._holdings
        changes, now = holdings.writes.changes, holdings.clock()
        if self._said_at != changes or now - self._said_since > SAID_FOR or len(self._said) > MAX_SAID:
            self._said, self._forgotten = {}, set()
            self._said_at, self._said_since = changes, now
        known = self._said
        unread = [key for key in keys if key not in known]
        if unread:
            wall = holdings.wall_clock()
            states = holdings.states(unread)
            for key in unread:
                state = states.get(key)
                known[key] = SAID_NOTHING if state is None else registers.said(state, wall)
                if state is not None and registers.has_tombstone(state, wall):
                    self._forgotten.add(key)
        return known

    def answer(self, have: Have, asker: NodeId) -> HaveResult:
        """What is held here of the keys, in so far as it is not just what the asker says that it holds."""
        if not have.digests:
            return HaveResult(self._holding(have, have.keys))
        said = self.said(have.keys)
        alike = 0
        differing: list[Key] = []
        for number, key in enumerate(have.keys):
            mine = said[key]
            if mine.digest == have.digests[number] != NOTHING and mine.is_whole:
                alike |= 1 << number
                if have.is_round:
                    self._on_round(key, mine, asker)
            else:
                differing.append(key)
        return HaveResult(self._holding(have, differing) if differing else (), alike)

    def _on_round(self, key: Key, said: Said, asker: NodeId) -> None:
        """Another holder, which has just what is here, asks all holders: one round does for all of them."""
        holdings = self._holdings
        is_word = key not in self._forgotten or not holdings.was_forgotten_lately(holdings.state(key))
        holdings.replicas.on_round(key, said.rows, asker, is_word=is_word)

    def _holding(self, have: Have, keys: Sequence[Key]) -> tuple[Holding, ...]:
        now, room = self._holdings.wall_clock(), ROOM_FOR_HOLDINGS
        holdings: list[Holding] = []
        for state in self._holdings.states(keys).values():
            holding = _holding_of(state, have, now)
            room -= HOLDING_ON_THE_WIRE + len(holding.records) * ROW_ON_THE_WIRE
            if have.digests and holdings and room < 0:
                continue  # it is asked for again
            holdings.append(holding)
        return tuple(holdings)


def _holding_of(state: KeyState, have: Have, now: int) -> Holding:
    records = registers.answer(state, now, publisher=have.publisher, ended=True)
    is_classic = registers.is_served(state, now) and not registers.is_live(state, now)
    return Holding(state.key, state.size is not None, tuple([record.row() for record in records]), is_classic)
