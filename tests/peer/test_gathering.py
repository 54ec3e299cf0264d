"""Requests of several operations to one peer leave together: none is lost, late or counted wrongly.

Rules of this file: passes of the event loop are counted, virtual time passes only where a test lets it.
"""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.peer.gathering import MOST_GATHERED, MOST_PASSES
from camomile_trio.peer.packets import INITIATION, SEALED
from tests.peer.mesh import Asked, Mesh, MeshNode, met, running
from tests.peer.tiny_codec import Message, Ping, Store, Stored, TinyCodec

A, B, C = "198.18.1.1", "198.18.2.1", "198.18.3.1"


def three(mesh: Mesh) -> tuple[MeshNode, MeshNode, MeshNode]:
    return MeshNode(mesh, "a", A), MeshNode(mesh, "b", B), MeshNode(mesh, "c", C)


def gather(node: MeshNode, other: MeshNode, message: Message) -> Asked:
    asked = Asked()
    asked.pending = node.requests.request(
        other.contact,
        message,
        on_reply=asked.on_reply,
        on_overdue=lambda: asked.overdue_at.append(trio.current_time()),
        on_failed=lambda: asked.failed_at.append(trio.current_time()),
        may_gather=True,
    )
    return asked


async def passes(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def test_they_leave_peer_by_peer_in_the_order_of_their_coming(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, c = three(mesh)

    async def operation(name: str) -> None:
        for node in (b, c):
            asked.append(gather(a, node, Store(name)))
            await passes(1)

    asked: list[Asked] = []
    async with running(mesh, a, b, c):
        await met(a, b)
        await met(a, c)
        b.handled.clear()
        async with trio.open_nursery() as nursery:
            for name in ("1", "2", "3"):
                nursery.start_soon(operation, name)
        assert not mesh.sent
        await trio.sleep(0.001)
        assert [sent.to for sent in mesh.sent] == [b.endpoint] * 3 + [c.endpoint] * 3
        assert a.requests.gathered == (6, 2)
        await trio.sleep(1)
        assert [each.ends for each in asked] == [1] * 6
        assert sorted(b.names()) == sorted(c.names()) == ["1", "2", "3"]
        assert a.requests.statistics.requests["store"] == a.requests.statistics.answered["store"] == 6


async def test_one_that_may_not_wait_overtakes_them(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        gather(a, b, Store("may wait"))
        a.ask(b, Store("may not"))
        assert len(mesh.sent) == 1
        await trio.sleep(1)
        assert b.names() == ["may not", "may wait"]


async def test_all_times_begin_when_it_leaves(mock_clock: trio.testing.MockClock) -> None:
    """Passes take time: it is no part of the round trip, nor of what a peer has to answer."""
    mesh = Mesh()
    a, b, c = three(mesh)
    async with running(mesh, a, b, c):
        mock_clock.autojump_threshold = 0
        await met(a, b)
        await met(a, c)
        mock_clock.autojump_threshold = float("inf")
        round_trip = a.requests.paths.get(b.contact).smoothed
        answered, silent = gather(a, b, Store("1")), gather(a, c, Store("2"))
        del mesh.nodes[c.endpoint]
        for pending in (answered.pending, silent.pending):
            assert pending is not None
            assert pending.sent_at is None
        began = trio.current_time()
        while not mesh.sent:
            mock_clock.jump(0.3)
            await passes(1)
        assert (left := trio.current_time()) > began + 0.5
        assert silent.pending is not None
        assert silent.pending.sent_at == left
        rto = silent.pending.path.rto
        mock_clock.autojump_threshold = 0
        await trio.sleep(5)
        (reply,) = answered.replies
        assert reply.round_trip == pytest.approx(round_trip)
        assert answered.overdue_at == []
        assert silent.overdue_at == pytest.approx([left + rto])
        assert silent.failed_at == pytest.approx([began + a.requests.settings.deadline])


async def test_a_flood_of_them_leaves_at_once(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        for number in range(MOST_GATHERED):
            assert not mesh.sent
            gather(a, b, Store(str(number)))
        assert len(mesh.sent) == MOST_GATHERED
        gather(a, b, Store("one more"))
        await trio.sleep(1)
        assert len(b.handled) == MOST_GATHERED + 1


async def test_none_waits_for_ever_for_more(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        count = 0
        while not mesh.sent:
            gather(a, b, Store(str(count)))
            count += 1
            await passes(1)
        assert MOST_PASSES <= count <= MOST_PASSES + 2
        await trio.sleep(1)
        assert len(b.handled) == count


async def test_only_what_is_sealed_waits(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, c = three(mesh)
    async with running(mesh, a, b, c):
        await met(a, b)
        gather(a, c, Ping("never met"))
        assert mesh.fields(a) == [INITIATION]
        gather(a, b, Store("long", bytes(3000)))
        await trio.sleep(1)
        assert mesh.streams == 1
        assert a.requests.gathered == (0, 0)


async def test_without_a_task_to_send_it_it_does_not_wait(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
    gather(a, b, Store("1"))
    assert mesh.fields(a) == [SEALED]


async def test_what_waits_when_the_node_ends_is_sent(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        gather(a, b, Store("1"))
        gather(a, b, Store("2"))
        assert not mesh.sent
    assert mesh.fields(a) == [SEALED, SEALED]


async def test_if_its_session_has_ended_meanwhile_it_makes_a_handshake(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        asked = gather(a, b, Store("1"))
        a.sessions.table.remove(b.contact.public, trio.current_time())
        await trio.sleep(1)
        assert mesh.fields(a)[:1] == [INITIATION]
        assert asked.ends == 1
        assert b.names()[-1] == "1"


async def test_a_lost_one_is_sent_again_and_a_silent_peer_is_told(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        mesh.fate = lambda sent: ()
        asked = gather(a, b, Store("1"))
        await trio.sleep(0.2)
        assert mesh.fields(a)[:2] == [SEALED, SEALED]
        assert a.requests.statistics.retransmitted == 1
        await trio.sleep(5)
        assert len(asked.overdue_at) == len(asked.failed_at) == 1
        assert a.missed == [b.contact]
        assert a.requests.pending == 0


async def test_a_peer_that_answers_before_it_is_asked_is_not_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Numbers can be guessed. The answer is that peer's own, and there is no round trip in it."""
    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        asked = gather(a, b, Store("1"))
        assert asked.pending is not None
        sealed = b.sessions.seal(
            a.contact.public, TinyCodec().encode(asked.pending.number, Stored("1"), 0), trio.current_time()
        )
        assert sealed is not None
        a.inbox.on_datagram(sealed.datagram, b.endpoint)
        (reply,) = asked.replies
        assert reply.round_trip is None
        await trio.sleep(5)
        assert not mesh.fields(a)
        assert asked.ends == 1
        assert len(a.requests.deadlines) == 0


async def test_its_caller_may_leave(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        asked = gather(a, b, Store("1"))
        assert asked.pending is not None
        asked.pending.detach()
        await trio.sleep(5)
        assert asked.ends == 0
        assert b.names() == ["1"]
        assert len(a.requests.deadlines) == 0


async def test_where_nothing_gathers_there_is_no_task(autojump_clock: trio.testing.MockClock) -> None:
    @attrs.define(eq=False)
    class Spawned(trio.abc.Instrument):
        names: list[str] = attrs.field(factory=list)

        def task_spawned(self, task: trio.lowlevel.Task) -> None:
            self.names.append(task.name)

    mesh = Mesh()
    a, b, _ = three(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        spawned = Spawned()
        trio.lowlevel.add_instrument(spawned)
        a.ask(b, Store("1"))
        await trio.sleep(1)
        assert spawned.names == []
        gather(a, b, Store("2"))
        gather(a, b, Store("3"))
        await trio.sleep(1)
        assert len(spawned.names) == 1
        trio.lowlevel.remove_instrument(spawned)
