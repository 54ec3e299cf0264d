"""The replicas of one deployment: starting them, finding them, harming them, and taking everything away.

Rules of this file: everything is found by the labels that Compose gives, so a second process (the tests) sees the same
deployment by its project's name, and nothing of another project is ever touched. It does not speak to replicas.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

import attrs

from tools.cluster.engine import COMPOSE_FILE, EngineError, compose_command, docker, run

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
NUMBER_LABEL = "com.docker.compose.container-number"
SERVICES = ("bootstrap", "node")
REMOVALS = 3  # an engine that was interrupted in the middle of a start may still make one more container
REMOVED_AT_ONCE = 5
GRACE = 30  # seconds between SIGTERM and SIGKILL


@attrs.frozen
class Replica:
    """One container, as it was when it was looked at. `address` is empty while it has none."""

    container: str
    service: str
    number: int
    address: str
    running: bool
    paused: bool
    exit_code: int
    restarts: int

    @property
    def name(self) -> str:
        return self.service if self.service == "bootstrap" else f"{self.service}-{self.number}"


@attrs.frozen
class Memory:
    """Of all replicas, in bytes, as the engine counts it."""

    total: float
    largest: float


@attrs.frozen
class Deployment:
    project: str
    nodes: int

    @classmethod
    def new(cls, nodes: int) -> Deployment:
        return cls(f"camomile-tests-{secrets.token_hex(3)}", nodes)

    @property
    def network(self) -> str:
        return f"{self.project}_default"

    @property
    def client_name(self) -> str:
        """Of the container that the tests speak from."""
        return f"{self.project}-client"

    def up(self, image: str, *, anew: bool = False, scaled: bool = True) -> None:
        """Starts bootstrap and `nodes` - 1 replicas, and ends what is more; EngineError unless every one then runs.

        `anew`: no container stays as it is, as after a change of the image. Not `scaled`: as many replicas as Compose
        makes by itself.
        """
        words = ["up", "--detach", "--no-build", *(["--scale", f"node={self.nodes - 1}"] if scaled else [])]
        self._compose(image, *words, *(["--force-recreate"] if anew else []))
        running = [replica for replica in self.replicas() if replica.running]
        if len(running) != self.nodes:
            raise EngineError(f"of {self.nodes} replicas {len(running)} run:\n{self.logs(lines=5)[-4000:]}")

    def down(self, image: str) -> None:
        """As a user takes it away who wants nothing of it to be left. `remove` looks after what Compose leaves."""
        self._compose(image, "down", "--volumes")

    def change_network_key(self, image: str, step: str) -> None:
        """`camomile key network STEP` for the file that all nodes share; they read it when they are told to reload."""
        words = ("key", "network", step, "/network-key/network.key")
        self._compose(image, "run", "--rm", "network-key", *words)

    def _compose(self, image: str, *words: str) -> None:
        command = [*compose_command(), "-p", self.project, "-f", str(COMPOSE_FILE), *words]
        environment = {
            "CAMOMILE_IMAGE": image,
            "CAMOMILE_PUBLISH": "127.0.0.1:",  # any free port
            "COMPOSE_HTTP_TIMEOUT": "300",  # an engine that starts fifty containers is slow to answer
        }
        run(command, within=120 + 6 * self.nodes, env=environment)

    def volumes(self) -> set[str]:
        """The volumes that its containers have mounted, with a name or without."""
        containers = self._of_kind("container")
        about = json.loads(docker("container", "inspect", *containers)) if containers else []
        return {mount["Name"] for one in about for mount in one["Mounts"] if mount["Type"] == "volume"}

    def replicas(self) -> list[Replica]:
        """All nodes, bootstrap first, whatever their state; not the container that makes the network key."""
        containers = self._of_kind("container")
        if not containers:
            return []
        seen = [self._replica(about) for about in json.loads(docker("container", "inspect", *containers))]
        nodes = [replica for replica in seen if replica.service in SERVICES]
        return sorted(nodes, key=lambda replica: (replica.service != "bootstrap", replica.number))

    def kill(self, *replicas: Replica) -> None:
        """SIGKILL to all of them at once."""
        docker("kill", *(replica.container for replica in replicas))

    def start(self, *replicas: Replica) -> None:
        docker("start", *(replica.container for replica in replicas), within=120)

    def stop(self, replica: Replica) -> tuple[int, float]:
        """SIGTERM, and SIGKILL after `GRACE`; the exit code, and how many seconds it took."""
        began = time.monotonic()
        docker("stop", "--time", str(GRACE), replica.container, within=GRACE + 30)
        took = time.monotonic() - began
        return next(one.exit_code for one in self.replicas() if one.container == replica.container), took

    def pause(self, replica: Replica) -> None:
        docker("pause", replica.container)

    def resume(self, replica: Replica) -> None:
        docker("unpause", replica.container)

    def cut_off(self, replica: Replica) -> None:
        """It may run, or be about to."""
        docker("network", "disconnect", self.network, replica.container)

    def bring_back(self, replica: Replica) -> None:
        """On the network again, under its service's name: the engine forgets aliases with the connection."""
        docker("network", "connect", "--alias", replica.service, self.network, replica.container)

    def published(self) -> str:
        """HOST:PORT on this machine where bootstrap's HTTP is. It may change when bootstrap starts again."""
        bootstrap = self.replicas()[0]
        return docker("port", bootstrap.container, "8080/tcp").splitlines()[0].strip()

    def memory(self) -> Memory:
        """By the engine's own count, which includes what the kernel caches for a container's files."""
        running = [replica.container for replica in self.replicas() if replica.running]
        said = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", *running, within=180)
        used = [_bytes(line.partition("/")[0].strip()) for line in said.splitlines() if line.strip()]
        return Memory(total=sum(used), largest=max(used, default=0.0))

    def logs(self, *, lines: int) -> str:
        """The last `lines` lines of every replica."""
        parts = []
        for replica in self.replicas():
            said = run(["sh", "-c", f"docker logs --tail {lines} {replica.container} 2>&1"], within=60)
            parts.append(f"--- {replica.name} (running: {replica.running}, exit code: {replica.exit_code})\n{said}")
        return "\n".join(parts)

    def remove(self) -> None:
        """Takes away the containers, their volumes and the network; EngineError if anything is left."""
        left, troubles = [self.project], list[str]()
        for _ in range(REMOVALS):
            troubles = list(self._remove_what_is_there())
            left = [name for kind in ("container", "network", "volume") for name in self._of_kind(kind)]
            if not left:
                return
        raise EngineError("\n".join([f"not removed: {' '.join(left)}", *troubles]))

    def _remove_what_is_there(self) -> Iterator[str]:
        """Goes on after a failure, and gives back what failed."""
        replicas = self.replicas()
        commands = [["unpause", one.container] for one in replicas if one.paused]  # a paused one cannot even be killed
        if running := [one.container for one in replicas if one.running]:
            commands.append(["kill", *running])
        # A few at a time: Engine 20.10 can lose count of a network's endpoints when very many go at once, and then
        # keeps the network for ever.
        containers = [*self._client(), *self._of_kind("container")]
        for some in range(0, len(containers), REMOVED_AT_ONCE):
            commands.append(["container", "rm", "--force", "--volumes", *containers[some : some + REMOVED_AT_ONCE]])
        commands += [["network", "rm", name] for name in self._of_kind("network")]
        commands += [["volume", "rm", name] for name in self._of_kind("volume")]
        for command in commands:
            try:
                docker(*command, within=300)
            except EngineError as error:
                yield str(error)

    def _client(self) -> list[str]:
        return docker("container", "ls", "--all", "--quiet", "--filter", f"name=^/?{self.client_name}$").split()

    def _of_kind(self, kind: str) -> list[str]:
        everything = ["--all"] if kind == "container" else []
        return docker(kind, "ls", "--quiet", *everything, "--filter", f"label={PROJECT_LABEL}={self.project}").split()

    def _replica(self, about: dict[str, Any]) -> Replica:
        labels, state = about["Config"]["Labels"], about["State"]
        networks = about["NetworkSettings"]["Networks"]
        return Replica(
            container=about["Id"],
            service=labels[SERVICE_LABEL],
            number=int(labels[NUMBER_LABEL]),
            address=networks.get(self.network, {}).get("IPAddress", ""),
            running=state["Running"],
            paused=state["Paused"],
            exit_code=state["ExitCode"],
            restarts=about["RestartCount"],
        )


def _bytes(text: str) -> float:
    """The engine's `41.5MiB` as a number."""
    units = {"B": 1, "KiB": 2**10, "kB": 1e3, "MiB": 2**20, "MB": 1e6, "GiB": 2**30, "GB": 1e9}
    number = text.rstrip("BKMGkiT")
    return float(number) * units[text[len(number) :]]
