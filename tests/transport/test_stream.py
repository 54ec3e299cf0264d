"""Streams inbound, against peers that are slow, silent, lying or too many. Sockets are real, time is virtual."""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import AsyncIterator
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from camomile_trio.errors import ConfigError
from camomile_trio.transport import stream as stream_module
from camomile_trio.transport.base import TransportStatistics
from camomile_trio.transport.stream import StreamLimits, StreamServer, framed
from tests.transport.peers import GREETING, WELCOME, Peer, Recorder, World, echo, forever, open_world

pytestmark = pytest.mark.real_time

LIMITS = StreamLimits(per_peer=2, total=6)  # three places for strangers
SLOW = attrs.evolve(LIMITS, least_rate=100)  # bytes a second
LONGEST = 1000


@pytest.fixture
async def world(mock_clock: MockClock) -> AsyncIterator[World]:
    # Only a test that hangs is idle for so long of real time; then its patience ends.
    mock_clock.autojump_threshold = 3.0
    async with open_world("udp", patience=10_000.0) as opened:
        yield opened


async def _connect(peer: Peer, *, from_ip: str = "127.0.0.1") -> trio.SocketStream:
    connecting = trio.socket.socket()
    await connecting.bind((from_ip, 0))
    await connecting.connect((peer.endpoint.host, peer.endpoint.port))
    stream = trio.SocketStream(connecting)
    await _settle()
    return stream


async def _settle() -> None:
    """Until everything that the loopback interface has to deliver has been taken in."""
    await wait_all_tasks_blocked(0.005)


async def _is_closed(stream: trio.SocketStream) -> bool:
    """Whether the other side has closed. False: it waits for us."""
    await _settle()
    if not stream.socket.is_readable():
        return False
    try:
        assert await stream.receive_some(1) == b""
    except trio.BrokenResourceError:
        pass
    return True


async def _ask(stream: trio.SocketStream, message: bytes) -> bytes:
    await stream.send_all(framed(message))
    await _settle()
    answer = await stream.receive_some(10_000)
    assert int.from_bytes(answer[:4], "big") == len(answer) - 4
    return bytes(answer[4:])


def _refused(peer: Peer) -> int:
    return peer.transport.statistics.streams_refused


def _connections(peer: Peer) -> int:
    return peer.transport.statistics.stream_connections


async def test_messages_follow_one_another_on_one_connection(world: World) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as stream:
        assert await _ask(stream, b"one") == b"one"
        assert await _ask(stream, b"two") == b"two"
        await stream.send_all(framed(b"three") + framed(b"four"))
        await _settle()
        assert await stream.receive_some(100) == framed(b"three") + framed(b"four")
        assert bob.transport.statistics.streams_in == 1
    await _settle()
    assert _connections(bob) == 0
    assert _refused(bob) == 0


async def test_a_silent_connection_is_closed_after_two_seconds(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as stream:
        mock_clock.jump(1.9)
        assert not await _is_closed(stream)
        mock_clock.jump(0.2)
        assert await _is_closed(stream)
    assert (_refused(bob), _connections(bob)) == (1, 0)


@pytest.mark.parametrize(("rate", "arrives"), [(1, 0), (90, 1), (110, 1)])
async def test_a_message_has_the_time_that_its_bytes_take_and_five_seconds_more(
    world: World, mock_clock: MockClock, rate: int, arrives: int
) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=SLOW)
    async with await _connect(bob) as stream:
        message = framed(bytes(900))
        for second in range(0, len(message), rate):
            if await _is_closed(stream):
                break
            await stream.send_all(message[second : second + rate])
            await _settle()
            mock_clock.jump(1.0)
    assert len(bob.inbound.messages) == arrives
    await _settle()
    assert (_refused(bob), _connections(bob)) == (1 - arrives, 0)


