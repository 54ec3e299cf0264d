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
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    FindValue,
    Message,
    NodeList,
    Store,
    StoreResult,
    StoreStatus,
    Value,
)
from camomile_trio.kademlia.records import RecordRow
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.links import LinkConditions
from tests.fixtures.cluster import (
    DEADLINE,
    FIRST_RTO,
    HEALTHY,
    KEY,
    SUITE,
    VALUE,
    config_with,
    open_cluster,
    timed_get,
    timed_put,
)
from tests.fixtures.counts import count
from tests.fixtures.peers import Behaviour, accepting, network_peer, only_pongs
from tests.fixtures.records import EPOCH, NETWORK
from tests.fixtures.speaker import Heard

# Silent and slow ---------------------------------------------------------------------------------------------------


async def test_a_silent_peer_costs_a_timeout_once_and_nothing_after(virtual_clock: VirtualClock) -> None:
    async with open_cluster(12, config=config_with(cache_life=0)) as cluster:
        silent = network_peer("silent", 1, near=KEY, behave=only_pongs)
        await silent.join(cluster)
        assert all(silent.contact in node.contacts() for node in cluster.nodes)
        first = await timed_put(cluster[3])
        assert first <= FIRST_RTO + HEALTHY
        await trio.sleep(DEADLINE)  # from now on it is known to have missed a deadline
        for number in range(5):
            assert await timed_put(cluster[3], b"value %d" % number) <= HEALTHY
        assert any(isinstance(heard.message, FindNode) for heard in silent.received)


async def test_a_slow_peer_costs_a_timeout_and_its_late_answer_counts(virtual_clock: VirtualClock) -> None:
    async with open_cluster(12, config=config_with(cache_life=0)) as cluster:
        slow = network_peer("slow", 1, near=KEY)
        await slow.join(cluster)
        slow.delay = 0.6
        took = await timed_put(cluster[3])
        assert took <= FIRST_RTO + HEALTHY
        await trio.sleep(10)
        # It was late, and not dead: nobody holds anything against it, and by and by it is waited for.
        (known,) = [peer for peer in cluster[3].peers() if peer.id == slow.id]
        assert known.answers
        for number in range(10):
            await timed_put(cluster[3], b"value %d" % number)
            await trio.sleep(3)
        before = count(cluster[3], "rpc_retransmissions_total")
        await timed_put(cluster[3], b"one more value")
        await trio.sleep(3)
        assert count(cluster[3], "rpc_retransmissions_total") == before


async def test_somebody_slow_is_better_than_nobody(virtual_clock: VirtualClock) -> None:
    async with open_cluster(2, config=config_with(cache_life=0)) as cluster:
        await cluster[1].put(VALUE)
        cluster.network.set_conditions(cluster.machines[1].endpoint, None, LinkConditions(latency=0.8))
        assert await timed_put(cluster[0], b"another value") == pytest.approx(0.8, abs=0.1)


# Dead --------------------------------------------------------------------------------------------------------------


async def test_one_dead_peer_costs_a_lookup_one_timeout_at_most(virtual_clock: VirtualClock) -> None:
    async with open_cluster(12, config=config_with(cache_life=0)) as cluster:
        await cluster[1].put(VALUE)
        await trio.sleep(5)
        dead = min(cluster.machines[2:], key=lambda each: distance(each.node.id, KEY))
        await cluster.lose(dead)
        for node in cluster.nodes[1:]:
            assert await timed_put(node, b"from " + node.id) <= FIRST_RTO + HEALTHY
            assert await timed_get(node) <= FIRST_RTO + HEALTHY
        await trio.sleep(60)
        assert all(dead.node.id not in each.table for each in cluster.machines[1:])


