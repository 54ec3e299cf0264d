"""How packets travel: in time and in order, every one of them accounted for, streams with all that befalls them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from camomile_trio.errors import ConfigError, TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation import delivery
from camomile_trio.simulation.delivery import Schedule
from camomile_trio.simulation.links import LinkConditions, StreamConditions
from camomile_trio.simulation.network import MemoryNetwork
from tests.transport.peers import Peer, accounted, cluster

PERFECT = LinkConditions(latency=0.0)
EVERYTHING = LinkConditions(
    latency=0.02,
    jitter=0.01,
    loss=0.1,
    duplication=0.1,
    reordering=0.1,
    corruption=0.1,
    truncation=0.1,
    streams=StreamConditions(refusal=0.1, reset=0.2, stall=0.2, bandwidth=1e6),
)


async def test_damaged_datagrams_arrive_as_they_are_and_are_counted(autojump_clock: MockClock) -> None:
    seen: list[bytes] = []
    network = MemoryNetwork(
        seed=5,
        conditions=LinkConditions(corruption=0.2, truncation=0.1),
        observer=lambda _time, _source, _destination, payload: seen.append(payload),
    )
    async with cluster(network) as (_world, [alice, bob]):
        for _ in range(1000):
            alice.send(bytes(200), bob)
        await trio.sleep(1)
        damaged = [payload for payload in bob.inbound.payloads if payload != bytes(200)]
        assert network.statistics.damaged == len(damaged) == pytest.approx(280, abs=60)
        assert {len(payload) for payload in damaged} > {200}
        assert seen == bob.inbound.payloads
        assert bob.transport.statistics.bytes_in == sum(map(len, seen)) < 200_000
        assert await alice.exchange(bytes(200), bob) == bytes(200)
        assert accounted(network)


async def test_a_slow_node_answers_late_by_datagram_and_by_stream(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=0.1))
    async with cluster(network) as (_world, [alice, bob]):
        network.set_slowness(bob.endpoint, 0.5)
        bob.inbound.react = lambda datagram, source: bob.transport.send(datagram, source)
        alice.send(b"question", bob)
        await alice.inbound.until(datagrams=1)
        assert trio.current_time() == pytest.approx(1.2)
        await alice.exchange(b"question", bob)
        assert trio.current_time() == pytest.approx(3.6)
        network.set_slowness(bob.endpoint, 0.0)
        await alice.exchange(b"question", bob)
        assert trio.current_time() == pytest.approx(3.8)


async def test_a_node_behind_a_nat_is_reached_by_those_it_wrote_to_and_by_no_one_else(
    autojump_clock: MockClock,
) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=0.1))
    async with cluster(network, 3) as (_world, [alice, bob, carol]):
        network.set_nat(alice.endpoint, 30.0)
        bob.send(b"unasked", alice)
        await trio.sleep(1)
        alice.send(b"hello", bob)
        await trio.sleep(1)
        bob.send(b"answer", alice)
        carol.send(b"unasked", alice)
        await trio.sleep(30)
        bob.send(b"too late", alice)
        await trio.sleep(1)
        assert alice.inbound.datagrams == [(b"answer", bob.endpoint)]
        assert network.statistics.unasked == 3
        # A stream from outside finds no way in; one from inside brings its answer back.
        with pytest.raises(TransportError, match="behind a NAT"):
            await bob.exchange(b"question", alice)
        assert network.statistics.streams_unasked == 1
        assert await alice.exchange(b"question", bob) == b"question"
        network.set_nat(alice.endpoint, None)
        carol.send(b"hello", alice)
        await trio.sleep(1)
        assert alice.inbound.payloads == [b"answer", b"hello"]
        assert accounted(network)


async def test_a_nat_lets_answers_in_when_the_question_itself_was_lost(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        network.set_nat(alice.endpoint, 30.0)
        network.cut(alice.endpoint, bob.endpoint, one_way=True)
        alice.send(b"lost farther out", bob)
        bob.send(b"hello", alice)
        await trio.sleep(1)
        assert alice.inbound.payloads == [b"hello"]


async def test_what_waits_at_a_paused_node_is_past_the_nat_and_the_cut(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        network.set_nat(alice.endpoint, 30.0)
        alice.send(b"question", bob)
        network.pause(alice.endpoint)
        bob.send(b"answer", alice)
        await trio.sleep(1000)
        network.cut(alice.endpoint, bob.endpoint)
        network.resume(alice.endpoint)
        await trio.sleep(1)
        assert alice.inbound.payloads == [b"answer"]
        assert accounted(network)


async def test_a_one_way_partition_lets_one_side_hear_the_other(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=PERFECT)
    async with cluster(network) as (_world, [alice, bob]):
        network.partition([[alice.endpoint], [bob.endpoint]], one_way=True)
        alice.send(b"unheard", bob)
        bob.send(b"heard", alice)
        await trio.sleep(1)
        assert (alice.inbound.payloads, bob.inbound.payloads) == ([b"heard"], [])
        network.heal_all()
        alice.send(b"heard again", bob)
        await trio.sleep(1)
        assert bob.inbound.payloads == [b"heard again"]


async def _ask(alice: Peer, bob: Peer, patience: float = 100.0) -> str:
    """How an exchange ended."""
    with trio.move_on_after(patience):
        try:
            await alice.exchange(b"question", bob)
        except TransportError as error:
            return str(error).rpartition(": ")[2]
        return "answered"
    return "given up"


async def test_a_refused_stream_fails_at_once_and_unheard(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(conditions=LinkConditions(latency=0.5, streams=StreamConditions(refusal=1.0)))
    async with cluster(network) as (_world, [alice, bob]):
        assert await _ask(alice, bob) == "the connection was refused"
        assert trio.current_time() == 0.5
        assert bob.inbound.messages == []
        assert network.statistics.streams_refused == network.statistics.streams_failed == 1


@pytest.mark.parametrize(
    ("streams", "end"),
    [(StreamConditions(reset=1.0), "the connection was reset"), (StreamConditions(stall=1.0), "given up")],
)
async def test_a_stream_breaks_or_stalls_before_or_after_it_was_heard(
    autojump_clock: MockClock, streams: StreamConditions, end: str
) -> None:
    network = MemoryNetwork(seed=3, conditions=LinkConditions(latency=0.5, streams=streams))
    async with cluster(network) as (_world, [alice, bob]):
        heard: Counter[tuple[bool, float]] = Counter()
        for _ in range(40):
            before, begun = len(bob.inbound.messages), trio.current_time()
            assert await _ask(alice, bob) == end
            heard[len(bob.inbound.messages) > before, round(trio.current_time() - begun, 6)] += 1
        # A reset shows when the message would have arrived, a stall only by the asker's own deadline.
        taken = {False: 1.5, True: 2.0} if end != "given up" else {False: 100.0, True: 100.0}
        assert set(heard) == set(taken.items())
        assert min(heard.values()) > 8
        statistics = network.statistics
        assert statistics.streams_reset + statistics.streams_stalled == statistics.streams_failed == 40
        assert alice.transport.statistics.stream_connections == bob.transport.statistics.stream_connections == 0
        assert accounted(network)


async def test_a_long_message_takes_its_time_over_a_narrow_link(autojump_clock: MockClock) -> None:
    narrow = LinkConditions(latency=0.5, streams=StreamConditions(bandwidth=1000.0))
    network = MemoryNetwork(conditions=narrow)
    async with cluster(network) as (_world, [alice, bob]):

        async def briefly(_message: bytes) -> bytes | None:
            return b"0123456789"

        bob.inbound.answer = briefly
        await alice.exchange(b"hello", bob)
        begun = trio.current_time()
        await alice.exchange(bytes(2000), bob)
        assert trio.current_time() - begun == pytest.approx(2 * 0.5 + 2.0 + 0.01)


async def test_with_a_tick_datagrams_and_streams_arrive_at_whole_ticks(autojump_clock: MockClock) -> None:
    arrivals: list[float] = []
    network = MemoryNetwork(
        seed=3, conditions=EVERYTHING, tick=0.05, observer=lambda time, *_rest: arrivals.append(time)
    )
    async with cluster(network) as (_world, [alice, bob]):
        for _ in range(200):
            alice.send(b"hello", bob)
            await trio.sleep(0.007)
        for _ in range(20):
            await _ask(alice, bob)
        assert len(arrivals) > 200
        assert all(time == round(time / 0.05) * 0.05 for time in arrivals)
        assert len(set(arrivals)) < 80
        assert accounted(network)


@pytest.mark.parametrize("tick", [-0.001, float("nan"), float("inf")])
def test_a_tick_that_makes_no_sense_is_refused(tick: float) -> None:
    with pytest.raises(ConfigError, match="tick"):
        MemoryNetwork(tick=tick)


async def _eventful(seed: int, tick: float, actions: list[int], streams: bool) -> list[object]:
    """Everything at once: all that was received, and the statistics at the end."""
    trace: list[object] = []

    def observe(time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        trace.append((time, source, destination, payload))

    network = MemoryNetwork(
        seed=seed, tick=tick, conditions=EVERYTHING, max_in_flight=60, max_paused=5, observer=observe
    )
    async with cluster(network, 4) as (_world, peers):
        ends = [peer.endpoint for peer in peers]
        befalls: list[Callable[[], None]] = [
            lambda: network.cut(ends[0], ends[1], one_way=True),
            lambda: network.partition([ends[:2], ends[2:]], one_way=True),
            lambda: network.partition([ends[:1]]),
            network.heal_all,
            lambda: network.pause(ends[2]),
            lambda: network.resume(ends[2]),
            lambda: network.set_nat(ends[1], 0.1),
            lambda: network.set_nat(ends[1], None),
            lambda: network.set_slowness(ends[3], 0.05),
            lambda: network.set_conditions(ends[0], None, LinkConditions(latency=0.0)),
        ]

        async with trio.open_nursery() as nursery:
            for number, action in enumerate(actions):
                befalls[action]()
                for step in range(1, 4):
                    for peer, other in zip(peers, peers[step:] + peers[:step], strict=True):
                        peer.send(b"%d" % number, other)
                if streams:
                    nursery.start_soon(_ask, peers[number % 4], peers[(number + 1 + action % 3) % 4], 1.0)
                await trio.sleep(0.01303)  # never at a tick, so that we and the network do not wake at once
        network.resume(ends[2])
        await trio.sleep(60)
        assert accounted(network)
    return [*trace, network.statistics]


TICKS = st.sampled_from([0.0, 0.001, 0.02])
ACTIONS = st.lists(st.integers(0, 9), min_size=1, max_size=15)


@settings(max_examples=25, deadline=None)
@given(st.integers(), TICKS, ACTIONS)
def test_whatever_befalls_it_each_parcel_ends_in_one_counter(seed: int, tick: float, actions: list[int]) -> None:
    trio.run(_eventful, seed, tick, actions, True, clock=MockClock(autojump_threshold=0))


@settings(max_examples=25, deadline=None)
@given(st.integers(), TICKS, ACTIONS)
def test_whatever_befalls_it_the_same_seed_repeats_it(seed: int, tick: float, actions: list[int]) -> None:
    """Without streams: their answers are tasks, and Trio shuffles tasks that wake at once."""

    def trace() -> list[object]:
        return trio.run(_eventful, seed, tick, actions, False, clock=MockClock(autojump_threshold=0))

    assert trace() == trace()


async def test_things_arrive_when_they_are_due_in_order_of_time_then_of_posting(autojump_clock: MockClock) -> None:
    arrived: list[tuple[float, float, str]] = []
    post = Schedule[str](lambda due, item: arrived.append((trio.current_time(), due, item)), 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        for item, delay in (("late", 5.0), ("first", 1.0), ("second", 1.0), ("middle", 2.5)):
            assert post.post(item, delay)
        await trio.sleep(6)
        nursery.cancel_scope.cancel()
    assert [item for _now, _due, item in arrived] == ["first", "second", "middle", "late"]
    assert [due for _now, due, _item in arrived] == [1.0, 1.0, 2.5, 5.0]
    assert [now for now, _due, _item in arrived] == pytest.approx([1.0, 1.0, 2.5, 5.0])


async def test_with_a_tick_things_arrive_together_at_the_next_one_in_order_of_posting(
    autojump_clock: MockClock,
) -> None:
    arrived: list[tuple[float, str]] = []
    post = Schedule[str](lambda due, item: arrived.append((due, item)), 100, 0.25)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        for item, delay in (("a", 0.9), ("b", 0.3), ("c", 0.8), ("d", 1.0), ("e", 0.26), ("now", 0.0)):
            post.post(item, delay)
        await trio.sleep(2)
        nursery.cancel_scope.cancel()
    assert arrived == [(0.0, "now"), (0.5, "b"), (0.5, "e"), (1.0, "a"), (1.0, "c"), (1.0, "d")]


@settings(max_examples=30)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=20), st.sampled_from([0.001, 0.0007, 0.1, 3.0]))
def test_a_tick_makes_nothing_early_and_nothing_a_whole_tick_late(delays: list[float], tick: float) -> None:
    async def main() -> list[tuple[float, float]]:
        arrived: list[tuple[float, float]] = []
        post = Schedule[float](lambda due, wanted: arrived.append((due, wanted)), 100, tick)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(post.run)
            for delay in delays:
                post.post(trio.current_time() + delay, delay)
                await trio.sleep(delay / 7)
            await trio.sleep(20)
            nursery.cancel_scope.cancel()
        return arrived

    arrived = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert len(arrived) == len(delays)
    for due, wanted in arrived:
        assert wanted - tick * 1e-5 <= due < wanted + tick
        assert due == round(due / tick) * tick


async def test_something_earlier_wakes_a_sleeping_delivery(autojump_clock: MockClock) -> None:
    arrived: list[str] = []
    post = Schedule[str](lambda _due, item: arrived.append(item), 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        post.post("late", 10.0)
        await trio.sleep(1)
        post.post("soon", 1.0)
        await trio.sleep(1.5)
        assert arrived == ["soon"]
        await trio.sleep(10)
        assert arrived == ["soon", "late"]
        nursery.cancel_scope.cancel()


async def test_what_is_posted_without_delay_while_delivering_waits_for_the_next_step(
    autojump_clock: MockClock,
) -> None:
    """Two that answer each other at once must neither recurse nor keep all others from running."""
    arrived: list[int] = []

    def deliver(_due: float, item: int) -> None:
        arrived.append(item)
        post.post(item + 1, 0.0)

    post = Schedule[int](deliver, 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        post.post(0, 0.0)
        assert arrived == []
        while len(arrived) < 20:
            seen = len(arrived)
            await trio.lowlevel.checkpoint()
            # Between two steps of ours are at most two of any other task.
            assert len(arrived) <= seen + 2
        nursery.cancel_scope.cancel()
    assert arrived == list(range(len(arrived)))
    assert trio.current_time() == 0.0


async def test_a_turn_is_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_TURN", 10)
    arrived: list[int] = []
    most = 0
    post = Schedule[int](lambda _due, item: arrived.append(item), 1000)
    for number in range(100):
        post.post(number, 0.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        while len(arrived) < 100:
            seen = len(arrived)
            await trio.lowlevel.checkpoint()
            most = max(most, len(arrived) - seen)
        nursery.cancel_scope.cancel()
    # Between two steps of ours are at most two turns.
    assert 10 <= most <= 20
    assert arrived == list(range(100))


async def test_what_waits_is_bounded(autojump_clock: MockClock) -> None:
    arrived: list[int] = []
    post = Schedule[int](lambda _due, item: arrived.append(item), 2)
    assert [post.post(number, 1.0) for number in range(3)] == [True, True, False]
    assert len(post) == 2
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post.run)
        await trio.sleep(1.5)
        assert (arrived, len(post)) == ([0, 1], 0)
        assert post.post(3, 0.0)
        nursery.cancel_scope.cancel()