async def test_a_burst_pays_for_no_long_silence(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=SLOW)
    async with await _connect(bob) as stream:
        await stream.send_all(framed(bytes(900))[:800])
        await _settle()
        mock_clock.jump(5.9)
        assert not await _is_closed(stream)
        mock_clock.jump(0.2)
        assert await _is_closed(stream)
    assert (_refused(bob), _connections(bob)) == (1, 0)


@pytest.mark.parametrize("length", [0, 1001, 2**32 - 1])
async def test_a_length_out_of_bounds_closes_at_once(world: World, length: int) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as stream:
        await stream.send_all(length.to_bytes(4, "big"))
        assert await _is_closed(stream)
    assert (_refused(bob), _connections(bob)) == (1, 0)


async def test_the_longest_message_is_accepted(world: World) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as stream:
        assert await _ask(stream, bytes(1000)) == bytes(1000)


@pytest.mark.parametrize("sent", [b"\0", b"\0\0\0\5", b"\0\0\0\5four"])
async def test_a_message_cut_short_is_not_handed_on(world: World, sent: bytes) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as stream:
        await stream.send_all(sent)
        await stream.send_eof()
        assert await _is_closed(stream)
    assert bob.inbound.messages == []
    assert (_refused(bob), _connections(bob)) == (1, 0)


async def test_a_peer_that_resets_its_connection_troubles_nobody(world: World) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as other:
        stream = await _connect(bob)
        await stream.send_all(b"\0\0")
        # An immediate end: RST instead of FIN.
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        await _settle()
        assert _connections(bob) == 1
        assert await _ask(other, b"still here") == b"still here"


async def test_a_peer_that_does_not_take_its_answer_loses_its_connection(world: World, mock_clock: MockClock) -> None:
    async def long_answer(_message: bytes) -> bytes | None:
        return bytes(16 * 2**20)

    bob = await world.join(Recorder(answer=long_answer), limits=LIMITS)
    async with await _connect(bob) as stream:
        await stream.send_all(framed(b"tell me everything"))
        await _settle()
        assert _connections(bob) == 1
        mock_clock.jump(10.1)
        await _settle()
        assert (_refused(bob), _connections(bob)) == (1, 0)


async def test_an_answer_has_the_time_that_its_bytes_take(world: World, mock_clock: MockClock) -> None:
    size = 16 * 2**20

    async def long_answer(_message: bytes) -> bytes | None:
        return bytes(size)

    bob = await world.join(Recorder(answer=long_answer), limits=LIMITS)
    async with await _connect(bob) as stream:
        await stream.send_all(framed(b"tell me everything"))
        taken = 0
        while taken < 4 + size:
            # More than the least rate, but slow.
            for _ in range(16):
                chunk = await stream.receive_some(2**16)
                assert chunk
                taken += len(chunk)
                if taken == 4 + size:
                    break
            await _settle()
            mock_clock.jump(2.0)
    await _settle()
    assert (_refused(bob), _connections(bob)) == (0, 0)


async def test_a_peer_that_goes_away_before_its_answer_troubles_nobody(world: World) -> None:
    thought = trio.Event()

    async def think(message: bytes) -> bytes | None:
        await thought.wait()
        return message

    bob = await world.join(Recorder(answer=think), limits=LIMITS)
    stream = await _connect(bob)
    await stream.send_all(framed(b"think"))
    await bob.inbound.until(messages=1)
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()
    thought.set()
    await _settle()
    assert (_refused(bob), _connections(bob)) == (0, 0)
    async with await _connect(bob) as other:
        assert await _ask(other, b"hello") == b"hello"


async def test_one_address_has_only_so_many_connections_and_others_still_get_in(
    world: World, mock_clock: MockClock
) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob), await _connect(bob):
        async with await _connect(bob) as third:
            assert await _is_closed(third)
            assert _refused(bob) == 1
        async with await _connect(bob, from_ip="127.0.0.2") as neighbour:
            assert await _ask(neighbour, b"hello") == b"hello"


