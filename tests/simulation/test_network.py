"""The simulated network: what befalls packets, links and nodes, in virtual time."""

from __future__ import annotations

import contextlib
from hashlib import blake2b

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.network import MemoryNetwork
from tests.transport.peers import ANY_PORT, Peer, Recorder, accounted, cluster, forever

PERFECT = LinkConditions(latency=0.0)
ROUGH = LinkConditions(latency=0.01, jitter=0.02, loss=0.2, duplication=0.1, reordering=0.2, reordering_delay=0.1)


async def _trace(seed: int) -> tuple[str, int]:
    """A hash of all that happens when three nodes pass messages on for a while; and how much that is."""
    digest, arrivals = blake2b(), 0

    def observe(time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        nonlocal arrivals
        arrivals += 1
        digest.update(repr((time, source, destination, payload)).encode())

    network = MemoryNetwork(seed=seed, conditions=ROUGH, observer=observe)
    async with cluster(network, 3) as (_world, peers):
        for peer, other in zip(peers, peers[1:] + peers[:1], strict=True):

            def pass_on(datagram: bytes, _source: Endpoint, peer: Peer = peer, other: Peer = other) -> None:
                if len(datagram) < 40:
                    peer.send(datagram + b"+", other)

            peer.inbound.react = pass_on
        for number in range(20):
            peers[0].send(b"%d" % number, peers[1])
        await trio.sleep(60)
        await peers[0].exchange(b"and a stream", peers[2])
        assert accounted(network)
    return digest.hexdigest(), arrivals


def test_the_same_seed_gives_the_same_trace_and_another_seed_another_one() -> None:
    def trace(seed: int) -> tuple[str, int]:
        return trio.run(_trace, seed, clock=MockClock(autojump_threshold=0))

    first, arrivals = trace(1)
    assert arrivals > 50
    assert trace(1) == (first, arrivals)
    assert trace(2)[0] != first


async def test_latency_is_what_it_says(autojump_clock: MockClock) -> None:
    arrivals: list[float] = []
    network = MemoryNetwork(
        conditions=LinkConditions(latency=0.25), observer=lambda time, *_rest: arrivals.append(time)
    )
    async with cluster(network) as (_world, [alice, bob]):
        alice.send(b"hello", bob)
        await bob.inbound.until(datagrams=1)
        assert trio.current_time() == pytest.approx(0.25)
        await alice.exchange(b"a new connection costs two round trips", bob)
        assert trio.current_time() == pytest.approx(1.25)
        await alice.exchange(b"and one that stands costs one", bob)
        assert trio.current_time() == pytest.approx(1.75)
    assert arrivals == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75])


async def test_a_lossy_network_loses_its_share(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(seed=5, conditions=LinkConditions(loss=0.3))
    async with cluster(network) as (_world, [alice, bob]):
        for _ in range(2000):
            assert alice.send(b"may get lost", bob)
        await trio.sleep(1)
        assert network.statistics.lost == pytest.approx(600, abs=90)
        assert network.statistics.delivered == len(bob.inbound.datagrams) == 2000 - network.statistics.lost
        assert await alice.exchange(b"streams do not", bob) == b"streams do not"
        assert accounted(network)


async def test_packets_come_twice_and_overtake_each_other_where_that_is_wanted(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(seed=5, conditions=LinkConditions(duplication=0.5, reordering=0.5))
    async with cluster(network) as (_world, [alice, bob]):
        sent = [b"%d" % number for number in range(100)]
        for datagram in sent:
            alice.send(datagram, bob)
            await trio.sleep(0.001)
        await trio.sleep(1)
        assert set(bob.inbound.payloads) == set(sent)
        assert len(bob.inbound.payloads) == 100 + network.statistics.duplicated
        assert network.statistics.duplicated > 20
        firsts = list(dict.fromkeys(bob.inbound.payloads))
        assert firsts != sent
        assert accounted(network)


async def test_one_bad_link_leaves_the_others_alone(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network, 3) as (_world, [alice, bob, carol]):
        network.set_conditions(alice.endpoint, bob.endpoint, LinkConditions(loss=1.0))
        alice.send(b"lost", bob)
        alice.send(b"arrives", carol)
        bob.send(b"arrives", alice)
        await trio.sleep(1)
        assert [len(peer.inbound.datagrams) for peer in (alice, bob, carol)] == [1, 0, 1]
        with pytest.raises(TransportError, match="no way"):
            await alice.exchange(b"no stream on a link that loses everything", bob)


async def test_a_cut_stops_both_ways_and_what_is_under_way(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=1.0))
    async with cluster(network) as (_world, [alice, bob]):
        alice.send(b"under way", bob)
        await trio.sleep(0.5)
        network.cut(alice.endpoint, bob.endpoint)
        alice.send(b"too late", bob)
        bob.send(b"too late", alice)
        await trio.sleep(2)
        assert alice.inbound.datagrams == bob.inbound.datagrams == []
        assert network.statistics.cut == 3
        for asker, asked in ((alice, bob), (bob, alice)):
            with pytest.raises(TransportError, match="no way"):
                await asker.exchange(b"hello?", asked)
        network.heal(alice.endpoint, bob.endpoint)
        alice.send(b"back", bob)
        bob.send(b"back", alice)
        await trio.sleep(2)
        assert alice.inbound.payloads == bob.inbound.payloads == [b"back"]


async def test_what_was_sent_into_a_cut_does_not_arrive_after_it(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=1.0))
    async with cluster(network) as (_world, [alice, bob]):
        network.cut(alice.endpoint, bob.endpoint)
        alice.send(b"into the cut", bob)
        network.heal_all()
        alice.send(b"after it", bob)
        await trio.sleep(2)
        assert bob.inbound.payloads == [b"after it"]
        assert network.statistics.cut == 1


