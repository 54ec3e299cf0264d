"""Bounded, lossy observation of what a node does.

Rules of this file: an observer is a plain function that returns at once; it can slow nothing down by waiting, and
what it raises is a bug in it. Who wants a queue makes a bounded one and counts what it drops. Nothing in the node
depends on anybody watching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import attrs

from camomile_trio.kademlia.contacts import Contact


@attrs.frozen
class OperationEnded:
    """A put, get, forget or ping by a user of this node came to its end. `outcome` is "ok" or the error's name."""

    operation: Literal["put", "get", "forget", "ping"]
    outcome: str
    seconds: float


@attrs.frozen
class LookupEnded:
    """An iterative lookup came to its end. `hops` is the longest chain of answers that led to one of the closest."""

    kind: Literal["node", "value"]
    hops: int
    requests: int
    seconds: float
    target: bytes = b""
    closest: tuple[Contact, ...] = ()  # to the target, of those that answered, closest first: k or more


@attrs.frozen
class RoundTrip:
    """A request was answered by its peer on the first try. `kind` is the message's name in snake case."""

    kind: str
    seconds: float


@attrs.frozen
class ReadyChanged:
    ready: bool
    because: str


Event = OperationEnded | LookupEnded | RoundTrip | ReadyChanged
Observer = Callable[[Event], None]


class Events:
    """The observers of one node."""

    def __init__(self) -> None:
        self._observers: tuple[Observer, ...] = ()

    @property
    def watched(self) -> bool:
        """Whether anybody watches: what is costly to describe is described only then."""
        return bool(self._observers)

    def emit(self, event: Event) -> None:
        for observer in self._observers:
            observer(event)

    @contextmanager
    def watch(self, observer: Observer) -> Iterator[None]:
        """Calls `observer` with every event for the length of the block."""
        self._observers += (observer,)
        try:
            yield
        finally:
            self._observers = tuple(each for each in self._observers if each is not observer)
