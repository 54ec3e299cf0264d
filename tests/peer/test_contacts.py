"""Which nodes have a seat in the routing table and at which address, and what a node knows of its contacts.

Rules of this file: the parts of a node on a line; the test plays its peers. Virtual time.
"""

from __future__ import annotations

import itertools

import pytest
import structlog.testing
import trio
import trio.testing

from camomile_trio.config import Config, Kademlia
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import bucket_index
from camomile_trio.kademlia.messages import IS_LEAVING, STORES_NOTHING, FindNode, NodeList, Ping, Pong
from camomile_trio.kademlia.routing import CHECK_AFTER
from camomile_trio.peer import contacts as contacts_file
from camomile_trio.peer.contacts import CHECKED_AFTER, LOGGED_AGAIN
from camomile_trio.peer.silence import ASKED_AROUND, CHECKED_AGAIN_AFTER
from tests.fixtures.line import HERE, SELF_CONTACT, Line
from tests.fixtures.parts import TARGET, Asked, Parts, ask, known_peers, open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, silent, truthful
from tests.fixtures.records import EPOCH
from tests.fixtures.speaker import CODEC

ELSEWHERE = Endpoint.parse("10.9.0.3:9000")


def second_address(peer: Peer, endpoint: Endpoint = ELSEWHERE, *, run: int = 0) -> Peer:
    """The node at one more address; with another run, a copy of it."""
    return Peer(peer.line, peer.name, endpoint, key=peer.key, advertised=peer.advertised, run=run)


def begin_anew(peer: Peer) -> None:
    """It makes another handshake, whatever session it has."""
    peer.speaker.initiate(CODEC.encode(1, Ping(), 0), SELF_CONTACT)
    peer.heard()


def asked_at(line: Line, peer: Peer) -> int:
    return sum(to == peer.endpoint for to, _ in line.sent)


# Seats ---------------------------------------------------------------------------------------------------------------


