"""`camomile cluster`: a whole network in one process, to try things out.

Rules of this file: options only; what then runs is in `local_cluster.py`.
"""

from __future__ import annotations

import sys

import click

from camomile_trio.cli.log_options import LogFormat, LogLevel, log_options
from camomile_trio.cli.option_types import SocketAddress, option
from camomile_trio.kademlia.contacts import Endpoint

MOST_NODES = 250  # a process has 1024 file descriptors by default; a node takes three at rest, and more under load


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
@log_options(level="warning")
def cluster(nodes: int, http: Endpoint, udp_port: int, log_level: LogLevel, log_format: LogFormat | None) -> None:
    """Run a network of many nodes in this one process, on loopback, until Ctrl-C.

    All nodes share one publisher key, so that each can forget what another stored. They keep everything in memory: when
    the command ends, all of it is gone.
    """
    for name, first in (("--http", http.port), ("--udp-port", udp_port)):
        if first and first + nodes - 1 > 65535:
            raise click.UsageError(f"{name}: {nodes} nodes from port {first} on go beyond 65535")

    import trio

    from camomile_trio.cli.local_cluster import run_cluster
    from camomile_trio.cli.logs import set_up_logs

    set_up_logs(log_level, log_format, sys.stderr)
    trio.run(run_cluster, nodes, http, udp_port)
