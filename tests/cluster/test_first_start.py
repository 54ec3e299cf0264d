"""A new deployment, as `compose up` starts it: nobody is ready before there are three, and then the first put has a
quorum of copies."""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs
import pytest

from tests.cluster.network import Network, ask_inside, wait_until
from tools.cluster.client import NetworkClient, in_container
from tools.cluster.deployment import Deployment

NODES = 3  # what deploy/compose.yaml makes, and what its CAMOMILE_EXPECT says
READY_WITHIN = 60.0
UNREADY_FOR = 20.0  # seconds: longer than `--first` waits
READY = ("GET", "/-/ready", b"")


@pytest.fixture
def small(deployment: Deployment) -> Iterator[Deployment]:
    """A deployment of its own, not started, which is taken away afterwards."""
    new = Deployment.new(NODES)
    try:
        yield new
    finally:
        new.remove()


def test_the_first_put_has_a_quorum_and_one_of_three_may_die(small: Deployment) -> None:
    image = os.environ["CAMOMILE_TESTS_IMAGE"]
    attrs.evolve(small, nodes=NODES - 1).up(image)
    bootstrap, replica = small.replicas()
    assert not wait_until(lambda: ask_inside(bootstrap, READY)[0].status == 200, within=UNREADY_FOR)
    for one in (bootstrap, replica):
        ready, put = ask_inside(one, READY, ("POST", "/", b"one of two"))
        assert (ready.status, put.status) == (503, 503)
        assert b"it has met 1 of the 2 other nodes that --expect 3 waits for" in ready.body
        assert ask_inside(one, ("GET", "/-/healthy", b""))[0].status == 200

    small.up(image, scaled=False)
    with NetworkClient(in_container(image=image, network=small.network, name=small.client_name)) as client:
        network = Network(small, client)
        network.wait_until_ready(within=READY_WITHIN)
        first = ask_inside(network.replicas()[0], ("POST", "/", b"the first put"))[0]
        assert first.status == 202
        assert int(first.headers["camomile-replicas"]) >= NODES // 2 + 1
        key = first.headers["location"].removeprefix("/")

        small.kill(network.replicas()[1])
        left = network.replicas()
        assert len(left) == NODES - 1
        assert network.missed([(one, key, b"the first put") for one in left]) == []
        later = network.put(left[-1], b"with two of three")
        assert network.missed([(one, later, b"with two of three") for one in left]) == []
        assert network.not_ready(left) == []