async def test_a_request_alone_gives_no_seat_and_the_handshake_that_it_began_does(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        new: list[Contact] = []
        parts.contacts.on_new_contact = new.append
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        bob.ask(FindNode(TARGET))
        assert len(parts.table) == 0
        bob.heard()
        assert list(parts.table) == new == [bob.contact]
        assert parts.contacts.has_met(bob.endpoint)


async def test_a_node_that_answers_has_a_seat(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        asked = ask(parts.requests, bob, FindNode(TARGET))
        assert len(parts.table) == 0
        assert not parts.contacts.has_met(bob.endpoint)
        bob.answer(bob.heard()[0], NodeList())
        assert len(asked.replies) == 1
        assert list(parts.table) == [bob.contact]


async def test_a_forged_source_gives_no_seat(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        victim, mallory = Peer.at(line, "victim", "10.9.0.8:8118"), Peer.at(line, "mallory", "10.9.0.9:8118")
        second_address(mallory, victim.endpoint).ask(FindNode(TARGET))
        assert not victim.heard()
        await trio.sleep(10)
        assert len(parts.table) == 0
        assert asked_at(line, victim) == 1  # the response; nothing else is sent there


async def test_a_node_that_moved_has_its_seat_where_it_made_its_handshake(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        bob.introduce()
        await trio.sleep(1)
        moved = second_address(bob, run=1)
        moved.introduce()
        assert list(parts.table) == [moved.contact]


async def test_every_contact_that_is_there_is_told_to_those_who_listen(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        told: list[Contact] = []
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        bob.introduce()
        parts.contacts.listeners.append(told.append)
        ask(parts.requests, bob, Ping())
        assert told == []
        bob.pong(bob.heard()[0])
        assert told == [bob.contact]


async def test_a_full_bucket_keeps_the_members_that_answer(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts(Config(kademlia=Kademlia(k=2))) as (parts, line):
        oldest, other, newcomer, second = in_one_bucket(parts, line)
        oldest.introduce()
        await trio.sleep(1)
        other.introduce()
        await trio.sleep(CHECK_AFTER - 2)
        answers(parts, newcomer)
        assert not oldest.heard()  # it was heard of within the minute
        await trio.sleep(2)
        second.introduce()
        assert not oldest.heard()  # for handshakes of others no member is pinged
        answers(parts, second)
        (ping,) = oldest.heard()
        oldest.pong(ping)
        assert list(parts.table) == [other.contact, oldest.contact]


async def test_a_newcomer_takes_the_seat_of_a_member_that_does_not_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts(Config(kademlia=Kademlia(k=2))) as (parts, line), trio.open_nursery() as nursery:
        oldest, other, newcomer, _ = in_one_bucket(parts, line)
        oldest.introduce()
        await trio.sleep(1)
        other.introduce()
        await trio.sleep(CHECK_AFTER)
        living: dict[Peer, Behaviour] = {oldest: silent, other: truthful, newcomer: truthful}
        nursery.start_soon(attend, living)
        answers(parts, newcomer)
        await trio.sleep(10)
        assert set(parts.table) == {other.contact, newcomer.contact}
        nursery.cancel_scope.cancel()


def answers(parts: Parts, peer: Peer) -> None:
    """The node asks it something."""
    asked = ask(parts.requests, peer, Ping())
    peer.pong(peer.heard()[0])
    assert len(asked.replies) == 1


def in_one_bucket(parts: Parts, line: Line) -> list[Peer]:
    peers = (Peer.at(line, f"peer {number}", f"10.9.1.{number}:8118") for number in range(1, 100))
    farthest = (peer for peer in peers if bucket_index(parts.table.own, peer.id) == 255)
    return list(itertools.islice(farthest, 4))


# Silence -------------------------------------------------------------------------------------------------------------


async def test_a_contact_that_misses_a_deadline_while_others_answer_loses_its_seat(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        bob, *others = known_peers(parts, 5)
        living: dict[Peer, Behaviour] = dict.fromkeys(others, truthful)
        nursery.start_soon(attend, living)
        ask(parts.requests, bob, FindNode(TARGET))
        assert parts.requests.sessions.counts()["members"] == 5
        await trio.sleep(0.5)
        ask(parts.requests, others[0], FindNode(TARGET))
        await trio.sleep(3)
        assert set(parts.table) == {peer.contact for peer in others}
        assert parts.requests.sessions.counts()["members"] == 4
        nursery.cancel_scope.cancel()


async def test_a_node_that_is_cut_off_evicts_no_contact(autojump_clock: trio.testing.MockClock) -> None:
    """Everything seems dead, so it is we who are offline; and when the first one answers again, the others get their
    chance before one of them loses its seat."""
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        peers = known_peers(parts, 12)
        await trio.sleep(10)
        for _ in range(3):
            for peer in peers:
                ask(parts.requests, peer, FindNode(TARGET))
            await trio.sleep(10)
        assert len(parts.table) == 12
        for peer in peers:
            peer.heard_bytes()
        # The line is back, and two have died meanwhile.
        living: dict[Peer, Behaviour] = dict.fromkeys(peers[:10], truthful)
        nursery.start_soon(attend, living)
        ask(parts.requests, peers[0], FindNode(TARGET))
        await trio.sleep(20)
        assert {contact.id for contact in parts.table} == {peer.id for peer in peers[:10]}
        nursery.cancel_scope.cancel()


async def test_in_a_quiet_network_others_are_asked_for_a_sign_of_life(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        bob, *others = known_peers(parts, 5)
        await trio.sleep(100)
        living: dict[Peer, Behaviour] = dict.fromkeys(others, truthful)
        nursery.start_soon(attend, living)
        ask(parts.requests, bob, FindNode(TARGET))
        await trio.sleep(10)
        assert set(parts.table) == {peer.contact for peer in others}
        # Three for a sign; then the dead one once more, and the first that answered beside it.
        assert parts.requests.statistics.requests["ping"] == ASKED_AROUND + 2
        nursery.cancel_scope.cancel()


# Checks --------------------------------------------------------------------------------------------------------------


async def test_a_contact_that_answers_is_checked_once_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _):
        (bob,) = known_peers(parts, 1)
        for _ in range(8):
            parts.contacts.check(bob.contact)
            for ping in bob.heard():
                bob.pong(ping)
            await trio.sleep(CHECKED_AFTER / 4)
        assert parts.requests.statistics.requests["ping"] == 2


async def test_a_contact_that_did_not_answer_its_check_is_checked_again_within_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, _):
        (bob,) = known_peers(parts, 1)
        await trio.sleep(1)
        for _ in range(round(4 * CHECKED_AGAIN_AFTER)):
            parts.contacts.check(bob.contact)
            await trio.sleep(1)
        assert parts.requests.statistics.requests["ping"] == 4


async def test_one_check_of_a_contact_is_under_way_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _):
        (bob,) = known_peers(parts, 1)
        for _ in range(10):
            parts.contacts.check(bob.contact, again_after=0.0)
        assert parts.requests.pending == 1
        await trio.sleep(10)
        parts.contacts.check(bob.contact, again_after=0.0)
        assert parts.requests.pending == 1


async def test_peers_that_advertise_the_addresses_of_a_victim_cost_it_no_more_bytes_than_they_send(
    autojump_clock: trio.testing.MockClock,
) -> None:
    victim = Endpoint.parse("198.19.0.8:1")
    async with open_parts() as (parts, line):
        for port in range(1, 201):
            peer = Peer.at(line, f"peer {port % 20}", f"198.18.{port % 20}.1:8118", advertised=f"198.19.0.8:{port}")
            peer.introduce()
            await trio.sleep(5)
        to_victim = sum(len(datagram) for to, datagram in line.sent if to.ip == victim.ip)
        assert 0.5 * line.came < to_victim <= line.came
        assert len(parts.table) == 20


async def test_peers_of_one_network_cost_a_private_victim_two_handshakes_a_minute_whatever_keys_they_have(
    autojump_clock: trio.testing.MockClock,
) -> None:
    victim = Endpoint.parse("10.9.0.8:8118")
    async with open_parts() as (parts, line):
        for number in range(1, 21):
            Peer.at(line, f"peer {number}", f"192.168.1.1:{number}", advertised=str(victim)).introduce()
        await trio.sleep(59)
        # Each is sent twice.
        assert len({datagram for to, datagram in line.sent if to == victim}) == 2
        assert parts.requests.statistics.dropped["unproven_endpoint"] == 18
        assert len(parts.table) == 20


# Advertised endpoints ------------------------------------------------------------------------------------------------


async def test_an_advertised_endpoint_takes_the_seat_once_the_same_node_is_found_there(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        bob = Peer.at(line, "bob", "10.9.0.2:8118", advertised=str(ELSEWHERE))
        there = second_address(bob)
        bob.introduce()
        assert list(parts.table) == [bob.contact]
        (ping,) = there.heard()
        assert list(parts.table) == [bob.contact]
        there.pong(ping)
        assert list(parts.table) == [there.contact]
        # It keeps the seat when the node speaks from its other address, and begins another handshake there.
        await trio.sleep(1)
        begin_anew(bob)
        ask(parts.requests, bob, Ping())
        for each in (bob, there):
            for heard in each.heard():
                if isinstance(heard.message, Ping):
                    each.pong(heard)
        assert list(parts.table) == [there.contact]


async def test_strangers_that_advertise_endpoints_move_no_member_from_its_own(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contacts_file, "MOST_ADVERTISED", 10)
    async with open_parts(Config(kademlia=Kademlia(k=1))) as (parts, line):
        bob = Peer.at(line, "bob", "10.9.0.2:8118", advertised=str(ELSEWHERE))
        there = second_address(bob)
        bob.introduce()
        there.pong(there.heard()[0])
        await trio.sleep(1)
        begin_anew(bob)
        for number in range(40):
            Peer.at(line, f"{number}", f"10.9.1.{number}:8118", advertised=f"10.9.2.{number}:8118").introduce()
        assert len(parts.table) < 10
        ask(parts.requests, bob, FindNode(TARGET))
        bob.answer(bob.heard()[0], NodeList())
        assert parts.table.get(bob.id) == there.contact


async def test_a_contact_is_known_by_the_way_its_session_takes(autojump_clock: trio.testing.MockClock) -> None:
    """It has its seat where it advertises, and its session from where it speaks."""
    async with open_parts() as (parts, line):
        bob = Peer.at(line, "bob", "10.9.0.2:8118", advertised=str(ELSEWHERE))
        there = second_address(bob)
        bob.introduce()
        there.pong(there.heard()[0])
        await trio.sleep(2)
        begin_anew(bob)
        assert list(parts.table) == [there.contact]
        asked = Asked()
        for _ in range(3):
            asked = ask(parts.requests, there, FindNode(TARGET))
            await trio.sleep(0.3)  # longer than the first timeout
            for heard in bob.heard():
                bob.answer(heard, NodeList(), flags=STORES_NOTHING)
            assert len(asked.replies) == 1
            await trio.sleep(1)
        assert asked.overdue_at == []
        assert not parts.contacts.is_doubtful(there.contact, trio.current_time())
        assert not parts.contacts.is_storing(there.contact)
        path = parts.requests.path(there.contact)
        assert path is not None
        assert path.smoothed == pytest.approx(0.3)


async def test_another_node_at_the_advertised_endpoint_changes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        carol = Peer.at(line, "carol", "10.9.0.3:8118")
        mallory = Peer.at(line, "mallory", "10.9.0.2:8118", advertised=str(carol.endpoint))
        mallory.introduce()
        assert carol.heard() == []
        await trio.sleep(5)
        assert list(parts.table) == [mallory.contact]


@pytest.mark.parametrize(
    ("source", "nowhere"),
    [
        ("10.9.0.2:8118", "127.0.0.1:22"),
        ("10.9.0.2:8118", "224.0.0.1:8118"),
        ("10.9.0.2:8118", "0.0.0.0:8118"),
        ("10.9.0.2:8118", "255.255.255.255:8118"),
        ("10.9.0.2:8118", str(HERE)),
        ("8.8.8.8:8118", "192.168.0.1:80"),
    ],
)
async def test_an_advertised_endpoint_that_makes_no_sense_is_never_contacted(
    autojump_clock: trio.testing.MockClock, source: str, nowhere: str
) -> None:
    async with open_parts() as (parts, line):
        bob = Peer.at(line, "bob", source, advertised=nowhere)
        bob.introduce()
        await trio.sleep(5)
        assert {to for to, _ in line.sent} == {bob.endpoint}
        assert list(parts.table) == [bob.contact]


# What is known of a contact ------------------------------------------------------------------------------------------


async def test_a_peer_that_has_made_a_handshake_is_stored_at_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob, carol = Peer.at(line, "bob", "10.9.0.2:8118"), Peer.at(line, "carol", "10.9.0.3:8118")
        carol.speaker.sessions.local.flags = STORES_NOTHING
        now = trio.current_time()
        assert not parts.contacts.takes_stores(bob.contact, now)  # there is no session
        bob.introduce()
        carol.introduce()
        assert parts.contacts.takes_stores(bob.contact, now)
        assert parts.contacts.is_storing(bob.contact)
        assert parts.contacts.is_answering(bob.contact)
        assert not parts.contacts.takes_stores(carol.contact, now)
        assert not parts.contacts.is_storing(carol.contact)


async def test_a_contact_that_was_silent_is_doubtful_until_it_has_answered_or_made_a_handshake(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, _):
        (bob,) = known_peers(parts, 1)

        def is_there() -> list[bool]:
            now, contacts = trio.current_time(), parts.contacts
            doubtful = contacts.is_doubtful(bob.contact, now)
            return [contacts.is_answering(bob.contact), contacts.takes_stores(bob.contact, now), not doubtful]

        ask(parts.requests, bob, FindNode(TARGET))
        await trio.sleep(3)
        assert is_there() == [False] * 3
        second_address(bob, bob.endpoint, run=1).introduce()  # it has restarted
        assert is_there() == [True] * 3


async def test_a_contact_that_leaves_is_believed_until_it_answers_otherwise(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, _):
        (bob,) = known_peers(parts, 1)
        await trio.sleep(10)
        contacts, now = parts.contacts, trio.current_time()
        contacts.check(bob.contact, again_after=0.0)
        bob.pong(bob.heard()[0])
        contacts.on_leave(bob.contact)  # it is checked anew
        assert contacts.is_leaving(bob.contact)
        assert contacts.is_doubtful(bob.contact, now)
        assert not contacts.takes_stores(bob.contact, now)
        (ping,) = bob.heard()
        bob.answer(ping, Pong(HERE, EPOCH), flags=IS_LEAVING)
        assert contacts.is_leaving(bob.contact)
        ask(parts.requests, bob, Ping())
        bob.pong(bob.heard()[0])
        assert not contacts.is_leaving(bob.contact)
        assert contacts.takes_stores(bob.contact, now)


async def test_a_contact_shows_its_clock_in_handshakes_and_pongs(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        shown: list[int] = []
        parts.contacts.on_clock = lambda node, wall_ms: shown.append(wall_ms)
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        bob.introduce()
        assert shown == [EPOCH + round(1000 * trio.current_time())]
        ask(parts.requests, bob, Ping())
        bob.answer(bob.heard()[0], Pong(HERE, 7))
        assert shown[1:] == [7]


async def test_round_trips_are_told_by_the_kind_of_the_request(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _):
        told: list[tuple[str, float]] = []
        parts.contacts.on_round_trip = lambda kind, seconds: told.append((kind, seconds))
        (bob,) = known_peers(parts, 1)
        ask(parts.requests, bob, FindNode(TARGET))
        await trio.sleep(0.1)
        bob.answer(bob.heard()[0], NodeList())
        ((kind, seconds),) = told
        assert kind == "find_node"
        assert seconds == pytest.approx(0.1)


# Own addresses -------------------------------------------------------------------------------------------------------


async def test_a_node_knows_where_it_is_bound_advertised_and_seen(autojump_clock: trio.testing.MockClock) -> None:
    advertise, seen = Endpoint.parse("10.9.0.5:1"), Endpoint.parse("10.9.0.6:2")
    async with open_parts(Config(advertise=advertise)) as (parts, _):
        contacts = parts.contacts
        (bob,) = known_peers(parts, 1)
        assert contacts.own_endpoints == {HERE, advertise}
        ask(parts.requests, bob, Ping())
        bob.answer(bob.heard()[0], Pong(seen, EPOCH))
        assert contacts.own_endpoints == {HERE, advertise, seen}
        # A peer cannot make this node avoid an address.
        sensible = [contacts.may_contact(each, bob.endpoint) for each in (HERE, advertise, seen)]
        assert sensible == [False, False, True]


async def test_an_address_whose_hello_comes_back_is_our_own(autojump_clock: trio.testing.MockClock) -> None:
    here_too = Endpoint.parse("10.9.0.7:8118")
    async with open_parts() as (parts, line), trio.open_nursery() as nursery:
        nursery.start_soon(parts.requests.hellos.public_key_at, here_too)
        await trio.testing.wait_all_tasks_blocked()
        ((_, hello),) = line.sent
        line.bring(hello, Endpoint.parse("10.9.0.9:8118"))  # whatever address it seems to come from
        assert parts.contacts.own_endpoints == {HERE, here_too}


# Lines in the log ----------------------------------------------------------------------------------------------------


async def test_a_copied_key_is_said_once_with_both_addresses(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (_, line):
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        copy = second_address(bob, run=1)
        with structlog.testing.capture_logs() as logs:
            for each in (bob, copy, bob, copy, bob):
                await trio.sleep(1)
                begin_anew(each)
        (entry,) = logs
        assert entry["event"] == "two nodes have the same key"
        assert entry["id"] == bob.id.hex()
        assert {entry["at"], entry["and_at"]} == {str(bob.endpoint), str(copy.endpoint)}


async def test_a_host_with_two_addresses_is_not_accused(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        bob = Peer.at(line, "bob", "10.9.0.2:8118")
        there = second_address(bob)
        with structlog.testing.capture_logs() as logs:
            for each in (bob, there, bob, there, bob):
                await trio.sleep(1)
                begin_anew(each)
        assert list(parts.table) == [bob.contact]
        assert logs == []


async def test_nodes_that_this_one_cannot_speak_with_are_counted_and_named_once_in_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        strangers = [Peer.at(line, f"stranger {number}", f"10.9.0.{number}:8118") for number in range(2, 6)]
        with structlog.testing.capture_logs() as logs:
            for peer in strangers:
                peer.speaker.sessions.local.version = 3
                peer.introduce()
            assert [entry["at"] for entry in logs] == [str(strangers[0].endpoint)]
            assert "version" in logs[0]["meaning"]
            parts.contacts.on_foreign(strangers[1].endpoint, "wrong_mac1")
            assert [entry["at"] for entry in logs[1:]] == [str(strangers[1].endpoint)]
            assert "network" in logs[1]["meaning"]
            await trio.sleep(LOGGED_AGAIN)
            strangers[3].introduce()
            assert len(logs) == 3
        assert parts.requests.sessions.dropped["other_version"] == 5
        assert len(parts.table) == 0


# Streams -------------------------------------------------------------------------------------------------------------


async def test_a_failed_stream_costs_no_seat_and_is_said_once_the_peer_has_answered_a_ping(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, _):
        (bob,) = known_peers(parts, 1)
        troubles = parts.contacts.stream_troubles
        with structlog.testing.capture_logs() as logs:
            parts.contacts.on_stream_failed(bob.contact, "refused")
            assert troubles.failures == 1
            assert logs == []
            bob.pong(bob.heard()[0])
            assert [(entry["peer"], entry["because"]) for entry in logs] == [(str(bob.endpoint), "refused")]
        assert list(parts.table) == [bob.contact]
        assert troubles.in_words(since=0) == "TCP failed to 1 nodes that answer by UDP"


async def test_a_stream_to_a_peer_that_has_died_is_no_trouble_of_streams(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, _), trio.open_nursery() as nursery:
        bob, *others = known_peers(parts, 3)
        await trio.sleep(61)
        living: dict[Peer, Behaviour] = dict.fromkeys(others, truthful)
        nursery.start_soon(attend, living)
        with structlog.testing.capture_logs() as logs:
            parts.contacts.on_stream_failed(bob.contact, "unreachable")
            await trio.sleep(10)
        assert logs == []
        assert parts.contacts.stream_troubles.failures == 0
        assert set(parts.table) == {peer.contact for peer in others}
        nursery.cancel_scope.cancel()