async def test_a_node_tells_which_of_its_peers_answers(virtual_clock: VirtualClock) -> None:
    async with open_cluster(4) as cluster:
        asking, dead = cluster[1], cluster.machines[2]
        await asking.put(VALUE)
        await trio.sleep(5)
        before = {peer.id: peer for peer in asking.peers()}
        assert set(before) == {node.id for node in cluster.nodes} - {asking.id}
        assert {peer.endpoint for peer in before.values()} == {
            each.endpoint for each in cluster.machines if each.node is not asking
        }
        for peer in before.values():
            assert peer.answers
            assert NodeId.of(peer.public) == peer.id
            assert 0 < (peer.round_trip or 0) < 1
            assert 0 < (peer.last_seen or 0) <= trio.current_time()
        # While nobody answers it may be the node itself that is cut off: nobody leaves its table.
        for machine in cluster.machines[:]:
            if machine.node is not asking:
                await cluster.lose(machine)
        with pytest.raises(Unreachable):
            await asking.ping(dead.node.id)
        after = {peer.id: peer for peer in asking.peers()}
        assert not after[dead.node.id].answers
        assert after[dead.node.id].last_seen == pytest.approx((before[dead.node.id].last_seen or 0) + DEADLINE)
        assert f"NodeId({dead.node.id.hex()})" in repr(after[dead.node.id])


async def test_many_dead_cost_their_timeouts_side_by_side(virtual_clock: VirtualClock) -> None:
    """Three are asked at a time, so a third of their timeouts, and of the twenty closest only."""
    async with open_cluster(30, config=config_with(cache_life=0)) as cluster:
        await cluster[1].put(VALUE)
        for machine in cluster.machines[15:]:
            await machine.crash()
        put, get = await timed_put(cluster[2], b"another value"), await timed_get(cluster[3])
        assert put <= 15 / 3 * FIRST_RTO + HEALTHY
        assert get <= 15 / 3 * FIRST_RTO + HEALTHY


async def test_who_puts_while_peers_die_waits_no_longer_for_each_put_that_met_them(
    virtual_clock: VirtualClock,
) -> None:
    """Until the first requests to the dead have failed, every put finds them silent anew: it waits for the STOREs that
    it sends at once, then for three FIND_NODEs at a time."""
    async with open_cluster(30, config=config_with(cache_life=0)) as cluster:
        for number in range(20):
            await cluster[0].put(b"before %d" % number)
        # Round trips of 2 ms were measured, so no timeout is longer than this.
        rto = 0.1
        for machine in cluster.machines[1:10]:
            await machine.crash()
        died = trio.current_time()
        took: list[float] = []
        while trio.current_time() < died + DEADLINE:
            took.append(await timed_put(cluster[0], b"value %d" % len(took)))
            await trio.sleep(0.02)
        assert len(took) > 20
        assert max(took) <= (1 + 9 / 3) * rto + HEALTHY


async def test_all_are_dead_but_one(virtual_clock: VirtualClock) -> None:
    async with open_cluster(15, config=config_with(cache_life=0)) as cluster:
        await cluster[1].put(VALUE)
        await trio.sleep(1)
        for machine in cluster.machines[2:]:
            await machine.crash()
        assert await timed_put(cluster[0], b"another value") <= 13 * FIRST_RTO
        assert (await cluster[1].get(Key.of(b"another value"))).value == b"another value"
        assert (await cluster[0].get(KEY)).value == VALUE


async def test_everybody_is_dead(virtual_clock: VirtualClock) -> None:
    async with open_cluster(8, config=config_with(cache_life=0)) as cluster:
        survivor = cluster[3]
        await survivor.put(VALUE)
        for machine in cluster.machines:
            if machine.node is not survivor:
                await machine.crash()
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
            assert trio.current_time() - began <= cluster.config.requests.operation_deadline
        assert count(survivor, "operations_under_way") == 0
        assert len(survivor.contacts()) == 7


# Lying -------------------------------------------------------------------------------------------------------------


def inventing(count: int) -> Behaviour:
    """Names nodes that do not exist, each time others; of many the closest to what is looked for."""
    rng = random.Random(5)

    def invented() -> Contact:
        endpoint = Endpoint.of(bytes((10, 200)) + rng.randbytes(2), 8118)
        return Contact.of(SUITE.public(rng.randbytes(32)), endpoint)

    def name(target: bytes) -> tuple[Contact, ...]:
        many = (invented() for _ in range(20 * count))
        return tuple(sorted(many, key=lambda each: distance(each.id, target))[:count])

    def behave(heard: Heard) -> Message | None:
        match heard.message:
            case FindNode(target):
                return NodeList(name(target))
            case FindValue(key):
                return Value(contacts=name(key))
            case Store(key=None, value=bytes() as value, names_contacts=True):
                return StoreResult(StoreStatus.STORED, Durability.MEMORY, contacts=name(Key.of(value)))
        return accepting(heard)

    return behave


