"""The rules by which what is offered for a key is admitted: a publisher's record, or a value of a classic node.

Rules of this file: pure functions from a state and an offer to a verdict and the next state. Signatures and hashes have
been checked before. Of the offering node only its source network is known here, and how it offers; whether there is
space is judged elsewhere. Source: docs/protocol.md, Records, rules 2, 3, 4, 6, 8 and 10.
"""

from __future__ import annotations

import enum
from collections import Counter

import attrs

from camomile_trio.kademlia.records import PublisherKey, Record
from camomile_trio.kademlia.registers import PUBLISHED, RULES, KeyState, Register, settled


class Verdict(enum.Enum):
    """What became of a record, or of a classic value, that was offered."""

    STORED = "stored"
    SAME = "same"  # it is here already: as good as stored
    STALE = "stale"  # the register holds a greater record
    EXPIRED = "expired"
    NOT_YET = "not yet"  # issued, or with a seq, too far in the future
    BAD_TERMS = "bad terms"  # it lasts longer or shorter than the network allows
    VALUE_NEEDED = "value needed"  # a lease came without its value, which is not here
    TOO_MANY_PUBLISHERS = "too many publishers"


@attrs.frozen
class Admission:
    """A verdict, and the state to keep from now on. `changed` says whether it differs, a refusal's included."""

    verdict: Verdict
    state: KeyState
    changed: bool
    winner: Record | None = None  # with STALE: the record that was greater, to be sent back (rules 3 and 8)


def admit(
    state: KeyState,
    record: Record,
    *,
    now: int,
    value_size: int | None,
    own: PublisherKey | None = None,
    brought_by: bytes = b"",
) -> Admission:
    """Merges `record`, whose signature has been checked, into what is known of its key (rules 2, 3, 4, 6 and 8).

    `value_size` is the size in bytes of the value that came along and hashes to the key, None if none came. `own` is
    this node's publisher key: its tombstone ends the publication here, and its lease yields to none. `brought_by` is
    written into a register that is new here, or whose lease takes a place anew. The bytes are to be stored exactly when
    the new state has a size and the old one had none.
    """
    refusal = _refuse_terms(record, now)
    if refusal is not None:
        return Admission(refusal, state, changed=False)
    old = state.register(record.publisher) if state.registers else None
    if old is not None and record.rank < old.record.rank and record.stamp != old.record.stamp:
        return _refuse_stale(state, old, record, now)
    if record.expires <= now:
        return Admission(Verdict.EXPIRED, state, changed=False)
    if not record.is_tombstone and state.size is None and value_size is None:
        return Admission(Verdict.VALUE_NEEDED, state, changed=False)
    size = value_size if state.size is None and not record.is_tombstone else state.size
    if old is not None and record.rank <= old.record.rank:
        if not old.has_yielded:
            if size == state.size:
                return Admission(Verdict.SAME, state, changed=False)
            return Admission(Verdict.STORED, attrs.evolve(state, size=size), changed=True)
        record = old.record
    # A lease that is renewed has its place, and a tombstone for a register that is here needs none (rule 6).
    has_place = old is not None and (record.is_tombstone or old.is_live(now))
    register = Register(
        record,
        remembered_until=max(record.expires, old.remembered_until if old is not None else 0),
        had_lease=not record.is_tombstone or (old is not None and old.had_lease),
        brought_by=old.brought_by if old is not None and has_place else brought_by,
    )
    if old is None:
        registers = (*state.registers, register)
    elif register.brought_by == old.brought_by:
        registers = _replaced(state.registers, old, register)
    else:
        # A publisher that comes by another network comes last: it takes precedence of none that the network has here.
        registers = (*[each for each in state.registers if each is not old], register)
    if not has_place and len(registers) > RULES.max_of_network:
        made = _make_room(registers, register, own=own, published=state.published, now=now)
        if made is None:
            return Admission(Verdict.TOO_MANY_PUBLISHERS, state, changed=False)
        registers = made
    merged = KeyState(
        state.key,
        size,
        registers,
        state.classic_until,
        state.published and not (record.is_tombstone and record.publisher == own),
    )
    return Admission(Verdict.STORED, settled(merged, now), changed=True)


def is_acceptable(record: Record, now: int) -> bool:
    """Whether the record's own words are within what the network allows (rules 3 and 6), as `admit` would judge them.

    For records that a lookup is shown, and that nobody stores here.
    """
    return _refuse_terms(record, now) is None


def is_against_clock(record: Record, now: int) -> bool:
    """Whether nothing but the clock at `now` rejects the record, by more than max_skew: then that clock may be wrong.

    Either the record is of the future, or it ended long ago, and another node shows it all the same.
    """
    refusal = _refuse_terms(record, now)
    return refusal is Verdict.NOT_YET or (refusal is None and record.expires + RULES.max_skew < now)


