"""Sessions are renewed when the network key changes, used or not, within a minute and not all at once.

Rules of this file: the clock is Trio's (autojump); what is looked at is sessions, and what leaves.
"""

from __future__ import annotations

import random

import trio
import trio.testing

from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.packets import INITIATION, RESPONSE, SEALED
from tests.peer.mesh import Mesh, MeshNode, Sent, met, running, usual
from tests.peer.nodes import NETWORK
from tests.peer.tiny_codec import Ping

OLD, NEW, NEWEST = (NetworkKey.of(letter * 32, NETWORK) for letter in (b"x", b"y", b"z"))
MINUTE = 60.0


def set_keys(node: MeshNode, *keys: NetworkKey) -> None:
    node.sessions.change_keys(keys, trio.current_time())
    node.requests.renew_sessions()


def under(node: MeshNode, key: NetworkKey) -> int:
    return node.sessions.table.count_by_key(0.0)[key.psk]


async def star(mesh: Mesh, count: int) -> tuple[MeshNode, list[MeshNode]]:
    """A node that has sessions under the old key with so many others, which accept both."""
    centre = MeshNode(mesh, "centre", "10.0.0.1", most_peers=1024)
    others = [MeshNode(mesh, f"other {number}", f"10.0.1.{number + 1}") for number in range(count)]
    for node in (centre, *others):
        set_keys(node, OLD, NEW)
    async with running(mesh, centre, *others):
        for number, other in enumerate(others):
            await met(*((centre, other) if number % 2 else (other, centre)))
    return centre, others


def initiations(mesh: Mesh) -> list[Sent]:
    return [sent for sent in mesh.sent if sent.field == INITIATION]


async def test_all_sessions_are_renewed_within_a_minute_without_traffic_and_apart(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    centre, others = await star(mesh, 40)
    async with running(mesh, centre, *others):
        began = trio.current_time()
        set_keys(centre, NEW, OLD)
        await trio.sleep(MINUTE)
        assert under(centre, NEW) == 40
        assert all((under(other, NEW), under(other, OLD)) == (1, 0) for other in others)
        left = [sent.at - began for sent in initiations(mesh)]
        assert len(left) == 40
        assert max(left) <= 40
        for start in range(0, 40, 5):  # 5 are to be expected in each 5 s
            assert 0 < sum(start <= each < start + 5 for each in left) <= 15
        await trio.sleep(2 * MINUTE)
        assert len(initiations(mesh)) == 40


async def test_of_two_that_change_at_once_one_renews(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    centre, others = await star(mesh, 20)
    async with running(mesh, centre, *others):
        for node in (centre, *others):
            set_keys(node, NEW, OLD)
        await trio.sleep(MINUTE)
        assert under(centre, NEW) == 20
        assert len(initiations(mesh)) == 20


async def test_a_renewal_that_is_lost_is_tried_once_more_within_the_minute(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    centre, (other,) = await star(mesh, 1)

    def first_seconds_lost(sent: Sent) -> tuple[float, ...]:
        return () if trio.current_time() < began + 44 else usual(sent)

    async with running(mesh, centre, other):
        began = trio.current_time()
        set_keys(centre, NEW, OLD)
        mesh.fate = first_seconds_lost
        await trio.sleep(44)
        assert under(centre, NEW) == 0
        await trio.sleep(MINUTE - 44)
        assert under(centre, NEW) == 1


async def test_a_peer_that_does_not_accept_the_key_goes_on_under_the_former_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    mesh = Mesh()
    centre, (other,) = await star(mesh, 1)
    set_keys(other, OLD)
    async with running(mesh, centre, other):
        set_keys(centre, NEW, OLD)
        for number in range(60):
            asked = centre.ask(other, Ping(f"{number}"))
            await trio.sleep(1)
            assert len(asked.replies) == 1
        assert not centre.missed
        assert (under(centre, OLD), under(centre, NEW)) == (1, 0)
        assert other.foreign[0] == (centre.endpoint, "wrong_mac1")
        # A handshake is tried with the traffic, at most every 8 s, in 4 datagrams at most.
        assert len(initiations(mesh)) <= 4 * (60 / 8 + 4)


async def test_requests_while_the_key_changes_are_not_even_late(autojump_clock: trio.testing.MockClock) -> None:
    """Each node in its turn, 2 s after the one before; then the old key is removed in the same way."""
    mesh = Mesh()
    centre, others = await star(mesh, 7)
    nodes = [centre, *others]
    asked = 0

    async def ask() -> None:
        nonlocal asked
        rng = random.Random(1)
        while True:
            one = rng.choice(others)
            for asking, peer in ((centre, one), (one, centre)):
                assert await asking.requests.ask(peer.contact, Ping("?")) is not None
                asked += 1
            await trio.sleep(0.02)

    async with running(mesh, *nodes), trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        for keys in ((NEW, OLD), (NEW,)):
            for node in nodes:
                set_keys(node, *keys)
                await trio.sleep(2)
            await trio.sleep(MINUTE)
            assert all(under(node, OLD) == 0 for node in nodes)
        nursery.cancel_scope.cancel()
    assert asked > 1500
    assert sum(node.requests.statistics.retransmitted for node in nodes) == 0
    assert sum(node.requests.statistics.renewed for node in nodes) == 7


async def test_a_key_that_changes_again_meanwhile_begins_anew(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    centre, others = await star(mesh, 20)
    for other in others:
        set_keys(other, OLD, NEWEST, NEW)
    async with running(mesh, centre, *others):
        set_keys(centre, NEW, OLD)
        await trio.sleep(20)
        assert 0 < under(centre, NEW) < 20
        set_keys(centre, NEWEST, NEW, OLD)
        await trio.sleep(MINUTE)
        assert under(centre, NEWEST) == 20
        assert len(initiations(mesh)) < 40


async def test_a_session_that_was_ended_meanwhile_is_not_renewed(autojump_clock: trio.testing.MockClock) -> None:
    mesh = Mesh()
    centre, others = await star(mesh, 4)
    async with running(mesh, centre, *others):
        set_keys(centre, NEW, OLD)
        centre.sessions.table.remove(others[0].contact.public, trio.current_time())
        set_keys(centre, NEW)
        await trio.sleep(MINUTE)
        assert not initiations(mesh)
        assert not [sent for sent in mesh.sent if sent.field in (RESPONSE, SEALED)]