async def test_a_message_that_was_given_up_on_its_way_does_not_arrive(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=1.0))
    async with cluster(network) as (_world, [alice, bob]):
        with trio.move_on_after(0.5):
            await alice.exchange(b"given up", bob)
        await trio.sleep(2)
        assert bob.inbound.messages == []
        assert alice.transport.statistics.stream_connections == 0


async def test_a_one_way_cut_stops_one_way(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        network.cut(alice.endpoint, bob.endpoint, one_way=True)
        alice.send(b"no", bob)
        bob.send(b"yes", alice)
        await trio.sleep(1)
        assert (alice.inbound.payloads, bob.inbound.payloads) == ([b"yes"], [])
        # Over a connection that stands the question gets there, and the answer does not come back.
        network.heal(alice.endpoint, bob.endpoint, one_way=True)
        await bob.exchange(b"before", alice)
        network.cut(alice.endpoint, bob.endpoint, one_way=True)
        for _ in range(2):
            with pytest.raises(TransportError):
                await bob.exchange(b"question", alice)
        assert [message for message, _source in alice.inbound.messages] == [b"before", b"question"]
        network.heal(alice.endpoint, bob.endpoint, one_way=True)
        assert await bob.exchange(b"question", alice) == b"question"


async def test_a_partition_and_its_end(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network, 4) as (_world, peers):
        network.partition([[peers[0].endpoint, peers[1].endpoint], [peers[2].endpoint, peers[3].endpoint]])
        for peer in peers:
            for other in peers:
                peer.send(b"hello", other)
        await trio.sleep(1)
        assert [len(peer.inbound.datagrams) for peer in peers] == [2, 2, 2, 2]
        network.heal_all()
        peers[0].send(b"hello again", peers[3])
        await trio.sleep(1)
        assert peers[3].inbound.payloads[-1] == b"hello again"


async def test_a_crashed_node_is_silent_at_once_and_cannot_clean_up(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=0.1))
    async with cluster(network, 3) as (_world, [alice, bob, carol]):
        carol.inbound.answer = forever

        async def expect_failure(asker: Peer, asked: Peer) -> None:
            with pytest.raises(TransportError):
                await asker.exchange(b"never answered", asked)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_failure, bob, carol)
            nursery.start_soon(expect_failure, carol, alice)
            await carol.inbound.until(messages=1)
            alice.send(b"on its way", carol)
            carol.send(b"left before", alice)
            network.crash(carol.endpoint)
            crashed_at = trio.current_time()
        # Both exchanges ended with the crash, not later.
        assert trio.current_time() == crashed_at
        assert not carol.send(b"good bye", alice)
        with pytest.raises(TransportError):
            await carol.exchange(b"take my records", alice)
        await trio.sleep(1)
        assert carol.inbound.datagrams == []
        assert alice.inbound.payloads == [b"left before"]
        with pytest.raises(TransportError, match="nobody listens"):
            await alice.exchange(b"hello?", carol)
        assert accounted(network)


