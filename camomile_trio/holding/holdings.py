"""What this node holds of keys and values: storage and cache, under the rules of records.

Rules of this file: synchronous, and the only place that writes records. A decision is taken on what is stored at that
moment and handed to the writer in the same breath, so nothing can come between. Signatures are checked here, before a
rule sees the record; a row that is stored already is known to be good. `done` is called after the commit, or at once
when there is nothing to commit.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence

import attrs

from camomile_trio.alarm import Clock, WallClock
from camomile_trio.config import Records
from camomile_trio.errors import StorageError
from camomile_trio.holding.cache import Cache, CachedCopy
from camomile_trio.holding.comparisons import Comparisons
from camomile_trio.holding.quotas import NO_STRANGER, Bringer, Quotas
from camomile_trio.holding.replicas import Replicas
from camomile_trio.holding.spares import Spares
from camomile_trio.holding.writes import OnStored, Writes, nobody_waits
from camomile_trio.identity import BadSignature, verify_record
from camomile_trio.kademlia import leases, registers
from camomile_trio.kademlia.admission import Verdict, admit, admit_classic, is_acceptable, is_against_clock
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import StoreKind, StoreResult, StoreStatus
from camomile_trio.kademlia.records import PublisherKey, Record, RecordRow
from camomile_trio.kademlia.registers import KeyState, Register
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.storage.base import Storage, Timetable

# For how many rounds of replication after a forget each holder makes sure by itself that all others know of it.
YOUNG_FOR = 3
# Keys of which a greater record than what is here was refused for its time.
MAX_REFUSED_FOR_TIME = 16_384
# Keys that a leaving node takes before it takes no more: it has to hand each of them over.
MAX_ARRIVALS = 65_536
# How many spare copies make room at a time.
GIVEN_UP_AT_ONCE = 64
# The note about leases that ended and may be woken, and what it says; 0, where there is none, is that nobody looked.
SLEEPERS = "sleepers"
NOBODY_SLEEPS, SOMEBODY_SLEEPS = 1, 2
# The share of max_storage that values of classic nodes, which nobody signed, may fill.
CLASSIC_SHARE = 10

_STATUS = {
    Verdict.STORED: StoreStatus.STORED,
    Verdict.SAME: StoreStatus.STORED,
    Verdict.STALE: StoreStatus.STALE,
    Verdict.EXPIRED: StoreStatus.EXPIRED,
    Verdict.NOT_YET: StoreStatus.NOT_YET,
    Verdict.BAD_TERMS: StoreStatus.EXPIRED,
    Verdict.VALUE_NEEDED: StoreStatus.VALUE_NEEDED,
    Verdict.TOO_MANY_PUBLISHERS: StoreStatus.TOO_MANY_PUBLISHERS,
}


@attrs.frozen
class Served:
    """A value that this node may serve now."""

    value: bytes
    records: tuple[Record, ...]
    is_cached: bool
    origin: NodeId
    is_live: bool


class Holdings:
    """The records of one node."""

    def __init__(
        self,
        *,
        own: NodeId,
        network: bytes,
        publisher: PublisherKey,
        storage: Storage,
        table: RoutingTable,
        settings: Records,
        clock: Clock,
        wall_clock: WallClock,
    ) -> None:
        self.own = own
        self.publisher = publisher
        self.storage = storage
        self.cache = Cache(settings.max_cache)
        self.clock = clock
        self.wall_clock = wall_clock
        self.settings = settings
        self.writes = Writes(storage, clock, wall_clock, self._timetable, self._give_up_spares)
        self.spares = Spares()
        self.damaged = 0
        # Whether a lease of a publication may have ended here (rule 12); unknown until it was looked for once.
        self.may_sleep = storage.note(SLEEPERS) != NOBODY_SLEEPS
        # Records that came from before this start are compared with the neighbours before they are served.
        self.comparisons = Comparisons(is_done=storage.statistics.keys == 0)
        self._network = network
        self._table = table
        self.replicas = Replicas(table, clock, settings.replicate_interval)
        self._arrivals: dict[Key, None] | None = None  # what was written since this node began to leave
        self.takes_nothing = False  # from others: it is as good as gone
        # Greater records of a publisher whose lease is here, which only this node's clock rejects (rule 7).
        self.is_clock_confirmed: Callable[[], bool] = lambda: False
        self._refused_for_time: OrderedDict[Key, dict[PublisherKey, Record]] = OrderedDict()
        self._started = clock()
        self._uptime_before = storage.note("uptime")
        self._quotas = Quotas(storage, publisher)

    @property
    def refused(self) -> Counter[str]:
        """What was refused here, by the reason."""
        return self.writes.refused

    # Reading -------------------------------------------------------------------------------------------------------

    def state(self, key: Key) -> KeyState:
        """What is known of the key; an empty state if nothing is. StorageError if the disk fails."""
        return self.storage.read(key) or KeyState(key)

    def states(self, keys: Sequence[Key]) -> dict[Key, KeyState]:
        """As `state`, of many keys; those are left out that the disk does not give."""
        try:
            found = self.storage.read_all(keys)
        except StorageError:
            return self._states_one_by_one(keys)
        return {key: found.get(key) or KeyState(key) for key in keys}

    def _states_one_by_one(self, keys: Sequence[Key]) -> dict[Key, KeyState]:
        found: dict[Key, KeyState] = {}
        for key in keys:
            try:
                found[key] = self.state(key)
            except StorageError:
                continue
        return found

    def value(self, key: Key) -> bytes | None:
        """The stored value; None if there is none, or if the disk gave back something that is not the value."""
        value = self.storage.value(key)
        if value is None or Key.of(value) == key:
            return value
        self.damaged += 1
        try:
            # So that whoever compares with us, or stores it again, finds that it is missing.
            self.drop_copy(key)
        except StorageError:
            pass  # too much is waiting to be written: what is stored stays, and is never given out
        return None

    def served(self, key: Key) -> Served | None:
        """What a holder serves at once, and anybody serves shortly after a lookup; else None."""
        state = self.servable(key)
        value = None if state is None else self.value(key)
        if state is not None and value is not None:
            return self.from_store(state, value)
        copy = self.cache.get(key, self.clock())
        if copy is not None:
            return Served(copy.value, copy.records, True, copy.origin, bool(copy.records))
        return None

    def servable(self, key: Key) -> KeyState | None:
        """What is known of a key if its stored value may be served."""
        if not (self._table.is_among_closest(key) and self.comparisons.may_serve(key)) or self.refused_for_time(key):
            return None
        state = self.state(key)
        return state if state.size is not None and registers.is_served(state, self.wall_clock()) else None

    def from_store(self, state: KeyState, value: bytes) -> Served:
        """What a holder serves, of what `servable` has given it."""
        now = self.wall_clock()
        return Served(value, tuple(registers.answer(state, now)), False, self.own, registers.is_live(state, now))

    def refused_for_time(self, key: Key) -> tuple[Record, ...]:
        """Records of the key that only this node's clock rejects, and that may have ended what it would serve.

        Nothing of the key is served while there are any. Once the clock takes them they are stored, and are gone from
        here. Where most peers confirm the clock, it is the publisher's that was wrong.
        """
        refused = self._refused_for_time.get(key)
        if refused is None or self.is_clock_confirmed():
            return ()
        now = self.wall_clock()
        if any(not is_against_clock(record, now) for record in refused.values()):
            del self._refused_for_time[key]
            for record in refused.values():
                self.store(key, None, (record.row(),), nobody_waits)  # which notes it again if it is still refused
        return tuple(self._refused_for_time.get(key, {}).values())

    def _note_refused_for_time(self, state: KeyState, record: Record, now: int) -> None:
        known = state.register(record.publisher)
        if known is None or known.record.is_tombstone or known.record.expires <= now:
            return  # it is not served anyway
        if record.rank <= known.record.rank or not is_against_clock(record, now):
            return
        of_key = self._refused_for_time.setdefault(record.key, {})
        other = of_key.get(record.publisher)
        if other is None or record.rank > other.rank:
            of_key[record.publisher] = record
        self.cache.drop(record.key)
        self.is_clock_confirmed()  # so that peers are asked before a user asks
        if len(self._refused_for_time) > MAX_REFUSED_FOR_TIME:
            self._refused_for_time.popitem(last=False)

    def want(self, key: Key) -> None:
        """Somebody asks for the key, and it was not served: what is stored of it may have to be compared first."""
        if not self.comparisons.is_done and self.storage.read(key) is not None:
            self.comparisons.want(key)

    def check(self, rows_untrusted: Iterable[RecordRow], key: Key, state: KeyState | None = None) -> list[Record]:
        """The records of the rows, signatures checked. BadSignature at the first that is wrong."""
        if state is None:
            state = self.state(key)
        known = {register.record.row(): register.record for register in state.registers}
        return [known.get(row) or verify_record(row, key, self._network) for row in rows_untrusted]

    @property
    def uptime(self) -> int:
        """Milliseconds that this node has been up, all its starts together."""
        return self._uptime_before + int((self.clock() - self._started) * 1000)

    def was_forgotten_lately(self, state: KeyState) -> bool:
        """Whether there may still be a holder who has missed it: each one that finds out counts."""
        since = self.wall_clock() - int(YOUNG_FOR * self.settings.replicate_interval * 1000)
        return registers.was_forgotten_since(state, since)

    # Writing -------------------------------------------------------------------------------------------------------

    def store(
        self,
        key: Key,
        value: bytes | None,
        rows_untrusted: Iterable[RecordRow],
        done: OnStored,
        *,
        is_published: bool = False,
        bringer: Bringer = NO_STRANGER,
    ) -> None:
        """Merges records, with or without the value, into what is stored. The value's hash has been checked.

        `is_published`: a user's put was accepted here, so the value stays until it is forgotten. `bringer`: who
        is charged with what is new, beside its publisher, and how strictly its quotas are meant.
        """
        try:
            state = self.state(key)
            if value is not None and state.size is not None:
                self.value(key)  # which finds out if it is damaged, and then this one takes its place
                state = self.state(key)
            before = state
            records = self.check(rows_untrusted, key, state)
        except BadSignature:
            self.writes.refuse(StoreStatus.BAD_SIGNATURE, done)
            return
        except StorageError:
            self.writes.refuse(StoreStatus.FAILED, done)
            return
        now = self.wall_clock()
        size = len(value) if value is not None else None
        winners: list[RecordRow] = []
        refusals: list[tuple[StoreStatus, str]] = []
        for record in records:
            brought_by = self._quotas.brought_by(record, bringer)
            admission = admit(state, record, now=now, value_size=size, own=self.publisher, brought_by=brought_by)
            status, over = _STATUS[admission.verdict], ""
            if admission.winner is not None:
                winners.append(admission.winner.row())
            if admission.verdict is Verdict.STORED:
                try:
                    over = self._quotas.refusal(record, before, admission.state, bringer)
                except StorageError:
                    self.writes.refuse(StoreStatus.FAILED, done)
                    return
            if over:
                refusals.append((StoreStatus.QUOTA, over))
                continue
            old = state.register(record.publisher)
            if (
                admission.verdict is Verdict.STORED
                and old is not None
                and leases.is_replaced(old.record, record, now=now)
            ):
                # The putting node may have to sign that life again, and must not withdraw it (rule 3).
                winners.append(old.record.row())
            state = admission.state
            if status is not StoreStatus.STORED:
                self._note_refused_for_time(before, record, now)
                # On the wire both are `expired`; whoever looks for the cause wants to know which.
                refusals.append((status, "bad_terms" if admission.verdict is Verdict.BAD_TERMS else ""))
        if len(refusals) == len(records):
            if state != before:
                # A refused record is remembered for as long as it could come back.
                self._write(before, state, None, nobody_waits)
            status, over = refusals[0]
            self.writes.refuse(status, done, tuple(winners), reason=over)
            return
        if is_published and state.size is not None:
            state = attrs.evolve(state, published=True)
        if not registers.is_live(state, now):
            self.cache.drop(key)
        if state == before and not self.writes.in_flight[key]:
            self._acknowledge(done, tuple(winners))
            return
        is_tombstone = any(record.is_tombstone for record in records)
        must = is_tombstone and (before.size is not None or bool(before.registers))
        self._write(before, state, value, done, tuple(winners), even_if_full=must)

    def store_classic(self, key: Key, value: bytes, kind: StoreKind, done: OnStored) -> None:
        """A value from a classic node, without a lease (rule 10), under a quota of its own."""
        try:
            before = self.state(key)
        except StorageError:
            self.writes.refuse(StoreStatus.FAILED, done)
            return
        quota = self.storage.statistics.max_bytes // CLASSIC_SHARE
        if before.size is None and self.writes.classic_bytes + len(value) > quota:
            self.writes.refuse(StoreStatus.QUOTA, done)
            return
        now = self.wall_clock()
        admission = admit_classic(
            before,
            publish=kind is StoreKind.PUBLISH,
            now=now,
            value_size=len(value),
            closer=self._table.rank(key),
            k=self._table.k,
        )
        if _STATUS[admission.verdict] is not StoreStatus.STORED:
            if admission.changed:
                self._write(before, admission.state, None, nobody_waits)
            self.writes.refuse(_STATUS[admission.verdict], done)
        elif admission.state == before and not self.writes.in_flight[key]:
            self._acknowledge(done)
        else:
            self._write(before, admission.state, value, done)

    def keep_cached(
        self, key: Key, value: bytes, records: Iterable[Record], origin: NodeId, *, is_hint: bool = False
    ) -> bool:
        """Keeps a copy that was just looked up, to serve it for `cache_life` and no longer than its lease.

        `is_hint`: another node pushed it. It takes the place of no copy that may be served. Of many leases those are
        kept that last longest, as many as go into an answer.
        """
        now = self.wall_clock()
        live = [each for each in records if not each.is_tombstone and each.expires > now and is_acceptable(each, now)]
        live = sorted(live, key=lambda each: -each.expires)[: registers.RULES.max_answer_records]
        if not live or self.refused_for_time(key):
            return False
        life = min(self.settings.cache_life, (max(each.expires for each in live) - now) / 1000)
        if life <= 0:
            return False
        if not is_hint or self.cache.get(key, self.clock()) is None:
            self.cache.keep(key, CachedCopy(value, tuple(live), origin, self.clock() + life, is_hint))
        return True

    def begin_to_leave(self) -> None:
        """From now on it is noted what comes in."""
        self._arrivals = {}

    @property
    def arrived(self) -> int:
        """How many keys have come in since, and were not taken out by `take_nothing_more`."""
        return len(self._arrivals or ())

    def take_nothing_more(self) -> list[Key]:
        """The keys that have come in since. What others want to store from now on is refused."""
        self.takes_nothing = True
        arrived, self._arrivals = list(self._arrivals or ()), None
        return arrived

    def take_back(self, record: Record, former: Register | None) -> None:
        """Undoes the `store` of this node's own record, which the other holders refused; `former` stood before it."""
        try:
            state = self.state(record.key)
            left = registers.taken_back(state, record, former, self.wall_clock())
            if not left.registers and left.size is None and not left.classic_until:
                self.storage.remove(record.key)
            elif left != state:
                self._write(state, left, None, nobody_waits, even_if_full=True)
        except StorageError:
            return  # what was refused for another reason is refused for this one too

    def restore(self, before: KeyState, value: bytes) -> None:
        """Brings back what was here of a key before `take_back`, where nothing took its place."""
        try:
            state = self.state(before.key)
        except StorageError:
            return
        if not state.registers:
            self._write(state, before, value, nobody_waits, even_if_full=True)

    def unpublish(self, key: Key) -> None:
        """Gives up the publication: its put came to nothing, or it was forgotten. A copy stays as at any holder."""
        try:
            state = self.state(key)
        except StorageError:
            # The put fails for its own reason; nothing can be written now anyway.
            return
        if state.published:
            left = registers.forgotten(state, self.wall_clock())
            self._write(state, left, None, nobody_waits)

    def expire(self, key: Key) -> None:
        """Lets go of what has ended about a key, or moves its time if nothing has."""
        state = self.storage.read(key)
        if state is None:
            return
        left = registers.expire(state, now=self.wall_clock(), uptime=self.uptime)
        self.writes.count_classic(state, left)
        if left is not None and left.published and not self.may_sleep:
            # In the same commit as what ended, so that no start overlooks it.
            self.note_sleepers(are_some=True)
        if left is None or left.size is None:
            self.spares.drop(key)
        if left is None:
            self.storage.remove(key)
            self.replicas.drop(key)
        else:
            self.writes.hand_over(left, None, None, even_if_full=True)

    def reschedule(self, key: Key) -> None:
        """Computes anew when the key needs attention: the neighbourhood has changed."""
        state = self.storage.read(key)
        if state is not None:
            self.writes.hand_over(state, None, None, even_if_full=True)

    def note_place(self, key: Key) -> None:
        """Looks whether this node is a holder of the key, or its copy a spare one. StorageError."""
        if self._table.is_among_closest(key):
            self.spares.drop(key)
        elif key not in self.spares:
            self._note_spare(self.state(key))

    def drop_copy(self, key: Key) -> None:
        """Gives up the copy of a value, because it is damaged or a spare one; its registers stay."""
        state = self.state(key)
        if state.size is not None:
            left = registers.without_value(state)
            self.writes.hand_over(left, None, None, even_if_full=True)
        self.spares.drop(key)

    def save_uptime(self) -> None:
        self.storage.set_note("uptime", self.uptime)
        self.storage.set_note("classic_bytes", self.writes.classic_bytes)

    def note_sleepers(self, *, are_some: bool) -> None:
        """Remembers, over starts too, whether a lease of a publication may have ended here and wait to be woken."""
        self.may_sleep = are_some
        note = SOMEBODY_SLEEPS if are_some else NOBODY_SLEEPS
        if self.storage.note(SLEEPERS) != note:
            self.storage.set_note(SLEEPERS, note)

    def renewal_time(self, state: KeyState) -> int:
        """When this node should renew a lease of its publisher's (wall ms); 0 for never."""
        register = state.register(self.publisher)
        if register is None or not register.record.is_renewable or register.ended_at is not None:
            return 0
        if state.size is None:
            return 0
        rank = self._table.rank(state.key)
        is_holder = rank < self._table.k
        if not is_holder and not state.published:
            return 0
        return leases.renewal_due(register.record, rank=rank, published_here=state.published, k=self._table.k)

    def _acknowledge(self, done: OnStored, winners: tuple[RecordRow, ...] = ()) -> None:
        """Answers for what is committed already."""
        try:
            durability = self.storage.confirm()
        except StorageError:
            self.writes.refuse(StoreStatus.FAILED, done)
        else:
            done(StoreResult(StoreStatus.STORED, durability, winners))

    def _write(
        self,
        before: KeyState,
        state: KeyState,
        value: bytes | None,
        done: OnStored,
        winners: tuple[RecordRow, ...] = (),
        *,
        even_if_full: bool = False,
    ) -> None:
        self.replicas.on_written(state.key)
        if self.writes.write(before, state, value, done, winners, even_if_full=even_if_full):
            self.comparisons.on_stored(state.key)
            self._note_spare(state)
            if self._arrivals is not None:
                self._arrivals[state.key] = None
                self.takes_nothing = len(self._arrivals) >= MAX_ARRIVALS

    def _is_spare(self, state: KeyState) -> bool:
        return state.size is not None and not state.published and not self._table.is_among_closest(state.key)

    def _note_spare(self, state: KeyState) -> None:
        if state.size is not None and self._is_spare(state):
            self.spares.note(state.key, state.size)
        else:
            self.spares.drop(state.key)

    def _give_up_spares(self, state: KeyState) -> bool:
        """Makes room for what is to be written by giving up spare copies; not for a spare copy. StorageError."""
        if self._is_spare(state):
            return False
        before = self.spares.given_up
        for key in self.spares.earliest(GIVEN_UP_AT_ONCE):
            if key != state.key and self._is_spare(self.state(key)):
                self.drop_copy(key)
                self.spares.given_up += 1
            self.spares.drop(key)
        return self.spares.given_up > before

    def _timetable(self, state: KeyState, now: int) -> Timetable:
        return Timetable(due=registers.due(state, now=now, uptime=self.uptime), renew=self.renewal_time(state))
