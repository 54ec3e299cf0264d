"""What the documents show for containers is what happens, beside the deployment of these tests.

Rules of this file: the commands are those of the documents but for the number of replicas and the port that bootstrap
publishes. Compose finds the running deployment by its project's name, so that starting it once more changes nothing.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import attrs
import pytest

from tests.cluster.network import Network
from tests.docs.documents import ROOT, Block, Way, agrees, blocks
from tests.docs.shell import FIRST_PORT, Ports, Shell
from tools.cluster.engine import compose_command

PUBLISHED_PORT = 8090  # in the documents: `make run` has 8080 to 8089
WITHIN = 120.0  # seconds, and so many more for each replica
WITHIN_PER_NODE = 6.0


@pytest.mark.parametrize("block", [block for block in blocks() if block.way is Way.CONTAINERS], ids=str)
def test_the_commands_of_the_documents_do_what_is_shown(block: Block, network: Network, tmp_path: Path) -> None:
    deployment = network.deployment
    published = int(deployment.published().rpartition(":")[2])
    home = Shell.new(tmp_path, Ports(published - (PUBLISHED_PORT - FIRST_PORT)))
    environment = {
        "COMPOSE_PROJECT_NAME": deployment.project,
        "COMPOSE_HTTP_TIMEOUT": "300",
        "CAMOMILE_IMAGE": os.environ["CAMOMILE_TESTS_IMAGE"],
        "CAMOMILE_PUBLISH": "127.0.0.1:",
    }
    compose = shlex.join(compose_command())
    shell = attrs.evolve(
        home,
        environment={**home.environment, **environment},
        directory=ROOT,
        # Where there is no plugin of the engine, the older command stands in for it.
        prelude=(
            f'docker() {{ if [ "$1" = compose ]; then shift; command {compose} "$@"; else command docker "$@"; fi; }}',
        ),
    )
    text = re.sub(r"(?<=node=)\d+", str(deployment.nodes - 1), block.text)
    # Another value than the deployment was started with would make its containers anew.
    here = attrs.evolve(block, text=re.sub(r"(?<=CAMOMILE_PUBLISH=)\S+", environment["CAMOMILE_PUBLISH"], text))
    before = [replica.container for replica in deployment.replicas()]
    for said in shell.run(here, within=WITHIN + WITHIN_PER_NODE * deployment.nodes):
        place = f"{block.document}:{said.command.line}: {said.command.text}"
        assert agrees(said.command.says, said.output), f"{place}\nshown:\n{said.command.says}\nsaid:\n{said.output}"
        assert said.code == 0, f"{place}\n{said.output}"
    assert [replica.container for replica in deployment.replicas()] == before
