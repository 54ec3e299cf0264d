"""`camomile records`, `export`, `import` and `check`: looking inside a node, and carrying signed records elsewhere.

Rules of this file: a page or a batch at a time, so that a store of any size goes through a fixed space, and Ctrl-C ends
it anywhere. `check` needs no node at all.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from camomile_trio.cli.failures import CommandFailed, one_line
from camomile_trio.cli.node_options import FOR_STATE, FOR_TRANSFER, socket_options, timeout_option
from camomile_trio.cli.option_types import FILE_OR_STREAM, STREAM, Name, option
from camomile_trio.cli.places import socket_to_call
from camomile_trio.cli.whole_files import file_or_stdout
from camomile_trio.config import DEFAULT_NETWORK

if TYPE_CHECKING:
    import httpx

    from camomile_trio.cli.exports import Tally

# As http/control.py bounds a batch; a longer line goes alone.
BATCH_BYTES, BATCH_ENTRIES = 2**20, 16


@click.command()
@option("--json", "as_json", is_flag=True, help="Print each record as a line of JSON.")
@socket_options
@timeout_option(FOR_STATE)
def records(as_json: bool, socket: Path | None, data_dir: Path | None, timeout: float) -> None:
    """List the records that this machine's node holds.

    COPIES is how many other nodes have confirmed lately that they hold the very same record; "-" if none has, as after
    a start: the next round of replication asks them.
    """
    path = socket_to_call(socket, data_dir, os.environ, os.getuid())
    from camomile_trio.cli.client import control_client, read_json, require

    unreadable = 0
    with control_client(path, timeout) as client:
        if not as_json:
            click.echo(f"{'KEY':64}  {'KIND':9}  {'ENDS':19}  {'PUBLISHER':16}  {'SIZE':>9}  COPIES")
        last: object = None
        while True:
            with client.stream("GET", "/records", params=_after(last)) as response:
                require(response, 200)
                page = read_json(response)
            found = page.get("records")
            for record in found if isinstance(found, list) else []:
                click.echo(json.dumps(record) if as_json else _row(record))
            unreadable += _number(page.get("unreadable"))
            last = _next(last, page.get("last"))
            if last is None:
                break
    _warn_unreadable(unreadable)


def _row(record: dict[str, object]) -> str:
    ends = datetime.fromtimestamp(_number(record.get("expires")) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    publisher, size = record.get("publisher"), record.get("size")
    who, length = "-" if publisher is None else str(publisher)[:16], "-" if size is None else str(size)
    copies = "-" if record.get("copies_known") is None else record.get("copies_known")
    cells = f"{record.get('key')}", f"{record.get('kind')!s:9}", ends, f"{who:16}", f"{length:>9}", f"{copies!s:>6}"
    return "  ".join(cells)


@click.command()
@option(
    "--output",
    type=FILE_OR_STREAM,
    help="Write to this file, which appears whole or not at all; - is standard output.",
)
@socket_options
@timeout_option(FOR_TRANSFER)
def export(output: Path | None, socket: Path | None, data_dir: Path | None, timeout: float) -> None:
    """Write the signed records of this machine's node, with their values, to standard output.

    The file can be checked by anybody (`camomile check`) and taken in by any node of the same network (`camomile
    import`) while its leases last.
    """
    path = socket_to_call(socket, data_dir, os.environ, os.getuid())
    from camomile_trio.cli.client import control_client

    # A value is a secret of those who know its key, and here are the keys of all.
    with file_or_stdout(output, mode=0o600) as out, control_client(path, timeout) as client:
        _export(client, out)


def _export(client: httpx.Client, out: BinaryIO) -> None:
    from camomile_trio.cli.client import read_json, require
    from camomile_trio.node import archive

    with client.stream("GET", "/node") as response:
        require(response, 200)
        network = read_json(response).get("network")
    if not isinstance(network, str):
        raise CommandFailed("this is no node of Camomile", remedy="name the control socket with --socket")
    out.write(archive.header_line(network))
    entries = unsigned = unreadable = 0
    last: object = None
    while True:
        with client.stream("GET", "/export", params=_after(last)) as response:
            require(response, 200)
            lines = 0
            for piece in response.iter_bytes():
                lines += piece.count(b"\n")
                out.write(piece)
            told = response.headers
            if lines != _number(told.get("camomile-entries")):
                raise CommandFailed("the node sent another number of entries than it said", remedy="export again")
        entries += lines
        unsigned += _number(told.get("camomile-unsigned"))
        unreadable += _number(told.get("camomile-unreadable"))
        last = _next(last, told.get("camomile-last"))
        if last is None:
            break
    out.write(archive.end_line(entries))
    click.echo(f"exported {entries} keys", err=True)
    if unsigned:
        click.echo(f"camomile: {unsigned} values of classic nodes have no signed record and were left out", err=True)
    _warn_unreadable(unreadable)


@click.command("import")
@click.argument("file", type=FILE_OR_STREAM)
@socket_options
@timeout_option(FOR_TRANSFER)
def import_(file: Path, socket: Path | None, data_dir: Path | None, timeout: float) -> None:
    """Offer the records in FILE (- for standard input) to the network of this machine's node.

    Each is checked and goes to the nodes that should hold it; nothing prolongs its life. What is refused is counted by
    its reason.
    """
    path = socket_to_call(socket, data_dir, os.environ, os.getuid())
    from camomile_trio.cli.client import control_client, read_json, require
    from camomile_trio.cli.exports import ExportReader, Tally

    tally = Tally()
    with _source(file) as source, control_client(path, timeout) as client:
        with client.stream("GET", "/node") as response:
            require(response, 200)
            network = str(read_json(response).get("network"))
        reader = ExportReader(source, network)
        try:
            for batch in _batches(reader.lines()):
                _send(client, batch, tally)
                tally.require_sense()
        finally:
            click.echo(f"imported {tally.records} records of {tally.entries} keys")
            tally.tell()
    if tally.refused:
        raise CommandFailed(f"{tally.refused.total()} records or entries were refused", remedy="see the reasons above")


def _send(client: httpx.Client, batch: list[bytes], tally: Tally) -> None:
    from camomile_trio.cli.client import read_json, require

    with client.stream("POST", "/import", content=b"\n".join(batch)) as response:
        if response.status_code == 413 and len(batch) == 1:
            tally.count(0, ["too large"])
            return
        require(response, 200)
        found = read_json(response).get("entries")
    outcomes = found if isinstance(found, list) else []
    if len(outcomes) != len(batch):
        raise CommandFailed("the node does not say what became of every entry", remedy="import the file again")
    for outcome in outcomes:
        refused = outcome.get("refused")
        tally.count(_number(outcome.get("stored")), [one_line(str(each)) for each in refused or ()])


@click.command()
@click.argument("file", type=FILE_OR_STREAM)
@option("--network", type=Name(), default=DEFAULT_NETWORK, help="The network that the export should be of.")
def check(file: Path, network: str) -> None:
    """Check an export without any node: hashes, signatures, and whether its leases still last."""
    import time

    from camomile_trio.cli.exports import LARGEST_VALUE, ExportReader, Tally
    from camomile_trio.identity import network_id
    from camomile_trio.node import archive

    tally = Tally()
    with _source(file) as source:
        reader = ExportReader(source, network)
        try:
            for line in reader.lines():
                try:
                    entry = archive.read_line(line, max_value_size=LARGEST_VALUE)
                    if not isinstance(entry, archive.Entry):
                        raise archive.BadEntry("malformed")
                    good, refused = archive.check(entry, network_id(network), time.time_ns() // 1_000_000)
                except archive.BadEntry as error:
                    tally.count(0, [error.reason])
                else:
                    tally.count(len(good), refused)
                tally.require_sense()
        finally:
            click.echo(f"good     {tally.records} records of {tally.entries} keys")
            tally.tell()
    if tally.refused:
        raise CommandFailed(f"{tally.refused.total()} records or entries are no good", remedy="see the reasons above")


@contextmanager
def _source(file: Path) -> Iterator[BinaryIO]:
    if file == STREAM:
        yield sys.stdin.buffer
    else:
        with file.open("rb") as source:
            yield source


def _batches(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """What was read before the reading failed is a batch too: that its file ends badly says nothing about an entry."""
    batch: list[bytes] = []
    size = 0
    failure: CommandFailed | OSError | None = None
    try:
        for line in lines:
            if batch and (size + len(line) > BATCH_BYTES or len(batch) >= BATCH_ENTRIES):
                yield batch
                batch, size = [], 0
            batch.append(line)
            size += len(line) + 1
    except (CommandFailed, OSError) as error:
        failure = error
    if batch:
        yield batch
    if failure is not None:
        raise failure


def _after(last: object) -> dict[str, str]:
    return {} if last is None else {"after": str(last)}


def _next(before: object, last: object) -> str | None:
    """The key to go on after. CommandFailed if it does not lead on: keys come in order, so a page cannot come again."""
    if last is None:
        return None
    if not isinstance(last, str) or (isinstance(before, str) and last <= before):
        raise CommandFailed("the node's pages do not come to an end", remedy="name the control socket with --socket")
    return last


def _number(found: object) -> int:
    if isinstance(found, str) and found.isdecimal():
        return int(found)
    return found if isinstance(found, int) else 0


def _warn_unreadable(count: int) -> None:
    if count:
        click.echo(f"camomile: {count} keys cannot be read: the database is damaged", err=True)
