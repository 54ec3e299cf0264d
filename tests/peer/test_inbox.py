"""What becomes of datagrams: packets of a session, and those of classic nodes, of other networks, from nowhere.

Rules of this file: datagrams are given to an inbox as the network would; no time passes.
"""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.packets import INITIATION
from tests.peer.mesh import WALL_MS, Mesh, MeshNode, met, running
from tests.peer.nodes import NETWORK
from tests.peer.tiny_codec import Message, Ping, Stored, TinyCodec

A, B = "198.18.1.1", "198.18.2.1"
SOURCE = Endpoint.parse("198.18.7.1:8118")
SENSELESS = [Endpoint.parse(text) for text in ("198.18.7.1:0", "224.0.0.1:8118", "0.0.0.0:8118", "[fe80::1]:8118")]
CLASSIC = [b"\n\x00", b"\x0a\x20" + bytes(2000), b"\x7f", b""]


@attrs.define
class Ear:
    """What it was told of datagrams that are not ours."""

    heard: list[tuple[bytes, Endpoint]] = attrs.field(factory=list)

    def __call__(self, datagram: bytes, source: Endpoint) -> None:
        self.heard.append((datagram, source))


def initiation(mesh: Mesh, to: MeshNode, version: int = 2) -> bytes:
    """As a node makes it that has never met this one."""
    stranger = MeshNode(mesh, f"stranger of version {version}", "198.18.7.1")
    stranger.sessions.local.version = version
    contact = to.contact
    request = stranger.requests.codec.encode(1, Ping("1"), 0)
    return stranger.sessions.initiator.initiate(contact.public, contact.endpoint, request, trio.current_time(), WALL_MS)


@pytest.mark.parametrize("datagram", CLASSIC)
async def test_what_a_classic_node_may_have_sent_is_handed_on_unread(
    autojump_clock: trio.testing.MockClock, datagram: bytes
) -> None:
    ear = Ear()
    node = MeshNode(Mesh(), "a", A, on_classic=ear)
    node.inbox.on_datagram(datagram, SOURCE)
    assert ear.heard == [(datagram, SOURCE)]
    assert not node.sessions.dropped


@pytest.mark.parametrize("datagram", CLASSIC)
async def test_without_an_ear_for_it_it_is_dropped_and_counted(
    autojump_clock: trio.testing.MockClock, datagram: bytes
) -> None:
    mesh = Mesh()
    node = MeshNode(mesh, "a", A)
    node.inbox.on_datagram(datagram, SOURCE)
    assert node.sessions.dropped == {"classic": 1}
    assert not mesh.sent
    assert not node.foreign


async def test_what_is_framed_as_ours_is_never_handed_to_classic(autojump_clock: trio.testing.MockClock) -> None:
    ear = Ear()
    mesh = Mesh()
    a, b = MeshNode(mesh, "a", A, on_classic=ear), MeshNode(mesh, "b", B)
    async with running(mesh, a, b):
        await met(b, a)
        a.inbox.on_datagram(b"\x80\x01\x01x", SOURCE)
        a.inbox.on_datagram(b"\xff" * 2000, SOURCE)
    assert not ear.heard
    assert a.sessions.dropped == {"wrong_frame": 1, "wrong_length": 1}


@pytest.mark.parametrize("source", SENSELESS, ids=str)
async def test_a_datagram_from_an_address_that_no_node_has_is_dropped_before_any_crypto(
    autojump_clock: trio.testing.MockClock, source: Endpoint
) -> None:
    ear = Ear()
    mesh = Mesh()
    node = MeshNode(mesh, "a", A, on_classic=ear)
    datagram = initiation(mesh, node)
    node.inbox.on_datagram(datagram, source)
    node.inbox.on_datagram(datagram[:-40] + bytes(40), source)  # its mac1 is wrong, and was not looked at
    node.inbox.on_datagram(CLASSIC[0], source)
    assert node.sessions.dropped == {"senseless_source": 3}
    assert not ear.heard
    assert not node.handled
    assert not node.foreign
    assert not mesh.sent
    node.inbox.on_datagram(datagram, SOURCE)
    assert node.names() == ["1"]


