"""Machines of another kind: classic nodes, and adversaries. Each has an address of its own and does as it likes.

Rules of this file: it knows bytes and endpoints, and nothing of what they mean. A stranger can do what anybody on the
internet can: answer or not, send datagrams with a source that is not its own, and, where it can listen, record what
passes and send it again. It cannot open a stream from an address that is not its own, as TCP has it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import attrs
import trio

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.network import MemoryNetwork, MemoryTransport
from camomile_trio.transport.base import Conversation

LARGEST_MESSAGE = 2**26  # bytes: more than any node sends


@attrs.define(eq=False)
class Stranger:
    """A machine that hears everything and says nothing; others are made of it. It is its transport's `Inbound`."""

    transport: MemoryTransport

    @property
    def endpoint(self) -> Endpoint:
        return self.transport.endpoint

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        """A datagram has arrived. What it likes to answer it hands to `transport.send`, or to `transport.forge`."""

    def is_expected(self, datagram_untrusted: bytes, source: Endpoint) -> bool:
        return True

    def has_session_at(self, prefix: bytes) -> bool:
        return False

    def on_turn_begin(self) -> None: ...

    def on_turn_end(self) -> None: ...

    def on_connection(self, source: Endpoint) -> Conversation:
        """A stream has been opened to here."""
        return StrangersConversation(self, source)

    async def on_stream_message(self, message_untrusted: bytes, source: Endpoint) -> bytes | None:
        """A message has arrived over a stream; the result is the answer, None closes the stream without one."""
        return None


@attrs.define(eq=False)
class StrangersConversation:
    """A stream to a stranger, who takes messages of any length and tells nothing of itself."""

    _stranger: Stranger
    _source: Endpoint
    most_bytes: int = LARGEST_MESSAGE
    peer: bytes = b""
    is_member: bool = False
    is_from_member: bool = False
    is_over: bool = False

    async def answer(self, message_untrusted: bytes) -> bytes | None:
        return await self._stranger.on_stream_message(message_untrusted, self._source)


AnyStranger = TypeVar("AnyStranger", bound=Stranger)


@asynccontextmanager
async def open_stranger(
    network: MemoryNetwork, endpoint: Endpoint, make: Callable[[MemoryTransport], AnyStranger]
) -> AsyncIterator[AnyStranger]:
    """A stranger that lives at `endpoint` for the length of the block."""
    async with network.open(endpoint) as transport, trio.open_nursery() as nursery:
        stranger = make(transport)
        await nursery.start(transport.serve, stranger)
        yield stranger
        nursery.cancel_scope.cancel()


@attrs.frozen
class Overheard:
    """A datagram as it was sent, whatever became of it."""

    time: float  # virtual s
    source: Endpoint
    destination: Endpoint
    payload: bytes


@attrs.define(eq=False)
class Recording:
    """What was sent while it was recorded, in order."""

    datagrams: list[Overheard] = attrs.field(factory=list)

    def replay(self, by: Stranger, wanted: Callable[[Overheard], bool] = lambda each: True) -> int:
        """A stranger sends these once more, each from where it came to where it went; returns how many."""
        chosen = [each for each in self.datagrams if wanted(each)]
        for each in chosen:
            by.transport.forge(each.payload, each.destination, source=each.source)
        return len(chosen)


@contextmanager
def recorded(network: MemoryNetwork, at: Endpoint | None = None) -> Iterator[Recording]:
    """Records what passes in the block: all that is sent to or from `at`, or everything."""
    recording = Recording()

    def on_sent(time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        if at is None or at in (source, destination):
            recording.datagrams.append(Overheard(time, source, destination, payload))

    with network.watched(on_sent):
        yield recording
