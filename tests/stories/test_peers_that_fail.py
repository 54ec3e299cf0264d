"""What silent, slow, lying and dead peers cost the honest ones, in virtual time."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from camomile_trio.errors import NotFound, Unreachable
from camomile_trio.identity import sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId, distance
from camomile_trio.kademlia.messages import FindNode, FindValue, Message, NodeList, Packet, Value
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.simulation.links import LinkConditions
from tests.stories.measuring import DEADLINE, FIRST_RTO, HEALTHY, KEY, VALUE, rpc_of, timed_get, timed_put
from tests.stories.strangers import NETWORK, Behaviour, Stranger, a_stranger, only_pongs, truthful
from tests.stories.village import EPOCH, small, village

# Silent and slow ---------------------------------------------------------------------------------------------------


async def test_a_silent_peer_costs_a_timeout_once_and_nothing_after(autojump_clock: trio.testing.MockClock) -> None:
    async with village(12, config=small(cache_life=0)) as place:
        silent = a_stranger("silent", 1, near=KEY, behave=only_pongs)
        await silent.settle(place)
        assert all(silent.id in rpc_of(node).table for node in place.nodes)
        first = await timed_put(place[3])
        assert first <= FIRST_RTO + HEALTHY
        await trio.sleep(DEADLINE)  # from now on it is known to have missed a deadline
        for number in range(5):
            assert await timed_put(place[3], b"value %d" % number) <= HEALTHY
        assert any(isinstance(packet.message, FindNode) for packet in silent.received)


async def test_a_slow_peer_costs_a_timeout_and_its_late_answer_counts(autojump_clock: trio.testing.MockClock) -> None:
    async with village(12, config=small(cache_life=0)) as place:
        slow = a_stranger("slow", 1, near=KEY)
        await slow.settle(place)
        slow.delay = 0.6
        peer = rpc_of(place[3]).peers.get(slow.endpoint)
        assert peer.rto <= FIRST_RTO
        took = await timed_put(place[3])
        assert took <= FIRST_RTO + HEALTHY
        await trio.sleep(10)
        # It was late, and not dead: nobody holds anything against it, and by and by it is waited for.
        assert slow.id in rpc_of(place[3]).table
        assert not peer.is_suspect(trio.current_time())
        for number in range(10):
            await timed_put(place[3], b"value %d" % number)
            await trio.sleep(3)
        assert peer.rto > 0.6
        before = rpc_of(place[3]).statistics.retransmitted
        await timed_put(place[3], b"one more value")
        await trio.sleep(3)
        assert rpc_of(place[3]).statistics.retransmitted == before


async def test_somebody_slow_is_better_than_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with village(2, config=small(cache_life=0)) as place:
        await place[1].put(VALUE)
        place.network.set_conditions(place.inhabitants[1].endpoint, None, LinkConditions(latency=0.8))
        assert await timed_put(place[0], b"another value") == pytest.approx(2 * 0.8, abs=0.2)


# Dead --------------------------------------------------------------------------------------------------------------


async def test_one_dead_peer_costs_a_lookup_one_timeout_at_most(autojump_clock: trio.testing.MockClock) -> None:
    async with village(12, config=small(cache_life=0)) as place:
        await place[1].put(VALUE)
        await trio.sleep(5)
        dead = min(place.inhabitants[2:], key=lambda each: distance(each.node.id, KEY))
        await place.lose(dead)
        for node in place.nodes[1:]:
            rto = rpc_of(node).peers.get(dead.endpoint).rto
            assert rto <= FIRST_RTO
            assert await timed_put(node, b"from " + node.id) <= rto + HEALTHY
            assert await timed_get(node) <= rto + HEALTHY
        await trio.sleep(60)
        assert all(dead.node.id not in rpc_of(node).table for node in place.nodes[1:])


async def test_a_node_tells_which_of_its_peers_answers(autojump_clock: trio.testing.MockClock) -> None:
    async with village(4) as place:
        asking, dead = place[1], place.inhabitants[2]
        await asking.put(VALUE)
        await trio.sleep(5)
        before = {peer.id: peer for peer in asking.peers()}
        assert set(before) == {node.id for node in place.nodes} - {asking.id}
        assert {peer.endpoint for peer in before.values()} == {
            each.endpoint for each in place.inhabitants if each.node is not asking
        }
        for peer in before.values():
            assert peer.answers
            assert peer.version == 1
            assert 0 < (peer.round_trip or 0) < 1
            assert 0 < (peer.last_seen or 0) <= trio.current_time()
        # While nobody answers it may be the node itself that is cut off: nobody leaves its table.
        for inhabitant in place.inhabitants[:]:
            if inhabitant.node is not asking:
                await place.lose(inhabitant)
        with pytest.raises(Unreachable):
            await asking.ping(dead.node.id)
        after = {peer.id: peer for peer in asking.peers()}
        assert not after[dead.node.id].answers
        assert after[dead.node.id].last_seen == pytest.approx((before[dead.node.id].last_seen or 0) + DEADLINE)
        assert f"NodeId({dead.node.id.hex()})" in repr(after[dead.node.id])


async def test_many_dead_cost_their_timeouts_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    """Three are asked at a time, so a third of their timeouts, and of the twenty closest only."""
    async with village(30, config=small(cache_life=0)) as place:
        await place[1].put(VALUE)
        for inhabitant in place.inhabitants[15:]:
            await inhabitant.crash()
        put, get = await timed_put(place[2], b"another value"), await timed_get(place[3])
        assert put <= 15 / 3 * FIRST_RTO + HEALTHY
        assert get <= 15 / 3 * FIRST_RTO + HEALTHY


async def test_who_puts_while_peers_die_waits_no_longer_for_each_put_that_met_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Until the first requests to the dead have failed, every put finds them silent anew: it waits for the STOREs that
    it sends at once, then for three FIND_NODEs at a time."""
    async with village(30, config=small(cache_life=0)) as place:
        for number in range(20):
            await place[0].put(b"before %d" % number)
        rto = max(rpc_of(place[0]).peers.get(each.endpoint).rto for each in place.inhabitants[1:])
        assert rto < 0.1
        for inhabitant in place.inhabitants[1:10]:
            await inhabitant.crash()
        died = trio.current_time()
        took: list[float] = []
        while trio.current_time() < died + DEADLINE:
            took.append(await timed_put(place[0], b"value %d" % len(took)))
        assert len(took) > 20
        assert max(took) <= (1 + 9 / 3) * rto + HEALTHY


