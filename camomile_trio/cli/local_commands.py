"""`camomile ping` and `camomile stop`: what only the owner of a node does, over its control socket.

Rules of this file: these are not on the public port, and never go over a network.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camomile_trio.cli.failures import CommandFailed, one_line
from camomile_trio.cli.node_options import FOR_OPERATION, FOR_STATE, socket_options, timeout_option
from camomile_trio.cli.option_types import IdOfNode
from camomile_trio.cli.places import socket_to_call
from camomile_trio.errors import ConfigError, NotFound
from camomile_trio.kademlia.ids import ID_BYTES

if TYPE_CHECKING:
    import httpx


@click.command()
@click.argument("node_id", type=IdOfNode())
@socket_options
@timeout_option(FOR_OPERATION)
def ping(node_id: str, socket: Path | None, data_dir: Path | None, timeout: float) -> None:
    """Let this machine's node find and ping another.

    NODE_ID is an id as `camomile peers` shows it. Of a node in that list the first digits are enough.
    """
    path = socket_to_call(socket, data_dir, os.environ, os.getuid())
    from camomile_trio.cli.client import control_client, read_json, require

    with control_client(path, timeout) as client:
        node = node_id if len(node_id) == 2 * ID_BYTES else _whole_id(client, node_id)
        with client.stream("POST", f"/ping/{node}") as response:
            require(response, 200)
            found = read_json(response)
    round_trip, endpoint = found.get("round_trip"), found.get("endpoint")
    if not isinstance(round_trip, (int, float)) or isinstance(round_trip, bool):
        raise CommandFailed(f"{path} does not answer as a node does", remedy="name the control socket with --socket")
    click.echo(one_line(f"{node} at {endpoint} answered in {round_trip * 1000:.2f} ms"))


def _whole_id(client: httpx.Client, first_digits: str) -> str:
    """The one id in the node's routing table that begins so. NotFound; ConfigError if there are several."""
    from camomile_trio.cli.client import read_json, require

    with client.stream("GET", "/peers") as response:
        require(response, 200)
        peers = read_json(response).get("peers")
    ids = [str(peer.get("id")) for peer in peers if isinstance(peer, dict)] if isinstance(peers, list) else []
    found = [each for each in ids if re.fullmatch(f"{first_digits}[0-9a-f]*", each) and len(each) == 2 * ID_BYTES]
    if not found:
        raise NotFound(f"no id of a peer begins with {first_digits}", remedy="take one from `camomile peers`")
    if len(found) > 1:
        raise ConfigError(f"the ids of {len(found)} peers begin with {first_digits}", remedy="give more digits")
    return found[0]


@click.command()
@socket_options
@timeout_option(FOR_STATE)
def stop(socket: Path | None, data_dir: Path | None, timeout: float) -> None:
    """Stop the node on this machine, in order."""
    path = socket_to_call(socket, data_dir, os.environ, os.getuid())
    from camomile_trio.cli.client import control_client, require

    with control_client(path, timeout) as client, client.stream("POST", "/stop") as response:
        require(response, 202)
    click.echo("stopping")
