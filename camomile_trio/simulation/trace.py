"""The trace of a run: a hash over everything that happened, in order, and the events themselves for who wants them.

Rules of this file: what goes into the hash is bytes and numbers that follow from the seed, never an address in memory
or a real time. Two runs with the same hash were the same run.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from hashlib import blake2b

import attrs

from camomile_trio.kademlia.contacts import Endpoint

_TIME = struct.Struct(">d")

# Messages between two calls of `on_beat`.
BEAT = 1024

# One thing that happened, in words for a JSON line: when (virtual s), what, and its particulars.
Happening = Mapping[str, object]
Teller = Callable[[Happening], None]


@attrs.define(eq=False)
class Trace:
    """Counts and hashes. `tell` is given every event and every packet as a JSON-able mapping, if anybody listens."""

    tell: Teller | None = None
    describe_packet: Callable[[float, Endpoint, Endpoint, bytes], Happening] | None = None
    messages: int = 0  # datagrams and stream messages received
    bytes_received: int = 0
    # Called every `BEAT` messages, to show progress.
    on_beat: Callable[[], None] | None = None
    _hash: blake2b = attrs.field(init=False, factory=lambda: blake2b(digest_size=16))

    def on_packet(self, due: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        """Something was received. An `Observer` of the simulated network."""
        self.messages += 1
        self.bytes_received += len(payload)
        self._hash.update(b"%b%b%b%b" % (_TIME.pack(due), source, destination, payload))
        if self.tell is not None and self.describe_packet is not None:
            self.tell(self.describe_packet(due, source, destination, payload))
        if not self.messages % BEAT and self.on_beat is not None:
            self.on_beat()

    def note(self, time: float, event: str, /, **particulars: object) -> None:
        """Something happened that is no packet: an operation ended, a machine crashed."""
        words = " ".join(f"{name}={value}" for name, value in particulars.items())
        self._hash.update(b"%b%b\n" % (_TIME.pack(time), f"{event} {words}".encode()))
        if self.tell is not None:
            self.tell({"time": time, "event": event, **particulars})

    def digest(self) -> str:
        """32 hexadecimal digits."""
        return self._hash.hexdigest()
