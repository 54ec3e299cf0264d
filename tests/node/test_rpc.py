"""Requests of a node: which answers count, when it asks again, and when it gives up."""

from __future__ import annotations

import random

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.config import Config, Requests
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    HaveResult,
    Holding,
    NodeList,
    Packet,
    Ping,
    Pong,
    StoreResult,
    StoreStatus,
    Value,
)
from camomile_trio.node.rpc import PADDED_BYTES
from camomile_trio.wire.codec import decode_untrusted
from tests.fixtures.line import HERE
from tests.fixtures.parts import TARGET, ask, open_parts
from tests.fixtures.peers import Peer

# Which answers count -----------------------------------------------------------------------------------------------


async def test_a_true_answer_counts_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(rpc, bob, FindNode(TARGET))
        (request,) = bob.heard()
        bob.answer(request, NodeList())
        bob.answer(request, NodeList())
        assert len(asked.replies) == 1
        assert rpc.statistics.dropped["unknown_session"] == 1
        assert bob.id in rpc.table
        assert rpc.pending == 0


async def test_an_answer_with_an_unknown_session_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(rpc, bob, FindNode(TARGET))
        (request,) = bob.heard()
        bob.answer(request, NodeList(), session=bytes(32))
        assert asked.is_open
        assert rpc.statistics.dropped["unknown_session"] == 1
        assert bob.id not in rpc.table


async def test_an_answer_from_another_endpoint_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """Also from another port of the same host: it is another program."""
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(rpc, bob, FindNode(TARGET))
        (request,) = bob.heard()
        for elsewhere in ("10.9.0.3:8118", "10.9.0.2:8119"):
            bob.answer(request, NodeList(), source=Endpoint.parse(elsewhere))
        assert asked.is_open
        assert rpc.statistics.dropped["wrong_endpoint"] == 2
        bob.answer(request, NodeList())
        assert len(asked.replies) == 1


async def test_an_answer_of_another_node_fails_the_request(autojump_clock: trio.testing.MockClock) -> None:
    """Somebody else lives there now: nobody needs to wait for the one that was asked."""
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(rpc, bob, FindNode(TARGET))
        (request,) = bob.heard()
        bob.answer(request, NodeList(), sender=Peer.at(line, "mallory", "10.9.0.9:8118").id)
        assert len(asked.failed_at) == 1
        assert not asked.replies
        assert rpc.statistics.dropped["wrong_sender"] == 1
        assert not rpc.peers.get(bob.endpoint).is_suspect(trio.current_time())
        assert len(rpc.table) == 0


@pytest.mark.parametrize(
    "wrong", [Pong(bytes(32)), Value(), StoreResult(StoreStatus.STORED), HaveResult((Holding(Key(bytes(32)), False),))]
)
async def test_an_answer_of_another_kind_is_dropped(
    autojump_clock: trio.testing.MockClock, wrong: Pong | Value | StoreResult | HaveResult
) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(rpc, bob, FindNode(TARGET))
        (request,) = bob.heard()
        bob.answer(request, wrong)
        assert asked.is_open
        assert rpc.statistics.dropped["wrong_answer"] == 1
        assert bob.id not in rpc.table


