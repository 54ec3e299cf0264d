"""Clients that keep connections and want little: some send a byte a second, some have asked once and say no more.

Rules of this file: one process holds all of them, until its standard input ends. Prints a line once all are connected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import trio

SLOW_REQUEST = (
    b"POST / HTTP/1.1\r\nHost: node\r\nContent-Type: application/octet-stream\r\nContent-Length: 10000\r\n\r\n"
)
IDLE_REQUEST = b"GET /-/healthy HTTP/1.1\r\nHost: node\r\n\r\n"
HEAD_AT_ONCE = 40  # bytes that a slow client sends before it slows down: some are slow in the head, some in the body
CONNECTING_AT_ONCE = 20


async def slow(host: str, port: int, number: int, connecting: trio.CapacityLimiter, connected: trio.Semaphore) -> None:
    """A byte a second; again from the start when the server has had enough of it."""
    count = 0
    while True:
        async with connecting:
            stream = await trio.open_tcp_stream(host, port)
        if not count:
            connected.release()
        count += 1
        request = SLOW_REQUEST + bytes(10000)
        at = HEAD_AT_ONCE if number % 2 else len(SLOW_REQUEST)
        try:
            async with stream:
                await stream.send_all(request[:at])
                while at < len(request):
                    await trio.sleep(1.0)
                    await stream.send_all(request[at : at + 1])
                    at += 1
        except trio.BrokenResourceError:
            await trio.sleep(1.0)


async def idle(host: str, port: int, connecting: trio.CapacityLimiter, connected: trio.Semaphore) -> None:
    async with connecting:
        stream = await trio.open_tcp_stream(host, port)
        await stream.send_all(IDLE_REQUEST)
        await stream.receive_some()
    connected.release()
    await trio.sleep_forever()


async def run(host: str, port: int, slow_ones: int, idle_ones: int) -> None:
    connecting = trio.CapacityLimiter(CONNECTING_AT_ONCE)
    connected = trio.Semaphore(0)
    async with trio.open_nursery() as nursery:
        for number in range(slow_ones):
            nursery.start_soon(slow, host, port, number, connecting, connected)
        for _ in range(idle_ones):
            nursery.start_soon(idle, host, port, connecting, connected)
        for _ in range(slow_ones + idle_ones):
            await connected.acquire()
        print("connected", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        nursery.cancel_scope.cancel()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.idlers", description=__doc__)
    parser.add_argument("node", help="HOST:PORT of its HTTP")
    parser.add_argument("--slow", type=int, default=500)
    parser.add_argument("--idle", type=int, default=500)
    chosen = parser.parse_args(arguments)
    host, _, port = chosen.node.rpartition(":")
    trio.run(run, host, int(port), chosen.slow, chosen.idle)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
