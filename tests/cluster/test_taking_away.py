"""A deployment that is scaled, made anew and taken away: what stays meanwhile, and that nothing is left.

Rules of this file: it has a small deployment of its own, beside that of the other tests.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs
import pytest

from tools.cluster.deployment import Deployment
from tools.cluster.engine import docker

NODES = 4


@pytest.fixture
def image() -> str:
    name = os.environ.get("CAMOMILE_TESTS_IMAGE")
    if name is None:
        pytest.skip("there is no image: run `make test-cluster`")
    return name


@pytest.fixture
def own() -> Iterator[Deployment]:
    deployment = Deployment.new(NODES)
    try:
        yield deployment
    finally:
        deployment.remove()


def volumes() -> set[str]:
    return set(docker("volume", "ls", "--quiet").split())


def directories(deployment: Deployment) -> dict[str, str]:
    """The data directory of each replica beside bootstrap, by its container, once it has taken one."""
    look = 'until grep -lxF "$HOSTNAME" /data/*/replica; do sleep 0.1; done'
    replicas = [replica for replica in deployment.replicas() if replica.service == "node"]
    return {replica.container: docker("exec", replica.container, "sh", "-c", look).strip() for replica in replicas}


def test_after_down_with_volumes_nothing_of_a_deployment_that_was_scaled_and_made_anew_is_left(
    own: Deployment, image: str
) -> None:
    own.up(image)
    used = own.volumes()
    for scaled, anew in ((NODES - 2, False), (NODES - 1, True), (NODES, False)):
        attrs.evolve(own, nodes=scaled).up(image, anew=anew)
        used |= own.volumes()
    assert used
    assert used <= volumes()
    own.down(image)
    assert used & volumes() == set()
    assert own.replicas() == []


def test_each_replica_has_a_directory_of_its_own_and_the_same_one_after_a_restart(own: Deployment, image: str) -> None:
    own.up(image)
    before = directories(own)
    assert len(set(before.values())) == NODES - 1
    replicas = [replica for replica in own.replicas() if replica.service == "node"]
    own.kill(*replicas)
    own.start(*reversed(replicas))
    assert directories(own) == before


def test_replicas_that_are_made_anew_go_on_with_the_directories_of_those_before(own: Deployment, image: str) -> None:
    own.up(image)
    before = directories(own)
    own.up(image, anew=True)
    after = directories(own)
    assert before.keys() & after.keys() == set()
    assert set(after.values()) == set(before.values())
