"""What does not fit into a datagram: asked for again over a stream, which may fail for reasons of its own."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    Durability,
    FindValue,
    Message,
    NodeList,
    Packet,
    Ping,
    Store,
    StoreKind,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.node.very_large import VERY_LARGE
from camomile_trio.wire.codec import decode_untrusted, encode
from tests.fixtures.line import Line
from tests.fixtures.parts import TARGET, ask, known_peers, open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, truthful
from tests.fixtures.records import lease_of


def serve(line: Line, peer: Peer, message: NodeList | Value | TooLarge | StoreResult, *, after: float = 0.0) -> None:
    """`peer` answers whatever comes over a stream with `message`."""

    async def answer(datagram: bytes, to: Endpoint) -> bytes:
        assert to == peer.endpoint
        await trio.sleep(after)
        return encode(Packet(decode_untrusted(datagram).session, peer.id, message, 1))

    line.streams = answer


async def test_too_large_is_asked_for_again_over_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        serve(line, bob, Value(value=bytes(100_000)))
        asked = ask(rpc, bob, FindValue(Key(TARGET)))
        (request,) = bob.heard()
        bob.answer(request, TooLarge(100_100))
        await trio.sleep(0.1)
        assert len(asked.replies) == 1
        assert asked.replies[0].message == Value(value=bytes(100_000))
        assert [packet.session for packet in line.streamed] == [request.session]
        assert rpc.statistics.answered["find_value"] == 1
        assert rpc.pending == 0


@pytest.mark.real_time
async def test_very_large_values_go_to_two_peers_at_a_time() -> None:
    """Each is a copy of the value, and there are k peers: they are made when their turn comes, not at once."""
    async with open_parts() as (parts, line):
        rpc = parts.rpc
        peers = known_peers(parts, 5)
        value = bytes(VERY_LARGE + 1)
        row = lease_of(peers[0].key, Key.of(value)).row()
        at_once: list[int] = []
        under_way = 0
        all_answered = trio.Event()

        async def answer(datagram: bytes, to: Endpoint) -> bytes:
            nonlocal under_way
            under_way += 1
            at_once.append(under_way)
            await trio.sleep(0.01)
            under_way -= 1
            if len(at_once) == len(peers) and not under_way:
                all_answered.set()
            packet = decode_untrusted(datagram)
            assert packet.message == Store(StoreKind.PUBLISH, None, value, (row,))
            peer = next(peer for peer in peers if peer.endpoint == to)
            return encode(Packet(packet.session, peer.id, StoreResult(StoreStatus.STORED, Durability.SYSTEM), 1))

        line.streams = answer
        asked = [ask(rpc, peer, Store(StoreKind.PUBLISH, Key.of(value), value, (row,))) for peer in peers]
        with trio.fail_after(10):
            await all_answered.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert [len(one.replies) for one in asked] == [1] * 5
        assert max(at_once) == 2


async def test_too_large_twice_does_not_end_the_stream(autojump_clock: trio.testing.MockClock) -> None:
    """The request went out twice, or the answer was doubled on its way."""
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        serve(line, bob, Value(value=bytes(100_000)), after=0.5)
        asked = ask(rpc, bob, FindValue(Key(TARGET)))
        (request,) = bob.heard()
        bob.answer(request, TooLarge(100_100))
        bob.answer(request, TooLarge(100_100))
        await trio.sleep(0.1)
        assert asked.is_open
        assert rpc.statistics.dropped["doubled_answer"] == 1
        await trio.sleep(1)
        assert [packet.message for packet in asked.replies] == [Value(value=bytes(100_000))]
        assert len(line.streamed) == 1


async def test_who_says_too_large_is_alive(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        ask(rpc, bob, FindValue(Key(TARGET)))
        bob.answer(bob.heard()[0], TooLarge(5000))
        assert bob.id in rpc.table
        assert rpc.peers.is_proven(bob.endpoint)


async def test_a_stream_that_fails_is_not_held_against_a_node_that_answers_pings(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """TCP may be closed where UDP is open. Only silence to a datagram costs the place in the table."""

    def too_large(peer: Peer, packet: Packet) -> Message | None:
        if isinstance(packet.message, FindValue):
            return TooLarge(5000)
        else:
            return truthful(peer, packet)

    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        rpc = parts.rpc
        bob, *others = known_peers(parts, 3)
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(others, truthful)
        behaviours[bob] = too_large
        nursery.start_soon(attend, behaviours)
        for _ in range(3):
            asked = ask(rpc, bob, FindValue(Key(TARGET)))
            await trio.sleep(10)
            assert len(asked.failed_at) == 1
            assert asked.overdue_at == []
            assert not rpc.peers.get(bob.endpoint).is_suspect(trio.current_time())
        assert rpc.statistics.dropped["stream_failed"] == 3
        assert bob.id in rpc.table
        nursery.cancel_scope.cancel()


async def test_a_stream_that_fails_tells_of_a_death_all_the_same(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        rpc = parts.rpc
        bob, *others = known_peers(parts, 3)
        living: dict[Peer, Behaviour] = dict.fromkeys(others, truthful)
        nursery.start_soon(attend, living)
        await trio.sleep(6)
        value = bytes(5000)
        row = lease_of(bob.key, Key.of(value)).row()
        asked = ask(rpc, bob, Store(StoreKind.PUBLISH, Key.of(value), value, (row,)))
        await trio.sleep(10)
        assert len(asked.failed_at) == 1
        assert bob.id not in rpc.table
        assert len(rpc.table) == 2
        nursery.cancel_scope.cancel()


async def test_a_stream_is_overdue_when_a_datagram_would_have_failed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        serve(line, bob, Value(value=b"slow"), after=5.0)
        asked = ask(rpc, bob, FindValue(Key(TARGET)))
        bob.answer(bob.heard()[0], TooLarge(5000))
        await trio.sleep(4.9)
        assert asked.overdue_at == [pytest.approx(2.0)]
        assert asked.is_open
        await trio.sleep(0.2)
        assert len(asked.replies) == 1


async def test_a_stream_has_a_deadline_too(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        serve(line, bob, Value(value=b"never"), after=1000.0)
        asked = ask(rpc, bob, FindValue(Key(TARGET)))
        bob.answer(bob.heard()[0], TooLarge(5000))
        await trio.sleep(100)
        assert asked.failed_at == [pytest.approx(10.0)]
        assert asked.request.done


async def test_a_large_request_goes_over_a_stream_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        bob.introduce()
        serve(line, bob, StoreResult(StoreStatus.STORED))
        value = bytes(5000)
        before = len(line.sent)
        row = lease_of(bob.key, Key.of(value)).row()
        asked = ask(rpc, bob, Store(StoreKind.PUBLISH, Key.of(value), value, (row,)))
        await trio.sleep(0.1)
        assert len(line.sent) == before
        assert [packet.message for packet in asked.replies] == [StoreResult(StoreStatus.STORED)]


@pytest.mark.parametrize("lie", ["garbage", "session", "sender", "kind", "nothing"])
async def test_a_lie_over_a_stream_fails_the_request(autojump_clock: trio.testing.MockClock, lie: str) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")

        async def answer(datagram: bytes, to: Endpoint) -> bytes:
            await trio.lowlevel.checkpoint()
            session = decode_untrusted(datagram).session
            match lie:
                case "garbage":
                    return b"\xff" * 100
                case "session":
                    return encode(Packet(bytes(32), bob.id, Value(), 1))
                case "sender":
                    return encode(Packet(session, NodeId(bytes(32)), Value(), 1))
                case "kind":
                    return encode(Packet(session, bob.id, NodeList(), 1))
                case _:
                    raise TransportError("closed")

        line.streams = answer
        asked = ask(rpc, bob, FindValue(Key(TARGET)))
        bob.answer(bob.heard()[0], TooLarge(5000))
        await trio.sleep(0.1)
        assert len(asked.failed_at) == 1
        assert not asked.replies
        assert all(isinstance(packet.message, Ping) for packet in bob.heard())  # is it there at all?
        assert rpc.statistics.requests["ping"] == 1  # whoever's id was told: its answer tells who lives there
        assert asked.request.done
