"""`camomile ping`, `camomile reload` and `camomile stop`: what only the owner of a node does, over its control socket.

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
from camomile_trio.config import MOST_EXPECTED
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


@click.command(short_help="Let this machine's node read its network key again.")
@click.option(
    "--expect",
    type=click.IntRange(1, MOST_EXPECTED),
    metavar="N",
    help=(
        "How many nodes the deployment has at least from now on, as `camomile node --expect` says it. Never taken from "
        "the environment, which may have the number of the node's start."
    ),
)
@socket_options
@timeout_option(FOR_STATE)
def reload(expect: int | None, socket: Path | None, data_dir: Path | None, timeout: float) -> None:
    """Let the node on this machine read its network key file again, and change what else can change while it runs.

    Two options of a node can change without a restart: what is in the file of --network-key, and --expect. SIGHUP reads
    the file again, too, where the node was not started on a terminal. If the file is broken, the node goes on with the
    keys that it has. A number given by --expect holds until the node ends.
    """
    path = socket_to_call(socket, data_dir, os.environ, os.getuid())
    from camomile_trio.cli.client import control_client, read_json, require

    asked = {} if expect is None else {"expect": expect}
    with control_client(path, timeout) as client, client.stream("POST", "/reload", json=asked) as response:
        require(response, 200)
        found = read_json(response)
    for line in _changes(found) or ["nothing has changed"]:
        click.echo(one_line(line))


def _changes(found_untrusted: dict[str, object]) -> list[str]:
    """What a reload has changed, a line for each."""

    def keys(member: str) -> list[str]:
        listed = found_untrusted.get(member)
        return [str(key) for key in listed] if isinstance(listed, list) else []

    lines = [f"accepted now: {key}" for key in keys("added")]
    if (promoted := found_untrusted.get("promoted")) is not None:
        lines.append(f"sent under now: {promoted}")
    lines += [f"removed: {key}" for key in keys("removed")]
    if ended := found_untrusted.get("sessions_ended"):
        lines.append(f"sessions ended: {ended}")
    before, expect = found_untrusted.get("expect_before"), found_untrusted.get("expect")
    if before != expect:
        lines.append(f"expects now: {expect} nodes" + ("" if before is None else f", before: {before}"))
    return lines


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
