"""Nodes that speak to each other by `Sessions` alone, over a line that loses only what a test takes away.

Rules of this file: what it does with decisions is what the shell of a node has to do, in twenty lines; no assertion.
Time moves when a test moves it.
"""

from __future__ import annotations

import random

import attrs

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.budget import HandshakeRates
from camomile_trio.peer.decisions import Decision, Initiated, Opened, Reply, Responded
from camomile_trio.peer.handshake import NetworkKey, open_network_key
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.sessions import Sessions
from camomile_trio.peer.suite import CipherSuite
from camomile_trio.simulation.suite import ToySuite

NETWORK = b"n" * 32
OPEN = NetworkKey.of(open_network_key(NETWORK), NETWORK)
RTO = 0.2
A, B, C = "198.18.1.1", "198.18.2.1", "198.18.3.1"  # hosts, each of a source network of its own


@attrs.frozen
class Flying:
    """A datagram under way."""

    datagram: bytes
    source: Endpoint
    to: Endpoint


@attrs.frozen
class Handled:
    """A request or an answer that a node would have acted on."""

    peer: bytes
    inner: bytes
    is_confirmed: bool


@attrs.define(eq=False)
class Line:
    """All datagrams under way, the clocks, and the nodes by their addresses."""

    now: float = 100.0
    wall_ms: int = 1_700_000_000_000
    flying: list[Flying] = attrs.field(factory=list)
    nodes: dict[Endpoint, Node] = attrs.field(factory=dict)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.wall_ms += int(1000 * seconds)

    def deliver(self, flying: Flying) -> Decision | None:
        node = self.nodes.get(flying.to)
        return node.on_datagram(flying.datagram, flying.source) if node is not None else None

    def deliver_all(self, most: int = 100) -> list[Decision]:
        """Until nothing is under way."""
        decisions = []
        while self.flying and most:
            most -= 1
            decision = self.deliver(self.flying.pop(0))
            if decision is not None:
                decisions.append(decision)
        return decisions

    def take(self) -> list[bytes]:
        """What is under way never arrives."""
        taken = [flying.datagram for flying in self.flying]
        self.flying.clear()
        return taken


class Node:
    """One node. `skew_ms`: how far its wall clock is off."""

    def __init__(
        self,
        line: Line,
        seed: bytes,
        host: str,
        *,
        suite: CipherSuite | None = None,
        keys: tuple[NetworkKey, ...] = (OPEN,),
        most_peers: int = 64,
        rates: HandshakeRates | None = None,
        run: int = 0,
        skew_ms: int = 0,
    ) -> None:
        self.suite = suite or ToySuite()
        self.line, self.seed, self.skew_ms = line, seed, skew_ms
        self.endpoint = Endpoint.parse(f"{host}:8118")
        self.static = StaticKey.from_seed(self.suite, (seed * 32)[:32])
        local = Local.start(self.static, keys, self.suite, random.Random(f"{seed!r} {run} {host}"))
        self.sessions = Sessions(local, line.now, most_peers=most_peers, rates=rates)
        self.handled: list[Handled] = []
        line.nodes[self.endpoint] = self

    @property
    def public(self) -> bytes:
        return self.static.public

    @property
    def wall_ms(self) -> int:
        return self.line.wall_ms + self.skew_ms

    def send(self, datagram: bytes, to: Endpoint) -> None:
        self.line.flying.append(Flying(datagram, self.endpoint, to))

    def initiate(self, other: Node, request: bytes = b"find", padded_to: int = 0) -> bytes:
        datagram = self.sessions.initiator.initiate(
            other.public, other.endpoint, request, self.line.now, self.wall_ms, padded_to
        )
        self.send(datagram, other.endpoint)
        return datagram

    def retransmit(self, other: Node) -> None:
        datagram = self.sessions.initiator.retransmission(other.public, other.endpoint)
        assert datagram is not None
        self.send(datagram, other.endpoint)

    def seal(self, other: Node, inner: bytes) -> bytes | None:
        sealed = self.sessions.seal(other.public, inner, self.line.now)
        if sealed is None:
            return None
        self.send(sealed.datagram, sealed.endpoint)
        return sealed.datagram

    def has_session_with(self, other: Node) -> bool:
        return self.sessions.table.current(other.public) is not None

    def on_datagram(self, datagram: bytes, source: Endpoint) -> Decision:
        decision = self.sessions.on_datagram(datagram, source, self.line.now, self.wall_ms)
        match decision:
            case Initiated():
                self.handled.append(Handled(decision.contact.public, decision.request, False))
                answer = b"answer to " + decision.request
                response = self.sessions.responder.respond(
                    decision, answer[: decision.room], self.line.now, self.wall_ms
                )
                if response is not None:
                    self.send(response, source)
            case Responded():
                self.handled.append(Handled(decision.contact.public, decision.answer, True))
                confirming = self.sessions.seal(decision.contact.public, b"", self.line.now)
                if confirming is not None:
                    self.send(confirming.datagram, confirming.endpoint)
            case Opened():
                if decision.inner:
                    self.handled.append(Handled(decision.contact.public, decision.inner, True))
            case Reply():
                self.send(decision.datagram, source)
        return decision


def two(line: Line, suite: CipherSuite | None = None) -> tuple[Node, Node]:
    return Node(line, b"a", A, suite=suite), Node(line, b"b", B, suite=suite)


def whole(sessions: Sessions) -> bool:
    """Whether the counts add up: every peer is a member or a stranger, every session is some peer's, every index is in
    use or at rest, and members are known by their ips."""
    table, counts = sessions.table, sessions.counts()
    of_peers = [
        session.own_index
        for peer in table.peers.values()
        for session in (peer.current, peer.unconfirmed, *peer.older)
        if session is not None
    ]
    members = sum(peer.is_member for peer in table.peers.values())
    current = [(peer.current.endpoint.ip, peer.is_member) for peer in table.peers.values() if peer.current is not None]
    member_ips = {ip for ip, is_member in current if is_member}
    return (
        sorted(of_peers) == sorted(table.by_index)
        and counts["members"] == members
        and counts["strangers"] + counts["unconfirmed_strangers"] == len(table.peers) - members
        and counts["sessions"] + counts["initiations"] + counts["resting_indexes"] == counts["indexes"]
        and all(table.has_member_at(ip) == (ip in member_ips) for ip, _ in current)
    )


def met(line: Line, first: Node, second: Node) -> None:
    """`first` and `second` have a confirmed session, which `first` began."""
    first.initiate(second)
    line.deliver_all()
    first.handled.clear()
    second.handled.clear()
