"""How what was decided about a key gets to the storage, and who is answered after the commit.

Rules of this file: synchronous, and it decides nothing about records. A state is handed over with the times at which
its key needs attention; when the storage is full, spare copies make room first, then what has ended. `done` is called
after the commit, or at once when the storage refuses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from camomile_trio.alarm import Alarm, Clock, WallClock
from camomile_trio.errors import DiskFull, StorageError, StorageFull
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Durability, StoreResult, StoreStatus
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.base import Done, Storage, Timetable

OnStored = Callable[[StoreResult], None]

# A renewal that found nobody to renew with is tried again after so many ms at least.
LEAST_PAUSE = 1000
# How many ended registers make room at a time.
EVICTED_AT_ONCE = 64


def nobody_waits(result: StoreResult) -> None:
    """For writes whose outcome nobody asked for: a failed one shows in the storage's statistics."""


class Writes:
    """The writes of one node's holdings. `timetable` says when a key needs attention; `give_up_spares` makes room for a
    state, and says whether it did."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        wall_clock: WallClock,
        timetable: Callable[[KeyState, int], Timetable],
        give_up_spares: Callable[[KeyState], bool],
    ) -> None:
        self.refused: Counter[str] = Counter()
        self.in_flight: Counter[Key] = Counter()
        self.changes = 0  # of what is read here: states handed over, and those that came to nothing
        self.classic_bytes = storage.note("classic_bytes")
        # Rung for the task that renews, when the state that was handed over is due before anything else.
        self.renewal_alarm = Alarm()
        self._storage = storage
        self._clock = clock
        self._wall_clock = wall_clock
        self._timetable = timetable
        self._give_up_spares = give_up_spares

    def write(
        self,
        before: KeyState,
        state: KeyState,
        value: bytes | None,
        done: OnStored,
        winners: tuple[RecordRow, ...] = (),
        *,
        even_if_full: bool = False,
    ) -> bool:
        """Puts `state` in the place of `before`. Returns whether the storage took it for its next commit."""
        key = state.key
        self.changes += 1
        self.in_flight[key] += 1

        def landed() -> None:
            self.in_flight[key] -= 1
            if not self.in_flight[key]:
                del self.in_flight[key]

        def committed(outcome: Durability | StorageError) -> None:
            landed()
            if isinstance(outcome, StorageError):
                self.changes += 1
                self.count_classic(state, before)
                # What makes room differs, so the caller is told which of them is full.
                self.refuse(StoreStatus.NO_ROOM if isinstance(outcome, DiskFull) else StoreStatus.FAILED, done)
            else:
                done(StoreResult(StoreStatus.STORED, outcome, winners))

        is_new_value = state.size is not None and before.size is None
        try:
            self.hand_over(state, value if is_new_value else None, committed, even_if_full=even_if_full)
        except StorageError as error:
            landed()
            self.refuse(StoreStatus.FULL if isinstance(error, StorageFull) else StoreStatus.BUSY, done)
            return False
        self.count_classic(before, state)
        return True

    def hand_over(self, state: KeyState, value: bytes | None, done: Done | None, *, even_if_full: bool) -> None:
        """Gives a state to the storage. StorageFull, StorageError."""
        now = self._wall_clock()
        timetable, evictable = self._timetable(state, now), registers.is_evictable(state, now)
        if timetable.renew:
            self.renewal_alarm.advance(self._clock() + max(timetable.renew - now, LEAST_PAUSE) / 1000)

        def write() -> None:
            before = self._storage.read(state.key)
            self._storage.write(
                before, state, timetable, value=value, even_if_full=even_if_full, evictable=evictable, done=done
            )

        ways = iter((self._give_up_spares, self._remove_ended))
        while True:
            try:
                return write()
            except StorageFull:
                # After each way that made room it is tried once more.
                if not any(makes_room(state) for makes_room in ways):
                    raise

    def _remove_ended(self, state: KeyState) -> bool:
        """What has ended and is only remembered makes room for the state."""
        ended = [key for key in self._storage.evictable(EVICTED_AT_ONCE) if key != state.key]
        for key in ended:
            self._storage.remove(key)
        return bool(ended)

    def count_classic(self, before: KeyState, after: KeyState | None) -> None:
        """Carries on how many bytes the values take that only classic nodes stored."""

        def weight(state: KeyState | None) -> int:
            return (state.size or 0) if state is not None and state.classic_until and not state.registers else 0

        self.classic_bytes = max(self.classic_bytes + weight(after) - weight(before), 0)

    def refuse(
        self, status: StoreStatus, done: OnStored, winners: tuple[RecordRow, ...] = (), *, reason: str = ""
    ) -> None:
        """Answers a refusal, and counts it under its status or a closer `reason`."""
        self.refused[reason or status.name.lower()] += 1
        done(StoreResult(status, Durability.NONE, winners))