async def test_a_pong_has_to_be_signed_by_its_sender(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(rpc, bob, rpc.new_ping())
        (request,) = bob.heard()
        true = bob.true_pong(request)
        mallory = KeyPair.new(random.Random("mallory"))
        bob.answer(request, attrs.evolve(true, signature=bytes(64)))
        bob.answer(request, attrs.evolve(true, public_key=mallory.public))
        bob.answer(request, attrs.evolve(true, signature=b"", public_key=b""))
        bob.answer(request, attrs.evolve(true, challenge=bytes(32)))
        assert asked.is_open
        assert rpc.statistics.dropped["bad_signature"] == 3
        assert rpc.statistics.dropped["wrong_challenge"] == 1
        assert bob.id not in rpc.table
        bob.answer(request, true)
        assert len(asked.replies) == 1
        assert bob.id in rpc.table
        assert rpc.observed == HERE


async def test_a_classic_pong_is_not_signed(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(classic=True)) as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(rpc, bob, rpc.new_ping())
        (request,) = bob.heard()
        assert isinstance(request.message, Ping)
        bob.answer(request, Pong(request.message.challenge), version=0)
        assert len(asked.replies) == 1
        assert rpc.peers.get(bob.endpoint).version == 0


# Asking again, and giving up ---------------------------------------------------------------------------------------


async def test_a_silent_peer_is_asked_once_more_and_then_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        began = trio.current_time()
        asked = ask(rpc, bob, FindNode(TARGET))
        await trio.sleep(0.24)
        assert len(bob.heard_bytes()) == 1
        await trio.sleep(10)
        (again,) = bob.heard_bytes()
        assert again == line.sent[0][1]  # the same session, byte for byte
        assert asked.overdue_at == [pytest.approx(began + 0.25)]
        assert asked.failed_at == [pytest.approx(began + 2.0)]
        assert not asked.replies
        assert rpc.statistics.retransmitted == 1
        assert rpc.statistics.failed["find_node"] == 1
        assert (rpc.pending, len(rpc.deadlines)) == (0, 0)
        assert rpc.peers.get(bob.endpoint).is_suspect(trio.current_time())


async def test_the_second_transmission_goes_out_at_the_peers_own_timeout(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        ask(rpc, bob, FindNode(TARGET))
        await trio.sleep(0.1)
        bob.answer(bob.heard()[0], NodeList())
        began = trio.current_time()
        asked = ask(rpc, bob, FindNode(TARGET))
        await trio.sleep(1.0)
        assert asked.overdue_at == [pytest.approx(began + 0.3)]  # 100 ms and four times half of it


async def test_a_late_answer_still_counts(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(rpc, bob, FindNode(TARGET))
        await trio.sleep(1.9)
        assert asked.overdue_at
        bob.answer(bob.heard()[0], NodeList())
        assert len(asked.replies) == 1
        await trio.sleep(5)
        assert not asked.failed_at
        assert bob.id in rpc.table
        assert rpc.peers.get(bob.endpoint).smoothed == 0.0  # to which of the two transmissions, nobody knows


async def test_an_answer_after_the_deadline_is_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(rpc, bob, FindNode(TARGET))
        await trio.sleep(2.1)
        bob.answer(bob.heard()[0], NodeList())
        assert not asked.replies
        assert rpc.statistics.dropped["unknown_session"] == 1
        assert bob.id not in rpc.table


async def test_a_peer_slower_than_its_timeout_is_measured_in_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """Every request to it would go out twice and give no sample, if the timeout did not double (RFC 6298, §5.5)."""
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        for _ in range(3):
            ask(rpc, bob, FindNode(TARGET))
            await trio.sleep(0.4)
            bob.answer(bob.heard()[0], NodeList())
            await trio.sleep(3)
        assert rpc.statistics.retransmitted == 1
        assert rpc.peers.get(bob.endpoint).smoothed == pytest.approx(0.4)


async def test_no_timeout_is_longer_than_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(requests=Requests(first_rto=5.0, deadline=1.0))) as (parts, line):
        asked = ask(parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118"), FindNode(TARGET))
        await trio.sleep(10)
        assert asked.failed_at == [pytest.approx(1.0)]


async def test_nobody_is_called_who_has_gone(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob, carol = (
            parts.rpc,
            Peer.at(line, "bob", "10.9.0.2:8118"),
            Peer.at(line, "carol", "10.9.0.3:8118"),
        )
        to_bob, to_carol = ask(rpc, bob, FindNode(TARGET)), ask(rpc, carol, FindNode(TARGET))
        for asked in (to_bob, to_carol):
            asked.request.detach()
        bob.answer(bob.heard()[0], NodeList())
        await trio.sleep(5)
        for asked in (to_bob, to_carol):
            assert (asked.replies, asked.overdue_at, asked.failed_at) == ([], [], [])
            assert asked.request.done
        # What the answer, or its absence, says of the peer is learned all the same.
        assert bob.id in rpc.table
        assert rpc.peers.get(carol.endpoint).is_suspect(trio.current_time())


async def test_only_so_many_requests_are_under_way(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(requests=Requests(max_pending=16))) as (parts, line):
        rpc = parts.rpc
        peers = [Peer.at(line, f"peer {number}", f"10.9.1.{number}:8118") for number in range(1, 21)]
        asked = [ask(rpc, peer, FindNode(TARGET)) for peer in peers]
        assert [each.pending is not None for each in asked] == [True] * 16 + [False] * 4
        assert rpc.statistics.dropped["too_many_pending"] == 4
        await trio.sleep(3)
        assert all(not each.failed_at for each in asked[16:])  # what was never sent calls nobody
        assert ask(rpc, peers[19], FindNode(TARGET)).pending is not None


async def test_an_endpoint_that_never_answered_is_asked_twice_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        for _ in range(60):
            ask(rpc, bob, FindNode(TARGET))
            await trio.sleep(1)
        assert len({packet.session for packet in bob.heard()}) == 2
        assert rpc.statistics.dropped["unproven_endpoint"] == 58
        await trio.sleep(1)
        assert ask(rpc, bob, FindNode(TARGET)).pending is not None
        # The operator's own word counts for more.
        assert rpc.request(bob.endpoint, FindNode(TARGET), node=None, named=True) is not None


async def test_a_third_question_waits_until_the_stranger_has_answered(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        asked = [ask(rpc, bob, FindNode(TARGET)) for _ in range(4)]
        first, _ = bob.heard()
        assert all(each.is_open for each in asked)
        await trio.sleep(0.2)
        bob.answer(first, NodeList())
        held_back = bob.heard()
        assert len(held_back) == 2
        # What was held back has its own time: it is not overdue 0.25 s after it was asked for.
        await trio.sleep(0.2)
        assert [each.overdue_at for each in asked[2:]] == [[], []]
        for packet in held_back:
            bob.answer(packet, NodeList())
        assert [len(each.replies) for each in asked] == [1, 0, 1, 1]
        assert not rpc.statistics.dropped["unproven_endpoint"]


async def test_what_waits_for_a_stranger_who_says_nothing_ends_as_any_other(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        began = trio.current_time()
        asked = [ask(rpc, bob, FindNode(TARGET)) for _ in range(3)]
        await trio.sleep(0.5)
        late = ask(rpc, bob, FindNode(TARGET))
        # Who comes when the stranger is overdue already does not wait for it.
        assert late.request.is_suspect
        assert not asked[2].request.is_suspect
        await trio.sleep(4)
        assert asked[2].overdue_at == [pytest.approx(began + 0.25)]
        assert asked[2].failed_at == [pytest.approx(began + 2.0)]
        assert len({packet.session for packet in bob.heard()}) == 2
        assert rpc.pending == 0
        assert rpc.statistics.dropped["unproven_endpoint"] == 2


async def test_leaving_an_ask_leaves_no_waiter(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        with trio.move_on_after(0.1) as scope:
            await rpc.ask(bob.endpoint, rpc.new_ping(), node=bob.id)
        assert scope.cancelled_caught
        bob.pong(bob.heard()[0])
        assert rpc.pending == 0
        answer: list[Packet | None] = []

        async def wait() -> None:
            answer.append(await rpc.ask(bob.endpoint, rpc.new_ping(), node=bob.id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
        assert answer == [None]


# What a request looks like -----------------------------------------------------------------------------------------


async def test_a_find_is_padded_for_a_peer_that_does_not_know_us(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        ask(rpc, bob, FindNode(TARGET))
        ask(rpc, bob, FindValue(Key(TARGET)))
        first, second = bob.heard_bytes()
        assert (len(first), len(second)) == (PADDED_BYTES, PADDED_BYTES)
        bob.answer(decode_untrusted(first), NodeList())
        ask(rpc, bob, FindNode(TARGET))
        assert len(bob.heard_bytes()[0]) == PADDED_BYTES  # it answered us; that we answered it, it cannot know yet
        bob.introduce()
        ask(rpc, bob, FindNode(TARGET))
        assert len(bob.heard_bytes()[0]) < 120


async def test_a_classic_peer_is_not_padded_for(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(classic=True)) as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        ask(rpc, bob, FindNode(TARGET))
        bob.answer(bob.heard()[0], NodeList(), version=0)
        ask(rpc, bob, FindValue(Key(TARGET), bob.key.public))
        (request,) = bob.heard()
        assert (request.padding, request.advertised, request.message) == (0, None, FindValue(Key(TARGET)))


async def test_a_ping_is_not_padded(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.2:8118")
        ask(rpc, bob, rpc.new_ping())
        assert len(bob.heard_bytes()[0]) < 120