async def test_a_crashed_node_starts_again_at_its_place_while_the_old_one_still_unwinds(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (world, [alice, bob]):
        network.crash(bob.endpoint)
        again = await world.join(at=bob.endpoint)
        await world.leave(bob)
        alice.send(b"who is there", again)
        await again.inbound.until(datagrams=1)
        assert bob.inbound.datagrams == []
        assert await alice.exchange(b"hello", again) == b"hello"


async def test_a_paused_node_gets_and_sends_everything_later_and_in_order(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=0.1))
    async with cluster(network) as (_world, [alice, bob]):
        await alice.exchange(b"before", bob)
        bob.inbound.messages.clear()
        network.pause(bob.endpoint)
        answers: list[bytes] = []

        async def ask() -> None:
            answers.append(await alice.exchange(b"question", bob))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            for datagram in (b"1", b"2", b"3"):
                alice.send(datagram, bob)
                bob.send(datagram, alice)
            await trio.sleep_until(60)
            assert alice.inbound.datagrams == bob.inbound.datagrams == bob.inbound.messages == []
            assert answers == []
            network.resume(bob.endpoint)
        assert answers == [b"question"]
        assert alice.inbound.payloads == bob.inbound.payloads == [b"1", b"2", b"3"]
        assert trio.current_time() == pytest.approx(60.1)
        assert accounted(network)


async def test_what_waits_at_a_paused_node_is_bounded(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT, max_paused=10)
    async with cluster(network) as (_world, [alice, bob]):
        network.pause(bob.endpoint)
        for number in range(25):
            alice.send(b"%d" % number, bob)
            bob.send(b"%d" % number, alice)
        await trio.sleep(1)
        with pytest.raises(TransportError, match="too much"):
            await alice.exchange(b"question", bob)
        network.resume(bob.endpoint)
        await trio.sleep(1)
        assert alice.inbound.payloads == bob.inbound.payloads == [b"%d" % number for number in range(10)]
        assert network.statistics.overflowed == 30
        assert accounted(network)


