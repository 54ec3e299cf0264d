"""One lookup on its way: alpha requests in flight, a slot for everyone that keeps us waiting, and one end."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.messages import FindNode, FindValue, Message, NodeList, TooLarge, Value
from camomile_trio.operations.events import Event, LookupEnded
from camomile_trio.operations.lookup import PROMISE_PATIENCE, Lookup, LookupResult, Lookups
from camomile_trio.peer.requests import PADDED_BYTES
from camomile_trio.peer.seams import Answer
from tests.fixtures.line import HERE, SELF_CONTACT, SUITE, Line
from tests.fixtures.parts import Parts, open_parts
from tests.fixtures.peers import Behaviour, Peer, attend, silent, truthful
from tests.fixtures.speaker import CODEC, Heard

TARGET = NodeId(bytes(32))
FIRST_RTO = 0.25


def neighbours(line: Line, count: int) -> list[Peer]:
    """Peers that the node does not know yet, the closest to the target first."""
    peers = [Peer.at(line, f"peer {number}", f"10.9.1.{number + 1}:8118") for number in range(count)]
    return sorted(peers, key=lambda peer: distance(peer.id, TARGET))


def lookups(parts: Parts, k: int = 20) -> Lookups:
    return Lookups(parts.contacts, parts.events, k=k, alpha=3)


def lookup(parts: Parts, start: list[Peer], *, k: int = 20, question: FindNode | FindValue | None = None) -> Lookup:
    contacts = [peer.contact for peer in start]
    return Lookup(lookups(parts, k), question or FindNode(TARGET), start=contacts)


async def run(search: Lookup, behaviours: dict[Peer, Behaviour]) -> tuple[LookupResult, float]:
    """The result, and how long it took."""
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attend, behaviours)
        result = await search.run()
        nursery.cancel_scope.cancel()
    return result, trio.current_time() - began


def asked(line: Line) -> list[Endpoint]:
    """The addresses that anything was sent to, in the order of their first datagrams."""
    return list(dict.fromkeys(to for to, _ in line.sent))


def naming(*contacts: Contact) -> Behaviour:
    def behave(heard: Heard) -> Message | None:
        if isinstance(heard.message, FindNode):
            return NodeList(contacts)
        return None

    return behave


async def test_alpha_requests_are_in_flight_and_each_answer_frees_a_slot(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 10)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lookup(parts, peers).run)
            await trio.testing.wait_all_tasks_blocked()
            assert asked(line) == [peer.endpoint for peer in peers[:3]]
            peers[1].answer(peers[1].heard()[0], NodeList())
            assert asked(line)[3:] == [peers[3].endpoint]  # at once, without waiting for the round
            nursery.cancel_scope.cancel()


async def test_it_finds_who_is_named_by_others(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 9)
        chain: dict[Peer, Behaviour] = {
            peer: naming(*(each.contact for each in peers[:index])) for index, peer in enumerate(peers)
        }
        result, _ = await run(lookup(parts, peers[-1:], k=4), chain)
        assert result.contacts == tuple(peer.contact for peer in peers[:4])
        assert result.answered == result.asked
        assert result.hops == 2


async def test_the_silent_cost_one_timeout_together(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 10)
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(peers, truthful)
        behaviours[peers[0]] = behaviours[peers[4]] = silent
        result, took = await run(lookup(parts, peers, k=5), behaviours)
        assert took == pytest.approx(0.25, abs=0.03)
        assert [contact.id for contact in result.contacts] == [peers[i].id for i in (1, 2, 3, 5, 6)]


async def test_who_missed_a_deadline_lately_costs_nothing(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 6)
        parts.requests.paths.get(peers[0].contact).on_missed(trio.current_time())
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(peers, truthful)
        behaviours[peers[0]] = silent
        result, took = await run(lookup(parts, peers), behaviours)
        assert took < 0.03
        assert len(result.contacts) == 5
        assert peers[0].endpoint in asked(line)  # it is asked all the same: it may be back


async def test_nobody_else_answers_so_it_waits_for_the_slow_one(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        (slow,) = neighbours(line, 1)
        async with trio.open_nursery() as nursery:
            results: list[LookupResult] = []

            async def look() -> None:
                results.append(await lookup(parts, [slow]).run())

            nursery.start_soon(look)
            await trio.sleep(1.5)
            assert not results
            slow.answer(slow.heard()[0], NodeList())
            await trio.sleep(0.01)
            assert results[0].contacts == (slow.contact,)


async def test_it_ends_without_anybody_at_the_last_deadline(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        result, took = await run(lookup(parts, neighbours(line, 7)), {})
        # Three at a time: the last of seven is asked at the third timeout.
        assert took == pytest.approx(2 * 0.25 + 2.0, abs=0.01)
        assert (result.contacts, result.answered, result.hops) == ((), 0, 0)
        assert parts.requests.pending == 0


async def test_nobody_to_ask_is_an_end(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, _):
        result, took = await run(lookup(parts, []), {})
        assert (result.contacts, took) == ((), 0.0)


async def test_one_that_cannot_be_asked_frees_its_slot(autojump_clock: trio.testing.MockClock) -> None:
    """One that was never met and stays silent is tried at doubling intervals: a lookup in between goes on without."""
    async with open_parts() as (parts, line):
        peers = neighbours(line, 5)
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(peers[1:], truthful)
        dropped = parts.requests.statistics.dropped
        took = 0.0
        with trio.fail_after(60):
            while not dropped["too_soon"]:
                await trio.sleep(1)
                result, took = await run(lookup(parts, peers), behaviours)
                assert len(result.contacts) == 4
        assert took < 0.03
        await trio.sleep(3)
        assert parts.requests.pending == 0


async def test_only_members_of_the_table_are_asked_for_full_answers_at_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An address that is known by a peer's word alone may be a victim's, which gets as little as can be."""
    async with open_parts() as (parts, line):
        member, named = neighbours(line, 2)
        parts.table.on_answer(member.contact, trio.current_time())
        await run(lookup(parts, [member]), {member: naming(named.contact), named: truthful})
        first = {to: len(datagram) for to, datagram in reversed(line.sent)}
        assert first[member.endpoint] == PADDED_BYTES
        assert first[named.endpoint] < PADDED_BYTES / 2