async def test_all_are_dead_but_one(autojump_clock: trio.testing.MockClock) -> None:
    async with village(15, config=small(cache_life=0)) as place:
        await place[1].put(VALUE)
        await trio.sleep(1)
        for inhabitant in place.inhabitants[2:]:
            await inhabitant.crash()
        assert await timed_put(place[0], b"another value") <= 13 * FIRST_RTO
        assert (await place[1].get(Key.of(b"another value"))).value == b"another value"
        assert (await place[0].get(KEY)).value == VALUE


async def test_everybody_is_dead(autojump_clock: trio.testing.MockClock) -> None:
    async with village(8, config=small(cache_life=0)) as place:
        survivor = place[3]
        await survivor.put(VALUE)
        for inhabitant in place.inhabitants:
            if inhabitant.node is not survivor:
                await inhabitant.crash()
        # It is a holder, so its own copy is served.
        assert (await survivor.get(KEY)).value == VALUE
        unknown = Key.of(b"unknown")
        for ask in (
            lambda: survivor.put(b"another value"),
            lambda: survivor.get(unknown),
            lambda: survivor.forget(unknown),
            lambda: survivor.forget(KEY),
        ):
            began = trio.current_time()
            with pytest.raises(Unreachable):
                await ask()
            assert trio.current_time() - began <= place.config.requests.operation_deadline
        assert survivor._operations.under_way == 0
        assert len(rpc_of(survivor).table) == 7


# Lying -------------------------------------------------------------------------------------------------------------


