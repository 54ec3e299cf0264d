"""`camomile put`, `get`, `forget`, `status` and `peers`: what a client does over HTTP.

Rules of this file: the answer goes to standard output and nothing else does. A key is the hash of its value: both
directions are checked against it, so that a lying or broken server cannot pass something else off.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import click

from camomile_trio.cli.failures import CommandFailed
from camomile_trio.cli.node_options import (
    FOR_OPERATION,
    FOR_STATE,
    FOR_TRANSFER,
    node_option,
    timeout_option,
    token_option,
)
from camomile_trio.cli.option_types import FILE_OR_STREAM, STREAM, KeyOfValue, Life, option
from camomile_trio.cli.token_files import read_token
from camomile_trio.cli.whole_files import file_or_stdout
from camomile_trio.kademlia.ids import Key


@click.command()
@click.argument("value", required=False)
@option("--file", type=FILE_OR_STREAM, help="Put what is in this file; - is standard input.")
@option(
    "--ttl",
    type=Life(),
    help="Seconds that the value lives at least, 60 to 86400; without it, it is renewed until it is forgotten.",
)
@node_option
@token_option
@timeout_option(FOR_TRANSFER)
def put(value: str | None, file: Path | None, ttl: float | None, url: str, token: Path | None, timeout: float) -> None:
    """Store a value and print its key.

    VALUE is the value itself, or - to read it from standard input. The key is printed once a majority of the nodes that
    should hold the value do.
    """
    if (value is None) == (file is None):
        raise click.UsageError("give one value: VALUE, - for standard input, or --file FILE")
    secret = read_token(token) if token else None
    with _source(value, file) as (pieces, size):
        key = _put(url, secret, pieces, size, ttl, timeout)
    click.echo(str(key))


@contextmanager
def _source(value: str | None, file: Path | None) -> Iterator[tuple[Iterator[bytes], int | None]]:
    """The pieces of what is to be put, and its size if it is known."""
    from camomile_trio.cli.progress import progress_bar, read_pieces, size_of

    if file is None and value != str(STREAM):
        # An argument that is not valid UTF-8 goes as the bytes that it was.
        encoded = os.fsencode(value or "")
        yield iter((encoded,)), len(encoded)
        return
    with nullcontext(sys.stdin.buffer) if file in (None, STREAM) else file.open("rb") as source:
        size = size_of(source)
        with progress_bar(read_pieces(source), size) as pieces:
            yield pieces, size


def _put(
    url: str, token: bytes | None, pieces: Iterator[bytes], size: int | None, ttl: float | None, timeout: float
) -> Key:
    from camomile_trio.cli.client import node_client, require
    from camomile_trio.cli.progress import Hasher

    hasher = Hasher()
    headers = {"Content-Type": "application/octet-stream"}
    if size is not None:
        headers["Content-Length"] = str(size)
    if ttl is not None:
        headers["Camomile-TTL"] = f"{ttl:.9g}"
    with (
        node_client(url, token, timeout) as client,
        client.stream("POST", "/", content=hasher.pieces(pieces), headers=headers) as response,
    ):
        require(response, 202)
        if response.headers.get("location", "") != f"/{hasher.key}":
            raise CommandFailed(f"the node stored something else than {hasher.key}", remedy="put it at another node")
        if ttl is not None and "camomile-expires" not in response.headers:
            click.echo("note: an earlier put keeps this value until it is forgotten; --ttl changes nothing", err=True)
    return hasher.key


@click.command()
@click.argument("key", type=KeyOfValue())
@option(
    "--output",
    type=FILE_OR_STREAM,
    help="Write the value to this file, which appears whole or not at all; - is standard output.",
)
@node_option
@timeout_option(FOR_OPERATION)
def get(key: Key, output: Path | None, url: str, timeout: float) -> None:
    """Write the value of a key to standard output."""
    with file_or_stdout(output) as out:
        _get(url, key, out, timeout)


def _get(url: str, key: Key, out: BinaryIO, timeout: float) -> None:
    from camomile_trio.cli.client import node_client, require
    from camomile_trio.cli.progress import Hasher

    hasher = Hasher()
    with node_client(url, None, timeout) as client, client.stream("GET", f"/{key}") as response:
        require(response, 200)
        out.writelines(hasher.pieces(response.iter_bytes()))
    if hasher.key != key:
        raise CommandFailed("what came does not hash to the key: do not use it", remedy="get it from another node")


@click.command()
@click.argument("key", type=KeyOfValue())
@node_option
@token_option
@timeout_option(FOR_OPERATION)
def forget(key: Key, url: str, token: Path | None, timeout: float) -> None:
    """Make the whole network forget what was put under a key."""
    secret = read_token(token) if token else None
    from camomile_trio.cli.client import node_client, require

    with node_client(url, secret, timeout) as client, client.stream("DELETE", f"/{key}") as response:
        require(response, 204)
        others = response.headers.get("camomile-publishers")
    click.echo(f"forgotten: {key}")
    if others is not None and others.isdecimal():
        click.echo(f"camomile: {others} others still publish the value; for them it stays", err=True)


@click.command()
@option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@node_option
@timeout_option(FOR_STATE)
def status(as_json: bool, url: str, timeout: float) -> None:
    """Show how a node is doing."""
    found = _document(url, "/-/node", timeout)
    if as_json:
        _print_json(found)
        return
    from camomile_trio.cli.status_table import print_status

    print_status(found)


@click.command()
@option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@node_option
@timeout_option(FOR_STATE)
def peers(as_json: bool, url: str, timeout: float) -> None:
    """List the nodes in a node's routing table, the nearest first.

    ROUND TRIP is the usual time to an answer, LAST SEEN how long ago the latest answer came, and ANSWERS whether the
    last request was answered. In a closed network NETWORK KEY is the fingerprint of the key that its session is under.
    `camomile ping ID` asks one now.
    """
    found = _document(url, "/-/peers", timeout)
    if as_json:
        _print_json(found)
        return
    from camomile_trio.cli.peers_table import peer_lines

    for line in peer_lines(found):
        click.echo(line)


def _document(url: str, path: str, timeout: float) -> dict[str, object]:
    from camomile_trio.cli.client import node_client, read_json, require

    with node_client(url, None, timeout) as client, client.stream("GET", path) as response:
        require(response, 200)
        return read_json(response)


def _print_json(found: dict[str, object]) -> None:
    import json

    click.echo(json.dumps(found, indent=2))
