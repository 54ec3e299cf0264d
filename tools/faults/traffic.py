"""Reads and writes that go on while a story does its harm.

Rules of this file: one thread, with a client of its own, a few requests at a time. A member that is left alone gets no
request, as behind a balancer that drains it; `leave_alone` returns when none is under way at it. What was acknowledged
is remembered, and so is every request that failed.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tools.cluster.client import NetworkClient, Request
from tools.cluster.engine import EngineError
from tools.faults.network import RAW, Member, key_of, reason
from tools.faults.truth import value_of
from tools.hosts.command import HostsError

AT_ONCE = 4  # of each kind
BATCH_WITHIN = 60.0


class Traffic:
    """A context manager: requests are made inside its block. To be looked at when it has ended."""

    def __init__(self, word: str, members: Sequence[Member], seed: int) -> None:
        self._word = word
        self._members = list(members)
        self._random = random.Random(seed)
        self._changed = threading.Condition()
        self._is_asking = False
        self._batch = 0
        self._ends = False
        self._thread = threading.Thread(target=self._run, name="traffic")
        self.values: dict[str, bytes] = {}
        self.failed: list[str] = []
        self.reads = 0
        self.worst_read = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._ends = True
        self._thread.join(BATCH_WITHIN)
        if self._thread.is_alive():
            raise HostsError("the traffic does not end")

    def leave_alone(self, member: Member) -> None:
        with self._changed:
            self._members.remove(member)
            batch = self._batch
            # The next batch begins at once, but without this member.
            if not self._changed.wait_for(lambda: not self._is_asking or self._batch != batch, BATCH_WITHIN):
                raise HostsError("a request does not end")

    def use_again(self, member: Member) -> None:
        with self._changed:
            self._members.append(member)

    def _run(self) -> None:
        try:
            self._ask_until_the_end()
        except EngineError as error:
            self.failed.append(str(error))
            with self._changed:
                self._is_asking = False
                self._changed.notify_all()

    def _ask_until_the_end(self) -> None:
        made = 0
        with NetworkClient([sys.executable]) as client:
            while True:
                with self._changed:
                    if self._ends:
                        return
                    self._is_asking = True
                    self._batch += 1
                    writers = self._random.choices(self._members, k=AT_ONCE)
                    readers = self._random.choices(self._members, k=AT_ONCE)
                self._ask(client, list(zip(writers, range(made, made + AT_ONCE), strict=True)), readers)
                made += AT_ONCE
                with self._changed:
                    self._is_asking = False
                    self._changed.notify_all()

    def _ask(self, client: NetworkClient, writers: list[tuple[Member, int]], readers: list[Member]) -> None:
        values = [value_of(self._word, number) for _, number in writers]
        puts = [
            Request(member.host.control, "POST", "/", value, RAW)
            for (member, _), value in zip(writers, values, strict=True)
        ]
        keys = self._random.choices(sorted(self.values), k=len(readers)) if self.values else []
        pairs = list(zip(readers, keys, strict=False))
        gets = [Request(member.host.control, "GET", f"/{key}") for member, key in pairs]
        answers = client.ask([*puts, *gets], timeout=20.0)
        for (member, _), value, answer in zip(writers, values, answers, strict=False):
            if answer.status == 202:
                self.values[key_of(answer)] = value
            else:
                self.failed.append(f"put at {member.host.name}: {reason(answer)}")
        for (member, key), answer in zip(pairs, answers[len(puts) :], strict=True):
            self.reads += 1
            if answer.status == 200 and answer.body == self.values[key]:
                self.worst_read = max(self.worst_read, answer.ended - answer.began)
            else:
                self.failed.append(f"get at {member.host.name}: {reason(answer)}")
