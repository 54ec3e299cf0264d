"""Records and states in the words of the tests: alice, bob and the others publish one value.

Rules of this file: builders only, no assertions but that what a story builds on was accepted.
"""

from __future__ import annotations

from camomile_trio.kademlia.admission import Verdict, admit
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import RENEWABLE, Kind, PublisherKey, Record
from camomile_trio.kademlia.registers import RULES, KeyState

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = 1_700_000_000_000
UPTIME = 5 * DAY

KEY = Key.of(b"a value")
SIZE = 7


def publisher(number: int) -> PublisherKey:
    return PublisherKey(bytes([number]) * 32)


ALICE, BOB, CAROL = publisher(1), publisher(2), publisher(3)


def lease(
    by: PublisherKey = ALICE,
    *,
    seq: int = NOW,
    issued: int = NOW,
    life: int = DAY,
    renewable: bool = True,
    signature: bytes = bytes(64),
) -> Record:
    flags = RENEWABLE if renewable else 0
    return Record(KEY, Kind.LEASE, flags, by, seq, issued, issued + life, signature)


def tombstone(
    by: PublisherKey = ALICE,
    *,
    seq: int = NOW + RULES.max_skew,
    issued: int = NOW,
    life: int = RULES.tombstone_life,
) -> Record:
    return Record(KEY, Kind.TOMBSTONE, 0, by, seq, issued, issued + life, bytes(64))


def holding(*records: Record, now: int = NOW, state: KeyState | None = None) -> KeyState:
    """The state of a holder that was given these records, each lease with its value, and accepted all of them."""
    held = KeyState(KEY) if state is None else state
    for record in records:
        admission = admit(held, record, now=now, value_size=None if record.is_tombstone else SIZE)
        assert admission.verdict is Verdict.STORED, (admission.verdict, record)
        held = admission.state
    return held