async def test_inventions_of_a_liar_cost_their_timeouts_and_no_more(virtual_clock: VirtualClock) -> None:
    """Of 30 that it names, the k closest are tried, three at a time."""
    async with open_cluster(12, config=config_with(cache_life=0)) as cluster:
        await cluster[1].put(VALUE)
        liar = network_peer("liar", 1, near=KEY, behave=inventing(30))
        await liar.join(cluster)
        put, get = await timed_put(cluster[3], b"another value"), await timed_get(cluster[4])
        assert FIRST_RTO <= put <= 7 * FIRST_RTO + HEALTHY
        assert get <= 7 * FIRST_RTO + HEALTHY
        assert liar.contact in cluster[3].contacts()
        # Nobody that it named is in anybody's table, or named on.
        for node in cluster.nodes:
            assert {contact.id for contact in node.contacts()} <= {liar.id, *(each.id for each in cluster.nodes)}


async def test_sybils_of_a_liar_do_not_hide_a_value(virtual_clock: VirtualClock) -> None:
    """Nine ids, all closest to the key, that know only each other, acknowledge everything and keep nothing."""
    async with open_cluster(12, config=config_with(cache_life=0)) as cluster:
        sybils = [network_peer(f"sybil {number}", number, near=KEY) for number in range(1, 10)]
        named = tuple(each.contact for each in sybils)

        def conspire(heard: Heard) -> Message | None:
            match heard.message:
                case FindNode():
                    return NodeList(named)
                case FindValue():
                    return Value(contacts=named)
            return accepting(heard)

        for sybil in sybils:
            sybil.behave = conspire
            await sybil.join(cluster)
        await timed_put(cluster[3])
        await trio.sleep(3)
        for node in cluster.nodes:
            assert (await node.get(KEY)).value == VALUE
        with pytest.raises(NotFound):
            await cluster[2].get(Key.of(b"nobody put this"))


def serving(value: bytes, *rows: RecordRow) -> Behaviour:
    def behave(heard: Heard) -> Message | None:
        if isinstance(heard.message, FindValue):
            return Value(value=value, records=rows)
        return accepting(heard)

    return behave


@pytest.mark.parametrize("lie", ["wrong bytes", "forged signature", "an expired lease", "another network's lease"])
async def test_nobody_is_given_what_a_liar_serves(virtual_clock: VirtualClock, lie: str) -> None:
    """The liar is the closest of all to the key, and is asked first by everybody."""
    async with open_cluster(10, config=config_with(k=4, cache_life=0)) as cluster:
        key = cluster.publisher
        unsigned = leases.new_lease(KEY, key.public, seen=0, now=EPOCH, life_ms=3_600_000)
        row = sign_record(unsigned, key, NETWORK).row()
        old = leases.new_lease(KEY, key.public, seen=0, now=EPOCH - 7_200_000, life_ms=3_600_000)
        behaviours = {
            "wrong bytes": serving(VALUE + b"!", row),
            "forged signature": serving(VALUE, RecordRow(row[:-1] + bytes([row[-1] ^ 1]))),
            "an expired lease": serving(VALUE, sign_record(old, key, NETWORK).row()),
            "another network's lease": serving(VALUE, sign_record(unsigned, key, bytes(32)).row()),
        }
        liar = network_peer("liar", 1, near=KEY, behave=behaviours[lie])
        await liar.join(cluster)
        await cluster[1].put(VALUE)
        await trio.sleep(3)
        asked = 0
        for node in cluster.nodes:
            found = await node.get(KEY)
            assert found.value == VALUE
            assert found.live
            asked += found.origin != node.id
        assert asked
        assert any(isinstance(heard.message, FindValue) for heard in liar.received)