async def test_senseless_contacts_are_never_asked(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        (bob,) = neighbours(line, 1)
        places = ("127.0.0.1:22", "224.0.0.1:8118", "0.0.0.0:8118", "10.9.9.9:0", "255.255.255.255:1", str(HERE))
        rng = random.Random(3)
        senseless = [Contact.of(SUITE.public(rng.randbytes(32)), Endpoint.parse(place)) for place in places]
        ourselves = Contact.of(SELF_CONTACT.public, Endpoint.parse("10.9.9.8:8118"))
        result, _ = await run(lookup(parts, [bob]), {bob: naming(*senseless, ourselves)})
        assert asked(line) == [bob.endpoint]
        assert result.contacts == (bob.contact,)
        # The wire drops port 0 before; it counts as well.
        assert parts.requests.statistics.dropped["senseless_contact"] == len(senseless)


async def test_who_watches_is_told_how_it_went(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 2)
        events: list[Event] = []
        with parts.events.watch(events.append):
            await run(lookup(parts, peers), dict.fromkeys(peers, truthful))
        (ended,) = [event for event in events if isinstance(event, LookupEnded)]
        assert (ended.kind, ended.hops, ended.requests) == ("node", 1, 2)


async def test_leaving_it_leaves_nobody_to_call(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 5)
        search = lookup(parts, peers)
        with trio.move_on_after(0.1) as scope:
            await search.run()
        assert scope.cancelled_caught
        assert parts.requests.pending == 3  # what their answers say is learned all the same
        peers[0].answer(peers[0].heard()[0], NodeList((peers[4].contact,)))
        await trio.sleep(5)
        assert len(asked(line)) == 3  # nobody was asked on its behalf any more
        assert parts.requests.pending == 0


# One asked alone ---------------------------------------------------------------------------------------------------

QUESTION = FindValue(Key(TARGET))


def enough(contact: Contact, answer: Answer[Message]) -> bool:
    return isinstance(answer.message, Value) and answer.message.value is not None


def get_from(parts: Parts, peers: list[Peer]) -> Lookup:
    """A lookup for which one answer with a value is enough."""
    start = [peer.contact for peer in peers]
    return Lookup(lookups(parts), QUESTION, start=start, on_answer=enough, one_first=True)


def met(parts: Parts, peers: list[Peer], round_trips: list[float]) -> None:
    for peer, round_trip in zip(peers, round_trips, strict=False):
        parts.requests.paths.on_answer(peer.contact, trio.current_time(), round_trip, 0)


def giving(heard: Heard) -> Message | None:
    if isinstance(heard.message, FindValue):
        return Value(value=b"a value")
    return None


async def test_one_answer_is_enough_so_the_quickest_of_the_closest_is_asked_alone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 6)
        met(parts, peers, [0.002, 0.001, 0.003, 0.0001])
        result, took = await run(get_from(parts, peers), dict.fromkeys(peers, giving))
        assert asked(line) == [peers[1].endpoint]  # the fourth is quicker, and not among the alpha closest
        assert (result.asked, result.contacts) == (1, (peers[1].contact,))
        assert took < 0.02


