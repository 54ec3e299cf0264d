"""The control socket: ping, reload, stop, records, export and import for the command line, on a Unix socket. All but
reload are never on the public port.

Rules of this file: whoever may open the socket may stop the node, so only its owner may (mode 0600). A socket file
that nobody listens on any more is replaced, a living one and a file of any other kind are left alone.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import cast

import trio
from hypercorn.typing import ASGIFramework
from quart import Response

from camomile_trio.errors import ConfigError, TransportError
from camomile_trio.http.admission import Admission
from camomile_trio.http.app import RestService
from camomile_trio.http.budget import ByteBudget
from camomile_trio.http.connections import Connections, listen_on
from camomile_trio.http.documents import (
    imported_document,
    json_response,
    node_document,
    peers_document,
    pinged_document,
    records_document,
)
from camomile_trio.http.front import Front
from camomile_trio.http.metrics import Metrics
from camomile_trio.http.problems import answer_with_problems
from camomile_trio.http.refusals import BadRequest
from camomile_trio.http.reloading import reload_node
from camomile_trio.http.served import ServedNode
from camomile_trio.http.uploads import current_request, receive_bounded_bodies
from camomile_trio.http.values import Encoding, body_bound
from camomile_trio.kademlia.ids import Key, NodeId

# What fits into sockaddr_un with its closing zero.
LONGEST_PATH = 107
_MOST_CONNECTIONS = 32
# Bytes and entries of an import that are sent at once, so that a batch is answered well before a client loses patience.
IMPORT_BATCH = 2**20
MOST_ENTRIES = 16
# The largest batches that can be on their way at once; a command sends one after another.
_BATCHES_AT_ONCE = 2
_BODY_SECONDS = 60.0


def make_control_app(node: ServedNode, stop: Callable[[], None]) -> RestService:
    """The application behind the control socket. `stop` is called for POST /stop and must return at once."""
    metrics = Metrics(node)
    app = RestService(metrics)
    answer_with_problems(app)
    # An import comes in batches of whole lines; a line with the largest value is a batch of its own.
    largest_batch = 2 * node.config.records.max_value_size + IMPORT_BATCH
    receive_bounded_bodies(app, largest_body=largest_batch)

    async def stop_node() -> Response:
        stop()
        return Response("stopping\n", status=202, content_type="text/plain; charset=utf-8")

    async def ping(node_id: str) -> Response:
        return json_response(pinged_document(await node.ping(NodeId.parse(node_id))))

    async def reload() -> Response:
        return await reload_node(node)

    async def describe() -> Response:
        return json_response(node_document(node.status()))

    async def peers() -> Response:
        return json_response(peers_document(node.peers()))

    async def records() -> Response:
        return json_response(records_document(node.records(_after())))

    async def export() -> Response:
        page = node.export(_after())
        headers = {
            "Cache-Control": "no-store",
            "Camomile-Entries": str(page.entries),
            "Camomile-Unsigned": str(page.unsigned),
            "Camomile-Unreadable": str(page.unreadable),
            **({} if page.last is None else {"Camomile-Last": str(page.last)}),
        }
        return Response(page.lines, content_type="application/jsonl", headers=headers)

    async def take_in() -> Response:
        lines = (await current_request().body.read(_BODY_SECONDS)).splitlines()
        if len(lines) > MOST_ENTRIES:
            raise BadRequest(f"the batch has more than {MOST_ENTRIES} entries", remedy="send fewer at a time")
        return json_response(imported_document(await node.take_in(lines)))

    app.add_url_rule("/records", view_func=records, methods=["GET"])
    app.add_url_rule("/export", view_func=export, methods=["GET"])
    app.add_url_rule("/import", view_func=take_in, methods=["POST"])
    app.add_url_rule("/stop", view_func=stop_node, methods=["POST"])
    app.add_url_rule("/reload", view_func=reload, methods=["POST"])
    app.add_url_rule("/ping/<node_id>", view_func=ping, methods=["POST"])
    app.add_url_rule("/node", view_func=describe, methods=["GET"])
    app.add_url_rule("/peers", view_func=peers, methods=["GET"])
    # Who may open the socket is the owner: no web page can, and a token is not asked for.
    admission = Admission(ByteBudget(_BATCHES_AT_ONCE * body_bound(Encoding.URLENCODED, largest_batch)), largest_batch)
    app.asgi_app = Front(app.asgi_app, metrics, frozenset(), admission)  # type: ignore[method-assign]
    return app


def _after() -> Key | None:
    text = current_request().args.get("after")
    return None if text is None else Key.parse(text)


async def serve_control(
    node: ServedNode,
    path: Path,
    stop: Callable[[], None],
    *,
    task_status: trio.TaskStatus[Path] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves the control socket at `path` until cancelled, and removes it. `task_status` gets the path.

    ConfigError if the path is too long, not a socket, or not to be made there; TransportError if another process
    listens on it.
    """
    listening = bind_control(path)
    made = _inode(path)
    app = make_control_app(node, stop)
    connections = Connections(cast("ASGIFramework", app), app.metrics, _MOST_CONNECTIONS, _MOST_CONNECTIONS)
    try:
        await connections.serve(listening, lambda: task_status.started(path))
    finally:
        _remove_own(path, made)


def bind_control(path: Path) -> socket.socket:
    """A socket that listens at `path`, for its owner alone. Errors as `serve_control` says."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ConfigError(
            f"the socket's path has more than {LONGEST_PATH} bytes: {path}", remedy="choose a shorter --socket PATH"
        )
    _remove_stale(path)
    # The file gets its mode as it is made: there is no moment at which others could open it.
    previous = os.umask(0o177)
    try:
        return listen_on(socket.AF_UNIX, str(path))
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise ConfigError(f"cannot make the socket {path}: {reason}", remedy="choose another --socket PATH") from None
    finally:
        os.umask(previous)


def _remove_stale(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError(f"{path} is there and is not a socket", remedy="choose another --socket PATH")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(str(path))
    # Only a refused connection proves that nobody listens: a full backlog, say, means that somebody does.
    if answer != errno.ECONNREFUSED:
        raise TransportError(f"another process listens on {path}", remedy="stop it, or choose another --socket PATH")
    path.unlink(missing_ok=True)


def _remove_own(path: Path, inode: int | None) -> None:
    # Whoever replaced the file meanwhile keeps it.
    if _inode(path) == inode:
        path.unlink(missing_ok=True)


def _inode(path: Path) -> int | None:
    try:
        return path.lstat().st_ino
    except FileNotFoundError:
        return None
