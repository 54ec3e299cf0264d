"""What an ordinary packet uses without looking it up anew: its session, the path that the session keeps, one timer.

Rules of this file: each story fails where something that is kept for the next packet is not renewed.
"""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import Requests as Settings
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.packets import RESPONSE, SEALED
from tests.peer.mesh import ONE_WAY, Mesh, MeshNode, answer_of, met, running
from tests.peer.tiny_codec import Find, Ping, Store

A, B, C = "198.18.1.1", "198.18.2.1", "198.18.3.1"
MOST_PATHS = 64


def two(mesh: Mesh) -> tuple[MeshNode, MeshNode]:
    return MeshNode(mesh, "a", A, settings=Settings(max_peers=MOST_PATHS)), MeshNode(mesh, "b", B)


def name(node: MeshNode, count: int) -> None:
    """This node hears of so many more peers, and all of them have answered once."""
    for _ in range(count):
        number = len(node.requests.paths) + node.requests.paths.forgotten
        endpoint = Endpoint.of(bytes((10, number >> 16, number >> 8 & 0xFF, number & 0xFF)), 8118)
        node.requests.paths.on_answer(Contact.of(number.to_bytes(32, "big"), endpoint), 0.0, 0.1, 0)


async def test_a_path_in_use_is_not_forgotten_for_others(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        path = a.requests.path(b.contact)
        for number in range(5):
            a.ask(b, Store(str(number)))
            name(a, MOST_PATHS - 1)
            await trio.sleep(1)
        assert a.requests.path(b.contact) is path
        assert a.requests.paths.known(b.contact) is path


@pytest.mark.parametrize("is_forgotten_under_way", [False, True])
async def test_a_path_that_was_forgotten_is_remembered_again_by_the_next_packet(
    autojump_clock: trio.testing.MockClock, is_forgotten_under_way: bool
) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        await met(a, b)
        await a.requests.ask(b.contact, Store("0"))
        former = a.requests.path(b.contact)
        if is_forgotten_under_way:
            a.ask(b, Store("1"))
        name(a, 2 * MOST_PATHS)
        assert a.requests.path(b.contact) is None
        if not is_forgotten_under_way:
            asked = a.ask(b, Store("1"))
            assert asked.pending is not None
            assert a.requests.paths.known(b.contact) is asked.pending.path
        await trio.sleep(1)
        path = a.requests.path(b.contact)
        assert path is not None
        assert path is not former
        assert a.requests.paths.known(b.contact) is path
        assert path.is_answering
        name(a, MOST_PATHS - 2)
        assert a.requests.path(b.contact) is path


async def test_a_peer_whose_first_answer_is_sealed_is_among_those_that_have_answered(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Names without nodes do not push it out."""
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        b.answer_of = lambda message: Ping("no answer")  # so the handshake is complete, and nothing is learned
        a.ask(b, Ping("1"))
        await trio.sleep(0.1)
        assert a.requests.has_session(b.contact.public)
        b.answer_of = answer_of
        a.ask(b, Store("2"))
        await trio.sleep(1)
        path = a.requests.path(b.contact)
        for number in range(4 * MOST_PATHS):
            endpoint = Endpoint.of(bytes((10, 1, number >> 8, number & 0xFF)), 8118)
            a.requests.paths.get(Contact.of(number.to_bytes(32, "big"), endpoint))
        assert path is not None
        assert a.requests.path(b.contact) is path


async def test_a_request_that_is_answered_in_time_wakes_nobody_else(autojump_clock: trio.testing.MockClock) -> None:
    @attrs.define(eq=False)
    class Steps(trio.abc.Instrument):
        task: trio.lowlevel.Task
        count: int = 0

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.count += task is self.task

    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, b), trio.open_nursery() as nursery:
        await nursery.start(a.requests.run)
        (task,) = nursery.child_tasks
        await met(a, b)
        await trio.sleep(10)
        steps = Steps(task)
        trio.lowlevel.add_instrument(steps)
        asked = [a.ask(b, Store(str(number))) for number in range(20)]
        await trio.sleep(10)
        assert [each.ends for each in asked] == [1] * 20
        assert steps.count == 0
        mesh.fate = lambda sent: ()
        silent = a.ask(b, Store("silent"))
        await trio.sleep(10)
        assert silent.ends == 1
        assert steps.count > 0
        trio.lowlevel.remove_instrument(steps)
        nursery.cancel_scope.cancel()


async def test_a_stranger_that_is_only_sent_to_is_in_use(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    b = MeshNode(mesh, "b", B, most_peers=64)  # four places for strangers that have confirmed
    others = [MeshNode(mesh, f"{number}", f"198.18.{number + 10}.9") for number in range(6)]
    async with running(mesh, b, *others):
        for other in others[:4]:
            await met(other, b)
        mesh.fate = lambda sent: (ONE_WAY,) if sent.source != others[0].endpoint else ()
        b.ask(others[0], Store("1"))
        await trio.sleep(0.01)
        for other in others[4:]:
            await met(other, b)
        sessions = [b.requests.has_session(other.contact.public) for other in others]
        assert sessions == [True, False, False, True, True, True]


async def test_the_credit_of_a_peer_begins_with_its_handshake(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = two(mesh)
    async with running(mesh, a, b):
        a.ask(b, Find("1"))
        await trio.sleep(1)
        sent = [each for each in mesh.sent if each.source == a.endpoint]
        assert [each.field for each in sent][1:] == [SEALED]
        # Without the frame of what is sealed.
        assert b.sessions.table.peers[a.contact.public].credit == sum(len(each.datagram) for each in sent) - 3
        assert RESPONSE in [each.field for each in mesh.sent]
