"""The deployment in the words of the tests: put, get and forget at replicas, and wait until something is so.

Rules of this file: it asserts that requests which must succeed do, and names the replica where one does not. Waiting is
in real time, since the replicas live in it, and always within a bound.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from tools.cluster.client import Answer, NetworkClient, Request, inside
from tools.cluster.deployment import Deployment, Replica

PAUSE_BETWEEN_LOOKS = 0.5  # seconds; the looking itself costs every replica something
# Seconds, where no cached copy is left: who was silent is told again after 4 and 8 more.
FORGOTTEN_WITHIN = 30.0
CACHE_LIFE = 60.0  # the default: how long a copy that was read may be served on
GONE = frozenset({404, 410})
RAW = {"Content-Type": "application/octet-stream"}


def wait_until(true: Callable[[], bool], *, within: float) -> bool:
    """Whether it came true within that many seconds."""
    deadline = time.monotonic() + within
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE_BETWEEN_LOOKS)
    return True


def ask_inside(replica: Replica, *requests: tuple[str, str, bytes]) -> list[Answer]:
    """What a replica answers to (method, path, body) from its own container: it may have no network."""
    with NetworkClient(inside(replica.container)) as client:
        return client.ask([Request("127.0.0.1", method, path, body, RAW) for method, path, body in requests])


@attrs.frozen
class Network:
    deployment: Deployment
    client: NetworkClient

    def replicas(self) -> list[Replica]:
        """Those that run and have an address, bootstrap first. Looked up anew: addresses change places on a restart."""
        return [one for one in self.deployment.replicas() if one.running and not one.paused and one.address]

    def again(self, replica: Replica) -> Replica:
        """The same replica as it is now."""
        return next(one for one in self.deployment.replicas() if one.container == replica.container)

    def put(self, replica: Replica, value: bytes) -> str:
        """The key."""
        return self.put_many([(replica, value)])[0]

    def put_many(self, wanted: Sequence[tuple[Replica, bytes]]) -> list[str]:
        """The keys, in the same order. Every put must be acknowledged."""
        requests = [Request(replica.address, "POST", "/", value, RAW) for replica, value in wanted]
        answers = self.client.ask(requests)
        refused = [(one[0].name, answer) for one, answer in zip(wanted, answers, strict=True) if answer.status != 202]
        assert refused == []
        return [answer.headers["location"].removeprefix("/") for answer in answers]

    def get_many(self, wanted: Sequence[tuple[Replica, str]], *, timeout: float = 20.0) -> list[Answer]:
        requests = [Request(replica.address, "GET", f"/{key}") for replica, key in wanted]
        return self.client.ask(requests, timeout=timeout)

    def missed(self, wanted: Sequence[tuple[Replica, str, bytes]], *, timeout: float = 20.0) -> list[str]:
        """What was not got as it should be; empty when each of these replicas gave each of these values."""
        answers = self.get_many([(replica, key) for replica, key, _ in wanted], timeout=timeout)
        return [
            f"{replica.name} answered {answer.status} {answer.failure}{answer.body[:200]!r} for {key}"
            for (replica, key, value), answer in zip(wanted, answers, strict=True)
            if answer.status != 200 or answer.body != value
        ]

    def forget(self, replica: Replica, key: str) -> Answer:
        return self.client.ask([Request(replica.address, "DELETE", f"/{key}")])[0]

    def still_there(self, keys: Sequence[str], replicas: Sequence[Replica]) -> Mapping[str, int]:
        """How often a replica does not say that a key is gone, by its name and what it says; empty when all are."""
        pairs = [(replica, key) for key in keys for replica in replicas]
        answers = zip(pairs, self.get_many(pairs), strict=True)
        return Counter(
            f"{replica.name}: {answer.status} {answer.failure}{answer.body[:200]!r}"
            for (replica, _), answer in answers
            if answer.status not in GONE
        )

    def node(self, replica: Replica) -> Mapping[str, Any]:
        """What the replica says of itself."""
        answer = self.client.ask([Request(replica.address, "GET", "/-/node")])[0]
        assert answer.status == 200, f"{replica.name}: {answer}"
        said: Mapping[str, Any] = json.loads(answer.body)
        return said

    def not_ready(self, replicas: Sequence[Replica]) -> list[str]:
        answers = self.client.ask([Request(one.address, "GET", "/-/ready") for one in replicas], timeout=5.0)
        return [
            f"{replica.name}: {answer.status} {answer.failure}{answer.body[:200]!r}"
            for replica, answer in zip(replicas, answers, strict=True)
            if answer.status != 200
        ]

    def wait_until_ready(self, *, within: float) -> None:
        """All replicas of the deployment run and are ready, or an AssertionError says which are not."""

        def all_ready() -> bool:
            replicas = self.replicas()
            return len(replicas) == self.deployment.nodes and self.not_ready(replicas) == []

        if not wait_until(all_ready, within=within):
            replicas = self.replicas()
            assert len(replicas) == self.deployment.nodes
            assert self.not_ready(replicas) == []
