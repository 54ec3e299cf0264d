"""What one node knows of one key: its registers, what they say at a moment, and how they end.

Rules of this file: frozen values and pure functions over them; whoever calls writes the state that comes back, and only
that. How a record gets in is decided in `admission.py`. Validity is judged by wall-clock milliseconds (`now`), how long
ended records are kept by this node's own uptime in milliseconds (`uptime`); both are arguments. Nothing here knows who
asks, where anything is stored, or what the value says. Source: docs/protocol.md, Records, whose rules are numbered.
"""

from __future__ import annotations

from hashlib import blake2b

import attrs

from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import Kind, PublisherKey, Record, RecordRow

_HOUR = 3_600_000
_LEASE = Kind.LEASE

# Of what is known of a key, as one node tells it to another. So many that nobody can make two records for one digest.
DIGEST_BYTES = 16
NOTHING = bytes(DIGEST_BYTES)


@attrs.frozen
class NetworkRules:
    """The constants that all nodes of a network share, times in milliseconds."""

    max_skew: int = 600_000  # how far two nodes' wall clocks may be apart
    max_lease: int = 24 * _HOUR
    least_lease: int = 60_000
    tombstone_life: int = 7 * 24 * _HOUR
    classic_life: int = 24 * _HOUR  # of a copy that a classic node stored
    max_publishers: int = 16  # of a key, with live leases
    max_of_network: int = 2  # of these, that one source network is entitled to
    max_remembered: int = 32  # publishers of a key, live or not: entitled ones, and as many that are surplus
    max_unseen_tombstones: int = 16  # of publishers whose lease was never stored here
    max_answer_records: int = 4


RULES = NetworkRules()

# How a register came here, the first byte of `Register.brought_by`: a node stored it for its users, another holder
# replicated it, or a node replicated it that this node does not know as a holder.
PUBLISHED, CARRIED, REPLICATED = b"n", b"c", b"r"


@attrs.frozen
class Register:
    """The winning record of one publisher for one key, and how long it has to be remembered (rule 6)."""

    record: Record
    remembered_until: int  # wall ms: the latest expiry that this register ever merged
    ended_at: int | None = None  # this node's own uptime (ms) when the record was found to have ended (rule 12)
    # Whether a lease of this publisher was ever stored here: only then does it count as a publisher (rule 4). It is to
    # be stored like the rest, and has no default so that nobody forgets it.
    had_lease: bool = attrs.field(kw_only=True)
    # The lease lost its place to another publisher's (rule 4): it is remembered, and no longer stands for the value.
    has_yielded: bool = attrs.field(default=False, kw_only=True)
    # How it came here, and from which source network: 9 bytes at most, empty where no network is charged.
    brought_by: bytes = attrs.field(default=b"", kw_only=True)

    def stands(self, now: int) -> bool:
        """Whether its record counts: it is in its life, and has not yielded its place."""
        return self.record.expires > now and not self.has_yielded

    def is_live(self, now: int) -> bool:
        """Whether it is a lease that counts, and so has one of the places of rule 4."""
        return not self.record.is_tombstone and self.stands(now)


@attrs.frozen
class KeyState:
    """All that a node stores about a key, but for the value's bytes. An immutable value: rules return a new one."""

    key: Key
    size: int | None = None  # bytes of the value if this node stores it, else None
    registers: tuple[Register, ...] = ()  # at most one for each publisher, in the order in which these came here
    # Wall ms: until when a value that a classic node stored is kept; 0 if none did. In the past: that copy has ended,
    # and this is remembered so that no REPLICATE brings it back (rule 10).
    classic_until: int = 0
    published: bool = False  # a put was accepted here: keep the value and its publication until it is forgotten

    def register(self, publisher: PublisherKey) -> Register | None:
        for register in self.registers:
            if register.record.publisher == publisher:
                return register
        return None


def is_live(state: KeyState, now: int) -> bool:
    """Whether some publisher has an unexpired lease (rule 4)."""
    for register in state.registers:
        record = register.record
        if record.expires > now and record.kind is _LEASE and not register.has_yielded:
            return True
    return False


def is_served(state: KeyState, now: int) -> bool:
    """Whether the value is here and somebody stands behind it: a live lease, or a classic copy in its life."""
    return state.size is not None and (state.classic_until > now or is_live(state, now))


def has_tombstone(state: KeyState, now: int) -> bool:
    """Whether some publisher has forgotten the value and its tombstone is in its life."""
    return any(r.record.is_tombstone and r.record.expires > now for r in state.registers)


def answer(
    state: KeyState,
    now: int,
    *,
    publisher: PublisherKey | None = None,
    ended: bool = False,
) -> list[Record]:
    """The records that go into an answer, at most `max_answer_records` (rule 4).

    The register of `publisher` (who was asked for) comes first, ended or not; then live leases, the longest first;
    then tombstones. Other records that have ended only when `ended` asks for them (rules 11 and 12).
    """

    def turn(register: Register) -> tuple[bool, bool, bool, int]:
        record = register.record
        return (record.publisher != publisher, not register.stands(now), record.is_tombstone, -record.expires)

    told = [r for r in state.registers if ended or r.stands(now) or r.record.publisher == publisher]
    if len(told) == 1:
        return [told[0].record]
    return [register.record for register in sorted(told, key=turn)[: RULES.max_answer_records]]


