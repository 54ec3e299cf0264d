"""What the documents show for containers is what happens, beside the deployment of these tests.

Rules of this file: the commands are those of the documents but for the number of replicas. Compose finds the running
deployment by its project's name, so that starting it once more changes nothing.
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
from tests.docs.shell import Ports, Shell
from tools.cluster.engine import compose_command

WITHIN = 120.0  # seconds, and so many more for each replica
WITHIN_PER_NODE = 6.0


@pytest.mark.parametrize("block", [block for block in blocks() if block.way is Way.CONTAINERS], ids=str)
def test_the_commands_of_the_documents_do_what_is_shown(block: Block, network: Network, tmp_path: Path) -> None:
    deployment = network.deployment
    home = Shell.new(tmp_path, Ports(int(deployment.published().rpartition(":")[2])))
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
    here = attrs.evolve(block, text=re.sub(r"(?<=node=)\d+", str(deployment.nodes - 1), block.text))
    before = [replica.container for replica in deployment.replicas()]
    for said in shell.run(here, within=WITHIN + WITHIN_PER_NODE * deployment.nodes):
        place = f"{block.document}:{said.command.line}: {said.command.text}"
        assert agrees(said.command.says, said.output), f"{place}\nshown:\n{said.command.says}\nsaid:\n{said.output}"
        assert said.code == 0, f"{place}\n{said.output}"
    assert [replica.container for replica in deployment.replicas()] == before
