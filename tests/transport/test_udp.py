"""The UDP socket: ports, families of addresses, and what the network reports about a datagram."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport import packet_info, shares, udp
from camomile_trio.transport.packet_info import Departure
from camomile_trio.transport.sockaddr import SocketAddress, from_sockaddr, to_sockaddr
from camomile_trio.transport.stream import DEFAULT_LIMITS
from camomile_trio.transport.udp import UdpTransport, open_udp
from tests.transport.peers import ANY_PORT, Peer, Recorder, World, open_world

pytestmark = pytest.mark.real_time

_RECEIVE_ERRORS = 11  # IP_RECVERR of Linux, which the socket module does not name


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with open_world("udp") as opened:
        yield opened


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_packet_information = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system chooses for IPv4")
needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine lacks IPv6")


async def test_port_0_takes_one_port_for_both_protocols() -> None:
    async with open_udp(ANY_PORT) as transport:
        stream = await trio.open_tcp_stream("127.0.0.1", transport.endpoint.port)
        await stream.aclose()


async def test_a_port_free_for_one_protocol_only_is_given_back_and_another_one_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = _fail_tcp(monkeypatch, times=3, error=errno.EADDRINUSE)
    async with open_udp(ANY_PORT) as transport:
        assert len(taken) == 3
        assert transport.endpoint.port != 0


async def test_the_search_for_a_port_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = _fail_tcp(monkeypatch, times=100, error=errno.EADDRINUSE)
    with pytest.raises(TransportError, match="no port of 127"):
        await _open_and_close(ANY_PORT, port_retries=4)
    assert len(taken) == 4


async def test_other_troubles_with_a_port_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = _fail_tcp(monkeypatch, times=100, error=errno.EACCES)
    with pytest.raises(TransportError, match=r"TCP 127\.0\.0\.1:\d+: Permission denied"):
        await _open_and_close(ANY_PORT)
    assert len(taken) == 1


def _fail_tcp(monkeypatch: pytest.MonkeyPatch, *, times: int, error: int) -> list[object]:
    """The addresses at which so many TCP sockets could not be bound."""
    taken: list[object] = []

    class Socket(socket.socket):
        def bind(self, address: Any) -> None:
            if self.type == socket.SOCK_STREAM and len(taken) < times:
                taken.append(address)
                raise OSError(error, "as the test wants it")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Socket)
    return taken


async def _open_and_close(listen: Endpoint, *, port_retries: int = 16) -> None:
    async with open_udp(listen, port_retries=port_retries):
        pass


async def test_a_port_in_use_is_said_in_one_line_with_a_remedy() -> None:
    async with open_udp(ANY_PORT) as transport:
        with pytest.raises(TransportError) as raised:
            await _open_and_close(transport.endpoint)
    assert str(raised.value) == f"cannot listen on UDP {transport.endpoint}: Address already in use"
    assert "--listen" in raised.value.remedy


async def test_a_port_that_only_tcp_has_taken_is_named_as_such() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = Endpoint.from_host(*other.getsockname())
        with pytest.raises(TransportError) as raised:
            await _open_and_close(taken)
    assert str(raised.value) == f"cannot listen on TCP {taken}: Address already in use"


async def test_an_address_of_another_machine_is_refused_with_a_remedy() -> None:
    with pytest.raises(TransportError) as raised:
        await _open_and_close(Endpoint.parse("192.0.2.1:0"))
    assert "address of this machine" in raised.value.remedy


@needs_ipv6
async def test_nodes_meet_over_ipv6(world: World) -> None:
    ipv6 = Endpoint.parse("[::1]:0")
    alice, bob = await world.join(at=ipv6), await world.join(at=ipv6)
    alice.send(b"over IPv6", bob)
    await bob.inbound.until(datagrams=1)
    assert bob.inbound.datagrams == [(b"over IPv6", alice.endpoint)]
    assert alice.endpoint.host == "::1"
    assert await alice.exchange(b"and by TCP", bob) == b"and by TCP"
    assert bob.inbound.messages[0][1].host == "::1"


@needs_ipv6
async def test_a_node_open_to_both_families_sees_ipv4_peers_as_ipv4(world: World) -> None:
    both = await world.join(at=Endpoint.parse("[::]:0"))
    old, new = await world.join(), await world.join(at=Endpoint.parse("[::1]:0"))
    port = both.endpoint.port
    old.transport.send(b"from IPv4", Endpoint.parse(f"127.0.0.1:{port}"))
    new.transport.send(b"from IPv6", Endpoint.parse(f"[::1]:{port}"))
    await both.inbound.until(datagrams=2)
    assert set(both.inbound.datagrams) == {(b"from IPv4", old.endpoint), (b"from IPv6", new.endpoint)}
    both.send(b"answer", old)
    both.send(b"answer", new)
    for peer in (old, new):
        await peer.inbound.until(datagrams=1)
        assert peer.inbound.payloads == [b"answer"]
        assert await both.exchange(b"by TCP", peer) == b"by TCP"
    await old.exchange(b"by TCP", Endpoint.parse(f"127.0.0.1:{port}"))
    assert both.inbound.messages[0][1].ip == old.endpoint.ip


async def test_an_ipv4_node_cannot_send_to_ipv6(world: World) -> None:
    alice = await world.join()
    assert not alice.transport.send(b"hello?", Endpoint.parse("[::1]:8118"))
    assert alice.transport.statistics.dropped_out == 1


async def test_peers_see_the_address_that_a_node_listens_on_in_streams_too(world: World) -> None:
    alice, bob = await world.join(at=Endpoint.parse("127.0.0.2:0")), await world.join()
    await alice.exchange(b"who am I", bob)
    assert bob.inbound.messages[0][1].host == "127.0.0.2"


@needs_packet_information
@pytest.mark.parametrize("wildcard", ["0.0.0.0:0", pytest.param("[::]:0", marks=needs_ipv6)])
async def test_who_listens_on_all_addresses_answers_from_the_one_that_was_written_to(
    world: World, wildcard: str
) -> None:
    """All of 127.0.0.0/8 is this machine, and the system would send from 127.0.0.1."""
    everywhere, bob, carol = await world.join(at=Endpoint.parse(wildcard)), await world.join(), await world.join()
    port = everywhere.endpoint.port
    second, third = Endpoint.parse(f"127.0.0.2:{port}"), Endpoint.parse(f"127.0.0.3:{port}")
    everywhere.inbound.react = lambda datagram, source: everywhere.transport.send(b"yes to " + datagram, source)
    everywhere.inbound.expected = {(datagram, bob.endpoint) for datagram in (b"3", b"4")}
    bob.transport.send(b"1", second)
    carol.transport.send(b"2", third)
    bob.transport.send(b"3", second)
    await bob.inbound.until(datagrams=2)
    await carol.inbound.until(datagrams=1)
    assert {source for _datagram, source in bob.inbound.datagrams} == {second}
    assert {source for _datagram, source in carol.inbound.datagrams} == {third}
    # What it sends of its own accord leaves from there as well, a stream too.
    everywhere.send(b"and you?", bob)
    await bob.inbound.until(datagrams=3)
    assert bob.inbound.datagrams[2] == (b"and you?", second)
    await everywhere.exchange(b"who am I", bob)
    assert bob.inbound.messages[0][1].host == "127.0.0.2"
    # The latest counts: the peer may have lost the way to the other one.
    bob.transport.send(b"4", third)
    await bob.inbound.until(datagrams=4)
    everywhere.send(b"still there?", bob)
    await bob.inbound.until(datagrams=5)
    assert bob.inbound.datagrams[3:] == [(b"yes to 4", third), (b"still there?", third)]
    # But for what another may have sent in the peer's name: that is answered, and changes nothing.
    bob.transport.send(b"forged", second)
    await bob.inbound.until(datagrams=6)
    everywhere.send(b"and now?", bob)
    await bob.inbound.until(datagrams=7)
    assert bob.inbound.datagrams[5:] == [(b"yes to forged", second), (b"and now?", third)]


@needs_packet_information
async def test_an_address_that_is_no_more_is_left_to_the_system(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere, bob = await world.join(at=Endpoint.parse("0.0.0.0:0")), await world.join()
    nowhere = socket.inet_aton("192.0.2.1")
    gone = Departure([], nowhere, [(socket.IPPROTO_IP, 8, struct.pack("=I4s4s", 0, nowhere, b""))])
    monkeypatch.setattr(packet_info, "departure", lambda arrived: gone)
    everywhere.inbound.expected = {(b"hello", bob.endpoint)}
    bob.transport.send(b"hello", Endpoint.parse(f"127.0.0.2:{everywhere.endpoint.port}"))
    await everywhere.inbound.until(datagrams=1)
    await everywhere.exchange(b"by TCP", bob)
    assert everywhere.send(b"still here", bob)
    await bob.inbound.until(datagrams=1)
    assert bob.inbound.datagrams[0][1].host == "127.0.0.1"


async def test_a_system_without_packet_information_chooses_the_source(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packet_info, "_IP_PKTINFO", None)
    everywhere, bob = await world.join(at=Endpoint.parse("0.0.0.0:0")), await world.join()
    everywhere.inbound.react = lambda datagram, source: everywhere.transport.send(datagram, source)
    bob.transport.send(b"hello", Endpoint.parse(f"127.0.0.1:{everywhere.endpoint.port}"))
    await bob.inbound.until(datagrams=1)
    assert bob.inbound.payloads == [b"hello"]


@needs_packet_information
async def test_the_memory_of_addresses_that_were_written_to_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(udp, "_MAX_DEPARTURES", 2)
    everywhere = await world.join(at=Endpoint.parse("0.0.0.0:0"))
    second = Endpoint.parse(f"127.0.0.2:{everywhere.endpoint.port}")
    peers = [await world.join() for _ in range(3)]
    everywhere.inbound.expected = {(b"hello", peer.endpoint) for peer in peers}
    for number, peer in enumerate(peers):
        peer.transport.send(b"hello", second)
        await everywhere.inbound.until(datagrams=number + 1)
    for peer in peers:
        everywhere.send(b"hello", peer)
        await peer.inbound.until(datagrams=1)
    assert [peer.inbound.datagrams[0][1].host for peer in peers] == ["127.0.0.1", "127.0.0.2", "127.0.0.2"]


async def serving(world: World, udp: socket.socket, inbound: Recorder | None = None) -> Peer:
    """A transport with a UDP socket of the test's, on loopback; it ends with the world."""
    udp.setblocking(False)
    udp.bind(("127.0.0.1", 0))
    transport = UdpTransport(udp, socket.create_server(("127.0.0.1", 0)), DEFAULT_LIMITS)
    world.stack.callback(transport.close)
    peer = Peer(transport, inbound or Recorder(), trio.CancelScope(), contextlib.AsyncExitStack())

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        with peer.serving:
            await transport.serve(peer.inbound, task_status=task_status)

    await world.nursery.start(serve)
    return peer


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for what other systems report by themselves")
async def test_a_report_that_nobody_listens_does_not_end_receiving(world: World) -> None:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.IPPROTO_IP, _RECEIVE_ERRORS, 1)
    alice, bob = await serving(world, udp), await world.join()
    alice.transport.send(b"hello?", Endpoint.parse("127.0.0.1:1"))
    while not alice.transport.statistics.send_errors:
        await trio.lowlevel.checkpoint()
    bob.send(b"I do", alice)
    await alice.inbound.until(datagrams=1)
    assert alice.inbound.payloads == [b"I do"]


