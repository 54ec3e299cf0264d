"""What does not fit into a datagram, or does not pass in one, is asked over a stream, which may fail by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from camomile_trio.config import Requests as Settings
from camomile_trio.peer.budget import HandshakeRates, Rate
from camomile_trio.peer.exchanges import OF_ONE_PEER, STREAMS_AT_ONCE, VERY_LARGE
from camomile_trio.peer.paths import SURELY_PASSES
from tests.peer.mesh import ONE_WAY, Mesh, MeshNode, Sent, answer_of, lost, met, restarted, running, usual
from tests.peer.tiny_codec import Find, Get, Leave, Message, Ping, Pong, Store, Stored, TooLarge, Value

A, B = "198.18.1.1", "198.18.2.1"
DEADLINE = 2.0


def two(mesh: Mesh, settings: Settings | None = None) -> tuple[MeshNode, MeshNode]:
    return MeshNode(mesh, "a", A, settings=settings), MeshNode(mesh, "b", B)


def narrow(sent: Sent) -> tuple[float, ...]:
    """What is large vanishes."""
    return () if len(sent.datagram) > SURELY_PASSES else (ONE_WAY,)


async def test_a_large_request_goes_by_a_stream_at_once(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        asked = a.ask(b, Store("1", bytes(5000)))
        await trio.sleep(1)
        assert asked.answer == Stored("1")
        assert [(request.is_confirmed, request.by_stream) for request in b.handled] == [(True, True)]
        assert not mesh.sent
        assert asked.replies[0].round_trip is None


async def test_a_large_answer_is_fetched_by_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        asked = a.ask(b, Get("1", b"5000"))
        await trio.sleep(1)
        assert asked.answer == Value("1", bytes(5000))
        assert (len(mesh.sent), mesh.streams) == (2, 1)
        assert len(a.answered) == 2  # too_large shows that the peer is there, too


async def test_a_large_first_answer_is_fetched_by_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        asked = a.ask(b, Get("1", b"5000"))
        await trio.sleep(1)
        assert asked.answer == Value("1", bytes(5000))
        assert mesh.streams == 1
        assert [request.by_stream for request in b.handled] == [False, True]


async def test_a_doubled_too_large_begins_one_stream(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        b.answer_of = lambda message: None
        asked = a.ask(b, Get("1"))
        assert asked.pending is not None
        await trio.sleep(0.1)
        b.answer_of = answer_of
        number = asked.pending.number
        for _ in range(2):
            b.requests.seal(a.contact.public, b.requests.codec.encode(number, TooLarge("1", b"5000"), 0))
        await trio.sleep(1)
        assert asked.ends == 1
        assert mesh.streams == 1
        assert a.requests.statistics.dropped["doubled_answer"] == 1


async def test_what_is_on_a_stream_is_overdue_after_the_deadline_and_fails_much_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        b.answer_of = lambda message: None
        asked = a.ask(b, Store("1", bytes(5000)))
        await trio.sleep(30)
        assert asked.overdue_at == [pytest.approx(DEADLINE)]
        assert asked.failed_at == [pytest.approx(10.0)]
        assert [why for _, why in a.failed_streams] == ["no answer over a stream within 10 s"]
        assert not a.missed


async def test_a_failed_stream_is_told_apart_from_silence(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        mesh.stream_fails = "cannot reach it by TCP: refused"
        asked = a.ask(b, Store("1", bytes(5000)))
        await trio.sleep(1)
        assert len(asked.failed_at) == 1
        assert a.failed_streams == [(b.contact, mesh.stream_fails)]
        assert not a.missed
        assert a.requests.statistics.dropped["stream_failed"] == 1


@pytest.mark.parametrize("wrong", [Pong("1"), Leave("1")])
async def test_an_answer_of_another_kind_over_a_stream_fails_it(
    autojump_clock: trio.testing.MockClock, wrong: Message
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        b.answer_of = lambda message: wrong
        asked = a.ask(b, Store("1", bytes(5000)))
        await trio.sleep(1)
        assert len(asked.failed_at) == 1
        assert a.requests.statistics.dropped["wrong_answer"] == 1


async def test_what_nothing_answers_ends_a_stream_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """A connection that waits for the node makes room for no other, so a stranger could hold its place that way."""
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        encode, began = b.requests.codec.encode, trio.current_time()
        for inner in (b"", b"\xff" * 20, encode(1, Stored("1"), 0), encode(2, Leave("2"), 0)):
            assert await b.inbox.on_stream_message(a.contact, inner) is None
        assert trio.current_time() == began
        assert not b.handled
        assert b.requests.statistics.dropped == {"wrong_message": 2, "has_no_answer": 2}


async def test_a_stream_to_another_node_than_the_one_asked_fails(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    c = MeshNode(mesh, "c", "198.18.3.1")
    async with running(mesh, a, b, c):
        asked = a.ask(b.contact._replace(endpoint=c.endpoint), Store("1", bytes(5000)))
        await trio.sleep(1)
        assert len(asked.failed_at) == 1
        assert not c.handled
        assert len(a.failed_streams) == 1


async def test_handshakes_over_streams_have_the_budget_of_addresses_that_are_proven(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = MeshNode(mesh, "a", A), MeshNode(mesh, "b", B, rates=HandshakeRates(proven_of_network=Rate(1.0, 2.0)))
    async with running(mesh, a, b):
        asked = [a.ask(b, Store(str(number), bytes(5000))) for number in range(3)]
        await trio.sleep(0.5)
        assert sorted(len(each.replies) for each in asked) == [0, 1, 1]
        await trio.sleep(3)
        again = a.ask(b, Store("again", bytes(5000)))
        await trio.sleep(0.5)
        assert len(again.replies) == 1


async def test_only_so_many_streams_are_under_way(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a = MeshNode(mesh, "a", A, settings=Settings(max_streams=10))
    others = [MeshNode(mesh, f"other {number}", f"198.18.2.{number + 1}") for number in range(9)]
    async with running(mesh, a, *others):
        for other in others:
            other.answer_of = lambda message: None
        asked = [a.ask(other, Store("1", bytes(5000))) for other in others]
        await trio.sleep(1)
        assert mesh.streams == 4
        await trio.sleep(30)
        assert [each.ends for each in asked] == [1] * 9
        assert [why for _, why in a.failed_streams].count("no stream was free") == 5


async def test_a_peer_that_finds_every_answer_too_large_and_then_is_slow_leaves_streams_to_the_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    mallory = MeshNode(mesh, "mallory", "198.18.3.1")
    async with running(mesh, a, b, mallory):
        await met(a, mallory)
        asked = [a.ask(mallory, Get(str(number), b"5000")) for number in range(2 * STREAMS_AT_ONCE)]
        mallory.answer_of = answer_of
        await trio.sleep(0.015)
        mallory.answer_of = lambda message: None  # over the streams
        await trio.sleep(0.1)
        assert mesh.streams == STREAMS_AT_ONCE // OF_ONE_PEER
        stored = a.ask(b, Store("1", bytes(5000)))
        await trio.sleep(0.1)
        assert len(stored.replies) == 1
        await trio.sleep(30)
        assert all(each.ends == 1 for each in asked)


async def test_very_large_messages_are_made_and_read_in_threads_and_two_at_once(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_threads: list[object] = []

    async def run_sync(call: Callable[..., object], *arguments: object) -> object:
        """At once, since virtual time does not wait for threads."""
        await trio.lowlevel.checkpoint()
        in_threads.append(arguments)
        return call(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync)
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        b.answer_of = lambda message: None
        for number in range(3):
            a.ask(b, Store(str(number), bytes(VERY_LARGE + 1)))
        assert not in_threads
        await trio.sleep(1)
        assert mesh.streams == 2
        assert len(in_threads) == 8  # either is made and sealed here, and opened and read there
        await trio.sleep(30)
        assert a.requests.pending == 0


async def test_without_its_tasks_a_node_begins_no_stream(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    assert a.ask(b, Store("1", bytes(5000))).pending is None
    assert a.requests.pending == 0


# Narrow paths --------------------------------------------------------------------------------------------------------


async def test_what_vanishes_for_its_size_goes_on_by_a_stream(autojump_clock: trio.testing.MockClock) -> None:
    """The peer is heard of by a smaller packet: by the answer to another request, or by a new handshake."""
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        await trio.sleep(60)
        mesh.fate = narrow
        began = trio.current_time()
        asked = a.ask(b, Store("1", bytes(900)))
        await trio.sleep(5)
        assert asked.answer == Stored("1")
        assert asked.replied_at[0] < began + DEADLINE
        assert mesh.streams == 1
        assert not a.missed
        # While the peer is heard, no handshake has to ask for it.
        initiated = a.requests.statistics.initiated
        asked = a.ask(b, Find("2", b"900"))
        a.ask(b, Ping("3"))
        await trio.sleep(5)
        assert len(asked.replies) == 1
        assert mesh.streams == 2
        assert a.requests.statistics.initiated == initiated


async def test_an_answer_that_vanishes_for_its_size_is_fetched_by_a_stream(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The new handshake carries a ping and not the request, whose answer would vanish again."""
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        await trio.sleep(60)
        mesh.fate = narrow
        asked = a.ask(b, Get("1", b"900"))
        await trio.sleep(5)
        assert asked.answer == Value("1", bytes(900))
        assert mesh.streams == 1


