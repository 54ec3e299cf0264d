"""One node's round among scripted holders: whom it asks, what it believes of the answers, and what it sends first."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import Config, Records
from camomile_trio.kademlia import registers
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    Durability,
    Have,
    HaveResult,
    Holding,
    Packet,
    Store,
    StoreResult,
    StoreStatus,
)
from camomile_trio.kademlia.registers import DIGEST_BYTES, KeyState
from camomile_trio.node.node import Node
from camomile_trio.node.repair import KEYS_AT_ONCE, KEYS_COMPARED
from camomile_trio.wire.codec import decode_untrusted, encode
from tests.node.line import Behaviour, Line, Peer, attend, lease_of, one_node, tombstone_of, truthful
from tests.node.shelf import ALICE

MAX_SENT_DATAGRAM = 1232
VALUES = [b"value %d" % number for number in range(4)]
KEYS = sorted(map(Key.of, VALUES))
ROWS = {key: lease_of(ALICE, key).row() for key in KEYS}


def kept_by(node: Node) -> None:
    """All of the values are here."""
    for value in VALUES:
        key = Key.of(value)
        node.core.holdings.store(key, value, (ROWS[key],), lambda result: None)


def digest_of(node: Node, key: Key) -> bytes:
    return registers.said(node.core.holdings.state(key), node.core.wall_clock()).digest


def peers_on(line: Line, count: int) -> list[Peer]:
    peers = [Peer.at(line, f"peer {number}", f"10.9.0.{number + 2}:8118") for number in range(count)]
    for peer in peers:
        peer.introduce()
    return peers


def holder_of(*held: Key, heard: list[Have] | None = None, stored: list[Key] | None = None) -> Behaviour:
    """One that has these of the keys, and takes the others when they come."""

    def behave(peer: Peer, packet: Packet) -> None:
        match packet.message:
            case Have(keys) as have:
                if heard is not None:
                    heard.append(have)
                is_alike = [key in held and bool(have.digests) for key in keys]
                told = tuple(
                    Holding(key, key in held, (ROWS[key],) * (key in held))
                    for key, alike in zip(keys, is_alike, strict=True)
                    if not alike
                )
                peer.answer(packet, HaveResult(told, sum(alike << number for number, alike in enumerate(is_alike))))
            case Store(_, key, value):
                if stored is not None:
                    stored.append(key or Key.of(value or b""))
                peer.answer(packet, StoreResult(StoreStatus.STORED, Durability.DISK))
            case _:
                truthful(peer, packet)

    return behave


async def one_round(node: Node, behaviours: dict[Peer, Behaviour]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend, behaviours)
        with trio.fail_after(60):
            await node._maintenance.rounds.next_part()
        nursery.cancel_scope.cancel()


async def test_what_has_the_fewest_copies_is_sent_first(autojump_clock: trio.testing.MockClock) -> None:
    """And not what comes first by its key: that one has the most."""
    async with one_node() as (node, line):
        kept_by(node)
        bob, carol, dave = peers_on(line, 3)
        stored: list[Key] = []
        behaviours = {
            bob: holder_of(*KEYS[:3], stored=stored),
            carol: holder_of(*KEYS[:2], stored=stored),
            dave: holder_of(*KEYS[:1], stored=stored),
        }
        await one_round(node, behaviours)
        assert stored == [KEYS[3]] * 3 + [KEYS[2]] * 2 + [KEYS[1]]


async def test_one_reading_does_for_all_who_are_asked(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_node() as (node, line):
        kept_by(node)
        peers = peers_on(line, 5)
        reads: list[int] = []
        storage = node.core.storage
        read_all, read = storage.read_all, storage.read

        def counted(keys: Sequence[Key]) -> dict[Key, KeyState]:
            reads.append(len(keys))
            return read_all(keys)

        def counted_one(key: Key) -> KeyState | None:
            reads.append(1)
            return read(key)

        monkeypatch.setattr(storage, "read_all", counted)
        monkeypatch.setattr(storage, "read", counted_one)
        await one_round(node, {peer: holder_of(*KEYS) for peer in peers})
        # Whether they are worth keeping, what is said of them, and, closest of all, whether one was forgotten lately.
        assert sum(reads) <= 3 * len(KEYS)


async def test_what_is_written_meanwhile_is_told_to_the_next(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        kept_by(node)
        bob, carol = peers_on(line, 2)
        heard: list[Have] = []
        renewed = lease_of(ALICE, KEYS[0], life=7200.0).row()
        stored: list[Key] = []
        told = holder_of(*KEYS, heard=heard, stored=stored)

        def renewing(peer: Peer, packet: Packet) -> None:
            if isinstance(packet.message, Have) and len(heard) == 0:
                node.core.holdings.store(KEYS[0], None, (renewed,), lambda result: None)
            told(peer, packet)

        before = digest_of(node, KEYS[0])
        await one_round(node, {bob: renewing, carol: renewing})
        after = digest_of(node, KEYS[0])
        digests = [have.digests[have.keys.index(KEYS[0])] for have in heard if have.digests and KEYS[0] in have.keys]
        assert digests[0] == before != after
        # The other, and then both once more.
        assert digests[1:] == [after] * 3
        # What the first said was of the lease before: it was asked again, and was sent the new one.
        assert stored == [KEYS[0]]
        assert node.core.confirmations.count(renewed, node.core.clock()) == 2


async def test_who_ignores_digests_and_answers_in_full_is_understood(autojump_clock: trio.testing.MockClock) -> None:
    """A node of ours from before there were digests."""
    async with one_node() as (node, line):
        kept_by(node)
        (bob,) = peers_on(line, 1)
        stored: list[Key] = []

        def of_old(peer: Peer, packet: Packet) -> None:
            match packet.message:
                case Have(keys):
                    known = tuple(Holding(key, key != KEYS[2], (ROWS[key],) * (key != KEYS[2])) for key in keys)
                    peer.answer(packet, HaveResult(known))
                case _:
                    holder_of(stored=stored)(peer, packet)

        await one_round(node, {bob: of_old})
        assert stored == [KEYS[2]]
        assert all(node.core.holdings.heard_at(key) is not None for key in KEYS if key != KEYS[2])
        assert all(node.core.confirmations.count(ROWS[key], node.core.clock()) == 1 for key in KEYS)


async def test_what_found_no_room_in_an_answer_is_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        kept_by(node)
        (bob,) = peers_on(line, 1)
        stored: list[Key] = []
        asked_first: list[Have] = []
        plain: list[Have] = []

        def terse(peer: Peer, packet: Packet) -> None:
            match packet.message:
                case Have(keys, _, digests) as have:
                    (asked_first if digests else plain).append(have)
                    told = tuple(Holding(key, False) for key in keys)
                    peer.answer(packet, HaveResult(told[:1] if digests else told))
                case _:
                    holder_of(stored=stored)(peer, packet)

        await one_round(node, {bob: terse})
        assert sorted(stored) == KEYS
        assert {key for have in plain for key in have.keys} == set(asked_first[0].keys[1:])
        assert all(len(have.keys) <= KEYS_AT_ONCE for have in plain)


async def test_bits_beyond_the_keys_say_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        kept_by(node)
        (bob,) = peers_on(line, 1)

        def boastful(peer: Peer, packet: Packet) -> None:
            if isinstance(packet.message, Have):
                lacking = tuple(Holding(key, False) for key in packet.message.keys)
                bits = (2**32 - 1) >> len(packet.message.keys) << len(packet.message.keys)
                peer.answer(packet, HaveResult(lacking, bits))
            elif not isinstance(packet.message, Store):
                truthful(peer, packet)

        await one_round(node, {bob: boastful})
        assert all(node.core.holdings.heard_at(key) is None for key in KEYS)
        assert all(node.core.confirmations.count(ROWS[key], node.core.clock()) is None for key in KEYS)


# Who is asked by another ---------------------------------------------------------------------------------------------


async def asked(node: Node, peer: Peer, key: Key, *, is_round: bool = True, digest: bytes | None = None) -> HaveResult:
    """What the node answers to a holder that has just what it has."""
    peer.heard()
    peer.ask(Have((key,), None, (digest or digest_of(node, key),), is_round), padding=300)
    await trio.sleep(0.01)
    (answer,) = [packet.message for packet in peer.heard() if isinstance(packet.message, HaveResult)]
    return answer


async def test_a_members_round_lets_who_holds_the_same_rest(autojump_clock: trio.testing.MockClock) -> None:
    async with one_node() as (node, line):
        kept_by(node)
        bob, carol = peers_on(line, 2)
        assert await asked(node, bob, KEYS[0]) == HaveResult((), 1)
        assert node.core.holdings.heard_at(KEYS[0]) is not None
        assert node.core.confirmations.count(ROWS[KEYS[0]], node.core.clock()) == 1
        # A question that is no round, and one about something else, are no reason to rest.
        assert await asked(node, bob, KEYS[1], is_round=False) == HaveResult((), 1)
        differing = await asked(node, bob, KEYS[2], digest=b"d" * DIGEST_BYTES)
        assert differing == HaveResult((Holding(KEYS[2], True, (ROWS[KEYS[2]],)),))
        assert (await asked(node, bob, KEYS[3], digest=bytes(DIGEST_BYTES))).alike == 0
        for key in KEYS[1:]:
            assert node.core.holdings.heard_at(key) is None
            assert node.core.confirmations.count(ROWS[key], node.core.clock()) is None
        # So the next round is about those three, and nobody is asked about the first.
        heard: list[Have] = []
        node._maintenance.rounds._number = next(
            number for number in range(24) if (KEYS[0][-1] + node.id[-1] + number) % 24
        )
        await one_round(node, {bob: holder_of(*KEYS, heard=heard), carol: holder_of(*KEYS, heard=heard)})
        assert KEYS[0] not in {key for have in heard for key in have.keys}
        assert set(KEYS[1:]) == {key for have in heard for key in have.keys}


async def test_nobody_rests_on_the_word_of_a_stranger(autojump_clock: trio.testing.MockClock) -> None:
    """Nor on a member's name from where it does not live."""
    async with one_node() as (node, line):
        kept_by(node)
        (bob,) = peers_on(line, 1)
        stranger = Peer.at(line, "mallory", "10.9.0.77:8118")
        elsewhere = attrs.evolve(bob, endpoint=Endpoint.parse("10.9.0.78:8118"), heard=0)
        for peer, key in ((stranger, KEYS[0]), (elsewhere, KEYS[1])):
            assert (await asked(node, peer, key)).alike == 1
            assert node.core.holdings.heard_at(key) is None
            assert node.core.confirmations.count(ROWS[key], node.core.clock()) is None


