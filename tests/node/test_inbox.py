"""The way in: what an address that nobody has proven may cost, and what is not listened to at all."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camomile_trio.config import Config, Requests
from camomile_trio.identity import KeyPair, network_id
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Leave,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreKind,
    StoreResult,
    TooLarge,
)
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.node.inbox import AMPLIFICATION
from camomile_trio.transport.base import MAX_SENT_DATAGRAM
from camomile_trio.wire.codec import decode_untrusted, encode
from tests.fixtures.line import SELF, Line, one_node
from tests.fixtures.parts import Parts, open_parts
from tests.fixtures.peers import Peer
from tests.fixtures.records import lease_of, tombstone_of
from tests.wire.strategies import classic_packets, packets

TARGET = NodeId(bytes(32))
PUBLISHER = KeyPair.new(random.Random("publisher"))
VALUE = b"a value of some length, so that it is no small answer" * 15
KEY = Key.of(VALUE)


def fill(table: RoutingTable) -> None:
    """With contacts that never answer."""
    rng = random.Random(9)
    for number in range(60):
        contact = Contact(NodeId(rng.randbytes(32)), Endpoint.parse(f"10.8.0.{number + 1}:8118"))
        table.on_answer(contact, trio.current_time())


PUBLISHERS = [KeyPair.new(random.Random(number)) for number in range(4)]
ROWS = tuple(lease_of(each, KEY).row() for each in PUBLISHERS)


def well_furnished(parts: Parts) -> None:
    """It knows many contacts and holds a value with a full set of registers: its answers are as large as they get."""
    fill(parts.table)
    parts.keep(KEY, VALUE, *ROWS)
    parts.keep(KEY, None, tombstone_of(PUBLISHERS[3], KEY).row())


LEASE = lease_of(PUBLISHER, KEY).row()
REQUESTS: list[Message] = [
    Ping(bytes(32)),
    FindNode(TARGET),
    FindValue(Key(TARGET)),
    FindValue(KEY),
    FindValue(KEY, PUBLISHER.public),
    Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE,)),
    Store(StoreKind.REPLICATE, KEY, None, (LEASE,)),
    Store(StoreKind.PUBLISH, KEY, VALUE, (LEASE,), b"guessed!", True),
    Have((KEY,)),
    Have((KEY,) * 32, PUBLISHER.public),
    Leave(),
]


def heard_by_strangers(line: Line, stranger: Endpoint) -> int:
    """Bytes that went to this endpoint."""
    return sum(len(datagram) for to, datagram in line.sent if to == stranger)


# Three times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("network", ["camomile", "named"])
async def test_a_stranger_costs_at_most_three_times_what_it_sent(
    autojump_clock: trio.testing.MockClock, message: Message, network: str
) -> None:
    config = Config(network=network, advertise=Endpoint.parse("[2001:db8::1]:8118"))
    async with open_parts(config) as (parts, line):
        well_furnished(parts)
        mallory = Peer.at(line, "mallory", "10.9.0.9:8118")
        sent = mallory.ask(message, network=network_id(network)[:8] if network == "named" else b"")
        await trio.sleep(10)
        # The answer, and the ping with which the node wants to learn who this is, once and once again.
        assert heard_by_strangers(line, mallory.endpoint) <= AMPLIFICATION * len(sent)
        if not isinstance(message, Leave):
            assert heard_by_strangers(line, mallory.endpoint) > 0


@pytest.mark.parametrize("message", [FindNode(TARGET), FindValue(Key(TARGET)), Ping(bytes(32))], ids=str)
async def test_a_classic_stranger_costs_no_more_when_the_budget_is_spent(
    autojump_clock: trio.testing.MockClock, message: Message
) -> None:
    async with open_parts(Config(classic=True, requests=Requests(classic_budget=0))) as (parts, line):
        well_furnished(parts)
        mallory = Peer.at(line, "mallory", "10.9.0.9:8118")
        sent = mallory.ask(message, version=0)
        await trio.sleep(10)
        assert 0 < heard_by_strangers(line, mallory.endpoint) <= AMPLIFICATION * len(sent)


async def test_all_classic_strangers_together_share_one_budget(autojump_clock: trio.testing.MockClock) -> None:
    """It is there so that a classic node, which does not pad, gets whole answers; and it is small."""
    budget = 10_000
    async with open_parts(Config(classic=True, requests=Requests(classic_budget=budget))) as (parts, line):
        well_furnished(parts)
        sent = 0
        for second in range(3):
            for number in range(100):
                peer = Peer.at(line, f"peer {second}.{number}", f"10.{10 + second}.0.{number + 1}:8118")
                sent += len(peer.ask(FindNode(TARGET), version=0))
                if second == number == 0:
                    (answer,) = [packet for packet in peer.heard() if not isinstance(packet.message, Ping)]
                    assert isinstance(answer.message, NodeList)
                    assert len(answer.message.contacts) == 20
            beyond = sum(len(datagram) for _, datagram in line.sent) - AMPLIFICATION * sent
            assert beyond <= budget * (second + 1)
            await trio.sleep(1)


sizes = st.integers(0, 800)
requests = st.one_of(
    st.just(Ping(bytes(32))),
    st.builds(FindNode, st.sampled_from([TARGET, NodeId(KEY)])),
    st.builds(FindValue, st.sampled_from([Key(TARGET), KEY]), st.none() | st.just(PUBLISHER.public)),
    st.builds(
        lambda size, known: Store(StoreKind.PUBLISH, None, VALUE if known else bytes(size + 1), (LEASE,)),
        sizes,
        st.booleans(),
    ),
    st.builds(lambda count: Have((KEY,) * count), st.integers(1, 32)),
    st.just(Leave()),
)


def in_virtual_time(story: Callable[[], Awaitable[None]]) -> None:
    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(requests, sizes, st.booleans()), min_size=1, max_size=6))
def test_no_number_of_requests_of_any_size_costs_more(asked: list[tuple[Message, int, bool]]) -> None:
    """Whatever a forged address is used for: all bytes that go to it are at most three times those that came."""

    async def story() -> None:
        async with open_parts() as (parts, line):
            well_furnished(parts)
            mallory = Peer.at(line, "mallory", "10.9.0.9:8118")
            sent = 0
            for message, padding, pause in asked:
                sent += len(mallory.ask(message, padding=padding))
                await trio.sleep(61 if pause else 0.3)
                assert heard_by_strangers(line, mallory.endpoint) <= AMPLIFICATION * sent

    in_virtual_time(story)


async def test_a_padded_find_gets_a_whole_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        bob = Peer.at(line, "bob", "10.9.0.9:8118")
        bob.ask(FindNode(TARGET), padding=600 - 106)
        answer = next(packet.message for packet in bob.heard() if isinstance(packet.message, NodeList))
        assert len(answer.contacts) == 20
        assert answer.token


async def test_a_short_find_gets_fewer_contacts(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        bob = Peer.at(line, "bob", "10.9.0.9:8118")
        bob.ask(FindNode(TARGET), padding=60)
        answer = next(packet.message for packet in bob.heard() if isinstance(packet.message, NodeList))
        closest = parts.rpc.table.closest(TARGET)
        assert 0 < len(answer.contacts) < 20
        assert answer.contacts == tuple(closest[: len(answer.contacts)])  # the closest, not any


async def test_a_value_too_large_for_a_stranger_is_too_large(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        bob = Peer.at(line, "bob", "10.9.0.9:8118")
        bob.ask(FindValue(KEY))
        assert [type(packet.message) for packet in bob.heard()] == [Ping, TooLarge]


async def test_who_has_answered_gets_all_that_fits(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        bob = Peer.at(line, "bob", "10.9.0.9:8118")
        bob.introduce()
        bob.ask(FindNode(TARGET))
        (answer,) = bob.heard()
        assert isinstance(answer.message, NodeList)
        assert len(answer.message.contacts) == 20
        bob.ask(Have((KEY,) * 32))
        (answer,) = bob.heard()
        assert isinstance(answer.message, TooLarge)
        assert answer.message.size > MAX_SENT_DATAGRAM


async def test_a_stream_proves_its_address(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        well_furnished(parts)
        assert line.inbound is not None
        mallory = Peer.at(line, "mallory", "10.9.0.9:8118")
        request = encode(Packet(bytes(31) + b"1", mallory.id, Have((KEY,) * 32), 1))
        answer = await line.inbound.on_stream_message(request, Endpoint.parse("10.9.0.9:50000"))
        assert answer is not None
        assert len(answer) > AMPLIFICATION * len(request)
        message = decode_untrusted(answer).message
        assert isinstance(message, HaveResult)
        assert len(message.holdings) == 32
        # Nor does it need a token. Its source port is nobody's endpoint: nobody is pinged there.
        store = encode(Packet(bytes(31) + b"2", mallory.id, Store(StoreKind.PUBLISH, None, VALUE, (LEASE,)), 1))
        answer = await line.inbound.on_stream_message(store, Endpoint.parse("10.9.0.9:50000"))
        assert answer is not None
        assert isinstance(decode_untrusted(answer).message, StoreResult)
        assert not line.sent


# Who is met --------------------------------------------------------------------------------------------------------


async def test_a_packet_that_merely_arrives_makes_nobody_a_contact(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc, bob = parts.rpc, Peer.at(line, "bob", "10.9.0.9:8118")
        bob.ask(FindNode(TARGET))
        assert len(rpc.table) == 0
        ping, _ = bob.heard()
        bob.pong(ping)
        assert list(rpc.table) == [bob.contact]


async def test_nobody_becomes_a_contact_at_a_forged_address(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        rpc = parts.rpc
        victim, mallory = Peer.at(line, "victim", "10.9.0.8:8118"), Peer.at(line, "mallory", "10.9.0.9:8118")
        forged = Peer(line, "mallory", victim.endpoint, mallory.key)
        forged.ask(FindNode(TARGET))
        (ping, _) = victim.heard()
        victim.pong(ping)  # truly, for itself: so it is not the one that was asked for
        assert len(rpc.table) == 0
        assert rpc.statistics.dropped["wrong_sender"] == 1


async def test_a_stranger_that_goes_on_asking_is_pinged_once_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob = Peer.at(line, "bob", "10.9.0.9:8118")
        pings = 0
        for _ in range(100):
            bob.ask(FindNode(TARGET), padding=400)
            pings += sum(isinstance(packet.message, Ping) for packet in bob.heard())
            await trio.sleep(1)
        assert pings == 2 * 2  # each of the two went out once again


async def test_who_never_answers_is_asked_one_thing_whatever_names_it_speaks_under(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each name is a stranger: a ping for each, sent or held back, would take all requests that may be under way."""
    async with open_parts() as (parts, line):
        rpc = parts.rpc
        for number in range(300):
            Peer.at(line, f"name {number}", "10.9.2.1:8118").ask(FindNode(TARGET), padding=600)
        pinged = [decode_untrusted(datagram) for _, datagram in line.sent]
        assert sum(isinstance(packet.message, Ping) for packet in pinged) == 1
        assert rpc.pending == 1
        await trio.sleep(10)
        assert rpc.pending == 0


