"""`camomile key network`: the file with the key of a closed network, made and changed while its nodes run.

Rules of this file: a key is never printed, only its fingerprint. A file is changed on this machine only; what its nodes
do then is for `camomile reload`.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import click

from camomile_trio.cli.failures import sentence
from camomile_trio.cli.option_types import FILE, KEY_FILE, option
from camomile_trio.cli.places import socket_to_call
from camomile_trio.errors import CamomileError

ASKING_SECONDS = 3.0  # for a node of this machine to say how many sessions use a key


@click.group(short_help="Make the key of a closed network, or change it.")
def network() -> None:
    """Make the key of a closed network, or change it while the nodes run.

    Only nodes with the same key speak with each other (`camomile node --network-key FILE`). To change it, add a new
    key, promote it, and remove the old one. Take each step once, in one file; copy that file to every node, and say
    `camomile reload` at every node, before the next step begins.

    What is printed are fingerprints: which key is sent under, and which one is accepted as well. Keys are never shown.
    """


@network.command()
@click.argument("file", type=KEY_FILE)
@click.option("--if-missing", is_flag=True, help="Leave a file that is there as it is, and show what is in it.")
def new(file: Path, if_missing: bool) -> None:
    """Make a new key in FILE, readable by its owner alone.

    A file that is there already is left as it is.
    """
    from camomile_trio.network_keys import create_network_key
    from camomile_trio.secret_files import KeyFileExists

    try:
        create_network_key(file, random.SystemRandom())
    except KeyFileExists:
        if not if_missing:
            raise
    _show(file)


@network.command()
@click.argument("file", type=KEY_FILE)
def add(file: Path) -> None:
    """Add a new key to FILE, which is accepted as well. The first step of a change.

    Make it once, and copy the file to every node.
    """
    from camomile_trio.network_keys import add_network_key

    add_network_key(file, random.SystemRandom())
    _show(file)


@network.command()
@click.argument("file", type=KEY_FILE)
def promote(file: Path) -> None:
    """Send under the second key of FILE from now on, and accept the first as well. The second step of a change.

    Every node has to accept the new key before: one that does not would not be answered any more.
    """
    from camomile_trio.network_keys import promote_network_key

    promote_network_key(file)
    _show(file)


@network.command()
@click.argument("file", type=KEY_FILE)
@option(
    "--socket",
    type=FILE,
    show_default="that of the only node that runs",
    help="The control socket of a node on this machine, which is asked how many of its sessions use the key.",
)
def remove(file: Path, socket: Path | None) -> None:
    """Remove the second key from FILE. The last step of a change.

    Sessions under the key end when a node reloads. If the node of this machine still has some, a warning says how
    many: some node sends under the key that goes.
    """
    from camomile_trio.network_keys import fingerprint, load_network_keys, remove_network_key

    keys = load_network_keys(file)
    if len(keys) > 1:
        _warn_of_sessions(fingerprint(keys[1]), socket)
    gone = remove_network_key(file)
    _show(file)
    click.echo(f"removed        {fingerprint(gone)}")


def _warn_of_sessions(going: str, told: Path | None) -> None:
    """Says on standard error how many sessions of the local node use the key that goes. Nothing if no node answers."""
    try:
        path = socket_to_call(told, None, os.environ, os.getuid())
        if told is None and not path.exists():
            return
        count = _sessions_under(going, path)
    except CamomileError as error:
        click.echo(f"camomile: no node was asked who uses the key: {sentence(str(error), error.remedy)}", err=True)
        return
    if count:
        click.echo(
            f"camomile: the node at {path} still has sessions under {going}: {count}; they end when it reloads, and"
            " nodes that send under this key get no answer from then on",
            err=True,
        )


def _sessions_under(going: str, path: Path) -> int:
    from camomile_trio.cli.client import control_client, read_json, require

    with control_client(path, ASKING_SECONDS) as client, client.stream("GET", "/node") as response:
        require(response, 200)
        keys = read_json(response).get("network_keys")
    for key in keys if isinstance(keys, list) else []:
        if (
            isinstance(key, dict)
            and key.get("fingerprint") == going
            and isinstance(sessions := key.get("sessions"), int)
        ):
            return sessions
    return 0


def _show(file: Path) -> None:
    from camomile_trio.network_keys import fingerprint, load_network_keys

    first, *second = map(fingerprint, load_network_keys(file))
    click.echo(f"sent under     {first}")
    for each in second:
        click.echo(f"also accepted  {each}")
