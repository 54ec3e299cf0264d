"""What a client of a value is told, in no framework's words: a status, headers and a body.

Rules of this file: plain values and no I/O. What is answered without Quart is an answer of this file's.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from hypercorn.typing import ASGISendEvent

from camomile_trio.http.problems import Problem
from camomile_trio.http.values import is_text, names_key
from camomile_trio.kademlia.ids import Key
from camomile_trio.operations.results import Found

TEXT_TYPE = "text/plain; charset=utf-8"
BYTES_TYPE = "application/octet-stream"

# A value is somebody's bytes: no browser may take it for a page of this server's.
UNTRUSTED = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}


def type_of(value: bytes) -> str:
    """The content type under which a value is given out."""
    return TEXT_TYPE if is_text(value) else BYTES_TYPE


@attrs.frozen
class Answer:
    """One answer. Its length is told by a header unless its status says that it has no body (RFC 9110 §8.6)."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None  # None: neither body nor length

    @classmethod
    def of_value(cls, key: Key, found: Found, if_none_match: list[str]) -> Answer:
        """What is answered to who asked for `key` and already has what the lines of `if_none_match` name."""
        # A value never changes, but it may be forgotten: a cache has to ask again each time.
        headers = {"ETag": f'"{key}"', "Cache-Control": "no-cache", "Origin": found.origin.hex(), **UNTRUSTED}
        if found.live and names_key(if_none_match, key):
            return cls(304, headers, None)
        headers["Content-Type"] = type_of(found.value)
        return cls(200, headers, found.value)

    @classmethod
    def of_problem(cls, problem: Problem) -> Answer:
        return cls(problem.status, problem.all_headers(), problem.body())

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """All headers as a server sends them, the length included."""
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        if self.body is not None:
            headers.append((b"content-length", b"%d" % len(self.body)))
        return headers

    def as_events(self) -> tuple[ASGISendEvent, ASGISendEvent]:
        """The same for an ASGI server: how the answer begins, and its body, which the server leaves out for HEAD."""
        return (
            {"type": "http.response.start", "status": self.status, "headers": self.raw_headers(), "trailers": False},
            {"type": "http.response.body", "body": self.body or b"", "more_body": False},
        )
