"""What a classic node that asks is answered, what it may cost, and what it may store."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.classic.answers import Budget
from camomile_trio.config import Requests
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.messages import StoreKind
from camomile_trio.simulation.classic_peer import ClassicPeer
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.raw_packets import PUBLISH, REPLICATE, SENDER, SESSION, Kind, field, key_of
from tests.classic.world import HERE, OWN, open_world

TEXT = "ABC, du är mina tankar".encode()
LONGEST = b"x" * 1000
NO_TEXT = b"\xff\xfe not UTF-8"
TOO_LONG = b"y" * 1001
BUDGET = 4096


class TestFinds:
    async def test_a_ping_is_answered_with_the_echo_and_its_sender_is_pinged(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (peer,) = world.peers
            assert await peer.ping(HERE)
            await trio.sleep(1)
            assert world.node.knows(peer), "our own ping has shown that it is there"
            assert [each.kind for each in peer.received] == [Kind.PONG, Kind.PING]

    async def test_find_node_names_the_closest_classic_nodes_in_four_bytes(self, virtual_clock: VirtualClock) -> None:
        async with open_world(31) as world:
            await world.meet_all()
            asker = world.peers[0]
            target = bytes(32)
            contacts = await asker.find_node(HERE, target)
            assert contacts is not None
            known = [each for each in world.peers[1:] if world.node.knows(each)]
            others = sorted(known, key=lambda each: distance(each.node_id, target))
            assert [each.node_id for each in contacts] == [each.node_id for each in others[:20]]
            assert {len(each.ip) for each in contacts} == {4}

    async def test_find_value_is_answered_with_the_value_or_with_contacts(self, virtual_clock: VirtualClock) -> None:
        async with open_world(5) as world:
            await world.meet_all()
            asker = world.peers[0]
            world.node.holdings.hold(TEXT)
            world.node.holdings.hold(LONGEST)
            assert await asker.find_value(HERE, key_of(TEXT)) == TEXT
            assert await asker.find_value(HERE, key_of(LONGEST)) == LONGEST
            assert asker.received[-1].nodes == [], "a hit has an empty list"
            missed = await asker.find_value(HERE, key_of(b"nobody put this"))
            assert isinstance(missed, list)
            assert {each.node_id for each in missed} == {each.node_id for each in world.peers[1:]}

    @pytest.mark.parametrize("value", [NO_TEXT, TOO_LONG], ids=["not UTF-8", "1001 bytes"])
    async def test_what_it_cannot_take_is_a_miss(self, value: bytes, virtual_clock: VirtualClock) -> None:
        async with open_world(2) as world:
            await world.meet_all()
            world.node.holdings.hold(value)
            missed = await world.peers[0].find_value(HERE, key_of(value))
            assert isinstance(missed, list)
            assert len(missed) == 1

    async def test_an_answer_is_cut_to_one_datagram(self, virtual_clock: VirtualClock) -> None:
        """Where k is larger than usual. A stranger gets as many contacts as one that is known."""
        async with open_world(37, k=32) as world:
            stranger = world.peers.pop()
            await world.meet_all()
            assert len(world.node.classic.table) > 30
            before = await stranger.find_node(HERE, bytes(32)) or []
            await trio.sleep(1)
            assert world.node.knows(stranger)
            after = await stranger.find_node(HERE, bytes(32)) or []
            assert len(before) == len(after) == (1232 - 71) // 45

    async def test_the_asker_is_not_named_to_itself(self, virtual_clock: VirtualClock) -> None:
        async with open_world(2) as world:
            await world.meet_all()
            asker = world.peers[0]
            assert NodeId(asker.node_id) in world.node.classic.table
            contacts = await asker.find_node(HERE, asker.node_id)
            assert contacts is not None
            assert [each.node_id for each in contacts] == [world.peers[1].node_id]

    async def test_a_request_under_our_own_id_is_not_answered(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (peer,) = world.peers
            packet = field(SESSION, bytes(32)) + field(SENDER, OWN) + field(Kind.PING, field(1, bytes(32)))
            peer.transport.send(packet, HERE)
            await trio.sleep(1)
            assert peer.received == []
            assert world.node.dropped("from_ourselves") == 1

    async def test_an_address_of_one_of_ours_is_not_spoken_with(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (peer,) = world.peers
            world.node.ours.add(peer.endpoint)
            assert not await peer.ping(HERE)
            peer.store(HERE, TEXT)
            await trio.sleep(60)
            assert peer.received == []
            assert world.node.dropped("from_one_of_ours") == 2

    async def test_a_senseless_source_is_not_answered(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (peer,) = world.peers
            packet = field(SESSION, bytes(32)) + field(SENDER, bytes(32)) + field(Kind.PING, field(1, bytes(32)))
            peer.transport.forge(packet, HERE, source=Endpoint.parse("224.0.0.5:8118"))
            peer.transport.send(b"\x0agarbage", HERE)
            await trio.sleep(1)
            assert world.node.dropped("senseless_source") == 1
            assert world.node.dropped("truncated") == 1
            assert world.node.transport.statistics.datagrams_out == 0


class TestStores:
    @pytest.mark.parametrize("kind", [PUBLISH, REPLICATE], ids=["publish", "replicate"])
    async def test_they_are_taken_once_the_sender_has_answered_us(self, kind: int, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (peer,) = world.peers
            stored = world.node.holdings.stored
            peer.is_silent = True
            peer.store(HERE, TEXT, kind)
            await trio.sleep(5)
            assert stored == [], "anybody could have forged its address"
            peer.is_silent = False
            await trio.sleep(60)
            peer.store(HERE, TEXT, kind)
            await trio.sleep(1)
            assert stored == [], "the first one is answered with a ping"
            heard = len(peer.received)
            peer.store(HERE, TEXT, kind)
            peer.store(HERE, b"w" * 1400, kind)
            await trio.sleep(1)
            assert stored == [(Key.of(value), value, StoreKind(kind)) for value in (TEXT, b"w" * 1400)]
            assert len(peer.received) == heard, "a STORE is not answered"

    async def test_what_was_replicated_to_us_need_not_be_replicated_by_us(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (peer,) = world.peers
            classic = world.node.classic
            await world.meet_all()
            peer.store(HERE, TEXT, REPLICATE)
            peer.store(HERE, LONGEST, PUBLISH)
            await trio.sleep(1)
            assert classic.is_replicated_lately(Key.of(TEXT), 3600)
            assert not classic.is_replicated_lately(Key.of(LONGEST), 3600)
            await trio.sleep(3600)
            assert not classic.is_replicated_lately(Key.of(TEXT), 3600)
            assert classic.is_replicated_lately(Key.of(TEXT), 7200)
            assert classic.counts()["replicated"] == 1


def weight(peer: ClassicPeer) -> int:
    """All bytes that ever reached it."""
    return sum(len(each.datagram) for each in peer.received)


REQUESTS = {
    "ping": (Kind.PING, field(1, bytes(32))),
    "find_node": (Kind.FIND_NODE, field(1, bytes(32))),
    "a hit": (Kind.FIND_VALUE, field(1, key_of(LONGEST))),
    "a miss": (Kind.FIND_VALUE, field(1, bytes(32))),
    "store": (Kind.STORE, field(1, PUBLISH) + field(3, b"v")),
}


class TestStrangers:
    @pytest.mark.parametrize("name", REQUESTS)
    async def test_one_packet_costs_at_most_three_times_its_bytes(self, name: str, virtual_clock: VirtualClock) -> None:
        """Whatever goes there on its account: the answer, our ping, and the ping's retransmission."""
        async with open_world(9, requests=Requests(classic_budget=0)) as world:
            stranger = world.peers.pop()
            await world.meet_all()
            world.node.holdings.hold(LONGEST)
            stranger.is_silent = True
            stranger.send(HERE, *REQUESTS[name])
            await trio.sleep(30)
            assert 0 < weight(stranger) <= 3 * stranger.transport.statistics.bytes_out

    async def test_a_flood_costs_three_times_its_bytes_and_the_budget(self, virtual_clock: VirtualClock) -> None:
        """The budget is that of all strangers together."""
        async with open_world(11, requests=Requests(classic_budget=BUDGET)) as world:
            strangers = [world.peers.pop() for _ in range(3)]
            await world.meet_all()
            world.node.holdings.hold(LONGEST)
            began = trio.current_time()
            for stranger in strangers:
                stranger.is_silent = True
            for _ in range(40):
                for stranger in strangers:
                    for kind, message in REQUESTS.values():
                        stranger.send(HERE, kind, message)
                await trio.sleep(0.05)
            elapsed = trio.current_time() - began
            sent = sum(stranger.transport.statistics.bytes_out for stranger in strangers)
            assert sum(map(weight, strangers)) <= 3 * sent + BUDGET * (1 + elapsed)
            hits = [each for stranger in strangers for each in stranger.received if each.value == LONGEST]
            assert 1 <= len(hits) <= BUDGET * (1 + elapsed) / (1000 - 3 * 104)
            assert world.node.dropped("answer_too_large") > 0

    async def test_the_budget_gives_a_newcomer_a_full_list(self, virtual_clock: VirtualClock) -> None:
        async with open_world(26) as world:
            stranger = world.peers.pop()
            await world.meet_all()
            contacts = await stranger.find_node(HERE, bytes(32))
            assert contacts is not None
            assert len(contacts) == 20

    async def test_a_stranger_is_asked_twice_a_minute_at_most(self, virtual_clock: VirtualClock) -> None:
        """However often it is named by others, and however often it calls."""
        async with open_world(3) as world:
            victim = world.peers.pop()
            await world.meet_all()
            victim.is_silent = True
            for peer in world.peers:
                peer.learn(victim.node_id, victim.endpoint)
            for number in range(30):
                assert await world.node.classic.find_value(Key(number.to_bytes(32, "big"))) is None
                victim.send(HERE, *REQUESTS["store"])
                await trio.sleep(1)
            sessions = {each.fields[0] for each in victim.received}
            assert 1 <= len(sessions) <= 2
            assert not world.node.knows(victim)
            assert world.node.dropped("too_many_first_requests") > 0

    async def test_one_for_which_there_is_no_seat_is_pinged_once_a_minute(self, virtual_clock: VirtualClock) -> None:
        async with open_world(12, k=1) as world:
            await world.meet_all()
            caller = next(peer for peer in world.peers if not world.node.knows(peer))
            for _ in range(30):
                assert await caller.ping(HERE)
                await trio.sleep(1)
            assert not world.node.knows(caller)
            assert [each.kind for each in caller.received].count(Kind.PING) == 1

    async def test_pings_to_strangers_leave_room_for_our_own_requests(self, virtual_clock: VirtualClock) -> None:
        async with open_world(40, requests=Requests(max_pending=16)) as world:
            for stranger in world.peers[1:]:
                stranger.is_silent = True
                stranger.send(HERE, *REQUESTS["ping"])
            await trio.sleep(0.5)
            assert world.node.classic.counts()["strangers"] == 2
            assert world.node.dropped("too_many_strangers") > 0
            assert await world.node.classic.meet(world.peers[0].endpoint)
            await trio.sleep(10)
            assert world.node.classic.counts()["strangers"] == 0

    async def test_a_flood_of_addresses_is_remembered_within_bounds(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1, requests=Requests(max_peers=64)) as world:
            (peer,) = world.peers
            await world.meet_all()
            packet = field(SESSION, bytes(32)) + field(SENDER, bytes(32)) + field(Kind.PING, field(1, bytes(32)))
            for number in range(200):
                peer.transport.forge(packet, HERE, source=Endpoint.parse(f"10.8.0.{number + 1}:8118"))
            await trio.sleep(5)
            assert world.node.classic.counts()["addresses"] <= 2 * 64
            peer.store(HERE, TEXT)
            await trio.sleep(1)
            assert len(world.node.holdings.stored) == 1, "the one that has answered is remembered"


def test_a_budget_is_spent_and_comes_back_with_time() -> None:
    budget = Budget(100, now=5.0)
    assert budget.take(60, 5.0)
    assert not budget.take(60, 5.1)
    assert budget.take(60, 5.2)
    assert not budget.take(101, 1000.0), "no more than a second's worth gathers"
    assert budget.take(100, 1000.0)
