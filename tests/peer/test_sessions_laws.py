"""What holds for two honest nodes however their datagrams are lost, doubled, reordered and replayed from elsewhere, and
whenever either restarts, moves or sets its clock back.

Rules of this file: the toy suite, which refuses what the real one refuses; each example is a few dozen steps.
"""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Endpoint
from tests.peer.nodes import RTO, Flying, Line, Node, whole

A, B, THIEF, ELSEWHERE = "198.18.1.1", "198.18.2.1", "198.18.3.1", "198.18.4.1"
WHO = st.sampled_from("ab")
WHICH = st.integers(0, 30)
STEPS = st.one_of(
    st.tuples(st.just("ask"), WHO),
    st.tuples(st.just("initiate"), WHO),
    st.tuples(st.just("retransmit"), WHO),
    st.tuples(st.just("deliver"), WHICH),
    st.tuples(st.just("deliver"), WHICH),
    st.tuples(st.just("deliver"), WHICH),
    st.tuples(st.just("drop"), WHICH),
    st.tuples(st.just("double"), WHICH),
    st.tuples(st.just("replay"), WHICH),
    st.tuples(st.just("replay from elsewhere"), WHICH),
    st.tuples(st.just("restart"), WHO),
    st.tuples(st.just("move"), WHO),
    st.tuples(st.just("set the clock back"), WHO),
    st.tuples(st.just("tick"), st.sampled_from([0.01, 0.3, 1.5, 15.0, 130.0, 4000.0])),
)


class World:
    """Two nodes, what an attacker has recorded, and what each run of each node has handled."""

    def __init__(self) -> None:
        self.line = Line()
        self.runs: list[Node] = []
        self.recorded: list[Flying] = []
        self.count = 0
        self.nodes: dict[str, Node] = {}
        self.start("a", A)
        self.start("b", B)

    def start(self, name: str, host: str, skew_ms: int = 0) -> None:
        node = Node(self.line, name.encode(), host, run=len(self.runs), skew_ms=skew_ms)
        self.nodes[name] = node
        self.runs.append(node)

    def other(self, name: str) -> Node:
        return self.nodes["b" if name == "a" else "a"]

    def request(self, name: str) -> bytes:
        self.count += 1
        return f"{name} {self.count}".encode()

    def ask(self, name: str) -> bytes:
        """As a shell does it: sealed if there is a session, else in an initiation. The request."""
        node, other, request = self.nodes[name], self.other(name), self.request(name)
        if node.seal(other, request) is None:
            node.initiate(other, request)
        return request

    def pick(self, number: int) -> Flying | None:
        return self.line.flying[number % len(self.line.flying)] if self.line.flying else None

    def step(self, what: str, argument: str | int | float) -> None:
        line = self.line
        if isinstance(argument, str):
            self.act(what, argument)
        elif what == "tick":
            line.tick(argument)
        elif what.startswith("replay"):
            if self.recorded:
                flying = self.recorded[int(argument) % len(self.recorded)]
                source = Endpoint.parse(f"{THIEF}:8118") if what.endswith("elsewhere") else flying.source
                line.deliver(Flying(flying.datagram, source, flying.to))
        elif (picked := self.pick(int(argument))) is not None:
            if what != "double":
                line.flying.remove(picked)
            if what != "drop":
                line.deliver(picked)
        self.recorded = [*self.recorded, *(each for each in line.flying if each not in self.recorded)]

    def act(self, what: str, name: str) -> None:
        node, other = self.nodes[name], self.other(name)
        if what == "ask":
            self.ask(name)
        elif what == "initiate":
            node.initiate(other, self.request(name))
        elif what == "retransmit":
            if node.sessions.initiator.retransmission(other.public, other.endpoint) is not None:
                node.retransmit(other)
        elif what == "restart":
            self.start(name, node.endpoint.host, node.skew_ms)
        elif what == "set the clock back":
            self.start(name, node.endpoint.host, node.skew_ms - 3_600_000)
        else:
            # It keeps its sessions, and its old address answers no more.
            del self.line.nodes[node.endpoint]
            host = ELSEWHERE if name == "a" else "198.18.5.1"
            node.endpoint = Endpoint.parse(f"{host}:8118")
            self.line.nodes[node.endpoint] = node

    def check(self) -> None:
        """No run of a node has handled a request from the wrong peer, nor a sealed one twice.

        (The request in an initiation is handled again when that is begun anew with a cookie; it only asks.)
        """
        assert all(whole(run.sessions) for run in self.runs)
        names = {self.nodes[name].public: name for name in "ab"}
        for run in self.runs:
            sealed = [each.inner for each in run.handled if each.is_confirmed]
            assert len(sealed) == len(set(sealed))
            for handled in run.handled:
                author = handled.inner.removeprefix(b"answer to ").decode()[0]
                assert handled.peer != run.public
                if handled.inner.startswith(b"answer"):
                    assert author == names[run.public]
                else:
                    assert author == names[handled.peer]

    def exchange(self, name: str) -> bool:
        """One request by the rules, over a line that loses nothing now. Whether the other one handled it."""
        node, other, line = self.nodes[name], self.other(name), self.line
        request = self.ask(name)
        line.deliver_all()
        if not any(handled.inner == request for handled in other.handled):
            line.tick(RTO)
            node.seal(other, request)
            line.deliver_all()
        if not any(handled.inner == request for handled in other.handled):
            line.now = max(line.now, node.sessions.initiator.may_initiate_at(other.public, other.endpoint))
            node.initiate(other, request)
            line.deliver_all()
        return any(handled.inner == request for handled in other.handled)


