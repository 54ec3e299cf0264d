"""A node of ours among classic ones: it meets them, finds their values, stores at them, and keeps its table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
import trio.testing

from camomile_trio.classic.lookup import FoundValue
from camomile_trio.config import Requests
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.messages import StoreKind
from camomile_trio.simulation.classic_peer import K, open_classic_peers
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.raw_packets import (
    MAPPED,
    PUBLISH,
    REPLICATE,
    SENDER,
    SESSION,
    Kind,
    content,
    field,
    fields_of,
    key_of,
)
from tests.classic.world import HERE, OWN, open_world

TEXT = "ABC, du är mina tankar".encode()
VECTORS = Path(__file__).parent.parent / "vectors" / "classic_packets.json"
NOWHERE = Endpoint.parse("10.9.9.9:8118")


class TestMeeting:
    async def test_lists_of_32_in_both_forms_and_an_empty_ip_are_understood(self, virtual_clock: VirtualClock) -> None:
        """Our node joins through a classic one that names 31 others and itself without an ip."""
        async with open_world(34) as world:
            await world.meet_all()
            listed = await world.peers[1].find_node(world.peers[0].endpoint, OWN)
            assert listed is not None
            assert len(listed) == K
            assert {len(each.ip) for each in listed} == {0, 4, 16}
            assert any(each.ip.startswith(MAPPED) for each in listed)
            assert max(len(each.datagram) for each in world.peers[1].received) > 1232
            known = set(world.node.classic.table)
            assert len(known) >= 20
            assert known <= {Contact(NodeId(peer.node_id), peer.endpoint) for peer in world.peers}
            assert world.node.dropped("senseless_contact") > 0
            closest = sorted(world.peers, key=lambda each: distance(each.node_id, OWN))
            assert all(map(world.node.knows, closest[:19]))

    async def test_an_address_where_no_node_answers_is_not_met(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            began = trio.current_time()
            assert not await world.node.classic.meet(NOWHERE)
            assert trio.current_time() - began == pytest.approx(2.0)
            assert len(world.node.classic.table) == 0
            for _ in range(4):
                assert not await world.node.classic.meet(NOWHERE), (
                    "an address of the operator is tried as often as it likes"
                )
            assert world.node.classic.statistics.requests["find_node"] == 5

    async def test_an_address_of_ours_or_of_this_node_is_not_met(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (peer,) = world.peers
            world.node.ours.add(peer.endpoint)
            assert not await world.node.classic.meet(peer.endpoint)
            assert not await world.node.classic.meet(HERE)
            assert not await world.node.classic.meet(Endpoint.parse("10.9.0.1:0"))
            assert world.node.transport.statistics.datagrams_out == 0
            assert world.node.dropped("not_contacted") == 3

    async def test_a_classic_node_names_no_address_of_ours_that_is_then_asked(
        self, virtual_clock: VirtualClock
    ) -> None:
        async with open_world(2) as world:
            door, ours = world.peers
            world.node.ours.add(ours.endpoint)
            door.learn(ours.node_id, ours.endpoint)
            door.learn(b"another id of this node of ours!", HERE)
            assert await world.node.classic.meet(door.endpoint)
            await trio.sleep(5)
            assert ours.received == []
            assert [contact.endpoint for contact in world.node.classic.table] == [door.endpoint]


class TestFindingValues:
    async def test_a_value_that_one_classic_node_has_is_found(self, virtual_clock: VirtualClock) -> None:
        async with open_world(34) as world:
            await world.meet_all()
            world.peers[7].values[key_of(TEXT)] = TEXT
            found = await world.node.find(Key.of(TEXT))
            holder_is_near = (
                world.peers[7] in sorted(world.peers, key=lambda each: distance(each.node_id, key_of(TEXT)))[:20]
            )
            assert found == (TEXT if holder_is_near else None)
            nearest = min(world.peers, key=lambda each: distance(each.node_id, key_of(TEXT)))
            nearest.values[key_of(TEXT)] = TEXT
            assert await world.node.classic.find_value(Key.of(TEXT)) == FoundValue(TEXT, NodeId(nearest.node_id))

    async def test_what_does_not_hash_to_the_key_is_not_believed(self, virtual_clock: VirtualClock) -> None:
        async with open_world(3) as world:
            await world.meet_all()
            liars = sorted(world.peers, key=lambda each: distance(each.node_id, key_of(TEXT)))
            for liar in liars:
                liar.values[key_of(TEXT)] = b"something else"
            assert await world.node.classic.find_value(Key.of(TEXT)) is None
            assert world.node.dropped("wrong_value") == 3
            liars[2].values[key_of(TEXT)] = TEXT
            assert await world.node.find(Key.of(TEXT)) == TEXT

    async def test_without_contacts_there_is_nothing_to_find(self, virtual_clock: VirtualClock) -> None:
        async with open_world(0) as world:
            assert await world.node.classic.find_value(Key.of(TEXT)) is None
            assert await world.node.classic.store(Key.of(TEXT), TEXT, StoreKind.PUBLISH) == 0

    async def test_the_silent_hold_it_up_for_no_longer_than_their_timeouts(self, virtual_clock: VirtualClock) -> None:
        async with open_world(8) as world:
            await world.meet_all()
            nearest = sorted(world.peers, key=lambda each: distance(each.node_id, key_of(TEXT)))
            for peer in nearest[:3]:
                peer.is_silent = True
            nearest[4].values[key_of(TEXT)] = TEXT
            began = trio.current_time()
            assert await world.node.find(Key.of(TEXT)) == TEXT
            assert trio.current_time() - began < 1.0
            await trio.sleep(2)
            began = trio.current_time()
            assert await world.node.classic.find_value(Key.of(b"nobody has this")) is None
            assert trio.current_time() - began < 0.05, "those that missed a deadline are not waited for"

    async def test_it_ends_at_the_deadline_of_operations(self, virtual_clock: VirtualClock) -> None:
        async with open_world(3, requests=Requests(operation_deadline=0.5)) as world:
            await world.meet_all()
            world.cut_off()
            began = trio.current_time()
            assert await world.node.classic.find_value(Key.of(TEXT)) is None
            assert trio.current_time() - began == pytest.approx(0.5)

    async def test_one_that_is_cancelled_leaves_nothing_behind(self, virtual_clock: VirtualClock) -> None:
        async with open_world(12) as world:
            await world.meet_all()
            world.cut_off()
            with trio.move_on_after(0.01) as scope:
                await world.node.classic.find_value(Key.of(TEXT))
            assert scope.cancelled_caught
            assert world.node.classic.counts()["requests"] > 0
            asked = world.node.classic.statistics.requests["find_value"]
            await trio.sleep(10)
            assert world.node.classic.counts()["requests"] == 0
            assert world.node.classic.statistics.requests["find_value"] == asked, "no lookup goes on without its caller"

    async def test_requests_are_bounded_and_a_lookup_ends_all_the_same(self, virtual_clock: VirtualClock) -> None:
        async with open_world(20, requests=Requests(max_pending=16)) as world:
            await world.meet_all()
            world.cut_off()
            most = 0
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(world.node.classic.find_value, Key(bytes([number]) * 32))
                await trio.sleep(0.1)
                most = world.node.classic.counts()["requests"]
            assert most == 16
            assert world.node.dropped("too_many_pending") > 0


class TestStoring:
    async def test_a_store_is_what_a_classic_node_would_send(self, virtual_clock: VirtualClock) -> None:
        packets = json.loads(VECTORS.read_text("utf-8"))["packets"]
        recorded = next(bytes.fromhex(each["datagram"]) for each in packets if each["kind"] == "store_1")
        store = content(fields_of(recorded), Kind.STORE)
        async with open_world(1) as world:
            (peer,) = world.peers
            await world.meet_all()
            assert await world.node.classic.store(Key.of(TEXT), TEXT, StoreKind.PUBLISH) == 1
            await trio.sleep(1)
            (packet,) = [each for each in peer.received if each.kind is Kind.STORE]
            session = content(packet.fields, SESSION)
            assert packet.datagram == field(SESSION, session) + field(SENDER, OWN) + field(Kind.STORE, store)
            assert peer.stores(PUBLISH) == [TEXT]
            assert await world.node.classic.store(Key.of(TEXT), TEXT, StoreKind.REPLICATE) == 1
            await trio.sleep(1)
            assert peer.stores(REPLICATE) == [TEXT]

    async def test_the_k_closest_that_answer_are_sent_the_value(self, virtual_clock: VirtualClock) -> None:
        async with open_world(12, k=4) as world:
            await world.meet_all()
            nearest = sorted(world.peers, key=lambda each: distance(each.node_id, key_of(TEXT)))
            nearest[1].is_silent = True
            assert await world.node.classic.store(Key.of(TEXT), TEXT, StoreKind.PUBLISH) == 4
            await trio.sleep(1)
            assert [TEXT in each.stores(PUBLISH) for each in nearest] == [each in (0, 2, 3, 4) for each in range(12)]

    @pytest.mark.parametrize("value", [b"", b"\xff\xfe not UTF-8", b"y" * 1001], ids=["empty", "no text", "too long"])
    async def test_what_they_cannot_hold_is_not_sent(self, value: bytes, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            await world.meet_all()
            sent = world.node.transport.statistics.datagrams_out
            assert await world.node.classic.store(Key.of(value), value, StoreKind.PUBLISH) == 0
            assert world.node.transport.statistics.datagrams_out == sent


class TestTheTable:
    async def test_one_that_fails_leaves_when_others_answer(self, virtual_clock: VirtualClock) -> None:
        async with open_world(3) as world:
            await world.meet_all()
            dead, *living = world.peers
            dead.is_silent = True
            await world.node.classic.find_value(Key.of(TEXT))
            await trio.sleep(1)
            assert world.node.knows(dead), "a single request may have been lost"
            await trio.sleep(2)
            await world.node.classic.find_value(Key.of(TEXT))
            await trio.sleep(5)
            assert not world.node.knows(dead)
            assert all(map(world.node.knows, living))

    async def test_one_lost_request_costs_no_seat(self, virtual_clock: VirtualClock) -> None:
        async with open_world(3) as world:
            await world.meet_all()
            busy = world.peers[0]
            busy.is_silent = True
            await world.node.classic.find_value(Key.of(TEXT))
            await trio.sleep(1.5)
            busy.is_silent = False
            for _ in range(3):
                await world.node.classic.find_value(Key.of(TEXT))
                await trio.sleep(5)
            assert all(map(world.node.knows, world.peers))

    async def test_while_no_node_answers_all_keep_their_seats(self, virtual_clock: VirtualClock) -> None:
        async with open_world(4, refresh_interval=60) as world:
            await world.meet_all()
            world.cut_off()
            for _ in range(5):
                await world.node.classic.find_value(Key.of(TEXT))
                await trio.sleep(60)
            assert all(map(world.node.knows, world.peers))
            world.network.heal_all()
            await trio.sleep(120)
            assert all(map(world.node.knows, world.peers))

    async def test_the_silent_are_pinged_and_the_dead_leave(self, virtual_clock: VirtualClock) -> None:
        async with open_world(3, refresh_interval=60) as world:
            await world.meet_all()
            world.peers[1].is_silent = True
            await trio.sleep(300)
            assert [world.node.knows(peer) for peer in world.peers] == [True, False, True]

    async def test_buckets_are_looked_into_once_in_an_interval(self, virtual_clock: VirtualClock) -> None:
        async with open_world(2) as world:
            await world.meet_all()
            heard = [len(peer.received) for peer in world.peers]
            await trio.sleep(10 * 3600)
            for peer, before in zip(world.peers, heard, strict=True):
                finds = [each for each in peer.received[before:] if each.kind is Kind.FIND_NODE]
                buckets = world.node.classic.table.stale_buckets(float("inf"))
                assert 7 * len(buckets) <= len(finds) <= 11 * len(buckets)

    async def test_a_member_that_no_lookup_asks_is_pinged_in_time(self, virtual_clock: VirtualClock) -> None:
        async with open_world(100, k=8) as world:
            await world.meet_all()
            table = world.node.classic.table
            for _ in range(48):
                await trio.sleep(1800)
                assert table.silent_since(trio.current_time() - 1.3 * 3600) == []

    async def test_a_node_that_has_moved_is_known_where_it_is(self, virtual_clock: VirtualClock) -> None:
        async with open_world(2) as world:
            await world.meet_all()
            moved, witness = world.peers
            moved.is_silent = True
            async with open_classic_peers(world.network, 1, first="10.9.5.1:8118", seed=5) as (there,):
                there.node_id = moved.node_id
                assert await there.ping(HERE)
                await trio.sleep(10)
                assert world.node.knows(there)
                assert world.node.knows(witness)

    async def test_another_that_speaks_under_its_id_does_not_take_its_seat(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            await world.meet_all()
            (honest,) = world.peers
            async with open_classic_peers(world.network, 1, first="10.9.5.1:8118", seed=5) as (liar,):
                liar.node_id = honest.node_id
                for _ in range(3):
                    assert await liar.ping(HERE)
                    await trio.sleep(61)
                assert world.node.knows(honest)

    async def test_another_node_at_its_address_takes_its_place(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            await world.meet_all()
            (peer,) = world.peers
            before = NodeId(peer.node_id)
            peer.node_id = b"started again, with another id!!"
            assert await world.node.classic.find_value(Key.of(TEXT)) is None
            await trio.sleep(1)
            assert before not in world.node.classic.table
            assert world.node.knows(peer)
            assert world.node.dropped("wrong_sender") == 1

    async def test_an_address_where_one_of_ours_is_found_is_forgotten(self, virtual_clock: VirtualClock) -> None:
        async with open_world(3) as world:
            await world.meet_all()
            ours = world.peers[1]
            ours.is_silent = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.node.classic.find_value, Key.of(TEXT))
                await trio.sleep(0.0001)
                requests = world.node.classic.counts()["requests"]
                world.node.ours.add(ours.endpoint)
                world.node.classic.forget(ours.endpoint)
                assert world.node.classic.counts()["requests"] == requests - 1
            assert not world.node.knows(ours)
            assert len(world.node.classic.table) == 2
            heard = len(ours.received)
            assert await world.node.classic.store(Key.of(TEXT), TEXT, StoreKind.PUBLISH) == 2
            await trio.sleep(2 * 3600)
            assert len(ours.received) <= heard + 1, "what was on its way"


class TestTransmissions:
    async def test_a_lost_request_is_sent_once_more(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (peer,) = world.peers
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.node.classic.meet, peer.endpoint)
                peer.is_silent = True
                await trio.sleep(0.1)
                peer.is_silent = False
            assert world.node.knows(peer)
            assert [each.datagram for each in peer.received[:2]] == [peer.received[0].datagram] * 2
            assert peer.received[1].at - peer.received[0].at == pytest.approx(0.25)

    async def test_an_answer_to_either_of_two_transmissions_is_no_sample_of_the_round_trip(
        self, virtual_clock: VirtualClock
    ) -> None:
        """So the next retransmission waits twice as long (Karn)."""
        async with open_world(1) as world:
            (peer,) = world.peers
            peer.is_silent = True
            peer.send(HERE, Kind.PING, field(1, bytes(32)))
            await trio.sleep(0.1)
            peer.is_silent = False
            await trio.sleep(1)
            assert world.node.knows(peer)
            peer.is_silent = True
            heard = len(peer.received)
            await world.node.classic.find_value(Key.of(TEXT))
            first, second = [each.at for each in peer.received[heard:] if each.kind is Kind.FIND_VALUE]
            assert second - first == pytest.approx(0.5)


class TestAnswers:
    """Of what is not waited for, nothing counts."""

    async def test_an_answer_to_no_request_is_dropped(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (peer,) = world.peers
            peer.send(HERE, Kind.PONG, field(1, bytes(32)))
            await trio.sleep(1)
            assert world.node.dropped("unknown_session") == 1
            assert len(world.node.classic.table) == 0

    @pytest.mark.parametrize("wrong", ["wrong_endpoint", "wrong_answer", "wrong_challenge", "from_ourselves"])
    async def test_a_wrong_answer_is_dropped(self, wrong: str, virtual_clock: VirtualClock) -> None:
        async with open_world(2) as world:
            peer, other = world.peers
            peer.is_silent = True
            peer.send(HERE, Kind.PING, field(1, bytes(32)))
            await trio.sleep(0.1)
            ping = next(each for each in peer.received if each.kind is Kind.PING)
            session, challenge = content(ping.fields, SESSION), content(ping.message, 1)
            sender = OWN if wrong == "from_ourselves" else peer.node_id
            kind = Kind.NODE_LIST if wrong == "wrong_answer" else Kind.PONG
            message = field(1, bytes(32) if wrong == "wrong_challenge" else challenge)
            answer = (
                field(SESSION, session)
                + field(SENDER, sender)
                + field(kind, b"" if kind is Kind.NODE_LIST else message)
            )
            (other if wrong == "wrong_endpoint" else peer).transport.send(answer, HERE)
            await trio.sleep(0.05)
            assert world.node.dropped(wrong) == 1
            # An answer in our own name says that this is one of our own addresses.
            assert world.node.classic.counts()["requests"] == (0 if wrong == "from_ourselves" else 1)
            assert len(world.node.classic.table) == 0

    async def test_a_request_of_ours_that_comes_back_to_us_is_given_up(self, virtual_clock: VirtualClock) -> None:
        async with open_world(1) as world:
            (mirror,) = world.peers
            mirror.is_silent = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(world.node.classic.meet, mirror.endpoint)
                await trio.sleep(0.1)
                mirror.transport.send(mirror.received[0].datagram, HERE)
                await trio.sleep(0.1)
                assert world.node.classic.counts()["requests"] == 0
            assert world.node.dropped("from_ourselves") == 1
