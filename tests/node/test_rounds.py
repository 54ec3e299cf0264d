"""One node's round among scripted holders: whom it asks, what it believes of the answers, and what it sends first."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from camomile_trio.config import Config, Kademlia, Records
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    Durability,
    Have,
    HaveResult,
    Holding,
    Message,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
)
from camomile_trio.kademlia.registers import DIGEST_BYTES, KeyState
from camomile_trio.node.repair import KEYS_AT_ONCE, KEYS_COMPARED, Repair
from camomile_trio.node.rounds import Rounds
from camomile_trio.peer.packets import MOST_INNER
from tests.fixtures.line import Line, wall_clock
from tests.fixtures.parts import Parts, open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, truthful
from tests.fixtures.records import ALICE, lease_of, tombstone_of
from tests.fixtures.speaker import CODEC, Heard

VALUES = [b"value %d" % number for number in range(4)]
KEYS = sorted(map(Key.of, VALUES))
ROWS = {key: lease_of(ALICE, key).row() for key in KEYS}


def kept_by(parts: Parts) -> None:
    """All of the values are here."""
    for value in VALUES:
        key = Key.of(value)
        parts.keep(key, value, ROWS[key])


def digest_of(parts: Parts, key: Key) -> bytes:
    return registers.said(parts.holdings.state(key), wall_clock()).digest


def peers_on(line: Line, count: int) -> list[Peer]:
    peers = [Peer.at(line, f"peer {number}", f"10.9.0.{number + 2}:8118") for number in range(count)]
    for peer in peers:
        peer.introduce()
    return peers


def holder_of(*held: Key, haves: list[Have] | None = None, stored: list[Key] | None = None) -> Behaviour:
    """One that has these of the keys, and takes the others when they come."""

    def behave(heard: Heard) -> Message | None:
        match heard.message:
            case Have(keys) as have:
                if haves is not None:
                    haves.append(have)
                is_alike = [key in held and bool(have.digests) for key in keys]
                told = tuple(
                    Holding(key, key in held, (ROWS[key],) * (key in held))
                    for key, alike in zip(keys, is_alike, strict=True)
                    if not alike
                )
                return HaveResult(told, sum(alike << number for number, alike in enumerate(is_alike)))
            case Store(_, key, value):
                if stored is not None:
                    stored.append(key or Key.of(value or b""))
                return StoreResult(StoreStatus.STORED, Durability.DISK)
            case _:
                return truthful(heard)

    return behave


async def one_round(parts: Parts, behaviours: dict[Peer, Behaviour]) -> None:
    core = parts.make_core()
    rounds = Rounds(core, Repair(core))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend, behaviours)
        with trio.fail_after(60):
            await rounds.next_part()
        nursery.cancel_scope.cancel()


async def test_what_has_the_fewest_copies_is_sent_first(autojump_clock: trio.testing.MockClock) -> None:
    """And not what comes first by its key: that one has the most."""
    async with open_parts() as (parts, line):
        kept_by(parts)
        bob, carol, dave = peers_on(line, 3)
        stored: list[Key] = []
        behaviours = {
            bob: holder_of(*KEYS[:3], stored=stored),
            carol: holder_of(*KEYS[:2], stored=stored),
            dave: holder_of(*KEYS[:1], stored=stored),
        }
        await one_round(parts, behaviours)
        assert stored == [KEYS[3]] * 3 + [KEYS[2]] * 2 + [KEYS[1]]


async def test_one_reading_does_for_all_who_are_asked(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_parts() as (parts, line):
        kept_by(parts)
        peers = peers_on(line, 5)
        reads: list[int] = []
        storage = parts.storage
        read_all, read = storage.read_all, storage.read

        def counted(keys: Sequence[Key]) -> dict[Key, KeyState]:
            reads.append(len(keys))
            return read_all(keys)

        def counted_one(key: Key) -> KeyState | None:
            reads.append(1)
            return read(key)

        monkeypatch.setattr(storage, "read_all", counted)
        monkeypatch.setattr(storage, "read", counted_one)
        await one_round(parts, {peer: holder_of(*KEYS) for peer in peers})
        # Whether they are worth keeping, what is said of them, and, closest of all, whether one was forgotten lately.
        assert sum(reads) <= 3 * len(KEYS)


async def test_what_is_written_meanwhile_is_told_to_the_next(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        kept_by(parts)
        bob, carol = peers_on(line, 2)
        haves: list[Have] = []
        renewed = lease_of(ALICE, KEYS[0], life=7200.0).row()
        stored: list[Key] = []
        told = holder_of(*KEYS, haves=haves, stored=stored)

        def renewing(heard: Heard) -> Message | None:
            if isinstance(heard.message, Have) and not haves:
                parts.keep(KEYS[0], None, renewed)
            return told(heard)

        before = digest_of(parts, KEYS[0])
        await one_round(parts, {bob: renewing, carol: renewing})
        after = digest_of(parts, KEYS[0])
        digests = [have.digests[have.keys.index(KEYS[0])] for have in haves if have.digests and KEYS[0] in have.keys]
        assert digests[0] == before != after
        # The other, and then both once more.
        assert digests[1:] == [after] * 3
        # What the first said was of the lease before: it was asked again, and was sent the new one.
        assert stored == [KEYS[0]]
        assert parts.holdings.replicas.count(renewed) == 2


async def test_what_found_no_room_in_an_answer_is_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        kept_by(parts)
        (bob,) = peers_on(line, 1)
        stored: list[Key] = []
        asked_first: list[Have] = []
        plain: list[Have] = []

        def terse(heard: Heard) -> Message | None:
            match heard.message:
                case Have(keys, _, digests) as have:
                    (asked_first if digests else plain).append(have)
                    told = tuple(Holding(key, False) for key in keys)
                    return HaveResult(told[:1] if digests else told)
                case _:
                    return holder_of(stored=stored)(heard)

        await one_round(parts, {bob: terse})
        assert sorted(stored) == KEYS
        assert {key for have in plain for key in have.keys} == set(asked_first[0].keys[1:])
        assert all(len(have.keys) <= KEYS_AT_ONCE for have in plain)


async def test_bits_beyond_the_keys_say_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        kept_by(parts)
        (bob,) = peers_on(line, 1)

        def boastful(heard: Heard) -> Message | None:
            if isinstance(heard.message, Have):
                lacking = tuple(Holding(key, False) for key in heard.message.keys)
                bits = (2**32 - 1) >> len(heard.message.keys) << len(heard.message.keys)
                return HaveResult(lacking, bits)
            return truthful(heard)

        await one_round(parts, {bob: boastful})
        assert all(parts.holdings.replicas.heard_at(key) is None for key in KEYS)
        assert all(parts.holdings.replicas.count(ROWS[key]) is None for key in KEYS)


# Who is asked by another ---------------------------------------------------------------------------------------------


async def asked(
    parts: Parts, peer: Peer, key: Key, *, is_round: bool = True, digest: bytes | None = None
) -> HaveResult:
    """What the node answers to a holder that has just what it has."""
    peer.heard()
    peer.ask(Have((key,), None, (digest or digest_of(parts, key),), is_round))
    await trio.sleep(0.01)
    (answer,) = [heard.message for heard in peer.heard() if isinstance(heard.message, HaveResult)]
    return answer


async def test_a_members_round_lets_who_holds_the_same_rest(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        kept_by(parts)
        bob, carol = peers_on(line, 2)
        assert await asked(parts, bob, KEYS[0]) == HaveResult((), 1)
        assert parts.holdings.replicas.heard_at(KEYS[0]) is not None
        assert parts.holdings.replicas.count(ROWS[KEYS[0]]) == 1
        # A question that is no round, and one about something else, are no reason to rest.
        assert await asked(parts, bob, KEYS[1], is_round=False) == HaveResult((), 1)
        differing = await asked(parts, bob, KEYS[2], digest=b"d" * DIGEST_BYTES)
        assert differing == HaveResult((Holding(KEYS[2], True, (ROWS[KEYS[2]],)),))
        assert (await asked(parts, bob, KEYS[3], digest=bytes(DIGEST_BYTES))).alike == 0
        for key in KEYS[1:]:
            assert parts.holdings.replicas.heard_at(key) is None
            assert parts.holdings.replicas.count(ROWS[key]) is None
        # So the next round is about those three, and nobody is asked about the first.
        haves: list[Have] = []
        await one_round(parts, {bob: holder_of(*KEYS, haves=haves), carol: holder_of(*KEYS, haves=haves)})
        assert KEYS[0] not in {key for have in haves for key in have.keys}
        assert set(KEYS[1:]) == {key for have in haves for key in have.keys}


async def test_nobody_rests_on_the_word_of_a_node_without_a_seat(autojump_clock: trio.testing.MockClock) -> None:
    """It has proven its key, as any number of new keys of one host can."""
    async with open_parts(Config(kademlia=Kademlia(k=1))) as (parts, line):
        kept_by(parts)
        stranger = next(peer for peer in peers_on(line, 20) if peer.id not in parts.table)
        assert (await asked(parts, stranger, KEYS[0])).alike == 1
        assert parts.holdings.replicas.heard_at(KEYS[0]) is None
        assert parts.holdings.replicas.count(ROWS[KEYS[0]]) is None


async def test_a_stranger_that_replicates_again_and_again_quiets_no_holder(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It shows that it has what is here, by a STORE, as any node that has read the value can."""
    async with open_parts(Config(kademlia=Kademlia(k=2))) as (parts, line):
        kept_by(parts)
        peers = peers_on(line, 20)
        nearest = {each.id for each in parts.table.closest(KEYS[0])}
        strangers = [peer for peer in peers if peer.id not in nearest]
        assert any(peer.id in parts.table for peer in strangers)
        for peer in strangers:
            peer.ask(Store(StoreKind.REPLICATE, KEYS[0], None, (ROWS[KEYS[0]],)))
            await trio.sleep(0.01)
        assert parts.holdings.replicas.heard_at(KEYS[0]) is None
        haves: list[Have] = []
        await one_round(parts, {peer: holder_of(*KEYS, haves=haves) for peer in peers})
        assert KEYS[0] in {key for have in haves for key in have.keys}