async def test_who_has_answered_once_is_asked_one_thing_too(autojump_clock: trio.testing.MockClock) -> None:
    """An address that is proven is no more trusted with our requests than one that is not."""
    async with open_parts() as (parts, line):
        rpc = parts.rpc
        bob = Peer.at(line, "bob", "10.9.2.1:8118")
        bob.introduce()
        assert rpc.peers.is_proven(bob.endpoint)
        for number in range(300):
            Peer.at(line, f"name {number}", "10.9.2.1:8118").ask(FindNode(TARGET))
        assert rpc.pending == 1
        (ping,) = [packet for packet in bob.heard() if isinstance(packet.message, Ping)]
        bob.pong(ping)  # which tells who lives there, and not whom the ping was for
        assert bob.id in rpc.table
        assert len(rpc.table) == 1


async def test_strangers_from_many_ports_leave_requests_to_ourselves(autojump_clock: trio.testing.MockClock) -> None:
    settings = Requests(max_pending=64)
    async with open_parts(Config(requests=settings)) as (parts, line):
        rpc = parts.rpc
        friend = Peer.at(line, "friend", "10.9.3.1:8118")
        for number in range(100):
            Peer.at(line, f"stranger {number}", f"10.9.2.1:{1000 + number}").ask(FindNode(TARGET), padding=600)
        assert rpc.pending == 64 / 8
        assert rpc.statistics.dropped["too_many_strangers"] == 100 - 64 / 8
        assert rpc.request(friend.endpoint, FindNode(TARGET), node=friend.id) is not None
        await trio.sleep(10)  # those have failed, and others get their turn
        Peer.at(line, "stranger 99", "10.9.2.1:1099").ask(FindNode(TARGET), padding=600)
        assert rpc.pending == 1