def _refuse_terms(record: Record, now: int) -> Verdict | None:
    """Whether the record's own words are outside what the network allows, whatever is known of its key."""
    life = record.expires - record.issued
    if record.is_tombstone and life != RULES.tombstone_life:
        return Verdict.BAD_TERMS
    if not record.is_tombstone and not RULES.least_lease <= life <= RULES.max_lease:
        return Verdict.BAD_TERMS
    # Twice the skew for a seq: a forget takes one skew of its own, from a clock that may be one skew ahead.
    if record.issued > now + RULES.max_skew or record.seq > now + 2 * RULES.max_skew:
        return Verdict.NOT_YET
    return None


def _refuse_stale(state: KeyState, old: Register, record: Record, now: int) -> Admission:
    # The register has merged this record too, by keeping the greater one: it has to outlive what it has beaten.
    if now < record.expires and old.remembered_until < record.expires:
        remembering = attrs.evolve(old, remembered_until=record.expires)
        registers = _replaced(state.registers, old, remembering)
        return Admission(Verdict.STALE, attrs.evolve(state, registers=registers), changed=True, winner=old.record)
    return Admission(Verdict.STALE, state, changed=False, winner=old.record)


def _make_room(
    registers: tuple[Register, ...], newcomer: Register, *, own: PublisherKey | None, published: bool, now: int
) -> tuple[Register, ...] | None:
    """The registers with `newcomer` among them once there is room for it; None when there is none (rule 4).

    A live lease that is surplus yields its place to one that is entitled to it: the newest of them does. It stays
    remembered, so that nothing it has beaten comes back. A register that is only kept because it ended makes room, the
    one that ended first; not where it may be what wakes our own publication.
    """
    surplus = _surplus(registers, own)
    is_surplus = any(each is newcomer for each in surplus)
    if newcomer.record.is_tombstone:
        rivals, most = [each for each in registers if not each.had_lease], RULES.max_unseen_tombstones
    elif is_surplus:
        rivals, most = surplus, RULES.max_remembered
    else:
        rivals, most = [each for each in registers if each.had_lease and each not in surplus], RULES.max_remembered
    if len(rivals) > most:
        ended = [each for each in rivals if each.remembered_until <= now and not published]
        if not ended:
            return None
        first = min(ended, key=lambda each: each.ended_at or 0)
        registers = tuple(each for each in registers if each is not first)
    if sum(each.is_live(now) for each in registers) <= RULES.max_publishers or newcomer.record.is_tombstone:
        return registers
    yielding = [each for each in surplus if each.is_live(now)]
    if is_surplus or not yielding:
        return None
    return _replaced(registers, yielding[-1], attrs.evolve(yielding[-1], has_yielded=True))


def _surplus(registers: tuple[Register, ...], own: PublisherKey | None) -> list[Register]:
    """The publishers that take free places only, oldest first: those beyond the first two that one source network has
    published, and those that came otherwise, by another holder or without a source network."""
    surplus: list[Register] = []
    of_network: Counter[bytes] = Counter()
    for register in registers:
        if not register.had_lease or register.record.publisher == own:
            continue
        if register.brought_by.startswith(PUBLISHED):
            of_network[register.brought_by] += 1
            if of_network[register.brought_by] <= RULES.max_of_network:
                continue
        surplus.append(register)
    return surplus


def _replaced(registers: tuple[Register, ...], old: Register, new: Register) -> tuple[Register, ...]:
    return tuple([new if each is old else each for each in registers])


def admit_classic(
    state: KeyState,
    *,
    publish: bool,
    now: int,
    value_size: int,
    closer: int,
    k: int,
) -> Admission:
    """A classic node stores a value, with PUBLISH (a user's put) or REPLICATE (`publish` False) (rule 10).

    It is kept for `classic_life` from first sight, halved for each node beyond k that is `closer` to the key than this
    one. No repeat prolongs it, and once it has ended only a PUBLISH brings it back.
    """
    # A forget tells the k closest. Any other node may lack the tombstone of what a classic node goes on replicating.
    if not publish and (state.registers or closer >= k):
        return Admission(Verdict.STALE, state, changed=False)
    if state.classic_until > now:
        if state.size is not None:
            return Admission(Verdict.SAME, state, changed=False)
        return Admission(Verdict.STORED, attrs.evolve(state, size=value_size), changed=True)
    if state.classic_until and not publish:
        # Classic nodes replicate hourly and for ever, so the end is remembered for as long as they go on; it is
        # written anew only when half of its memory has passed.
        if now - state.classic_until < RULES.classic_life // 2:
            return Admission(Verdict.EXPIRED, state, changed=False)
        return Admission(Verdict.EXPIRED, attrs.evolve(state, classic_until=now), changed=True)
    life = RULES.classic_life >> max(0, closer - k)
    if not life:
        return Admission(Verdict.EXPIRED, state, changed=False)
    size = value_size if state.size is None else state.size
    return Admission(Verdict.STORED, attrs.evolve(state, size=size, classic_until=now + life), changed=True)