async def test_a_holder_that_lies_quiets_another_for_one_interval(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(records=Records(replicate_interval=600.0))) as (parts, line):
        kept_by(parts)
        bob, carol = peers_on(line, 2)
        made = 0
        for _ in range(5):
            await asked(parts, bob, KEYS[0])
            bob.ask(Store(StoreKind.REPLICATE, KEYS[0], None, (ROWS[KEYS[0]],)))
            await trio.sleep(1)
            haves: list[Have] = []
            await one_round(parts, {bob: holder_of(*KEYS, haves=haves), carol: holder_of(haves=haves)})
            made += KEYS[0] in {key for have in haves for key in have.keys}
            await trio.sleep(600)
            for peer in (bob, carol):
                peer.introduce()
        assert made == 2


async def test_after_a_forget_everybody_makes_rounds(autojump_clock: trio.testing.MockClock) -> None:
    """For three intervals: somebody may have missed it, whom only one of the holders knows."""
    async with open_parts(Config(records=Records(replicate_interval=600.0))) as (parts, line):
        kept_by(parts)
        (bob,) = peers_on(line, 1)
        parts.keep(KEYS[0], None, tombstone_of(ALICE, KEYS[0]).row())
        assert (await asked(parts, bob, KEYS[0])).alike == 1
        assert parts.holdings.replicas.heard_at(KEYS[0]) is None
        await trio.sleep(3 * 600.0 + 1)
        bob.introduce()
        assert (await asked(parts, bob, KEYS[0])).alike == 1
        assert parts.holdings.replicas.heard_at(KEYS[0]) is not None