async def test_what_comes_from_another_network_or_version_is_told(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    a, b = MeshNode(mesh, "a", A), MeshNode(mesh, "b", B)
    a.inbox.on_datagram(initiation(mesh, a, version=3), SOURCE)
    a.inbox.on_datagram(initiation(mesh, b), SOURCE)  # to another node's key
    b.sessions.local.network_keys = (NetworkKey.of(b"x" * 32, NETWORK),)
    a.inbox.on_datagram(initiation(mesh, b), SOURCE)
    a.inbox.on_datagram(b.sessions.initiator.hello(a.endpoint, trio.current_time()), b.endpoint)
    assert a.foreign == [
        (SOURCE, "other_version"),
        (SOURCE, "wrong_mac1"),
        (SOURCE, "wrong_mac1"),
        (b.endpoint, "wrong_mac1"),
    ]
    assert a.sessions.dropped == {"other_version": 1, "wrong_mac1": 3}
    assert not mesh.sent
    assert not a.handled


async def test_of_what_else_is_dropped_nothing_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """A response that was changed on its way says nothing of another network."""
    mesh = Mesh()
    a, b = MeshNode(mesh, "a", A), MeshNode(mesh, "b", B)
    async with running(mesh, a, b):
        mesh.fate = lambda sent: (0.01,) if sent.field == INITIATION else ()
        a.ask(b, Ping("1"))
        await trio.sleep(0.1)
        response = next(sent.datagram for sent in mesh.sent if sent.source == b.endpoint)
        a.inbox.on_datagram(response[:-1] + bytes([response[-1] ^ 1]), b.endpoint)
        a.inbox.on_datagram(b"\xa2\x01\x28" + bytes(40), b.endpoint)
    assert a.sessions.dropped == {"wrong_response_mac": 1, "unknown_index": 1}
    assert not a.foreign


# Packets of a session ------------------------------------------------------------------------------------------------


def sealed(source: MeshNode, to: MeshNode, inner: bytes) -> bytes:
    sealed = source.sessions.seal(to.contact.public, inner, trio.current_time())
    assert sealed is not None
    return sealed.datagram


def inner(message: Message, number: int = 1) -> bytes:
    return TinyCodec().encode(number, message, 0)


@pytest.mark.parametrize("body", [b"", b"x" * 90, b"x" * 600], ids=["short", "at the border", "long"])
async def test_each_damaged_packet_is_dropped_and_counted_once(
    autojump_clock: trio.testing.MockClock, body: bytes
) -> None:
    mesh = Mesh()
    a, b = MeshNode(mesh, "a", A), MeshNode(mesh, "b", B)
    async with running(mesh, a, b):
        await met(a, b)
        datagram = sealed(a, b, inner(Ping("1", body)))
        damaged = [datagram[:size] for size in range(1, len(datagram))] + [datagram + b"\0"]
        for bit in range(8 * min(len(datagram), 60)):
            byte = datagram[bit // 8] ^ 1 << bit % 8
            damaged.append(datagram[: bit // 8] + bytes([byte]) + datagram[bit // 8 + 1 :])
        for each in damaged:
            b.inbox.on_datagram(each, a.endpoint)
        assert b.sessions.dropped.total() == len(damaged)
        assert set(b.sessions.dropped) <= {
            "classic", "not_a_handshake", "over_budget", "replayed", "too_short", "unknown_index", "wrong_counter",
            "wrong_frame", "wrong_length", "wrong_mac1", "wrong_tag",
        }  # fmt: skip
        assert not b.handled
        b.inbox.on_datagram(datagram, a.endpoint)
        assert b.names() == ["1"]


async def test_a_packet_is_taken_once_from_its_own_address_and_says_what_it_is(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = MeshNode(mesh, "a", A), MeshNode(mesh, "b", B)
    async with running(mesh, a, b):
        await met(a, b)
        b.requests.statistics.received.clear()
        datagram = sealed(a, b, inner(Ping("1")))
        b.inbox.on_datagram(datagram, SOURCE)
        for _ in range(2):
            b.inbox.on_datagram(datagram, a.endpoint)
        b.inbox.on_datagram(sealed(a, b, inner(Stored("2"), 7)), a.endpoint)
        b.inbox.on_datagram(sealed(a, b, b"no message"), a.endpoint)
        b.inbox.on_datagram(sealed(a, b, b""), a.endpoint)
        assert b.sessions.dropped == {"other_address": 1, "replayed": 1}
        assert b.requests.statistics.received == {"ping": 1, "stored": 1}
        assert b.requests.statistics.dropped == {"unknown_number": 1, "wrong_message": 1}
        assert b.names() == ["1"]


async def test_what_a_peer_sends_is_credited_to_it_and_tells_when_it_was_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    a, b = MeshNode(mesh, "a", A), MeshNode(mesh, "b", B)
    async with running(mesh, a, b):
        await met(a, b)
        peer = b.sessions.table.peers[a.contact.public]
        before = peer.credit
        await trio.sleep(5)
        datagram = sealed(a, b, inner(Ping("1")))
        b.inbox.on_datagram(datagram, a.endpoint)
        assert peer.credit - before == len(datagram) - 3  # without its frame
        assert peer.heard_at == trio.current_time()


async def test_an_answer_leaves_by_the_session_that_is_current_then(autojump_clock: trio.testing.MockClock) -> None:
    """A request may be answered after a commit. Without a session by then, its answer is dropped and counted."""
    mesh = Mesh()
    a, b = MeshNode(mesh, "a", A), MeshNode(mesh, "b", B)
    async with running(mesh, a, b):
        await met(a, b)
        b.answer_of = lambda message: None
        b.inbox.on_datagram(sealed(a, b, inner(Ping("1"))), a.endpoint)
        (request,) = b.handled
        b.sessions.table.remove(a.contact.public, trio.current_time())
        request.answer(Stored("1"))
        assert b.requests.statistics.dropped == {"no_session": 1}
        request.answer(Stored("1"))  # at most once
        assert b.requests.statistics.dropped == {"no_session": 1}