async def test_three_in_turn_make_the_path_narrow_and_one_that_passes_ends_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        mesh.fate = narrow
        for number in range(3):
            a.ask(b, Store(str(number), bytes(900)))
            await trio.sleep(0.08)
            a.ask(b, Ping("small"))
            await trio.sleep(5)
        assert mesh.streams == 3
        mesh.sent.clear()
        by_stream = [a.ask(b, Store("4", bytes(900))), a.ask(b, Get("5", b"900")), a.ask(b, Store("6", bytes(100)))]
        await trio.sleep(0.1)
        assert [len(each.replies) for each in by_stream] == [1, 1, 1]
        assert mesh.streams == 5
        assert len(mesh.sent) == 2  # the small one, and its answer
        mesh.fate = usual
        smaller = a.ask(b, Store("7", bytes(700)))
        await trio.sleep(1)
        assert len(smaller.replies) == 1
        assert mesh.streams == 5
        await trio.sleep(600)
        a.ask(b, Store("8", bytes(1000)))
        await trio.sleep(1)
        a.ask(b, Store("9", bytes(900)))
        await trio.sleep(1)
        assert mesh.streams == 5


async def test_a_narrow_path_where_streams_fail_is_tried_by_datagrams_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        path = a.requests.paths.get(b.contact)
        for _ in range(3):
            path.on_vanished(1000, trio.current_time())
        mesh.stream_fails = "refused"
        first = a.ask(b, Store("1", bytes(1000)))
        await trio.sleep(1)
        assert len(first.failed_at) == 1
        assert not mesh.sent
        second = a.ask(b, Store("2", bytes(1000)))
        await trio.sleep(1)
        assert second.answer == Stored("2")


