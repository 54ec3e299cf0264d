"""`camomile cluster`: a whole network in one process, to try things out.

Rules of this file: options only; what then runs is in `local_cluster.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from camomile_trio.cli.log_options import LogFormat, LogLevel, log_options
from camomile_trio.cli.option_types import FILE, SocketAddress, option
from camomile_trio.cli.places import socket_of_node
from camomile_trio.cli.stop_signals import StopSignals
from camomile_trio.kademlia.contacts import Endpoint

# Where a process may not have more than 1024 descriptors: a node takes three at rest, and more under load.
MOST_NODES = 250


@click.command(short_help="Run a network of many nodes in this one process.")
@option("-n", "--nodes", type=click.IntRange(1, MOST_NODES), default=10, help="How many nodes.")
@option(
    "--http",
    type=SocketAddress(),
    default="127.0.0.1:8080",
    help="Where clients reach node 1; node i is at this port + i - 1, and port 0 takes free ones. Who reaches them may "
    "write and delete.",
)
@option(
    "--udp-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Where peers reach node 1, on 127.0.0.1; node i is at this port + i - 1. 0 takes free ones.",
)
@option(
    "--classic",
    is_flag=True,
    help="Speak with classic nodes (Go, 2019), too, which prove nothing. The network is open then.",
)
@option(
    "--socket",
    type=FILE,
    show_default="control-PORT.sock in the runtime directory, after node 1's port of peers",
    help="The control socket of node 1. `camomile stop` stops all nodes.",
)
@log_options(level="warning")
@click.pass_context
def cluster(
    context: click.Context,
    nodes: int,
    http: Endpoint,
    udp_port: int,
    classic: bool,
    socket: Path | None,
    log_level: LogLevel,
    log_format: LogFormat | None,
) -> None:
    """Run a network of many nodes in this one process, on loopback, until Ctrl-C.

    All nodes share one publisher key, so that each can forget what another stored, and a network key, without which no
    other node gets in. The command shows the line that starts one more node. They keep everything in memory: when the
    command ends, all of it is gone, and so is the network key.
    """
    for name, first in (("--http", http.port), ("--udp-port", udp_port)):
        if first and first + nodes - 1 > 65535:
            raise click.UsageError(f"{name}: {nodes} nodes from port {first} on go beyond 65535")

    control = socket_of_node(socket, None, os.environ, os.getuid())

    import trio

    from camomile_trio.cli.descriptors import raise_limit
    from camomile_trio.cli.local_cluster import Places, run_cluster
    from camomile_trio.cli.logs import logging_events
    from camomile_trio.cli.running import Process

    descriptors = raise_limit()
    with logging_events(log_level, log_format) as log_lines:
        process = Process(context.ensure_object(StopSignals), log_lines)
        trio.run(run_cluster, nodes, classic, Places(http, udp_port, control), descriptors, process)
