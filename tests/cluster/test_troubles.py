"""What replicas do to each other's values when they die, stop, hang, are cut off or come back."""

from __future__ import annotations

import ipaddress
import time

from camomile_trio.config import Kademlia
from tests.cluster.network import CACHE_LIFE, FORGOTTEN_WITHIN, Network, ask_inside, wait_until
from tools.cluster.deployment import Replica

STOPS_WITHIN = 10.0  # seconds from SIGTERM to the end
RETURNS_WITHIN = 60.0  # seconds until a replica that came back is ready
TOLD_WITHIN = 120.0  # seconds from then until it has heard of what it missed
VALUES = 60
UNREADY_WITHIN = 35.0  # seconds until one that reaches nobody says so: 30, and what the asking takes
FIRST_PATIENCE = 12.0  # seconds after which `--first` would let a node stand alone that never met another
READY = ("GET", "/-/ready", b"")


def put_everywhere(network: Network, word: str) -> list[tuple[str, bytes]]:
    """`VALUES` values put at all replicas in turn, as (key, value)."""
    replicas = network.replicas()
    values = [f"{word} {number}".encode() for number in range(VALUES)]
    keys = network.put_many([(replicas[number % len(replicas)], value) for number, value in enumerate(values)])
    return list(zip(keys, values, strict=True))


def got_at(replicas: list[Replica], values: list[tuple[str, bytes]]) -> list[tuple[Replica, str, bytes]]:
    """Each value to be got at one of the replicas, another one for the next value."""
    return [(replicas[number % len(replicas)], key, value) for number, (key, value) in enumerate(values)]


def is_ready(network: Network, replica: Replica) -> bool:
    now = network.again(replica)
    return now.running and bool(now.address) and network.not_ready([now]) == []


def test_three_replicas_killed_at_once_take_nothing_with_them(network: Network) -> None:
    values = put_everywhere(network, "before the three died")
    dead = network.replicas()[1:4]
    network.deployment.kill(*dead)
    alive = network.replicas()
    assert len(alive) == network.deployment.nodes - 3
    for first in range(3):
        assert network.missed(got_at(alive[first:] + alive[:first], values)) == []
    later = network.put(alive[-1], b"while three were dead")

    network.deployment.start(*dead)
    for replica in dead:
        assert wait_until(lambda one=replica: is_ready(network, one), within=RETURNS_WITHIN), replica.name  # type: ignore[misc]
    back = [network.again(replica) for replica in dead]
    assert network.missed([*got_at(back, values), *((one, later, b"while three were dead") for one in back)]) == []


def test_a_paused_replica_does_not_hold_up_the_others_and_goes_on_where_it_was(network: Network) -> None:
    values = put_everywhere(network, "before the pause")
    paused = network.replicas()[2]
    network.deployment.pause(paused)
    others = network.replicas()
    assert len(others) == network.deployment.nodes - 1
    assert network.missed(got_at(others, values), timeout=15) == []
    during = put_everywhere(network, "during the pause")
    assert network.missed(got_at(others[1:] + others[:1], during), timeout=15) == []

    network.deployment.resume(paused)
    assert wait_until(lambda: is_ready(network, paused), within=RETURNS_WITHIN)
    back = network.again(paused)
    wait_until(lambda: network.missed(got_at([back], during)) == [], within=RETURNS_WITHIN)
    assert network.missed(got_at([back], values + during)) == []


def test_a_replica_cut_off_from_the_network_finds_the_others_again(network: Network) -> None:
    values = put_everywhere(network, "before the cut")
    lonely = network.replicas()[3]
    network.deployment.cut_off(lonely)
    assert network.again(lonely).address == ""
    others = network.replicas()
    assert network.missed(got_at(others, values)) == []
    during = put_everywhere(network, "during the cut")

    network.deployment.bring_back(lonely)
    assert wait_until(lambda: is_ready(network, lonely), within=RETURNS_WITHIN)
    back = network.again(lonely)
    wait_until(lambda: network.missed(got_at([back], during)) == [], within=RETURNS_WITHIN)
    assert network.missed(got_at([back], values + during)) == []
    key = network.put(back, b"put by the one that was away")
    assert network.missed([(replica, key, b"put by the one that was away") for replica in network.replicas()]) == []


def test_a_replica_that_is_cut_off_says_so_within_half_a_minute(network: Network) -> None:
    lonely = network.replicas()[2]
    key = network.put(network.replicas()[1], b"put before the cut")
    network.deployment.cut_off(lonely)
    assert wait_until(lambda: ask_inside(lonely, READY)[0].status == 503, within=UNREADY_WITHIN)
    put, miss = ask_inside(lonely, ("POST", "/", b"one copy"), ("GET", f"/{key[::-1]}", b""))
    assert (put.status, miss.status) == (503, 503)
    assert b"--expect 1" in put.body
    assert b"--expect 1" in miss.body
    network.deployment.bring_back(lonely)
    assert wait_until(lambda: is_ready(network, lonely), within=RETURNS_WITHIN)