async def test_who_has_nothing_is_followed_by_as_many_as_ever(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 6)
        met(parts, peers, [0.001, 0.002, 0.003])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get_from(parts, peers).run)
            await trio.testing.wait_all_tasks_blocked()
            assert asked(line) == [peers[0].endpoint]
            peers[0].answer(peers[0].heard()[0], Value(contacts=(peers[5].contact,)))
            assert asked(line)[1:] == [peer.endpoint for peer in peers[1:4]]
            nursery.cancel_scope.cancel()


async def test_who_is_later_than_usual_is_not_waited_for_alone(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 6)
        met(parts, peers, [0.005, 0.2, 0.2])
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(peers, giving)
        behaviours[peers[0]] = silent
        _, took = await run(get_from(parts, peers), behaviours)
        # Round trips of 5 ms, as a rule 2.5 ms off: after 5 + 4 * 2.5 ms, long before it is overdue (55 ms).
        assert 0.015 <= took < 0.05
        assert asked(line) == [peer.endpoint for peer in peers[:3]]


async def test_nobody_is_asked_alone_who_was_silent_lately_or_never_heard(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 6)
        met(parts, peers, [0.001])
        parts.requests.paths.get(peers[0].contact).on_missed(trio.current_time())
        await run(get_from(parts, peers), dict.fromkeys(peers, giving))
        # The silent one takes no slot either.
        assert asked(line) == [peer.endpoint for peer in peers[:4]]


async def test_nobody_is_asked_alone_who_is_far_away(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 6)
        met(parts, peers, [0.02, 0.03, 0.04])
        await run(get_from(parts, peers), dict.fromkeys(peers, giving))
        assert asked(line) == [peer.endpoint for peer in peers[:3]]


async def test_leaving_while_one_is_asked_alone_asks_nobody_else(autojump_clock: trio.testing.MockClock) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 6)
        met(parts, peers, [0.001, 0.001, 0.001])
        with trio.move_on_after(0.005) as scope:
            await get_from(parts, peers).run()
        assert scope.cancelled_caught
        await trio.sleep(5)
        assert set(asked(line)) == {peers[0].endpoint}


