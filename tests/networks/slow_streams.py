"""A hostile host: `python -m tests.networks.slow_streams NODE IP…` holds slow TCP streams to a node.

Rules of this file: it runs in a host of its own, until it is ended. From each of its addresses it keeps `EACH` streams
open. A stream announces a message, sends a byte of it at times, and is opened again as soon as the node closes it.
"""

from __future__ import annotations

import sys

import trio

from camomile_trio.kademlia.contacts import Endpoint

EACH = 8
ANNOUNCED = (5000).to_bytes(4, "big")
PAUSE, REOPENED_AFTER = 0.2, 0.02  # s from a byte to the next, and from the end of a stream


async def hold(node: Endpoint, ip: str) -> None:
    while True:
        with trio.socket.socket() as connection:
            await connection.bind((ip, 0))
            try:
                await connection.connect((node.host, node.port))
                await connection.send(ANNOUNCED)
                while True:
                    await trio.sleep(PAUSE)
                    await connection.send(b"x")
            except OSError:
                await trio.sleep(REOPENED_AFTER)


async def main(node: Endpoint, ips: list[str]) -> None:
    async with trio.open_nursery() as nursery:
        for ip in ips:
            for _ in range(EACH):
                nursery.start_soon(hold, node, ip)
        print("holding", flush=True)


if __name__ == "__main__":
    trio.run(main, Endpoint.parse(sys.argv[1]), sys.argv[2:])
