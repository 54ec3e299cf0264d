"""A hostile host: `python -m tests.networks.slow_streams NODE[#KEY] IP…` holds slow TCP streams to a node.

Rules of this file: it runs in a host of its own, until it is ended. From each of its addresses it keeps `EACH` streams
open. A stream announces a message, sends a byte of it at times, and is opened again as soon as the node closes it. If
the node's public key is given (64 hexadecimal digits), every second stream proves a key of its own first, in the open
network, by a message that the node does not understand or that is the last which it answers. The others only announce
the first message of a handshake.
"""

from __future__ import annotations

import random
import sys
import time

import trio

from camomile_trio.config import DEFAULT_NETWORK
from camomile_trio.errors import TransportError
from camomile_trio.identity import network_id
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.handshake import NetworkKey, open_network_key
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.streams import MOST_INITIATION, Asking
from camomile_trio.peer.suite import NaclSuite
from camomile_trio.transport.stream import LENGTH_BYTES, framed, receive_up_to

EACH = 8
LARGE = 5000
PAUSE, REOPENED_AFTER = 0.2, 0.02  # s from a byte to the next, and from the end of a stream


def stranger(network: NetworkKey) -> Local:
    """A node that nobody knows."""
    rng = random.SystemRandom()
    return Local.start(StaticKey.from_seed(NaclSuite(), rng.randbytes(32)), (network,), NaclSuite(), rng)


async def hold(node: Endpoint, ip: str, own: Local | None, public: bytes = b"") -> None:
    """One stream after another. With a key of its `own` it makes the handshake of a node with that key."""
    while True:
        with trio.socket.socket() as connection:
            stream = trio.SocketStream(connection)
            try:
                await connection.bind((ip, 0))
                await connection.connect((node.host, node.port))
                if own is not None:
                    await _prove(stream, own, public)
                await stream.send_all((MOST_INITIATION if own is None else LARGE).to_bytes(LENGTH_BYTES, "big"))
                while True:
                    await trio.sleep(PAUSE)
                    await stream.send_all(b"x")
            except (OSError, trio.BrokenResourceError, TransportError):
                await trio.sleep(REOPENED_AFTER)


async def _prove(stream: trio.SocketStream, own: Local, public: bytes) -> None:
    asking = Asking(own, public, lambda: time.time_ns() // 10**6, LARGE)
    asking.on_first(await _answer(stream, asking.first()))
    await _answer(stream, await asking.sealed(b"?"))


async def _answer(stream: trio.SocketStream, message: bytes) -> bytes:
    await stream.send_all(framed(message))
    length = int.from_bytes(await receive_up_to(stream, LENGTH_BYTES), "big")
    if not length:
        raise TransportError("closed")
    return await receive_up_to(stream, length)


async def main(node: str, ips: list[str]) -> None:
    endpoint, _, key = node.partition("#")
    network = network_id(DEFAULT_NETWORK)
    own = stranger(NetworkKey.of(open_network_key(network), network)) if key else None
    async with trio.open_nursery() as nursery:
        for ip in ips:
            for number in range(EACH):
                is_proven = number % 2
                nursery.start_soon(hold, Endpoint.parse(endpoint), ip, own if is_proven else None, bytes.fromhex(key))
        print("holding", flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2:])