@given(st.lists(STEPS, max_size=40))
@example([("ask", "a"), ("deliver", 0), ("deliver", 0), ("deliver", 0), ("move", "a"), ("restart", "b")])
@example(
    [
        *[("ask", "a"), ("double", 0), ("tick", 15.0), ("double", 0), ("deliver", 2), ("deliver", 3), ("deliver", 2)],
        *[("move", "a"), ("set the clock back", "a")],
    ]
)
@example([("initiate", "a"), ("initiate", "b"), ("restart", "a"), ("deliver", 0), ("deliver", 0), ("deliver", 0)])
def test_no_request_is_handled_from_the_wrong_peer_and_in_the_end_both_have_a_session(
    steps: list[tuple[str, str | int | float]],
) -> None:
    world = World()
    for what, argument in steps:
        world.step(what, argument)
        world.check()
    world.line.deliver_all(1000)
    for name in "abab":
        assert world.exchange(name)
    world.check()
    a, b = world.nodes["a"], world.nodes["b"]
    assert a.has_session_with(b)
    assert b.has_session_with(a)
    # And the sessions fit together: what is sealed now is opened.
    for node, other, name in ((a, b, "a"), (b, a, "b")):
        request = world.request(name)
        node.seal(other, request)
        world.line.deliver_all()
        assert other.handled[-1].inner == request


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60), st.integers(0, 2**20))
def test_what_either_side_seals_is_opened_however_handshakes_overlapped(
    begins: list[tuple[str, bool]], shuffle: int
) -> None:
    """Whichever sessions are current, and in whatever order datagrams overtook each other."""
    world = World()
    for name, is_delivered in begins:
        world.line.tick(0.01)
        world.nodes[name].initiate(world.other(name), world.request(name))
        if is_delivered and world.line.flying:
            flying = world.line.flying.pop(shuffle % len(world.line.flying))
            world.line.deliver(flying)
    world.line.deliver_all(1000)
    if not begins:
        return
    for name in "ab":
        request = world.request(name)
        assert world.nodes[name].seal(world.other(name), request) is not None
        world.line.deliver_all()
        assert world.other(name).handled[-1].inner == request
    world.check()