async def test_a_ping_from_a_stranger_is_answered_by_a_ping_when_its_bytes_allow(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (_, line):
        bob, carol = Peer.at(line, "bob", "10.9.0.9:8118"), Peer.at(line, "carol", "10.9.0.10:8118")
        bob.ask(Ping(bytes(32)))
        assert [type(packet.message) for packet in bob.heard()] == [Pong]
        carol.ask(Ping(bytes(32)), padding=100)
        assert [type(packet.message) for packet in carol.heard()] == [Pong, Ping]


# Who is not listened to --------------------------------------------------------------------------------------------


async def test_packets_of_other_networks_are_dropped(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = Peer.at(line, "bob", "10.9.0.9:8118")
        bob.ask(Ping(bytes(32)), network=network_id("another")[:8])
        assert not line.sent
        assert parts.rpc.statistics.dropped["other_network"] == 1
        assert not parts.rpc.statistics.received


async def test_a_named_network_does_not_talk_to_the_default_one_nor_to_classic_nodes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts(Config(network="mine")) as (parts, line):
        bob = Peer.at(line, "bob", "10.9.0.9:8118")
        bob.ask(Ping(bytes(32)))
        bob.ask(Ping(bytes(32)), version=0)
        assert not line.sent
        assert parts.rpc.statistics.dropped == {"other_network": 1, "classic": 1}
        bob.ask(Ping(bytes(32)), network=network_id("mine")[:8])
        (pong,) = bob.heard()
        assert pong.network == network_id("mine")[:8]


async def test_our_own_packets_are_dropped(autojump_clock: trio.testing.MockClock) -> None:
    """A node that meets itself under another address does not become its own contact."""
    here_too = Endpoint.parse("10.9.0.7:8118")
    async with open_parts() as (parts, line):
        rpc = parts.rpc
        asked = rpc.request(here_too, FindNode(TARGET), node=None)
        ((to, datagram),) = line.sent
        assert to == here_too
        line.bring(datagram, here_too)
        assert len(line.sent) == 1
        assert rpc.statistics.dropped["from_ourselves"] == 1
        assert here_too in rpc.own_endpoints
        assert asked is not None
        assert asked.done  # nobody waits for what cannot be answered


async def test_whoever_sends_our_request_back_can_make_us_avoid_no_other_address(
    autojump_clock: trio.testing.MockClock,
) -> None:
    liar, good = Endpoint.parse("10.9.0.7:8118"), Endpoint.parse("10.9.0.9:8118")
    async with open_parts() as (parts, line):
        rpc = parts.rpc
        rpc.request(liar, FindNode(TARGET), node=None)
        ((_, datagram),) = line.sent
        line.bring(datagram, good)
        assert good not in rpc.own_endpoints
        assert liar in rpc.own_endpoints


async def test_a_request_under_our_own_id_that_is_not_ours_is_answered_with_a_ping_only_a_copy_of_our_key_can_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    copy = Endpoint.parse("10.9.0.8:8118")
    async with open_parts() as (parts, line):
        told: list[Endpoint] = []
        rpc = parts.rpc
        rpc.on_copied_key = told.append
        question = encode(Packet(bytes(32), parts.identity.node_id, FindNode(TARGET), 1))
        line.bring(question, copy)
        answer, ping = (decode_untrusted(datagram) for _to, datagram in line.sent)
        assert answer == Packet(bytes(32), parts.identity.node_id, NodeList(), 1)
        assert sum(len(datagram) for _to, datagram in line.sent) <= 3 * len(question)
        liar = Peer.at(line, "liar", str(copy))
        liar.answer(ping, liar.true_pong(ping), sender=parts.identity.node_id)
        assert told == []
        assert rpc.statistics.dropped["bad_signature"] == 1
        Peer(line, "copy", copy, parts.identity).pong(ping)
        assert told == [copy]
        assert len(rpc.table) == 0


@pytest.mark.parametrize("is_asked_first", [True, False])
@pytest.mark.parametrize("under_our_id", [True, False])
async def test_nobody_makes_us_sign_the_pong_that_shows_a_copy_of_our_key(
    autojump_clock: trio.testing.MockClock, is_asked_first: bool, under_our_id: bool
) -> None:
    """Whether it has us ping it for our own id, or answers a ping for somebody else under that id."""
    liar = Endpoint.parse("10.9.0.8:8118")
    async with open_parts() as (parts, line):
        told: list[Endpoint] = []
        rpc = parts.rpc
        rpc.on_copied_key = told.append
        if is_asked_first:
            rpc.request(liar, Ping(bytes(range(32))), node=None)
        else:
            line.bring(encode(Packet(bytes(32), parts.identity.node_id, FindNode(TARGET), 1)), liar)
        for _ in range(3):
            ping = decode_untrusted(line.sent[-1][1])
            assert isinstance(ping.message, Ping)
            line.sent.clear()
            relay = Peer.at(line, "relay", "10.9.0.10:8118")
            sender = parts.identity.node_id if under_our_id else relay.id
            line.bring(encode(Packet(bytes(32), sender, ping.message, 1)), relay.endpoint)
            for answer in relay.heard():
                if isinstance(answer.message, Pong):
                    line.bring(encode(attrs.evolve(answer, session=ping.session)), liar)
            if not any(to == liar for to, _ in line.sent):
                break
        assert told == []
        assert rpc.statistics.dropped["own_challenge"] == 1
        await trio.sleep(10)
        Peer(line, "copy", liar, parts.identity).ask(Ping(bytes(32)))
        assert any(isinstance(decode_untrusted(datagram).message, Pong) for _, datagram in line.sent)


async def test_a_ping_under_our_own_id_is_answered_so_that_the_other_one_learns_of_us(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        copy = Peer(line, "copy", Endpoint.parse("10.9.0.8:8118"), parts.identity)
        copy.ask(Ping(bytes(32)))
        (pong,) = copy.heard()
        assert isinstance(pong.message, Pong)


@pytest.mark.parametrize("source", ["0.0.0.0:8118", "224.0.0.1:8118", "255.255.255.255:8118", "10.9.0.9:0"])
async def test_a_senseless_source_is_not_answered(autojump_clock: trio.testing.MockClock, source: str) -> None:
    async with open_parts() as (parts, line):
        Peer.at(line, "nobody", source).ask(FindNode(TARGET))
        assert not line.sent
        assert parts.rpc.statistics.dropped["senseless_source"] == 1


async def test_what_is_no_packet_is_dropped_and_counted(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        assert line.inbound is not None
        for garbage in (b"", b"\xff" * 50, bytes(1000)):
            line.bring(garbage, Endpoint.parse("10.9.0.9:8118"))
            assert await line.inbound.on_stream_message(garbage, Endpoint.parse("10.9.0.9:8118")) is None
        assert not line.sent
        assert sum(parts.rpc.statistics.dropped.values()) == 6


async def test_an_answer_over_an_inbound_stream_is_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        assert line.inbound is not None
        bob = Peer.at(line, "bob", "10.9.0.9:8118")
        parts.rpc.request(bob.endpoint, FindNode(TARGET), node=bob.id)
        (request,) = bob.heard()
        answer = encode(Packet(request.session, bob.id, NodeList(), 1))
        assert await line.inbound.on_stream_message(answer, bob.endpoint) is None
        assert parts.rpc.pending == 1


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(packets | classic_packets, min_size=1, max_size=5), st.booleans(), st.booleans())
def test_no_packet_of_anybody_upsets_a_node(received: list[Packet], introduced: bool, classic: bool) -> None:
    """Any packet of the right form, from a stranger or a known peer, by either way: nothing is raised."""

    async def story() -> None:
        table = RoutingTable(SELF.node_id, 20)
        fill(table)
        # It counts alone, since nobody answers what it asks.
        async with one_node(Config(expect=1, classic=classic), table=table) as (node, line):
            assert line.inbound is not None
            giver = Peer.at(line, "giver", "10.9.0.10:8118")
            giver.introduce()
            giver.ask(Store(StoreKind.PUBLISH, KEY, VALUE, ROWS))
            bob = Peer.at(line, "bob", "10.9.0.9:8118")
            if introduced:
                bob.introduce()
            for packet in received:
                datagram = encode(packet)
                line.bring(datagram, bob.endpoint)
                await line.inbound.on_stream_message(datagram, bob.endpoint)
            assert (await node.get(KEY)).value == VALUE

    in_virtual_time(story)