def inventing(count: int) -> Behaviour:
    """Names nodes that do not exist, each time others, closer to what is looked for than anybody."""
    rng = random.Random(5)

    def behave(stranger: Stranger, packet: Packet) -> Message | None:
        target = getattr(packet.message, "target", None) or getattr(packet.message, "key", None)
        if not isinstance(packet.message, FindNode | FindValue) or target is None:
            return truthful(stranger, packet)
        contacts = tuple(
            Contact(NodeId(target[:8] + rng.randbytes(24)), Endpoint.of(bytes((10, 200)) + rng.randbytes(2), 8118))
            for _ in range(count)
        )
        return NodeList(contacts) if isinstance(packet.message, FindNode) else Value(contacts=contacts)

    return behave


async def test_inventions_of_a_liar_cost_their_timeouts_and_no_more(autojump_clock: trio.testing.MockClock) -> None:
    """Of 100 that it names, the k closest are tried, three at a time."""
    async with village(12, config=small(cache_life=0)) as place:
        await place[1].put(VALUE)
        liar = a_stranger("liar", 1, near=KEY, behave=inventing(100))
        await liar.settle(place)
        put, get = await timed_put(place[3], b"another value"), await timed_get(place[4])
        assert FIRST_RTO <= put <= 7 * FIRST_RTO + HEALTHY
        assert get <= 7 * FIRST_RTO + HEALTHY
        assert liar.id in rpc_of(place[3]).table
        # Nobody that it named is in anybody's table, or named on.
        for node in place.nodes:
            assert {contact.id for contact in node.contacts()} <= {liar.id, *(each.id for each in place.nodes)}


async def test_sybils_of_a_liar_do_not_hide_a_value(autojump_clock: trio.testing.MockClock) -> None:
    """Nine ids, all closest to the key, that know only each other, acknowledge everything and keep nothing."""
    async with village(12, config=small(cache_life=0)) as place:
        sybils = [a_stranger(f"sybil {number}", number, near=KEY) for number in range(1, 10)]
        named = tuple(each.contact for each in sybils)

        def conspire(stranger: Stranger, packet: Packet) -> Message | None:
            match packet.message:
                case FindNode():
                    return NodeList(named, b"token")
                case FindValue():
                    return Value(contacts=named, token=b"token")
            return truthful(stranger, packet)

        for sybil in sybils:
            sybil.behave = conspire
            await sybil.settle(place)
        await timed_put(place[3])
        await trio.sleep(3)
        for node in place.nodes:
            assert (await node.get(KEY)).value == VALUE
        with pytest.raises(NotFound):
            await place[2].get(Key.of(b"nobody put this"))


def serving(value: bytes, *rows: RecordRow) -> Behaviour:
    def behave(stranger: Stranger, packet: Packet) -> Message | None:
        if isinstance(packet.message, FindValue):
            return Value(value=value, records=rows)
        return truthful(stranger, packet)

    return behave


@pytest.mark.parametrize("lie", ["wrong bytes", "forged signature", "an expired lease", "another network's lease"])
async def test_nobody_is_given_what_a_liar_serves(autojump_clock: trio.testing.MockClock, lie: str) -> None:
    """The liar is the closest of all to the key, and is asked first by everybody."""
    async with village(10, config=small(k=4, cache_life=0)) as place:
        key = place.publisher
        unsigned = leases.new_lease(KEY, key.public, seen=0, now=EPOCH, life_ms=3_600_000)
        row = sign_record(unsigned, key, NETWORK).row()
        old = leases.new_lease(KEY, key.public, seen=0, now=EPOCH - 7_200_000, life_ms=3_600_000)
        behaviours = {
            "wrong bytes": serving(VALUE + b"!", row),
            "forged signature": serving(VALUE, RecordRow(row[:-1] + bytes([row[-1] ^ 1]))),
            "an expired lease": serving(VALUE, sign_record(old, key, NETWORK).row()),
            "another network's lease": serving(VALUE, sign_record(unsigned, key, bytes(32)).row()),
        }
        liar = a_stranger("liar", 1, near=KEY, behave=behaviours[lie])
        await liar.settle(place)
        await place[1].put(VALUE)
        await trio.sleep(3)
        asked = 0
        for node in place.nodes:
            found = await node.get(KEY)
            assert found.value == VALUE
            assert found.live
            asked += found.origin != node.id
        assert asked
        assert any(isinstance(packet.message, FindValue) for packet in liar.received)
