"""Messages that are too long for a datagram: exchanged over streams, a few at once.

Rules of this file: what fails comes back as words. A peer that is slow, or says of every answer that it is too large
for a datagram, keeps few of the streams from the others. A very large message is made and read in a thread, so that the
node goes on meanwhile, and only once a stream is free for it: each is a copy, and a put has k of them. Those of
simulations never are so large, since virtual time does not wait for threads.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Generic

import attrs
import trio

from camomile_trio.config import Requests as Settings
from camomile_trio.errors import MalformedPacket, TransportError
from camomile_trio.peer.pending import Pending
from camomile_trio.peer.seams import Codec, Link, M

STREAMS_AT_ONCE: Final = 64
OF_ONE_PEER: Final = 8  # one in so many of these is the most that one peer has
VERY_LARGE: Final = 4 * 2**20  # bytes; copying takes 1 to 3 ms for each MiB
LARGE_STREAMS_AT_ONCE: Final = 2
NO_STREAM_FREE: Final = "no stream was free"


@attrs.frozen
class CameBack(Generic[M]):
    """What came back over a stream."""

    number: int
    message: M
    flags: int
    size: int  # of the inner packet


class Exchanges(Generic[M]):
    """Those of one node."""

    def __init__(self, codec: Codec[M], link: Link, settings: Settings) -> None:
        self._codec = codec
        self._link = link
        self._deadline = settings.stream_deadline
        at_once = min(STREAMS_AT_ONCE, settings.max_streams * 2 // 5)
        self._streams = trio.CapacityLimiter(at_once)
        self._large_streams = trio.CapacityLimiter(LARGE_STREAMS_AT_ONCE)
        self._most_of_one = max(1, at_once // OF_ONE_PEER)
        self._of_peer: dict[bytes, trio.CapacityLimiter] = {}  # of those with messages under way or waiting

    async def exchange(self, pending: Pending[M], flags: int) -> CameBack[M] | str:
        """What answers it, not yet matched; or why nothing does."""
        failure = NO_STREAM_FREE
        with trio.move_on_after(self._deadline):
            # A message waits for its peer first, and holds none of the streams of all meanwhile.
            async with self._turn(pending.contact.public), self._streams if pending.inner else self._large_streams:
                failure = f"no answer over a stream within {self._deadline:g} s"
                encode = functools.partial(self._codec.encode, pending.number, pending.message, flags)
                inner = pending.inner or await trio.to_thread.run_sync(encode)
                try:
                    answer_untrusted = await self._link.exchange(pending.contact, inner)
                    return CameBack(*await self.decoded_untrusted(answer_untrusted), len(answer_untrusted))
                except (TransportError, MalformedPacket) as error:
                    failure = str(error)
        return failure

    @asynccontextmanager
    async def _turn(self, public: bytes) -> AsyncIterator[None]:
        turns = self._of_peer.setdefault(public, trio.CapacityLimiter(self._most_of_one))
        try:
            async with turns:
                yield
        finally:
            if not turns.borrowed_tokens and not turns.statistics().tasks_waiting:
                self._of_peer.pop(public, None)

    async def decoded_untrusted(self, inner_untrusted: bytes) -> tuple[int, M, int]:
        """As the codec does it. MalformedPacket."""
        if len(inner_untrusted) <= VERY_LARGE:
            return self._codec.decode_untrusted(inner_untrusted)
        return await trio.to_thread.run_sync(self._codec.decode_untrusted, inner_untrusted)