def offered(state: KeyState, now: int) -> list[Record]:
    """The unexpired records, as they are offered to another holder: tombstones first, so that none is left out."""
    live = [r.record for r in state.registers if r.stands(now)]
    return sorted(live, key=lambda record: (not record.is_tombstone, -record.expires))


@attrs.frozen
class Said:
    """What one node says of a key to all whom it asks, or who ask it whether they have the same."""

    rows: tuple[RecordRow, ...]  # the unexpired records, in the order of their publishers
    digest: bytes  # of the rows: the same at two nodes exactly when these are; NOTHING if there are none
    is_whole: bool  # the value is there too, where a record is a live lease

    def is_alike(self, theirs: bytes) -> bool:
        """Whether a node whose digest is `theirs` has nothing to tell us, nor we it."""
        return self.digest == theirs != NOTHING and self.is_whole


_SAID_NOTHING = Said((), NOTHING, True)


def said(state: KeyState, now: int) -> Said:
    """Of a key at one moment."""
    live = [r.record for r in state.registers if r.stands(now)]
    if len(live) > 1:
        live.sort(key=lambda record: record.publisher)
    if not live:
        return _SAID_NOTHING
    rows = tuple([record.row() for record in live])
    digest = blake2b(b"".join(rows), digest_size=DIGEST_BYTES).digest()
    return Said(rows, digest, state.size is not None or all(record.is_tombstone for record in live))


def was_forgotten_since(state: KeyState, since: int) -> bool:
    """Whether somebody has forgotten the value later than at `since`."""
    return any(r.record.is_tombstone and r.record.issued > since for r in state.registers)


def settled(state: KeyState, now: int) -> KeyState:
    """The state without a publication that has no lease left, and without a value that nothing stands behind."""
    if is_live(state, now):
        return state
    published = state.published and any(register.record.is_renewable for register in state.registers)
    size = state.size if published or state.classic_until > now else None
    if (size, published) == (state.size, state.published):
        return state
    return attrs.evolve(state, size=size, published=published)


def without_value(state: KeyState) -> KeyState:
    """The state after the value was given up, because it is damaged or because this node is no longer a holder."""
    return attrs.evolve(state, size=None)


def forgotten(state: KeyState, now: int) -> KeyState:
    """The state after this node gave up its publication. The value stays only while something else is live."""
    return settled(attrs.evolve(state, published=False), now)


def taken_back(state: KeyState, record: Record, former: Register | None, now: int) -> KeyState:
    """The state after the others refused this node's own `record`, if that is still here: with what stood before it.

    So nothing stays behind of what was signed under a wrong clock, or was too much for the holders.
    """
    register = state.register(record.publisher)
    if register is None or register.record != record:
        return state
    instead = tuple(former if each is register else each for each in state.registers)
    kept = tuple(each for each in instead if each is not None)
    return settled(attrs.evolve(state, registers=kept), now)


def expire(state: KeyState, *, now: int, uptime: int) -> KeyState | None:
    """What is left of the state at `now`; None when that is nothing (rules 6, 10 and 12).

    The value goes when nothing live stands behind it and it was not published here. A register goes when it need not
    be remembered any more; an ended renewable lease and an ended tombstone are kept, unserved, for tombstone_life of
    `uptime`, and the lease of a publication for as long as the value it may wake.
    """
    seen = (_seen_ending(register, now, uptime) for register in state.registers)
    registers = tuple(r for r in seen if r.remembered_until > now or _kept_for(state, r, uptime) != 0)
    remembers_classic = now < state.classic_until + RULES.classic_life
    classic_until = state.classic_until if remembers_classic else 0
    left = settled(attrs.evolve(state, registers=registers, classic_until=classic_until), now)
    if not left.registers and left.size is None and not left.classic_until:
        return None
    return state if left == state else left


def due(state: KeyState, *, now: int, uptime: int) -> int:
    """The wall time in ms, `now` or later, from which `expire` or `is_evictable` may say something new; 0 for never."""
    times = [] if settled(state, now) is state else [now]
    for register in state.registers:
        if register.record.expires > now:
            times.append(register.record.expires)
        elif register.ended_at is None:
            times.append(now)
        elif register.remembered_until > now:
            times.append(register.remembered_until)
        else:
            kept_for = _kept_for(state, register, uptime)
            if kept_for is not None:
                times.append(now + kept_for)
    if state.classic_until > now:
        times.append(state.classic_until)
    elif state.classic_until:
        times.append(max(now, state.classic_until + RULES.classic_life))
    return min(times, default=0)


def is_evictable(state: KeyState, now: int) -> bool:
    """Whether the key may go when space is short: no value, and nothing but records kept after their end (rule 12)."""
    return state.size is None and all(register.remembered_until <= now for register in state.registers)


def _seen_ending(register: Register, now: int, uptime: int) -> Register:
    if register.ended_at is not None or register.record.expires > now:
        return register
    return attrs.evolve(register, ended_at=uptime)


def _kept_for(state: KeyState, register: Register, uptime: int) -> int | None:
    """For how many ms more of uptime an ended register is kept beyond its memory; 0: not at all; None: no end."""
    record = register.record
    if register.ended_at is None or not (record.is_renewable or record.is_tombstone):
        return 0
    if record.is_renewable and state.published and state.size is not None:
        return None
    return max(0, register.ended_at + RULES.tombstone_life - uptime)