@pytest.mark.parametrize(("takes", "senders"), [(0.2, 1), (1.5, 2)])
async def test_a_value_that_one_is_sending_is_asked_of_a_second_one_if_it_is_late_and_of_no_others(
    autojump_clock: trio.testing.MockClock, takes: float, senders: int
) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 6)
        met(parts, peers, [0.001, 0.002, 0.002])

        async def stream(number: int, message: Message, to: Endpoint) -> bytes:
            await trio.sleep(takes)
            return CODEC.encode(number, Value(value=bytes(100_000)), 0)

        line.streams = stream
        _, took = await run(get_from(parts, peers), dict.fromkeys(peers, too_large))
        assert took == pytest.approx(takes, abs=0.1)
        assert asked(line) == [peer.endpoint for peer in peers[:senders]]


async def test_a_value_that_one_promises_and_does_not_send_is_asked_of_another_one_soon(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 6)
        met(parts, peers, [0.001, 0.002, 0.002])

        async def stall(number: int, message: Message, to: Endpoint) -> bytes:
            await trio.sleep_forever()
            raise TransportError("never")

        line.streams = stall
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(peers, giving)
        behaviours[peers[0]] = too_large
        _, took = await run(get_from(parts, peers), behaviours)
        assert took == pytest.approx(FIRST_RTO, abs=0.1)


# Values that need a stream -----------------------------------------------------------------------------------------


def too_large(heard: Heard) -> Message | None:
    if isinstance(heard.message, FindNode | FindValue):
        return TooLarge(100_000)
    return None


@pytest.mark.parametrize(
    ("promising", "answering", "takes", "waits"),
    [
        ([2], [0, 1, 3, 4], 0.4, 0.4),  # the only holder
        ([2], [0, 1, 3, 4], 4.0, PROMISE_PATIENCE),  # perhaps a liar: all others have answered that they have nothing
        ([2, 3], [0, 1, 4], 4.0, 4.0),
        ([0], [1], 4.0, 4.0),  # one word against another
    ],
)
async def test_a_value_that_one_party_alone_promises_is_waited_for_half_a_second(
    autojump_clock: trio.testing.MockClock, promising: list[int], answering: list[int], takes: float, waits: float
) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, len(promising) + len(answering))
        value = bytes(100_000)

        async def stream(number: int, message: Message, to: Endpoint) -> bytes:
            await trio.sleep(takes)
            return CODEC.encode(number, Value(value=value), 0)

        line.streams = stream
        behaviours: dict[Peer, Behaviour] = {peers[number]: truthful for number in answering}
        behaviours |= {peers[number]: too_large for number in promising}
        seen: list[bytes | None] = []
        late: list[Message] = []

        def look(contact: Contact, answer: Answer[Message]) -> bool:
            assert isinstance(answer.message, Value)
            seen.append(answer.message.value)
            return answer.message.value is not None

        search = Lookup(
            lookups(parts),
            FindValue(Key(TARGET)),
            start=[peer.contact for peer in peers],
            on_answer=look,
            on_late_value=lambda contact, answer: late.append(answer.message),
        )
        result, took = await run(search, behaviours)
        assert took == pytest.approx(waits, abs=0.1)
        assert (value in seen) == (waits == takes)
        assert result.is_promised == (waits < takes) or value in seen
        await trio.sleep(takes)
        assert late == ([Value(value=value)] if waits < takes else [])


async def test_who_promises_a_stream_and_stalls_holds_up_no_search_for_nodes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_parts() as (parts, line):
        peers = neighbours(line, 8)

        async def stall(number: int, message: Message, to: Endpoint) -> bytes:
            await trio.sleep_forever()
            raise TransportError("never")

        line.streams = stall
        behaviours: dict[Peer, Behaviour] = dict.fromkeys(peers, truthful)
        behaviours[peers[0]] = too_large
        result, took = await run(lookup(parts, peers), behaviours)
        assert took == pytest.approx(FIRST_RTO, abs=0.1)
        assert len(result.contacts) == 7