async def test_a_paused_node_that_crashes_takes_with_it_what_waited(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        network.pause(bob.endpoint)
        alice.send(b"1", bob)
        bob.send(b"2", alice)
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(TransportError):
                    await alice.exchange(b"question", bob)

            nursery.start_soon(ask)
            await trio.sleep(1)
            network.crash(bob.endpoint)
        assert network.statistics.undeliverable == 2
        assert accounted(network)


def test_nobody_can_be_crashed_or_paused_where_nobody_is() -> None:
    network = MemoryNetwork()
    for act in (network.crash, network.pause, network.resume):
        with pytest.raises(TransportError, match="nobody is at"):
            act(Endpoint.parse("10.0.0.1:8118"))


async def test_what_arrives_before_or_after_serving_is_lost_and_counted(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        bob.serving.cancel()
        await trio.testing.wait_all_tasks_blocked()
        alice.send(b"hello?", bob)
        await trio.sleep(1)
        assert network.statistics.undeliverable == 1
        with pytest.raises(TransportError, match="nobody listens"):
            await alice.exchange(b"hello?", bob)


async def test_packets_under_way_are_bounded(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=1.0), max_in_flight=5)
    async with cluster(network) as (_world, [alice, bob]):
        for _ in range(8):
            alice.send(b"crowd", bob)
        with pytest.raises(TransportError, match="too much"):
            await alice.exchange(b"crowd", bob)
        await trio.sleep(2)
        assert len(bob.inbound.datagrams) == 5
        assert network.statistics.overflowed == 3
        assert await alice.exchange(b"room again", bob) == b"room again"


async def test_a_message_over_the_bound_is_refused_by_the_peer(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        bob.inbound.most_bytes = 100
        assert await alice.exchange(bytes(100), bob) == bytes(100)
        for wrong in (bytes(101), b""):
            with pytest.raises(TransportError, match="without an answer"):
                await alice.exchange(wrong, bob)
        # The first one went over a kept connection, and so once more over a fresh one.
        assert bob.transport.statistics.streams_refused == 3
        assert len(bob.inbound.messages) == 1


async def test_streams_at_one_node_are_bounded(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT, max_streams=2)
    async with cluster(network) as (world, [alice, _bob]):
        busy = await world.join(Recorder(answer=forever))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(alice.exchange, b"1", busy)
            nursery.start_soon(alice.exchange, b"2", busy)
            await busy.inbound.until(messages=2)
            with pytest.raises(TransportError):
                await alice.exchange(b"3", busy)
            assert busy.transport.statistics.streams_refused == 1
            nursery.cancel_scope.cancel()


async def test_an_idle_connection_makes_room_for_a_new_one(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT, max_streams=2)
    async with cluster(network, 4) as (_world, [alice, bob, carol, dave]):
        for peer in (alice, bob, carol, bob):
            assert await peer.exchange(b"hello", dave) == b"hello"
            await trio.sleep(1)
        assert dave.transport.statistics.stream_connections == 2
        assert [peer.transport.statistics.stream_connections for peer in (alice, bob, carol)] == [0, 1, 1]
        assert (dave.transport.statistics.streams_in, dave.transport.statistics.streams_refused) == (3, 0)


async def test_an_idle_connection_is_used_again_for_a_while(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        for pause, opened in ((29.0, 1), (29.0, 1), (31.0, 1), (0.0, 2)):
            await alice.exchange(b"hello", bob)
            assert alice.transport.statistics.streams_out == opened
            await trio.sleep(pause)
        assert alice.transport.statistics.stream_connections == bob.transport.statistics.stream_connections == 1


async def test_idle_connections_are_bounded(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network, 40) as (_world, [alice, *others]):
        for peer in others:
            await alice.exchange(b"hello", peer)
        assert alice.transport.statistics.stream_connections == 32
        assert [peer.transport.statistics.stream_connections for peer in others] == [0] * 7 + [1] * 32


@pytest.mark.parametrize("crashes", [True, False])
async def test_kept_connections_end_with_either_side(autojump_clock: MockClock, crashes: bool) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network, 3) as (world, [alice, bob, carol]):
        await alice.exchange(b"hello", bob)
        await bob.exchange(b"hello", carol)
        if crashes:
            network.crash(bob.endpoint)
        else:
            await world.leave(bob)
        await trio.testing.wait_all_tasks_blocked()
        assert [peer.transport.statistics.stream_connections for peer in (alice, bob, carol)] == [0, 0, 0]
        again = await world.join(at=bob.endpoint)
        assert await alice.exchange(b"hello again", again) == b"hello again"
        assert [message for message, _source in again.inbound.messages] == [b"hello again"]


async def test_kept_connections_end_when_their_peer_stops_serving(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        await alice.exchange(b"hello", bob)
        bob.serving.cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert alice.transport.statistics.stream_connections == bob.transport.statistics.stream_connections == 0


async def test_a_kept_connection_that_the_peer_closes_is_replaced_once(autojump_clock: MockClock) -> None:
    async def answer_each_other(message: bytes) -> bytes | None:
        return message if len(bob.inbound.messages) % 2 else None

    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        bob.inbound.answer = answer_each_other
        for _ in range(3):
            assert await alice.exchange(b"hello", bob) == b"hello"
        assert alice.transport.statistics.streams_out == 3
        with pytest.raises(TransportError, match="without an answer"):
            await alice.exchange(b"refused on a fresh connection", bob, peer=b"another")


async def test_port_0_is_the_next_free_one_of_that_ip(autojump_clock: MockClock) -> None:
    network = MemoryNetwork()
    async with contextlib.AsyncExitStack() as stack:
        taken = Endpoint.parse("127.0.0.1:49153")
        await stack.enter_async_context(network.open(taken))
        opened = [await stack.enter_async_context(network.open(ANY_PORT)) for _ in range(3)]
        other = await stack.enter_async_context(network.open(Endpoint.parse("10.0.0.1:0")))
    assert [transport.endpoint.port for transport in opened] == [49152, 49154, 49155]
    assert str(other.endpoint) == "10.0.0.1:49152"


async def test_a_thousand_nodes_share_one_delivering_task(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=0.01, jitter=0.05))
    async with cluster(network, 1000) as (_world, peers):
        before = trio.lowlevel.current_statistics().tasks_living
        for number, peer in enumerate(peers):
            for step in (1, 7, 49):
                peer.send(b"hello", peers[(number + step) % 1000])
        await trio.sleep(0.03)
        assert trio.lowlevel.current_statistics().tasks_living == before
        await trio.sleep(1)
        assert network.statistics.delivered == 3000
        assert {len(peer.inbound.datagrams) for peer in peers} == {3}
