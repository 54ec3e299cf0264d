"""Asking a node over HTTP, or over its Unix socket, and saying in one line why it did not work.

Rules of this file: a plain synchronous client, every wait bounded. What a server answers is untrusted: an answer that a
node of Camomile would not give is refused, and texts from it are cleaned where they are shown. What a node refused is
raised as the error that the node had: NotFound, Forgotten, Unavailable; whatever else went wrong is CommandFailed.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from camomile_trio.cli.failures import CommandFailed
from camomile_trio.config import number_text
from camomile_trio.errors import CamomileError, Forgotten, NotFound, Unavailable, Unreachable

CONNECT_LIMIT = 5.0  # seconds
MOST_JSON = 4 * 2**20  # bytes
NO_SUCH_PATH = "urn:camomile:problem:no-such-path"
# The node itself, or a proxy before it that cannot reach it.
_UNAVAILABLE = frozenset({502, 503, 504})


@contextmanager
def node_client(url: str, token: bytes | None, timeout: float) -> Iterator[httpx.Client]:
    """A client of the node at `url`, which may be silent for `timeout` seconds.

    Inside of the block: Unreachable if no whole answer comes.
    """
    headers = {b"Authorization": b"Bearer " + token} if token else {}
    # Proxies of the environment are for the web, and would carry a token and 127.0.0.1 to somebody else.
    client = httpx.Client(base_url=url, headers=headers, timeout=_waits(timeout), trust_env=False)
    remedy = "start one with `camomile node`, or name another with --node"
    with _in_one_line(f"a node at {url}", timeout, remedy), client:
        yield client


@contextmanager
def control_client(path: Path, timeout: float) -> Iterator[httpx.Client]:
    """The same with the control socket of a node on this machine."""
    remedy = "is the node running? name its control socket with --socket, or its --data-dir"
    _require_listener(path, timeout, remedy)
    transport = httpx.HTTPTransport(uds=str(path))
    client = httpx.Client(base_url="http://node", transport=transport, timeout=_waits(timeout), trust_env=False)
    with _in_one_line(f"a node at {path}", timeout, remedy), client:
        yield client


def _waits(timeout: float) -> httpx.Timeout:
    return httpx.Timeout(timeout, connect=min(timeout, CONNECT_LIMIT))


def _require_listener(path: Path, timeout: float, remedy: str) -> None:
    """Unreachable if nobody listens. httpx would leave the refused socket open until it is collected."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(min(timeout, CONNECT_LIMIT))
        try:
            probe.connect(str(path))
        except OSError as error:
            raise Unreachable(f"cannot reach a node at {path}: {error.strerror or error}", remedy=remedy) from None


@contextmanager
def _in_one_line(who: str, timeout: float, remedy: str) -> Iterator[None]:
    again = "it is safe to repeat the command"
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
        raise Unreachable(f"cannot reach {who}: {reason}", remedy=remedy) from None
    except httpx.TimeoutException:
        silence = f"{who} was silent for {number_text(timeout)} s"
        raise Unreachable(silence, remedy=f"{again}; --timeout is how long it waits") from None
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise Unreachable(f"the exchange with {who} broke off: {error}", remedy=again) from None


def read_document(response: httpx.Response) -> bytes:
    """The body, if it is of the size of a document; CommandFailed if it has more than MOST_JSON bytes."""
    body = bytearray()
    for piece in response.iter_bytes():
        body += piece
        if len(body) > MOST_JSON:
            raise CommandFailed(f"{response.url} answers with more than {MOST_JSON} bytes", remedy=_WRONG_PLACE)
    return bytes(body)


def read_json(response: httpx.Response) -> dict[str, object]:
    """The JSON object in the body; CommandFailed if it is something else."""
    found = _json_object(read_document(response))
    if found is None:
        raise CommandFailed(f"{response.url} does not answer with a JSON object", remedy=_WRONG_PLACE)
    return found


def require(response: httpx.Response, expected: int) -> None:
    """Unless the answer has the expected status, the error that it stands for, in the server's own words."""
    status = response.status_code
    if status == expected:
        return
    problem = None
    if response.headers.get("content-type", "").partition(";")[0].strip() == "application/problem+json":
        problem = _json_object(read_document(response))
    if problem is None:
        kind = Unavailable if status in _UNAVAILABLE else CommandFailed
        raise kind(
            f"{response.url} answered {status} {response.reason_phrase}, as no node of Camomile does",
            remedy=_WRONG_PLACE,
        )
    cause = problem.get("detail") or problem.get("title") or f"the node answered {status}"
    remedy = problem.get("remedy") or ""
    if status == httpx.codes.UNAUTHORIZED:
        remedy = "name the file with the node's token with --token"
    raise _kind_of(status, problem)(str(cause), remedy=str(remedy))


def _kind_of(status: int, problem: dict[str, object]) -> type[CamomileError]:
    if status == httpx.codes.NOT_FOUND and problem.get("type") != NO_SUCH_PATH:
        return NotFound
    if status == httpx.codes.GONE:
        return Forgotten
    return Unavailable if status in _UNAVAILABLE else CommandFailed


_WRONG_PLACE = "is this the HTTP address of a node? name it with --node"


def _json_object(body_untrusted: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(body_untrusted)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
