"""The network of a deployment is closed: its key is made once, replicas that come later have it, a host without it is
out, and it is changed while values are put.

Rules of this file: it has a small deployment of its own, whose key it changes. The last test adds replicas to it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs
import pytest

from tests.cluster.network import Network, ask_inside, wait_until
from tools.cluster.client import NetworkClient, Request, in_container, inside
from tools.cluster.deployment import Deployment, Replica
from tools.cluster.engine import docker

NODES = 3
READY_WITHIN = 90.0
RENEWED_WITHIN = 90.0  # seconds from the last reload; a node takes a minute at most
REFUSED_FOR = 15.0  # seconds for which a host without the key tries to join
KEY_FILE = "/network-key/network.key"
RAW = {"Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def own(deployment: Deployment) -> Iterator[Network]:
    """A deployment as `compose up` starts it, ready."""
    image = os.environ["CAMOMILE_TESTS_IMAGE"]
    new = Deployment.new(NODES)
    try:
        new.up(image)
        with NetworkClient(in_container(image=image, network=new.network, name=new.client_name)) as client:
            network = Network(new, client)
            network.wait_until_ready(within=READY_WITHIN)
            yield network
    finally:
        new.remove()


def keys_of(network: Network) -> dict[str, list[tuple[str, int]]]:
    """The network keys that each replica accepts, the first one first: fingerprint and sessions."""
    said = {replica.name: network.node(replica) for replica in network.replicas()}
    assert all(node["closed"] for node in said.values())
    return {
        name: [(key["fingerprint"], key["sessions"]) for key in node["network_keys"]] for name, node in said.items()
    }


def fingerprints(network: Network) -> list[list[str]]:
    """The different lists of keys that replicas have; one list where all agree."""
    lists = [[fingerprint for fingerprint, _ in keys] for keys in keys_of(network).values()]
    return [each for number, each in enumerate(lists) if each not in lists[:number]]


def test_all_replicas_share_a_key_that_only_their_user_reads_and_none_of_them_writes(own: Network) -> None:
    ((key,),) = fingerprints(own)
    assert len(key) == 8
    for replica in own.replicas():
        look = f"stat -c '%a %U' {KEY_FILE}; touch {KEY_FILE} 2>/dev/null || echo read-only"
        said = docker("exec", replica.container, "sh", "-c", look)
        assert said.split() == ["600", "camomile", "read-only"], replica.name


def test_a_container_on_the_same_network_without_the_key_does_not_join(own: Network) -> None:
    members = {own.node(replica)["id"] for replica in own.replicas()}
    words = ["node", "--ephemeral", "--join", "bootstrap:8118", "--join", "node:8118"]
    image, network = os.environ["CAMOMILE_TESTS_IMAGE"], own.deployment.network
    stranger = docker("run", "--detach", "--init", "--network", network, image, *words).strip()
    try:
        about = json.loads(docker("container", "inspect", stranger))[0]
        address = about["NetworkSettings"]["Networks"][network]["IPAddress"]
        ready = Request(address, "GET", "/-/ready")
        assert wait_until(lambda: b"network key" in own.client.ask([ready])[0].body, within=READY_WITHIN)
        assert not wait_until(lambda: own.client.ask([ready])[0].status == 200, within=REFUSED_FOR)
        (put,) = own.client.ask([Request(address, "POST", "/", b"a stranger's", RAW)])
        assert put.status == 503
        for replica in own.replicas():
            (peers,) = ask_inside(replica, ("GET", "/-/peers", b""))
            assert {peer["id"] for peer in json.loads(peers.body)["peers"]} <= members
    finally:
        docker("container", "rm", "--force", "--volumes", stranger)


@contextmanager
def putting_at(replica: Replica) -> Iterator[Callable[[], list[int]]]:
    """Puts one value after the other for the block, from within the replica's container; gives back the statuses."""
    statuses: list[int] = []
    ended = threading.Event()

    def put() -> None:
        with NetworkClient(inside(replica.container)) as client:
            while not ended.is_set():
                value = f"{replica.name} {len(statuses)}".encode()
                statuses.append(client.ask([Request("127.0.0.1", "POST", "/", value, RAW)])[0].status)

    thread = threading.Thread(target=put)
    thread.start()
    try:
        yield lambda: list(statuses)
    finally:
        ended.set()
        thread.join()


def test_the_key_is_changed_without_a_failed_put(own: Network) -> None:
    image = os.environ["CAMOMILE_TESTS_IMAGE"]

    def bring(step: str) -> None:
        own.deployment.change_network_key(image, step)
        for replica in own.replicas():
            docker("exec", replica.container, "camomile", "reload")

    ((old,),) = fingerprints(own)
    with putting_at(own.replicas()[0]) as first, putting_at(own.replicas()[-1]) as last:
        bring("add")
        ((still, new),) = fingerprints(own)
        assert still == old != new
        bring("promote")
        assert fingerprints(own) == [[new, old]]
        assert wait_until(lambda: all(keys[1] == (old, 0) for keys in keys_of(own).values()), within=RENEWED_WITHIN), (
            keys_of(own)
        )
        bring("remove")
        assert fingerprints(own) == [[new]]
        done = [len(first()), len(last())]
        assert wait_until(lambda: len(first()) > done[0] + 20 and len(last()) > done[1] + 20, within=READY_WITHIN)
        assert set(first()) == set(last()) == {202}


def test_replicas_that_are_added_later_or_made_anew_have_the_same_key(own: Network) -> None:
    before = fingerprints(own)
    image = os.environ["CAMOMILE_TESTS_IMAGE"]
    larger = attrs.evolve(own, deployment=attrs.evolve(own.deployment, nodes=NODES + 2))
    for anew in (False, True):
        larger.deployment.up(image, anew=anew)
        larger.wait_until_ready(within=READY_WITHIN)
        assert fingerprints(larger) == before
    key = larger.put(larger.replicas()[-1], b"put at one that came later")
    assert larger.missed([(one, key, b"put at one that came later") for one in larger.replicas()]) == []
