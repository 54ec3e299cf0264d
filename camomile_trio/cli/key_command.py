"""`camomile key new|show`: the file with which a deployment publishes, made before its first node and looked at later.
The key of a closed network, `camomile key network`, is in `network_key_command.py`.

Rules of this file: a secret is never printed, and a file that is there is never overwritten.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camomile_trio.cli.network_key_command import network
from camomile_trio.cli.option_types import KEY_FILE

if TYPE_CHECKING:
    from camomile_trio.identity import KeyPair


@click.group(short_help="Make a publisher key or a network key, or show whose a key file is.")
def key() -> None:
    """Make a publisher key or a network key, or show whose a key file is.

    A publisher key signs what is put through the nodes that have it (`camomile node --publisher-key FILE`): any of
    them can forget and renew what another published. Keep a copy of it in a safe place. A network key closes a network
    to all nodes that do not have it: see `camomile key network --help`.
    """


@key.command()
@click.argument("file", type=KEY_FILE)
def new(file: Path) -> None:
    """Make a new publisher key in FILE, readable by its owner alone.

    A file that is there already is left as it is.
    """
    from camomile_trio.identity import create_key

    _show(create_key(file, random.SystemRandom()))


@key.command()
@click.argument("file", type=KEY_FILE)
def show(file: Path) -> None:
    """Show the public halves of the key in FILE.

    The publisher signs what is put. The node key, which HOST:PORT#KEY of --join takes, and its id are those of a node
    whose own key this is (node.key in its data directory). The secret is not shown.
    """
    from camomile_trio.identity import load_key

    _show(load_key(file))


key.add_command(network)


def _show(pair: KeyPair) -> None:
    from camomile_trio.peer.local import StaticKey
    from camomile_trio.peer.suite import NaclSuite

    node = StaticKey.from_seed(NaclSuite(), pair.seed)
    click.echo(f"publisher  {pair.public.hex()}")
    click.echo(f"node key   {node.public.hex()}")
    click.echo(f"node id    {node.node_id.hex()}")
