"""A server of one process that answers every request as it is told, over TCP or a Unix socket, and remembers them.

It speaks raw HTTP/1.1 on a thread of its own, so that it can also break off, lie about lengths, and be silent.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs


@attrs.frozen
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@attrs.define
class OneServer:
    """`answer` goes out as it is, and the connection closes behind it."""

    address: str
    answer: bytes = b""
    seen: list[Seen] = attrs.field(factory=list)

    def will_answer(self, status: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", "Connection: close"]
        if not status.startswith("204"):
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.answer = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    def will_refuse(self, status: str, **problem: str) -> None:
        self.will_answer(status, json.dumps(problem).encode(), content_type="application/problem+json")


@contextmanager
def serving(unix_path: Path | None = None) -> Iterator[OneServer]:
    """A server on a free port of 127.0.0.1, or on a Unix socket."""
    if unix_path is None:
        listener = socket.create_server(("127.0.0.1", 0))
        server = OneServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
    else:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(unix_path))
        listener.listen()
        server = OneServer(str(unix_path))
    thread = threading.Thread(target=_serve, args=(listener, server), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        # Closing a listener does not wake an accept; shutting it down does.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)
        listener.close()
        assert not thread.is_alive()


def _serve(listener: socket.socket, server: OneServer) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(10)
            with contextlib.suppress(OSError), connection.makefile("rb") as arriving:
                if not (request := arriving.readline().decode()):
                    continue  # somebody only looked whether we are here
                method, path, _ = request.split(" ")
                headers = {}
                while (line := arriving.readline().decode().strip()) != "":
                    name, _, value = line.partition(": ")
                    headers[name.lower()] = value
                if headers.get("transfer-encoding") == "chunked":
                    body = b""
                    while size := int(arriving.readline(), 16):
                        body += arriving.read(size)
                        arriving.readline()
                    arriving.readline()
                else:
                    body = arriving.read(int(headers.get("content-length", "0")))
                server.seen.append(Seen(method, path, headers, body))
                connection.sendall(server.answer)