async def test_a_full_buffer_drops_and_counts(world: World) -> None:
    class Full(socket.socket):
        def sendto(self, *_arguments: Any) -> int:
            raise BlockingIOError

    alice, bob = await serving(world, Full(socket.AF_INET, socket.SOCK_DGRAM)), await world.join()
    assert not alice.send(b"no room", bob)
    assert (alice.transport.statistics.dropped_out, alice.transport.statistics.send_errors) == (1, 0)


async def test_a_broken_socket_is_not_hidden() -> None:
    class Broken(socket.socket):
        def recvfrom(self, *_arguments: Any) -> tuple[bytes, Any]:
            raise OSError(errno.EBADF, "as the test wants it")

    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="as the test wants it"), flatten_subgroups=True):
        async with open_world("udp") as world:
            alice, bob = await serving(world, Broken(socket.AF_INET, socket.SOCK_DGRAM)), await world.join()
            bob.send(b"hello", alice)
            await trio.sleep_forever()


async def test_the_memory_of_addresses_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was forgotten is looked up again, and one that was not is remembered."""
    monkeypatch.setattr(udp, "_MAX_ADDRESSES", 3)
    sent_to: list[Endpoint] = []
    heard_from: list[Endpoint] = []

    def noted_to(to: Endpoint, family: socket.AddressFamily) -> tuple[str, int] | None:
        sent_to.append(to)
        return to_sockaddr(to, family)

    def noted_from(address: SocketAddress) -> Endpoint:
        heard_from.append(from_sockaddr(address))
        return heard_from[-1]

    alice = await world.join()
    peers = [await world.join() for _ in range(8)]
    monkeypatch.setattr(udp, "to_sockaddr", noted_to)
    monkeypatch.setattr(udp, "from_sockaddr", noted_from)
    for peer in (*peers, peers[-1], peers[0]):
        peer.send(b"hello", alice)
        alice.send(b"hello", peer)
        await alice.inbound.until(datagrams=len(alice.inbound.datagrams) + 1)
    assert {source for _datagram, source in alice.inbound.datagrams} == {peer.endpoint for peer in peers}
    for looked_up in (sent_to, heard_from):
        assert [looked_up.count(peer.endpoint) for peer in peers] == [2, 1, 1, 1, 1, 1, 1, 1]


async def test_a_flood_is_dropped_unseen_once_it_has_spent_its_share_and_others_come_through(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile, peer = ("10.0.0.66", 8118), ("10.0.0.1", 8118)
    arrived = [(b"flood", hostile)] * 3000 + [(b"please", peer)] + [(b"flood", hostile)] * 3000
    held_back: list[list[bytes]] = []
    processor = 0.0

    class Flooded(socket.socket):
        def recvfrom(self, *_arguments: Any) -> tuple[bytes, Any]:
            if not arrived:
                raise BlockingIOError
            return arrived.pop(0)

    turns = 1

    def costs_a_millisecond(_datagram: bytes, _source: Endpoint) -> None:
        nonlocal processor
        processor += 0.001
        # The other tasks have had their turns.
        assert len(flooded.datagrams) <= 16 * turns

    monkeypatch.setattr(time, "thread_time", lambda: processor)
    monkeypatch.setattr(udp, "hold_back", lambda _socket, prefixes: held_back.append(prefixes))
    flooded = Recorder(react=costs_a_millisecond)
    alice = await serving(world, Flooded(socket.AF_INET, socket.SOCK_DGRAM), flooded)
    (await world.join()).send(b"it is readable", alice)
    while arrived:
        await trio.lowlevel.checkpoint()
        turns += 1
    alice.serving.cancel()
    assert alice.inbound.payloads.count(b"please") == 1
    seen = alice.inbound.payloads.count(b"flood")
    assert 50 <= seen < 500
    assert alice.transport.statistics.dropped_in == 6000 - seen
    assert held_back[0] == [bytes([10, 0, 0, 66])]


async def test_who_forges_the_addresses_of_two_peers_silences_neither_of_their_sessions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood in the name of both. Each says something in its session at times, and something else."""
    peers = [("10.0.0.1", 8118), ("10.0.0.2", 8118)]
    arrived: list[tuple[bytes, tuple[str, int]]] = []
    for number in range(200):
        # Another port of a peer's address spends the same share, and the forger does not know which port it has.
        arrived += [(b"flood", ("10.0.0.1", port)) for port in range(8118, 8133)]
        arrived += [(b"flood", ("10.0.0.2", 8118))] * 15
        arrived += [(b"%d of a session" % number, peer) for peer in peers]
        arrived += [(b"%d of none" % number, peer) for peer in peers]
        arrived.append((b"%d of a session" % number, ("10.0.0.2", 1)))  # not where the session is
    held_back: list[list[bytes]] = []
    processor = 0.0

    class Flooded(socket.socket):
        def recvfrom(self, *_arguments: Any) -> tuple[bytes, Any]:
            if not arrived:
                raise BlockingIOError
            return arrived.pop(0)

    def costs(datagram: bytes, _source: Endpoint) -> None:
        nonlocal processor
        processor += 0.001 if datagram == b"flood" else 0.0001

    monkeypatch.setattr(time, "thread_time", lambda: processor)
    monkeypatch.setattr(udp, "hold_back", lambda _socket, prefixes: held_back.append(prefixes))
    inbound = Recorder(react=costs)
    ends = [Endpoint.from_host(*peer) for peer in peers]
    inbound.expected = {(b"%d of a session" % number, end) for number in range(200) for end in ends}
    alice = await serving(world, Flooded(socket.AF_INET, socket.SOCK_DGRAM), inbound)
    (await world.join()).send(b"it is readable", alice)
    while arrived:
        await trio.lowlevel.checkpoint()
    alice.serving.cancel()
    assert inbound.expected <= set(inbound.datagrams)
    assert inbound.payloads.count(b"flood") < 500
    for peer in ends:  # what is of no session was lost with the flood, but for the beginning
        assert sum(b"of none" in datagram and source == peer for datagram, source in inbound.datagrams) < 100
    assert sum(source.port == 1 for _datagram, source in inbound.datagrams) < 100
    assert held_back
    assert not any(held_back)


