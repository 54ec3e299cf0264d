"""`camomile ping` and `camomile stop`: what only the owner of a node does, over its control socket.

Rules of this file: these are not on the public port, and never go over a network.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from camomile_trio.cli.failures import CommandFailed, one_line
from camomile_trio.cli.option_types import DIRECTORY, FILE, Decorated, IdOfNode, option
from camomile_trio.cli.places import socket_to_call
from camomile_trio.kademlia.ids import NodeId


def socket_options(command: Decorated) -> Decorated:
    """Adds --socket and --data-dir, by which the node is found."""
    with_directory = option(
        "--data-dir",
        type=DIRECTORY,
        show_default="$XDG_DATA_HOME/camomile or ~/.local/share/camomile",
        help="The data directory of the node.",
    )(command)
    return option(
        "--socket",
        type=FILE,
        show_default="that of the only node that runs",
        help="The control socket of the node.",
    )(with_directory)


@click.command()
@click.argument("node_id", type=IdOfNode())
@socket_options
def ping(node_id: NodeId, socket: Path | None, data_dir: Path | None) -> None:
    """Let this machine's node find and ping another."""
    path = socket_to_call(socket, data_dir, os.environ, os.getuid())
    from camomile_trio.cli.client import control_client, read_json, require

    with control_client(path) as client, client.stream("POST", f"/ping/{node_id.hex()}") as response:
        require(response, 200)
        found = read_json(response)
    round_trip, endpoint, version = found.get("round_trip"), found.get("endpoint"), found.get("version")
    if not isinstance(round_trip, (int, float)) or isinstance(round_trip, bool):
        raise CommandFailed(f"{path} does not answer as a node does", remedy="name the control socket with --socket")
    kind = "a classic node" if version == 0 else f"version {version}"
    click.echo(one_line(f"{node_id.hex()} at {endpoint} answered in {round_trip * 1000:.2f} ms ({kind})"))


@click.command()
@socket_options
def stop(socket: Path | None, data_dir: Path | None) -> None:
    """Stop the node on this machine, in order."""
    path = socket_to_call(socket, data_dir, os.environ, os.getuid())
    from camomile_trio.cli.client import control_client, require

    with control_client(path) as client, client.stream("POST", "/stop") as response:
        require(response, 202)
    click.echo("stopping")
