"""The HTTP server of a node: binds, serves the REST service, ends with the block that it runs in.

Rules of this file: a child of the node's block, never its parent. It starts serving only once it is bound, and says
where; nothing is bound twice, and a port in use is one clear error.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import cast

import trio
from hypercorn.typing import ASGIFramework

from camomile_trio.errors import TransportError
from camomile_trio.http.app import make_app
from camomile_trio.http.connections import Connections, listen_on
from camomile_trio.http.metrics import ProcessStatistics
from camomile_trio.http.served import ServedNode
from camomile_trio.http.settings import HttpSettings
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.operations.results import Statistics

_REMEDIES = {
    errno.EADDRINUSE: "stop what listens there, or choose another --http HOST:PORT",
    errno.EADDRNOTAVAIL: "choose an address of this machine for --http HOST:PORT",
    errno.EACCES: "choose a port above 1023 for --http HOST:PORT",
}


def bind_http(endpoint: Endpoint) -> socket.socket:
    """A socket that listens on `endpoint`; port 0 takes a free one. TransportError if it cannot be had."""
    family = socket.AF_INET if endpoint.is_ipv4 else socket.AF_INET6
    try:
        return listen_on(family, (endpoint.host, endpoint.port))
    except OSError as error:
        number = error.errno or 0
        raise TransportError(
            f"cannot serve HTTP on {endpoint}: {os.strerror(number).lower()}",
            remedy=_REMEDIES.get(number, "choose another --http HOST:PORT"),
        ) from None


async def serve(
    node: ServedNode,
    settings: HttpSettings,
    *,
    listening: socket.socket | None = None,
    process: ProcessStatistics = Statistics,
    task_status: trio.TaskStatus[tuple[Endpoint, ...]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `node` over HTTP until cancelled; then requests under way have two seconds to end.

    `listening` is a socket that listens already (it becomes the server's); without one, `settings.listen` is bound.
    The metrics show what `process` counts, beside the node's own.
    `task_status` gets the endpoints that it listens on, once it does. TransportError if the address cannot be had.
    """
    bound = bind_http(settings.listen) if listening is None else listening
    host, port = bound.getsockname()[:2]
    app = make_app(node, settings, process)
    connections = Connections(
        cast("ASGIFramework", app), app.metrics, settings.max_connections, settings.most_per_address
    )
    with node.events.watch(app.metrics.observe):
        await connections.serve(bound, lambda: task_status.started((Endpoint.from_host(host, port),)))