async def test_all_addresses_together_have_only_so_many_connections(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with (
        await _connect(bob, from_ip="127.0.0.2"),
        await _connect(bob, from_ip="127.0.0.3"),
        await _connect(bob, from_ip="127.0.0.4"),
    ):
        assert _connections(bob) == 3
        async with await _connect(bob, from_ip="127.0.0.5") as fourth:
            assert await _is_closed(fourth)
    await _settle()
    assert (_refused(bob), _connections(bob)) == (1, 0)


async def test_an_idle_connection_makes_room_for_a_new_one(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as oldest, await _connect(bob) as older, await _connect(bob) as refused:
        assert await _is_closed(refused)
        assert await _ask(oldest, b"1") == b"1"
        assert await _ask(older, b"2") == b"2"
        async with await _connect(bob) as newcomer:
            assert await _is_closed(oldest)
            assert await _ask(newcomer, b"3") == b"3"
            assert await _ask(older, b"4") == b"4"
    assert _refused(bob) == 1


async def test_a_connection_at_work_makes_no_room(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as first, await _connect(bob) as second:
        # One has been idle before, one has not.
        await _ask(first, b"hello")
        bob.inbound.answer = forever
        await first.send_all(framed(b"think"))
        await second.send_all(framed(b"think"))
        await bob.inbound.until(messages=3)
        mock_clock.jump(60.0)
        async with await _connect(bob) as third:
            assert await _is_closed(third)
        assert not await _is_closed(first)
        assert not await _is_closed(second)


async def test_the_slowest_makes_room_and_one_that_keeps_the_rate_does_not(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=SLOW)
    message = framed(bytes(900))
    async with (
        await _connect(bob, from_ip="127.0.0.2") as good,
        await _connect(bob, from_ip="127.0.0.3") as silent,
        await _connect(bob, from_ip="127.0.0.4") as slow,
    ):
        for start in range(0, len(message), 100):
            mock_clock.jump(1.0)
            await good.send_all(message[start : start + 100])
            if start < 200:
                await slow.send_all(message[start : start + 50])
            await _settle()
            if start == 100:
                async with await _connect(bob, from_ip="127.0.0.5") as newcomer:
                    assert await _is_closed(silent)
                    assert not await _is_closed(slow)
                    async with await _connect(bob, from_ip="127.0.0.6") as another:
                        assert await _is_closed(slow)
                        assert await _ask(another, b"hello") == b"hello"
                    assert await _ask(newcomer, b"hello") == b"hello"
        assert (await good.receive_some(4096))[4:] == bytes(900)
    assert [source.host for _message, source in bob.inbound.messages] == ["127.0.0.6", "127.0.0.5", "127.0.0.2"]
    assert _refused(bob) == 2


async def test_one_source_network_has_only_so_many_connections_and_its_own_make_room(
    world: World, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "source_network", lambda ip: b"hostile" if ip[3] > 100 else b"")
    bob = await world.join(limits=StreamLimits(per_peer=2, per_network=2, total=10))
    async with (
        await _connect(bob, from_ip="127.0.0.2") as other,
        await _connect(bob, from_ip="127.0.0.101") as first,
        await _connect(bob, from_ip="127.0.0.102") as second,
    ):
        async with await _connect(bob, from_ip="127.0.0.103") as refused:
            assert await _is_closed(refused)
        mock_clock.jump(0.5)
        async with await _connect(bob, from_ip="127.0.0.104") as third:
            assert [await _is_closed(each) for each in (first, second)].count(True) == 1
            assert not await _is_closed(third)
        assert await _ask(other, b"hello") == b"hello"


# Places of members and strangers ------------------------------------------------------------------------------------


async def _greet(stream: trio.SocketStream, name: bytes) -> None:
    """After it the peer is claimed, and proven with its next message."""
    assert await _ask(stream, GREETING + name) == WELCOME


async def _member(peer: Peer, name: bytes, *, from_ip: str = "127.0.0.1") -> trio.SocketStream:
    """A connection with a member's place, which is idle."""
    peer.inbound.members.add(name)
    stream = await _connect(peer, from_ip=from_ip)
    await _greet(stream, name)
    assert await _ask(stream, b"hello") == b"hello"
    return stream


async def test_strangers_cannot_take_the_places_of_members(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(limits=LIMITS)
    async with contextlib.AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(await _connect(bob, from_ip=f"127.0.0.{n}")) for n in range(2, 8)]
        assert [await _is_closed(each) for each in strangers] == [False] * 3 + [True] * 3
        mock_clock.jump(0.1)  # all are behind, so one makes room
        members = []
        for number in range(3):
            members.append(await stack.enter_async_context(await _member(bob, b"%d" % number)))
            mock_clock.jump(0.1)
        for number in range(10):
            await stack.enter_async_context(await _connect(bob, from_ip=f"127.0.1.{number + 1}"))
            mock_clock.jump(0.1)
        assert _connections(bob) == 6
        for member in members:
            assert await _ask(member, b"still here") == b"still here"


async def test_a_new_connection_of_a_member_needs_no_strangers_place(world: World, mock_clock: MockClock) -> None:
    """It comes from where the member has its session. The strangers that have all of their places keep their rate."""
    bob = await world.join(limits=LIMITS)
    bob.inbound.members.add(b"carol")
    bob.inbound.member_ips.add(bytes([127, 0, 1, 1]))
    async with contextlib.AsyncExitStack() as stack:
        strangers = [await stack.enter_async_context(await _connect(bob, from_ip=f"127.0.0.{n}")) for n in range(2, 5)]
        another = await stack.enter_async_context(await _connect(bob, from_ip="127.0.0.9"))
        carol = await stack.enter_async_context(await _connect(bob, from_ip="127.0.1.1"))
        mallory = await stack.enter_async_context(await _connect(bob, from_ip="127.0.1.1"))
        third = await stack.enter_async_context(await _connect(bob, from_ip="127.0.1.1"))
        assert [await _is_closed(each) for each in (*strangers, another, carol, mallory, third)] == [
            *[False] * 3,
            *[True, False, False, True],
        ]
        # One that turns out to be no member has its answer, and no place any more.
        await _greet(mallory, b"mallory")
        assert await _ask(mallory, b"let me in") == b"let me in"
        assert await _is_closed(mallory)
        await _greet(carol, b"carol")
        assert await _ask(carol, b"one") == b"one"
        assert not await _is_closed(carol)
        assert await _ask(carol, b"two") == b"two"
        # Further ones have to prove themselves as well, and the member has so many in all.
        for _ in range(3):
            more = await stack.enter_async_context(await _connect(bob, from_ip="127.0.1.1"))
            await _greet(more, b"carol")
            assert await _ask(more, b"more") == b"more"
        assert not any([await _is_closed(each) for each in strangers])
        assert _connections(bob) == 5


async def test_a_members_place_is_not_for_one_who_has_only_named_it(world: World, mock_clock: MockClock) -> None:
    """Its first message may be a replay: until its second one it is closed for another stranger if it is slow."""
    bob = await world.join(limits=LIMITS)
    bob.inbound.members.add(b"carol")
    async with contextlib.AsyncExitStack() as stack:
        replayed = await stack.enter_async_context(await _connect(bob, from_ip="127.0.0.2"))
        await _greet(replayed, b"carol")
        mock_clock.jump(0.1)
        for number in range(3, 6):
            await stack.enter_async_context(await _connect(bob, from_ip=f"127.0.0.{number}"))
        assert await _is_closed(replayed)
    assert bob.inbound.messages == []


async def test_one_that_has_greeted_has_two_seconds_to_prove_itself(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(limits=LIMITS)
    async with await _connect(bob) as stream:
        mock_clock.jump(1.9)
        await _greet(stream, b"carol")
        mock_clock.jump(1.9)
        assert not await _is_closed(stream)
        mock_clock.jump(0.2)
        assert await _is_closed(stream)
    assert (_refused(bob), _connections(bob)) == (1, 0)


async def test_members_use_what_strangers_leave_free_and_give_it_back(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(limits=LIMITS)
    async with contextlib.AsyncExitStack() as stack:
        members = [await stack.enter_async_context(await _member(bob, b"%d" % number)) for number in range(6)]
        assert _connections(bob) == 6
        for number in range(5):
            await stack.enter_async_context(await _connect(bob, from_ip=f"127.0.0.{2 + number}"))
        # The longest idle ones gave way to three strangers, and these do to nobody.
        assert [await _is_closed(each) for each in members] == [True] * 3 + [False] * 3
        assert (_connections(bob), _refused(bob)) == (6, 2)


async def test_a_member_at_work_makes_no_room(world: World, mock_clock: MockClock) -> None:
    bob = await world.join(limits=attrs.evolve(LIMITS, total=1))
    async with await _connect(bob) as member:
        bob.inbound.members.add(b"carol")
        await _greet(member, b"carol")
        bob.inbound.answer = forever
        await member.send_all(framed(b"think"))
        await bob.inbound.until(messages=1)
        mock_clock.jump(60.0)
        async with await _connect(bob, from_ip="127.0.0.2") as refused:
            assert await _is_closed(refused)
        assert not await _is_closed(member)


async def test_members_of_one_address_and_network_are_not_in_each_others_way(
    world: World, mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "source_network", lambda ip: b"one for all")
    bob = await world.join(limits=StreamLimits(per_peer=2, per_network=2, total=10))
    async with contextlib.AsyncExitStack() as stack:
        members = [await stack.enter_async_context(await _member(bob, b"%d" % number)) for number in range(5)]
        strangers = [await stack.enter_async_context(await _connect(bob)) for _ in range(3)]
        assert [await _is_closed(each) for each in members] == [False] * 5
        assert [await _is_closed(each) for each in strangers] == [False, False, True]


async def test_a_member_has_only_so_many_places_from_wherever_it_comes(world: World, mock_clock: MockClock) -> None:
    """A further connection takes the place of an idle one of its own, or else stays a stranger's."""
    bob = await world.join(limits=StreamLimits(per_peer=2, total=20))
    async with contextlib.AsyncExitStack() as stack:
        own = [
            await stack.enter_async_context(await _member(bob, b"carol", from_ip=f"127.0.0.{number}"))
            for number in range(2, 6)
        ]
        assert [await _is_closed(each) for each in own] == [True, True, False, False]
        bob.inbound.answer = forever
        for each in own[2:]:
            await each.send_all(framed(b"think"))
        await bob.inbound.until(messages=6)
        bob.inbound.answer = echo
        third = await stack.enter_async_context(await _member(bob, b"carol", from_ip="127.0.0.9"))
        assert not await _is_closed(third)
        strangers = [
            await stack.enter_async_context(await _connect(bob, from_ip=f"127.0.1.{number}")) for number in range(1, 11)
        ]
        assert await _is_closed(third)
        assert not any([await _is_closed(each) for each in [*own[2:], *strangers]])


async def test_a_member_that_loses_its_seat_loses_its_place(world: World) -> None:
    bob = await world.join(limits=LIMITS)
    async with await _member(bob, b"carol") as stream:
        assert await _ask(stream, b"one") == b"one"
        assert not await _is_closed(stream)
        bob.inbound.members.clear()
        assert await _ask(stream, b"two") == b"two"
        assert await _is_closed(stream)
    async with await _connect(bob) as stranger:
        await _greet(stranger, b"carol")
        assert await _ask(stranger, b"three") == b"three"
        assert not await _is_closed(stranger)


async def test_of_those_that_are_slow_the_source_with_most_places_loses_one(
    world: World, mock_clock: MockClock
) -> None:
    """A newcomer far away is slow as well, for as long as a round trip takes."""
    bob = await world.join(limits=StreamLimits(per_peer=2, total=8))
    async with contextlib.AsyncExitStack() as stack:
        far = await stack.enter_async_context(await _connect(bob, from_ip="127.0.0.2"))
        mock_clock.jump(0.2)
        hostile: list[trio.SocketStream] = []
        for number in (3, 3, 4, 4):
            hostile.append(await stack.enter_async_context(await _connect(bob, from_ip=f"127.0.0.{number}")))
            mock_clock.jump(0.1)
        assert not await _is_closed(far)
        assert [await _is_closed(each) for each in hostile] == [True, False, False, False]
        await _greet(far, b"carol")
        assert await _ask(far, b"hello") == b"hello"


async def test_many_slow_streams_keep_no_honest_message_out(world: World, mock_clock: MockClock) -> None:
    """64 from 8 addresses want all places: each sends a byte at times, and comes back when it is closed."""
    alice, bob = await world.join(), await world.join()
    hostile: dict[str, list[trio.SocketStream]] = {f"127.0.0.{number}": [] for number in range(2, 10)}
    for number in range(20):
        for ip, streams in hostile.items():
            for stream in [each for each in streams if each.socket.is_readable()]:
                streams.remove(stream)
                await stream.aclose()
            while len(streams) < 8:
                streams.append(await _connect(bob, from_ip=ip))
                await streams[-1].send_all(framed(bytes(5000))[:10])
            for stream in streams:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(b"x")
        await _settle()
        assert _connections(bob) == 32
        mock_clock.jump(0.3)
        message = number.to_bytes(1, "big") * 5000
        assert await alice.exchange(message, bob) == message
        assert _connections(bob) <= 32
    assert len(bob.inbound.messages) == 20
    assert _refused(bob) >= 20
    for stream in [each for streams in hostile.values() for each in streams]:
        await stream.aclose()


async def test_an_idle_connection_is_closed_after_a_while_and_that_is_no_offence(
    world: World, mock_clock: MockClock
) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as stream:
        await _ask(stream, b"hello")
        mock_clock.jump(29)
        assert not await _is_closed(stream)
        mock_clock.jump(1.1)
        assert await _is_closed(stream)
    assert (_refused(bob), _connections(bob)) == (0, 0)


async def test_accepted_connections_end_with_serving(world: World) -> None:
    bob = await world.join(Recorder(most_bytes=LONGEST), limits=LIMITS)
    async with await _connect(bob) as idle, await _connect(bob) as silent:
        await _ask(idle, b"hello")
        bob.serving.cancel()
        assert await _is_closed(idle)
        assert await _is_closed(silent)
    assert _connections(bob) == 0


class FailingListener:
    """A listening socket whose accept fails as it is told to, then waits for ever."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)
        self.accepts_at: list[float] = []

    async def accept(self) -> tuple[trio.socket.SocketType, tuple[str, int]]:
        self.accepts_at.append(trio.current_time())
        if self.errors:
            await trio.lowlevel.checkpoint()
            raise OSError(self.errors.pop(0), "as the test wants it")
        await trio.sleep_forever()
        raise AssertionError


async def test_accepting_survives_peers_that_went_away_and_waits_when_descriptors_run_out(
    autojump_clock: MockClock,
) -> None:
    listener = FailingListener(errno.ECONNABORTED, errno.EMFILE, errno.EMFILE, errno.ECONNABORTED)
    statistics = TransportStatistics()
    server = StreamServer(cast("trio.socket.SocketType", listener), LIMITS, statistics)
    with trio.move_on_after(5):
        await server.serve(Recorder())
    assert listener.accepts_at == pytest.approx([0, 0, 0.1, 0.2, 0.2])
    assert statistics.streams_refused == 2


async def test_a_broken_listener_is_not_hidden() -> None:
    server = StreamServer(cast("trio.socket.SocketType", FailingListener(errno.EBADF)), LIMITS, TransportStatistics())
    with pytest.raises(ExceptionGroup) as raised:
        await server.serve(Recorder())
    assert raised.group_contains(OSError)


@pytest.mark.parametrize("wrong", [{"total": 0}, {"first_byte": -1.0}, {"per_peer": 0}, {"idle": math.nan}])
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        StreamLimits(**wrong)  # type: ignore[arg-type]