async def test_a_flood_from_everywhere_leaves_most_of_the_time_to_those_with_sessions(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = ("10.0.0.1", 8118)
    arrived: list[tuple[bytes, tuple[str, int]]] = []
    for number in range(200):
        arrived += [(b"flood", (f"10.9.{number}.{last}", 8118)) for last in range(30)]
        arrived.append((b"%d of a session" % number, peer))
    processor = 0.0

    class Flooded(socket.socket):
        def recvfrom(self, *_arguments: Any) -> tuple[bytes, Any]:
            if not arrived:
                raise BlockingIOError
            return arrived.pop(0)

    def costs(datagram: bytes, _source: Endpoint) -> None:
        nonlocal processor
        processor += 0.001 if datagram == b"flood" else 0.0001

    monkeypatch.setattr(time, "thread_time", lambda: processor)
    inbound = Recorder(react=costs)
    end = Endpoint.from_host(*peer)
    inbound.expected = {(b"%d of a session" % number, end) for number in range(200)}
    alice = await serving(world, Flooded(socket.AF_INET, socket.SOCK_DGRAM), inbound)
    (await world.join()).send(b"it is readable", alice)
    while arrived:
        await trio.lowlevel.checkpoint()
    alice.serving.cancel()
    assert inbound.expected <= set(inbound.datagrams)
    assert inbound.payloads.count(b"flood") < 600


async def test_a_node_whose_only_two_peers_were_held_back_hears_them_again_after_a_while(
    mock_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood with their addresses in it stops, and no other datagram comes that could end the hold."""
    mock_clock.autojump_threshold = 3.0  # only a test that hangs is idle for so long of real time
    monkeypatch.setattr(shares, "_source", lambda address: (address[0], socket.inet_aton(address[0])))  # as elsewhere
    processor = 0.0

    def costs_a_millisecond(_datagram: bytes, _source: Endpoint) -> None:
        nonlocal processor
        processor += 0.001

    monkeypatch.setattr(time, "thread_time", lambda: processor)
    async with open_world("udp", patience=10_000.0) as world:
        alice = await world.join(Recorder(react=costs_a_millisecond))
        peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        with peers[0], peers[1]:
            for number, peer in enumerate(peers):
                peer.bind((f"127.0.0.{2 + number}", 0))
                peer.connect((alice.endpoint.host, alice.endpoint.port))
            for _ in range(300):
                for peer in peers:
                    peer.send(b"flood")
            await wait_all_tasks_blocked(0.01)
            for peer in peers:
                peer.send(b"held back")
            await wait_all_tasks_blocked(0.01)
            assert b"held back" not in alice.inbound.payloads
            mock_clock.jump(60.0)
            await wait_all_tasks_blocked(0.01)
            heard = len(alice.inbound.datagrams)
            for peer in peers:
                peer.send(b"again")
            await alice.inbound.until(datagrams=heard + 2)
            assert alice.inbound.payloads[heard:] == [b"again", b"again"]


async def test_a_turn_of_a_few_datagrams_is_not_measured(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_wanted() -> float:
        raise AssertionError("the processor's clock was read")

    monkeypatch.setattr(time, "thread_time", not_wanted)
    alice, bob = await world.join(), await world.join()
    for _ in range(100):
        alice.send(b"hello", bob)
        await bob.inbound.until(datagrams=len(bob.inbound.datagrams) + 1)


async def test_what_arrives_before_serving_waits_in_the_socket() -> None:
    async with open_world("udp") as world, open_udp(ANY_PORT) as early:
        alice = await world.join()
        alice.transport.send(b"are you up", early.endpoint)
        inbound = Recorder()
        await world.nursery.start(early.serve, inbound)
        await inbound.until(datagrams=1)
        assert inbound.datagrams == [(b"are you up", alice.endpoint)]
        world.nursery.cancel_scope.cancel()