async def test_after_a_forget_everybody_makes_rounds(autojump_clock: trio.testing.MockClock) -> None:
    """For three intervals: somebody may have missed it, whom only one of the holders knows."""
    async with one_node(Config(records=Records(replicate_interval=600.0))) as (node, line):
        kept_by(node)
        (bob,) = peers_on(line, 1)
        node.core.holdings.store(KEYS[0], None, (tombstone_of(ALICE, KEYS[0]).row(),), lambda result: None)
        assert (await asked(node, bob, KEYS[0])).alike == 1
        assert node.core.holdings.heard_at(KEYS[0]) is None
        await trio.sleep(3 * 600.0 + 1)
        bob.introduce()
        assert (await asked(node, bob, KEYS[0])).alike == 1
        assert node.core.holdings.heard_at(KEYS[0]) is not None


# Sizes ---------------------------------------------------------------------------------------------------------------


def test_the_largest_question_of_a_round_fits_into_a_datagram() -> None:
    """In a named network, with an advertised endpoint of IPv6; and no key more would."""

    def packet(keys: int) -> Packet:
        have = Have(
            tuple(Key(number.to_bytes(32, "big")) for number in range(keys)),
            ALICE.public,
            tuple(number.to_bytes(DIGEST_BYTES, "big") for number in range(keys)),
            is_round=True,
        )
        advertised = Endpoint.parse("[2001:db8::1]:8118")
        return Packet(b"s" * 32, ALICE.node_id, have, 1, b"n" * 8, advertised=advertised)

    largest = packet(KEYS_COMPARED)
    assert decode_untrusted(encode(largest)) == largest
    assert len(encode(largest)) == 1202 <= MAX_SENT_DATAGRAM  # as docs/protocol.md says
    assert len(encode(packet(KEYS_COMPARED + 1))) > MAX_SENT_DATAGRAM
