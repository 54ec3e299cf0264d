"""put and get on 50 nodes, each a process of its own, through their HTTP: `make bench`.

Rules of this file: it prints what it measured, with what and how often; no figure is compared with a remembered one.
Clients and nodes share the machine, so the figures include the client's own work.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import time

from benchmarks import load
from benchmarks.network import Process, network

FIRST_UDP_PORT, FIRST_HTTP_PORT = 28118, 28500


def value(label: str, number: int, size: int) -> bytes:
    """A value of `size` bytes that no other number has."""
    head = f"{label} {number} ".encode()
    return (head + b"x" * size)[:size]


def key(of: bytes) -> str:
    return hashlib.blake2b(of, digest_size=32).hexdigest()


def show(name: str, result: load.Load, cpu: float) -> None:
    operations = len(result.times) or 1
    print(
        f"{name:34} {result.percentile(0.5) * 1e3:8.2f} {result.percentile(0.9) * 1e3:8.2f} "
        f"{result.percentile(0.99) * 1e3:8.2f} {result.per_second:9.0f} {cpu / operations * 1e3:10.2f} "
        f"{result.failed:7}",
        flush=True,
    )


def measure(nodes: list[Process], name: str, count: int, concurrent: int, make: load.Make) -> None:
    before = sum(node.cpu_seconds() for node in nodes)
    result = load.run(count, concurrent, make)
    show(name, result, sum(node.cpu_seconds() for node in nodes) - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--size", type=int, default=100, help="bytes of a value")
    parser.add_argument("--count", type=int, default=500, help="requests of each kind")
    arguments = parser.parse_args()
    began = time.perf_counter()
    with network(arguments.nodes, first_udp_port=FIRST_UDP_PORT, first_http_port=FIRST_HTTP_PORT) as nodes:
        print(f"{len(nodes)} nodes, {os.cpu_count()} cores; values of {arguments.size} bytes")
        print(f"ready after {time.perf_counter() - began:.1f} s, {sum(n.cpu_seconds() for n in nodes):.1f} s of CPU")
        print(f"\n{'':34} {'p50 ms':>8} {'p90 ms':>8} {'p99 ms':>8} {'per s':>9} {'CPU ms/op':>10} {'failed':>7}")

        def port(number: int) -> int:
            return nodes[number % len(nodes)].http_port

        def put(label: str) -> load.Make:
            return lambda n: (port(n), "POST", "/", value(label, n, arguments.size), 202)

        def get(label: str, shift: int) -> load.Make:
            return lambda n: (port(n + shift), "GET", "/" + key(value(label, n, arguments.size)), None, 200)

        def hot(number: int) -> tuple[int, str, str, bytes | None, int]:
            return nodes[0].http_port, "GET", "/" + key(value("c1", 0, arguments.size)), None, 200

        measure(nodes, "put, c=1", arguments.count, 1, put("c1"))
        measure(nodes, "put, c=16", arguments.count * 2, 16, put("c16"))
        measure(nodes, "get at another node, first, c=1", arguments.count, 1, get("c1", 7))
        measure(nodes, "get at another node, first, c=16", arguments.count * 2, 16, get("c16", 7))
        measure(nodes, "get, hot, c=1", arguments.count * 4, 1, hot)
        measure(nodes, "get, hot, c=16", arguments.count * 4, 16, hot)
        memory = sorted(node.resident_bytes() for node in nodes)
        print(
            f"\nmemory per node: median {memory[len(memory) // 2] / 2**20:.0f} MiB, most {memory[-1] / 2**20:.0f} MiB"
        )
        for node in nodes[10:20] if len(nodes) >= 20 else []:
            node.kill()
        survivors = [*nodes[:10], *nodes[20:]] if len(nodes) >= 20 else []
        if survivors:
            print("\n10 nodes killed:")
            measure(
                survivors,
                "put, c=1",
                arguments.count // 2,
                1,
                lambda n: (survivors[n % 10].http_port, "POST", "/", value("dead", n, arguments.size), 202),
            )


if __name__ == "__main__":
    main()