def test_bootstrap_that_comes_back_and_reaches_nobody_answers_nothing_of_its_own(network: Network) -> None:
    bootstrap, *others = network.replicas()
    network.deployment.stop(bootstrap)
    key = network.put(others[0], b"put while bootstrap was away")
    network.deployment.cut_off(bootstrap)
    network.deployment.start(bootstrap)
    assert wait_until(lambda: b"--expect 1" in ask_inside(bootstrap, READY)[0].body, within=RETURNS_WITHIN)
    time.sleep(FIRST_PATIENCE)
    ready, get, put = ask_inside(bootstrap, READY, ("GET", f"/{key}", b""), ("POST", "/", b"one copy"))
    assert (ready.status, get.status, put.status) == (503, 503, 503)
    assert b"--expect 1" in get.body
    network.deployment.bring_back(bootstrap)
    assert wait_until(lambda: is_ready(network, bootstrap), within=RETURNS_WITHIN)
    back = network.again(bootstrap)
    assert network.missed([(back, key, b"put while bootstrap was away")]) == []


def test_what_was_forgotten_while_a_third_was_cut_off_does_not_come_back_with_it(network: Network) -> None:
    values = put_everywhere(network, "before a third was cut off")
    kept, forgotten = values[: VALUES // 3], values[VALUES // 3 :]
    away = network.replicas()[-(network.deployment.nodes // 3) :]
    for replica in away:
        network.deployment.cut_off(replica)
    there = network.replicas()
    for number, (key, _) in enumerate(forgotten):
        assert network.forget(there[number % len(there)], key).status == 204

    for replica in away:
        network.deployment.bring_back(replica)
    network.wait_until_ready(within=RETURNS_WITHIN)
    keys = [key for key, _ in forgotten]
    everybody = network.replicas()
    # Whoever missed the forget is told when it is heard of again; until then only its own users may see the value.
    wait_until(lambda: network.still_there(keys, everybody) == {}, within=TOLD_WITHIN)
    time.sleep(CACHE_LIFE)
    assert network.still_there(keys, everybody) == {}
    assert network.missed(got_at(everybody, kept)) == []


def test_a_replica_told_to_stop_ends_in_order_and_its_values_stay(network: Network) -> None:
    leaver = network.replicas()[-1]
    values = [f"put at the one that leaves {number}".encode() for number in range(VALUES)]
    keys = network.put_many([(leaver, value) for value in values])
    exit_code, seconds = network.deployment.stop(leaver)
    assert exit_code == 0
    assert seconds < STOPS_WITHIN
    rest = network.replicas()
    assert leaver.container not in {replica.container for replica in rest}
    assert network.missed(got_at(rest, list(zip(keys, values, strict=True)))) == []


def test_bootstrap_restarted_is_the_same_node_and_the_network_does_without_it(network: Network) -> None:
    bootstrap = network.replicas()[0]
    before = network.node(bootstrap)
    values = put_everywhere(network, "before bootstrap's restart")
    exit_code, seconds = network.deployment.stop(bootstrap)
    assert exit_code == 0
    assert seconds < STOPS_WITHIN
    others = network.replicas()
    assert network.missed(got_at(others, values)) == []
    # One that starts now has to find the others by the name of all replicas.
    starter = others[1]
    assert network.deployment.stop(starter)[0] == 0
    network.deployment.start(starter)
    assert wait_until(lambda: is_ready(network, starter), within=RETURNS_WITHIN)

    network.deployment.start(bootstrap)
    assert wait_until(lambda: is_ready(network, bootstrap), within=RETURNS_WITHIN)
    back = network.again(bootstrap)
    after = network.node(back)
    assert (after["id"], after["publisher"]) == (before["id"], before["publisher"])
    assert after["contacts"] > 0
    assert network.missed(got_at([back], values)) == []
    assert network.forget(back, values[0][0]).status == 204


def test_replicas_that_change_places_are_found_where_they_are_now(network: Network) -> None:
    movers = sorted(network.replicas()[1:3], key=lambda replica: ipaddress.ip_address(replica.address))
    for replica in movers:
        network.deployment.stop(replica)
    # The engine gives out its lowest free address first, so each gets what was the other's.
    for replica in reversed(movers):
        network.deployment.start(replica)
    moved = [network.again(replica) for replica in movers]
    assert all(now.address != before.address for now, before in zip(moved, movers, strict=True))
    network.wait_until_ready(within=RETURNS_WITHIN)

    values = put_everywhere(network, "after two changed places")
    for replica in moved:
        assert network.missed(got_at([replica], values)) == []
    replicas = network.replicas()
    for number, (key, _) in enumerate(values):
        assert network.forget(replicas[number % len(replicas)], key).status == 204
    # Only the two that moved have read the values. Of up to k replicas each holds what it reads; of more, the two have
    # looked up what others hold, and may serve that for a while.
    caches = 0.0 if len(replicas) <= Kademlia().k else CACHE_LIFE
    keys = [key for key, _ in values]
    wait_until(lambda: network.still_there(keys, replicas) == {}, within=FORGOTTEN_WITHIN + caches)
    assert network.still_there(keys, replicas) == {}


def test_no_replica_has_ever_been_started_anew_by_the_engine(network: Network) -> None:
    """Last on purpose: a replica that crashed by itself would have been brought back unseen."""
    assert {replica.name: replica.restarts for replica in network.replicas() if replica.restarts} == {}
