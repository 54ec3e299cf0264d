"""What takes long with a value of many MiB, done in a thread so that the node goes on meanwhile.

Rules of this file: a value that is not very large costs no thread. Those of simulations never are, since virtual time
does not wait for threads.
"""

from __future__ import annotations

import functools
from typing import Final

import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import Packet
from camomile_trio.wire.codec import decode_untrusted, encode

# Bytes from which on reading a value from the disk is worth a thread.
LARGE: Final = 256 * 2**10
# Bytes from which on hashing or copying one is: it takes 1 to 3 ms for each MiB.
VERY_LARGE: Final = 4 * 2**20


async def key_of(value: bytes) -> Key:
    """As `Key.of`."""
    return Key.of(value) if len(value) <= VERY_LARGE else await trio.to_thread.run_sync(Key.of, value)


async def encoded(packet: Packet) -> bytes:
    """As `encode`, of a packet with a very large value."""
    return await trio.to_thread.run_sync(encode, packet)


async def decoded_untrusted(message_untrusted: bytes) -> Packet:
    """As `decode_untrusted`, of a message from a stream, which classic nodes do not have. MalformedPacket."""
    decode = functools.partial(decode_untrusted, message_untrusted, classic=False)
    return decode() if len(message_untrusted) <= VERY_LARGE else await trio.to_thread.run_sync(decode)