async def test_chance_makes_no_path_narrow(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        for number in range(6):
            mesh.fate = narrow
            a.ask(b, Store(str(number), bytes(900)))
            await trio.sleep(0.08)
            a.ask(b, Ping("small"))
            await trio.sleep(5)
            mesh.fate = usual
            a.ask(b, Store("whole", bytes(900)))
            await trio.sleep(1)
        assert mesh.streams == 6
        path = a.requests.paths.get(b.contact)
        assert not path.is_narrow_for(1200, True, trio.current_time())


async def test_a_peer_that_restarted_is_not_taken_for_a_narrow_path(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        for number in range(4):
            await trio.sleep(10)
            b = restarted(b)
            async with running(mesh, b):
                asked = a.ask(b, Get(str(number), b"900"))
                await trio.sleep(3)
                assert len(asked.replies) == 1
        assert mesh.streams == 0


async def test_where_the_stream_fails_too_an_answer_may_still_come(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        mesh.stream_fails = "refused"
        mesh.fate = lambda sent: (1.0,) if len(sent.datagram) > SURELY_PASSES else (ONE_WAY,)
        asked = [a.ask(b, Store("1", bytes(900))), a.ask(b, Ping("small"))]
        await trio.sleep(5)
        assert [each.ends for each in asked] == [1, 1]
        assert asked[0].answer == Stored("1")
        mesh.fate = narrow
        began = trio.current_time()
        vanished = a.ask(b, Store("v", bytes(900)))
        a.ask(b, Ping("small"))
        await trio.sleep(5)
        assert vanished.failed_at == [pytest.approx(began + DEADLINE)]
        a.missed.clear()
        mesh.fate = lost
        began = trio.current_time()
        silent = a.ask(b, Store("2", bytes(900)))
        await trio.sleep(5)
        assert silent.failed_at == [pytest.approx(began + DEADLINE)]
        assert a.missed == [b.contact]
        assert not a.failed_streams
