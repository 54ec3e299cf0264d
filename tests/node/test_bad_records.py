"""Records that no honest publisher signs, and holders that lie: refused with a reason, counted, and nothing is kept."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.errors import NoMajority
from camomile_trio.identity import KeyPair, network_id, sign_record
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    Holding,
    Message,
    Store,
    StoreKind,
    StoreResult,
)
from camomile_trio.kademlia.messages import StoreStatus as S
from camomile_trio.kademlia.records import Kind, Record, RecordRow
from camomile_trio.kademlia.registers import RULES
from camomile_trio.node.repair import Repair
from tests.fixtures.line import Line, one_node
from tests.fixtures.parts import open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, truthful
from tests.fixtures.records import EPOCH, NETWORK, lease_of, tombstone_of
from tests.fixtures.speaker import Heard

BOB, MALLORY = KeyPair.new(random.Random("bob")), KeyPair.new(random.Random("mallory"))
VALUE = b"a value"
KEY = Key.of(VALUE)
LEASE = lease_of(BOB, KEY)
LAST = 2**64 - 1
MINUTE = 60_000
# Virtual time goes on a little before the record is judged.
SOON = 5_000


def signed(
    *, kind: Kind = Kind.LEASE, seq: int = EPOCH, issued: int = EPOCH, life: int = 60 * MINUTE, network: bytes = NETWORK
) -> RecordRow:
    record = Record(KEY, kind, 0, BOB.public, seq, issued, min(issued + life, LAST))
    return sign_record(record, BOB, network).row()


def forged(record: Record) -> RecordRow:
    """In Bob's name, with Mallory's signature."""
    hers = sign_record(attrs.evolve(record, publisher=MALLORY.public), MALLORY, NETWORK)
    return attrs.evolve(record, signature=hers.signature).row()


BAD = {
    "issued in the future": (signed(issued=EPOCH + RULES.max_skew + SOON), S.NOT_YET, "not_yet"),
    "a seq in the future": (signed(seq=EPOCH + 2 * RULES.max_skew + SOON), S.NOT_YET, "not_yet"),
    "the last seq of all": (signed(seq=LAST), S.NOT_YET, "not_yet"),
    "one that signed numbers cannot hold": (signed(seq=2**63), S.NOT_YET, "not_yet"),
    "the last moment of all": (signed(issued=LAST - 60 * MINUTE), S.NOT_YET, "not_yet"),
    "a life until the end of time": (signed(life=LAST), S.EXPIRED, "bad_terms"),
    "a lease longer than any may be": (signed(life=RULES.max_lease + 1), S.EXPIRED, "bad_terms"),
    "a lease shorter than any may be": (signed(life=RULES.least_lease - 1), S.EXPIRED, "bad_terms"),
    "one that ends before it begins": (signed(life=-1), S.EXPIRED, "bad_terms"),
    "a tombstone for a moment": (signed(kind=Kind.TOMBSTONE), S.EXPIRED, "bad_terms"),
    "a tombstone for ever": (signed(kind=Kind.TOMBSTONE, life=LAST), S.EXPIRED, "bad_terms"),
    "a tombstone of the last seq": (
        signed(kind=Kind.TOMBSTONE, seq=LAST, life=RULES.tombstone_life), S.NOT_YET, "not_yet",
    ),
    "one that has ended": (signed(issued=EPOCH - 120 * MINUTE), S.EXPIRED, "expired"),
    "the first seq, and long ago": (signed(seq=0, issued=0), S.EXPIRED, "expired"),
    "a lease that another has signed": (forged(LEASE), S.BAD_SIGNATURE, "bad_signature"),
    "a tombstone that another has signed": (forged(tombstone_of(BOB, KEY)), S.BAD_SIGNATURE, "bad_signature"),
    "a lease of another network": (signed(network=network_id("elsewhere")), S.BAD_SIGNATURE, "bad_signature"),
    "a lease on another key": (lease_of(BOB, Key.of(b"other")).row(), S.BAD_SIGNATURE, "bad_signature"),
    "no point of the curve": (RecordRow(LEASE.row()[:-64] + b"\xff" * 64), S.BAD_SIGNATURE, "bad_signature"),
}  # fmt: skip


async def told(peer: Peer, message: Store) -> StoreResult:
    peer.heard()
    peer.ask(message)
    await trio.sleep(0.01)
    (answer,) = [heard.message for heard in peer.heard() if isinstance(heard.message, StoreResult)]
    return answer


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(("row", "status", "reason"), BAD.values(), ids=BAD)
async def test_it_is_refused_with_a_reason_and_counted(
    autojump_clock: trio.testing.MockClock, row: RecordRow, status: S, reason: str, is_there: bool
) -> None:
    """Whether the key is new or held already, with a lease of the very publisher in whose name it comes."""
    async with open_parts() as (parts, line):
        peer = Peer.at(line, "peer", "10.9.0.2:8118")
        peer.introduce()
        if is_there:
            assert (await told(peer, Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),)))).status is S.STORED
        before = parts.holdings.state(KEY)
        if is_there and reason == "expired":
            status, reason = S.STALE, "stale"  # and the newer one comes back with the answer
        for kind in (StoreKind.PUBLISH, StoreKind.REPLICATE):
            assert (await told(peer, Store(kind, KEY, VALUE, (row,)))).status is status
        assert parts.holdings.state(KEY) == before
        assert parts.holdings.refused == {reason: 2}


@pytest.mark.parametrize("name", ["issued in the future", "the last seq of all", "a life until the end of time"])
async def test_a_holder_that_shows_such_a_record_when_it_is_asked_is_not_believed(
    autojump_clock: trio.testing.MockClock, name: str
) -> None:
    row, _, reason = BAD[name]
    async with open_parts() as (parts, line):
        peer = Peer.at(line, "peer", "10.9.0.2:8118")
        peer.introduce()
        await told(peer, Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),)))
        before = parts.holdings.state(KEY)
        Repair(parts.make_core()).adopt(Holding(KEY, True, (row,)))
        assert parts.holdings.state(KEY) == before
        assert parts.holdings.refused == {reason: 1}


async def test_a_holder_that_shows_what_nobody_signed_is_not_believed_and_not_counted_as_a_copy(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        peer = Peer.at(line, "peer", "10.9.0.2:8118")
        peer.introduce()
        await told(peer, Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE.row(),)))
        repair = Repair(parts.make_core())
        assert repair.adopt(Holding(KEY, True, (forged(tombstone_of(BOB, KEY)),)))
        assert not repair.is_behind(Holding(KEY, True, (forged(LEASE),)))
        assert parts.requests.statistics.dropped["bad_signature"] == 1
        assert parts.holdings.state(KEY).size == len(VALUE)
        assert parts.holdings.replicas.count(LEASE.row()) is None


@pytest.mark.parametrize("seq", [LAST, EPOCH + 2 * RULES.max_skew + SOON])
async def test_a_holder_that_answers_with_a_winner_that_cannot_be_beats_nobody(
    autojump_clock: trio.testing.MockClock, seq: int
) -> None:
    """Signed with our own key, which has leaked: there is no seq above the last one to try again with."""
    publisher = KeyPair.new(random.Random("ours"))
    unsigned = Record(KEY, Kind.LEASE, 0, publisher.public, seq, EPOCH, EPOCH + 60 * MINUTE)
    row = sign_record(unsigned, publisher, NETWORK).row()

    def lie(heard: Heard) -> Message | None:
        return StoreResult(S.STALE, records=(row,)) if isinstance(heard.message, Store) else truthful(heard)

    line = Line()
    async with one_node(line=line, publisher=publisher) as (node, _), trio.open_nursery() as nursery:
        peers = [Peer.at(line, name, f"10.9.0.{number}:8118") for number, name in enumerate("abc", 2)]
        for peer in peers:
            peer.introduce()
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(peers, lie)
        nursery.start_soon(attend, behaviours)
        with pytest.raises(NoMajority, match="stale"):
            await node.put(VALUE)
        nursery.cancel_scope.cancel()
