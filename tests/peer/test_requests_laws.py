"""What holds for every request however datagrams are lost, doubled, late and out of order, and whichever node restarts
or moves meanwhile.

Rules of this file: three nodes on the network in memory, in virtual time; what a datagram meets is drawn from a seed.
"""

from __future__ import annotations

import contextlib
import random

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.peer.mesh import ONE_WAY, Asked, Mesh, MeshNode, Sent, usual
from tests.peer.tiny_codec import Find, Get, Message, Ping, Store

NAMES = "abc"
HOSTS = {name: f"198.18.{number}.1" for number, name in enumerate(NAMES, 1)}
NAME = st.sampled_from(NAMES)
STEPS = st.one_of(
    st.tuples(
        st.just("ask"), NAME, NAME, st.sampled_from(["ping", "find", "get", "large get", "store", "large store"])
    ),
    st.tuples(
        st.just("ask"), NAME, NAME, st.sampled_from(["ping", "find", "get", "large get", "store", "large store"])
    ),
    st.tuples(st.just("weather"), st.sampled_from([0.0, 0.1, 0.4, 1.0]), st.sampled_from([0.0, 0.3])),
    st.tuples(st.just("restart"), NAME),
    st.tuples(st.just("move"), NAME),
    st.tuples(st.just("sleep"), st.sampled_from([0.005, 0.03, 0.3, 1.1, 4.0, 4000.0])),
)
Step = tuple[str, *tuple[str | float, ...]]


@attrs.frozen
class Question:
    """A request of one run of a node."""

    run: MeshNode
    to: bytes  # public key
    message: Message
    asked: Asked


class World:
    """The nodes, their runs, and all that was asked."""

    def __init__(self, nursery: trio.Nursery, seed: int) -> None:
        self.mesh = Mesh()
        self.rng = random.Random(seed)
        self.nursery = nursery
        self.runs: list[MeshNode] = []
        self.scopes: dict[str, trio.CancelScope] = {}
        self.nodes: dict[str, MeshNode] = {}
        self.asked: list[Question] = []
        nursery.start_soon(self.mesh.deadlines.run)

    async def start(self, name: str, host: str) -> None:
        if name in self.scopes:
            self.scopes[name].cancel()
        node = self.nodes[name] = MeshNode(self.mesh, name, host, run=len(self.runs))
        self.runs.append(node)
        self.scopes[name] = scope = trio.CancelScope()
        await self.nursery.start(self._run, node, scope)

    async def _run(
        self, node: MeshNode, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with scope:
            await node.requests.run(task_status=task_status)

    async def step(self, what: str, *arguments: str | float) -> None:
        match what, *arguments:
            case "ask", str(name), str(other), str(kind):
                if name != other:
                    self.ask(name, other, kind)
            case "weather", loss, doubling:
                self.weather(float(loss), float(doubling))
            case "restart", str(name):
                await self.start(name, self.nodes[name].endpoint.host)
            case "move", str(name):
                self.nodes[name].move(f"198.18.{100 + self.rng.randrange(100)}.{NAMES.index(name) + 1}")
            case "sleep", seconds:
                await trio.sleep(float(seconds))

    def ask(self, name: str, other: str, kind: str) -> Question:
        node, to = self.nodes[name], self.nodes[other]
        title = f"{name} asks {other} {len(self.asked)}"
        message = {
            "ping": Ping(title),
            "find": Find(title),
            "get": Get(title, b"900"),
            "large get": Get(title, b"5000"),
            "store": Store(title, bytes(700)),
            "large store": Store(title, bytes(5000)),
        }[kind]
        question = Question(node, to.contact.public, message, node.ask(to, message))
        self.asked.append(question)
        return question

    def weather(self, loss: float, doubling: float) -> None:
        def fate(sent: Sent) -> tuple[float, ...]:
            if self.rng.random() < loss:
                return ()
            copies = 2 if self.rng.random() < doubling else 1
            return tuple(self.rng.choice([0.001, ONE_WAY, 0.1, 0.7]) for _ in range(copies))

        self.mesh.fate = fate if loss or doubling else usual

    def check(self) -> None:
        """No request has ended twice, no answer is another's, and no request came from a peer that did not make it."""
        for question in self.asked:
            asked = question.asked
            assert asked.ends <= 1
            assert len(asked.overdue_at) <= 1
            for reply in asked.replies:
                assert reply.contact.public == question.to
                assert reply.message.name == question.message.name
        publics = {name: node.contact.public for name, node in self.nodes.items()}
        for run in self.runs:
            for request in run.handled:
                title = request.message.name
                if title:
                    assert (publics[title[0]], publics[title[7]]) == (request.contact.public, run.contact.public)
                assert request.is_confirmed or not isinstance(request.message, Store)

    async def end(self) -> None:
        """The weather clears. All that a living run asked ends, and nothing is left of it."""
        self.mesh.fate = usual
        await trio.sleep(30)
        self.check()
        living = set(self.nodes.values())
        for question in self.asked:
            if question.run in living:
                assert question.asked.ends == (question.asked.pending is not None)
        for node in living:
            assert node.requests.pending == 0
            assert node.requests.handshakes == 0
            assert len(node.requests.deadlines) == 0
        # And every node reaches every other one, within the deadline.
        final = [self.ask(name, other, "store") for name in NAMES for other in NAMES if name != other]
        await trio.sleep(3)
        assert [len(question.asked.replies) for question in final] == [1] * len(final)


@given(st.lists(STEPS, max_size=30), st.integers(0, 2**32))
def test_each_request_ends_once_with_its_own_answer_or_none(steps: list[Step], seed: int) -> None:
    async def story() -> None:
        async with trio.open_nursery() as nursery:
            world = World(nursery, seed)
            for name in NAMES:
                await world.start(name, HOSTS[name])
            for step in steps:
                await world.step(*step)
                world.check()
            await world.end()
            nursery.cancel_scope.cancel()

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.parametrize("seed", range(5))
def test_a_cancelled_ask_leaves_nothing_behind(seed: int) -> None:
    """Whenever it comes, and whatever the link does meanwhile."""

    async def story() -> None:
        async with trio.open_nursery() as nursery:
            world = World(nursery, seed)
            for name in NAMES:
                await world.start(name, HOSTS[name])
            world.weather(0.3, 0.3)
            a, b = world.nodes["a"], world.nodes["b"]
            for number in range(30):
                with trio.move_on_after(world.rng.uniform(0, 0.5)):
                    body = world.rng.choice([b"", bytes(900), bytes(5000)])
                    await a.requests.ask(b.contact, Store(f"a asks b {number}", body))
                with contextlib.suppress(trio.TooSlowError), trio.fail_after(world.rng.uniform(0, 0.5)):
                    await a.requests.hellos.public_key_at(b.endpoint)
            await world.end()
            nursery.cancel_scope.cancel()

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))