# Copies of former holders -------------------------------------------------------------------------------------------


async def test_no_copy_is_given_up_because_others_say_that_they_have_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Ids beside the key are cheap, and bits prove nothing."""
    async with open_parts(Config(kademlia=Kademlia(k=2))) as (parts, line):
        kept_by(parts)
        peers = peers_on(line, 30)
        assert not any(parts.table.is_among_closest(key) for key in KEYS)
        for _ in range(3):
            await one_round(parts, {peer: holder_of(*KEYS) for peer in peers})
            await trio.sleep(100)
        assert all(parts.holdings.state(key).size is not None for key in KEYS)
        assert len(parts.holdings.spares) == len(KEYS)


async def test_a_spare_copy_takes_over_tombstones_and_no_longer_lease(autojump_clock: trio.testing.MockClock) -> None:
    """Or what nobody asks this node for would stay for as long as it is renewed elsewhere."""
    async with open_parts(Config(kademlia=Kademlia(k=2))) as (parts, line):
        kept_by(parts)
        peers = peers_on(line, 30)
        renewed = {key: lease_of(ALICE, key, life=7200.0).row() for key in KEYS}
        forgotten = tombstone_of(ALICE, KEYS[0]).row()

        def holder(heard: Heard) -> Message | None:
            if not isinstance(heard.message, Have):
                return truthful(heard)
            rows = [forgotten if key == KEYS[0] else renewed[key] for key in heard.message.keys]
            return HaveResult(
                tuple(
                    Holding(key, row is not forgotten, (row,))
                    for key, row in zip(heard.message.keys, rows, strict=True)
                )
            )

        await one_round(parts, dict.fromkeys(peers, holder))
        assert parts.holdings.state(KEYS[0]).size is None
        for key in KEYS[1:]:
            (register,) = parts.holdings.state(key).registers
            assert register.record.row() == ROWS[key]


# Sizes ---------------------------------------------------------------------------------------------------------------


def test_the_largest_question_of_a_round_fits_into_a_datagram() -> None:
    """And no key more would."""

    def bytes_of(keys: int) -> int:
        have = Have(
            tuple(Key(number.to_bytes(32, "big")) for number in range(keys)),
            ALICE.public,
            tuple(number.to_bytes(DIGEST_BYTES, "big") for number in range(keys)),
            is_round=True,
        )
        inner = CODEC.encode(2**32 - 1, have, 0xFF)
        assert CODEC.decode_untrusted(inner) == (2**32 - 1, have, 0xFF)
        return len(inner)

    assert bytes_of(KEYS_COMPARED) <= MOST_INNER < bytes_of(KEYS_COMPARED + 1)
