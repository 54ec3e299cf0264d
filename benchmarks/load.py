"""A client that keeps a number of requests under way and notes how long each took.

Rules of this file: one thread and one kept-alive connection for each request under way; every answer's status is
checked, and an unexpected one is counted, never timed.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence

import attrs

# The number of a request -> port, method, path, body, and the status that it must have.
Make = Callable[[int], tuple[int, str, str, bytes | None, int]]


@attrs.frozen
class Load:
    """What came of `count` requests. Times in seconds, sorted."""

    seconds: float
    times: Sequence[float]
    failed: int

    def percentile(self, share: float) -> float:
        return self.times[min(int(len(self.times) * share), len(self.times) - 1)] if self.times else float("nan")

    @property
    def per_second(self) -> float:
        return len(self.times) / self.seconds


def run(count: int, concurrent: int, make: Make) -> Load:
    """Sends requests 0 to `count` - 1, `concurrent` at a time."""
    times: list[float] = []
    failed = 0
    numbers = iter(range(count))
    lock = threading.Lock()

    def work() -> None:
        nonlocal failed
        connections: dict[int, http.client.HTTPConnection] = {}
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                break
            port, method, path, body, expected = make(number)
            connection = connections.get(port)
            if connection is None:
                connection = connections[port] = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            began = time.perf_counter()
            connection.request(method, path, body, {"Content-Type": "application/octet-stream"} if body else {})
            answer = connection.getresponse()
            answer.read()
            taken = time.perf_counter() - began
            with lock:
                if answer.status == expected:
                    times.append(taken)
                else:
                    failed += 1
        for connection in connections.values():
            connection.close()

    began = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(concurrent)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Load(time.perf_counter() - began, sorted(times), failed)
