"""One deployment in containers for all tests here; `make test-cluster` starts it, runs them and takes it away.

Rules of this file: a test may harm the deployment as it likes, for the next one begins only when every replica runs, is
on the network and says that it is ready.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.network import Network
from tools.cluster.client import NetworkClient, in_container
from tools.cluster.deployment import Deployment

READY_WITHIN = 60.0
READY_WITHIN_PER_NODE = 2.0


@pytest.fixture(scope="session")
def deployment() -> Deployment:
    project = os.environ.get("CAMOMILE_TESTS_PROJECT")
    if project is None:
        pytest.skip("there is no deployment: run `make test-cluster`")
    return Deployment(project, int(os.environ["CAMOMILE_TESTS_NODES"]))


@pytest.fixture(scope="session")
def client(deployment: Deployment) -> Iterator[NetworkClient]:
    image = os.environ["CAMOMILE_TESTS_IMAGE"]
    python = in_container(image=image, network=deployment.network, name=deployment.client_name)
    with NetworkClient(python) as client:
        yield client


@pytest.fixture
def network(deployment: Deployment, client: NetworkClient) -> Network:
    """All replicas, running, reachable and ready."""
    for replica in deployment.replicas():
        if replica.paused:
            deployment.resume(replica)
        if not replica.running:
            deployment.start(replica)
        elif not replica.address:
            deployment.bring_back(replica)
    network = Network(deployment, client)
    network.wait_until_ready(within=READY_WITHIN + READY_WITHIN_PER_NODE * deployment.nodes)
    return network
