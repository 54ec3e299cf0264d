"""The publisher's side of records: what to sign for a put, a forget, a renewal, and when to renew.

Rules of this file: every record that comes out is unsigned; `identity` signs it. Only a user's put or forget raises a
seq. All times are wall-clock milliseconds and come in as arguments. Source: docs/protocol.md, Records, rules 3, 6, 9
and 12.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import RENEWABLE, Kind, PublisherKey, Record
from camomile_trio.kademlia.registers import RULES


def new_lease(
    key: Key,
    publisher: PublisherKey,
    *,
    seen: int,
    now: int,
    life_ms: int,
    renewable: bool = True,
) -> Record:
    """The lease of a put, unsigned. `seen` is the highest seq known of this publisher for the key, 0 for none.

    ValueError for a life that the network's nodes would refuse.
    """
    _check_life(life_ms)
    flags = RENEWABLE if renewable else 0
    return Record(key, Kind.LEASE, flags, publisher, seq=max(seen + 1, now), issued=now, expires=now + life_ms)


def kept_until(lease: Record) -> float:
    """Until when a lease promises to keep its value: wall ms, or `math.inf` for one that is renewed until a forget."""
    return math.inf if lease.is_renewable else lease.expires


def stands_for(standing: Record, asked: Record, *, now: int) -> bool:
    """Whether the live lease `standing` keeps the value at least as long as the lease `asked` would (rule 3)."""
    return not standing.is_tombstone and standing.expires > now and kept_until(standing) >= kept_until(asked)


def is_replaced(old: Record, new: Record, *, now: int) -> bool:
    """Whether `new` is another put's lease, which takes the place of the live lease `old`: no renewal of it."""
    return not old.is_tombstone and not new.is_tombstone and old.expires > now and old.seq < new.seq


def is_shortened_by(old: Record, new: Record, *, now: int) -> bool:
    """Whether the lease `new` ends the life that the live lease `old` promises, which no put may do (rule 3)."""
    return not new.is_tombstone and stands_for(old, new, now=now) and kept_until(old) > kept_until(new)


def new_tombstone(key: Key, publisher: PublisherKey, *, seen: int, now: int) -> Record:
    """The tombstone of a forget, unsigned. `seen` as for `new_lease`.

    Its seq is one skew ahead, so that it beats a put made before it under a clock that is ahead of ours.
    """
    seq = max(seen + 1, now + RULES.max_skew)
    return Record(key, Kind.TOMBSTONE, 0, publisher, seq=seq, issued=now, expires=now + RULES.tombstone_life)


def renewal(record: Record, *, now: int, life_ms: int) -> Record | None:
    """The same lease issued anew, unsigned, with the same seq: a forget that is under way still beats it.

    None where nothing is to be renewed: a tombstone, a lease that may not be renewed or has ended, or one that lasts
    at least as long already. ValueError for a life that the network's nodes would refuse.
    """
    _check_life(life_ms)
    if not record.is_renewable or record.expires <= now or now + life_ms <= record.expires:
        return None
    return attrs.evolve(record, issued=now, expires=now + life_ms, signature=b"")


def renewal_due(record: Record, *, rank: int, published_here: bool, k: int) -> int:
    """The wall time in ms at which this node renews the lease if nobody has before; 0 for never.

    `rank` counts the live holders that are closer to the key: 0 is the closest, k or more is no holder. Holders take
    turns from half life on, each a little later, so that usually one renewal serves all. At three quarters it is the
    turn of the node that published the value without holding it.
    """
    if not record.is_renewable:
        return 0
    life = record.expires - record.issued
    if rank < k:
        return record.issued + life // 2 + life * rank // (4 * k)
    return record.issued + 3 * life // 4 if published_here else 0


def revival(ended: Record, reported: Iterable[Record | None], *, group: int, now: int) -> bool:
    """Whether the publisher may bring its own `ended` lease back to life (rule 12).

    `reported` is, for each node of the group that answered (this one included if it is in the group), the latest
    register of this publisher there, or None. `group` is how large the group is, silent nodes too: the lesser of k and
    the contacts that the publisher last knew, with itself. A majority of all of them must still hold that very lease as
    the latest word, and none a tombstone over it: then nobody has forgotten the value while we were away.
    """
    if not ended.is_renewable or ended.expires > now:
        return False
    holders = 0
    for record in reported:
        if record is None:
            continue
        if record.is_tombstone and record.rank > ended.rank:
            return False
        holders += record.stamp == ended.stamp
    return holders > group // 2


def revived(ended: Record, *, now: int, life_ms: int) -> Record:
    """The lease that `revival` has allowed, unsigned: a renewal after the end, with the same seq.

    ValueError for a life that the network's nodes would refuse.
    """
    _check_life(life_ms)
    return attrs.evolve(ended, issued=now, expires=now + life_ms, signature=b"")


def _check_life(life_ms: int) -> None:
    if not RULES.least_lease <= life_ms <= RULES.max_lease:
        raise ValueError(f"a lease lasts {RULES.least_lease} to {RULES.max_lease} ms, not {life_ms}")
