"""Asking a node over HTTP, or over its Unix socket, and saying in one line why it did not work.

Rules of this file: a plain synchronous client, every wait bounded. What a server answers is untrusted: an answer that a
node of Camomile would not give is refused, and texts from it are cleaned where they are shown.
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

CONNECT_LIMIT = 5.0  # seconds
SILENCE_LIMIT = 60.0  # seconds without a byte; a node gives up an operation by itself well before
MOST_JSON = 4 * 2**20  # bytes


@contextmanager
def node_client(url: str, token: bytes | None) -> Iterator[httpx.Client]:
    """A client of the node at `url`; CommandFailed for whatever goes wrong inside the block."""
    headers = {b"Authorization": b"Bearer " + token} if token else {}
    # Proxies of the environment are for the web, and would carry a token and 127.0.0.1 to somebody else.
    client = httpx.Client(
        base_url=url, headers=headers, timeout=httpx.Timeout(SILENCE_LIMIT, connect=CONNECT_LIMIT), trust_env=False
    )
    with _one_clear_word(f"a node at {url}", "start one with `camomile node`, or name another with --node"), client:
        yield client


@contextmanager
def control_client(path: Path) -> Iterator[httpx.Client]:
    """A client of the control socket of a node on this machine; CommandFailed for whatever goes wrong."""
    remedy = "is the node running? name its control socket with --socket, or its --data-dir"
    _knock(path, remedy)
    transport = httpx.HTTPTransport(uds=str(path))
    timeout = httpx.Timeout(SILENCE_LIMIT, connect=CONNECT_LIMIT)
    client = httpx.Client(base_url="http://node", transport=transport, timeout=timeout, trust_env=False)
    with _one_clear_word(f"a node at {path}", remedy), client:
        yield client


def _knock(path: Path, remedy: str) -> None:
    """CommandFailed if nobody listens. httpx would leave the refused socket open until it is collected."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_LIMIT)
        try:
            probe.connect(str(path))
        except OSError as error:
            raise CommandFailed(f"cannot reach a node at {path}: {error.strerror or error}", remedy=remedy) from None


@contextmanager
def _one_clear_word(who: str, remedy: str) -> Iterator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        reason = re.sub(r"^\[Errno -?\d+\] ", "", str(error))
        raise CommandFailed(f"cannot reach {who}: {reason}", remedy=remedy) from None
    except httpx.TimeoutException:
        raise CommandFailed(
            f"{who} was silent for {SILENCE_LIMIT:g} s", remedy="it is safe to repeat the command"
        ) from None
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise CommandFailed(
            f"the exchange with {who} broke off: {error}", remedy="it is safe to repeat the command"
        ) from None


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
    """CommandFailed, in the server's own words, unless the answer has the expected status."""
    if response.status_code == expected:
        return
    problem = None
    if response.headers.get("content-type", "").partition(";")[0].strip() == "application/problem+json":
        problem = _json_object(read_document(response))
    if problem is None:
        raise CommandFailed(
            f"{response.url} answered {response.status_code} {response.reason_phrase}, as no node of Camomile does",
            remedy=_WRONG_PLACE,
        )
    cause = problem.get("detail") or problem.get("title") or f"the node answered {response.status_code}"
    remedy = problem.get("remedy") or ""
    if response.status_code == httpx.codes.UNAUTHORIZED:
        remedy = "name the file with the node's token with --token"
    raise CommandFailed(str(cause), remedy=str(remedy))


_WRONG_PLACE = "is this the HTTP address of a node? name it with --node"


def _json_object(body_untrusted: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(body_untrusted)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
