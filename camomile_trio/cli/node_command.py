"""`camomile node`: the options of one node, and the Config that they make.

Rules of this file: everything that can be refused is refused before anything starts. What then runs is in `running.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.core import ParameterSource

from camomile_trio.cli.garbage import imports_for_good
from camomile_trio.cli.log_options import LogFormat, LogLevel, log_options
from camomile_trio.cli.option_types import (
    DIRECTORY,
    FILE,
    KEY_FILE,
    TOKEN_FILE,
    HostNames,
    Name,
    PeerNames,
    ReachableAddress,
    Size,
    SocketAddress,
    TrustedNetwork,
    option,
)
from camomile_trio.cli.places import default_data_dir, socket_of_node
from camomile_trio.cli.stop_signals import StopSignals
from camomile_trio.cli.token_files import read_token
from camomile_trio.config import (
    DEFAULT_NETWORK,
    Config,
    Kademlia,
    Records,
    StorageConfig,
    SyncMode,
    number_text,
    size_text,
)
from camomile_trio.kademlia.contacts import Endpoint

DEFAULT_LISTEN = "0.0.0.0:8118"
DEFAULT_HTTP = "127.0.0.1:8080"
RECORDS = Records()
# Where a user might write the key itself, which every child of the process could read.
MISTAKEN_VARIABLE = "CAMOMILE_NETWORK_KEY"


@click.command()
@option(
    "--listen",
    type=SocketAddress(),
    default=DEFAULT_LISTEN,
    help="Where peers reach this node, UDP and TCP; port 0 takes a free one.",
)
@option(
    "--advertise",
    type=ReachableAddress(),
    help="The address that peers are told, if it is not the one that they see: behind a fixed port mapping.",
)
@option(
    "--http",
    type=SocketAddress(),
    default=DEFAULT_HTTP,
    help="Where clients reach this node. Who reaches it may write and delete: see --http-token.",
)
@option(
    "--http-host",
    type=HostNames(),
    multiple=True,
    help=(
        "A name under which clients ask this node, besides localhost, the machine's own name and any address; requests "
        "for other names are refused. May be given several times; in the environment, separated by spaces or commas."
    ),
)
@option(
    "--http-per-address",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="half of all, 512",
    help="Open connections of one client address; more where clients share one: behind a proxy, or in Docker.",
)
@option(
    "--join",
    type=PeerNames(),
    multiple=True,
    help=(
        "A node to join the network through, a name or an address; every address of a name is tried, again "
        "and again. With #KEY, the node key of its `camomile status`, no other node is taken for it. May be given "
        "several times; in the environment, separated by spaces or commas."
    ),
)
@option(
    "--first",
    is_flag=True,
    help=(
        "Stand alone and be ready if nobody answers within 10 s, and go on trying; not with a data directory that has "
        "ever had a contact."
    ),
)
@option(
    "--expect",
    type=int,
    metavar="N",
    show_default="waits for nobody",
    help=(
        "How many nodes the deployment has at least, this one included, 1 to 1000. The node is not ready for the first "
        "time before it has met the others, and puts and forgets need a majority of so many. 1: it may count alone, "
        "even when other nodes that it has met are gone."
    ),
)
@option(
    "--network",
    type=Name(),
    default=DEFAULT_NETWORK,
    help="The network's name. Nodes of different names do not talk to each other.",
)
@option(
    "--network-key",
    type=KEY_FILE,
    suffix="_FILE",
    show_default="none: any host that reaches this node may join",
    help=(
        "The file with the key of a closed network, or with two while they are changed (`camomile key network`). Only "
        "nodes that have the key get an answer. A file that is missing is an error. `camomile reload` reads it again."
    ),
)
@option(
    "--classic",
    is_flag=True,
    help="Speak with classic nodes (Go, 2019), too, which prove nothing; in the default, open network only.",
)
@option(
    "--trust",
    type=TrustedNetwork(),
    multiple=True,
    help=(
        "A network of public addresses which are all yours: any number of nodes there count in an open network, where "
        "of any other /24 (IPv6 /48) two do. May be given several times; in the environment, separated by spaces or "
        "commas."
    ),
)
@option(
    "--data-dir",
    type=DIRECTORY,
    show_default="$XDG_DATA_HOME/camomile or ~/.local/share/camomile",
    help="Where records and the node's key are kept.",
)
@option("--ephemeral", is_flag=True, help="Keep everything in memory: a new identity, and no records, at each start.")
@option(
    "--socket",
    type=FILE,
    show_default="control.sock in the data directory; control-PORT.sock in the runtime directory when ephemeral",
    help="The control socket, for `camomile ping` and `camomile stop`.",
)
@option(
    "--publisher-key",
    type=KEY_FILE,
    show_default="the node's own key",
    help=(
        "The key that signs what is put here, 64 hexadecimal digits; made if it is missing. Nodes that share "
        "it can forget and renew each other's values."
    ),
)
@option(
    "--http-token",
    type=TOKEN_FILE,
    show_default="nobody is asked",
    help="A file with a bearer token that POST and DELETE must show.",
)
@option(
    "--sync",
    type=click.Choice(["os", "full"]),
    default="os",
    help=(
        "When a write is acknowledged: once the operating system has it (on disk within a second), or once it "
        "is on disk (slower)."
    ),
)
@option(
    "--max-storage",
    type=Size(),
    default=size_text(StorageConfig().max_storage),
    help="Bytes of records kept; past that, new ones are refused.",
)
@option(
    "--max-value-size",
    type=Size(),
    default=size_text(RECORDS.max_value_size),
    help="Bytes of the largest value accepted.",
)
@option(
    "--cache-life",
    type=float,
    metavar="S",
    default=number_text(RECORDS.cache_life),
    help="Seconds that a copy may be served without asking its holders, 0 to 60.",
)
@option(
    "--repair-rate",
    type=Size(),
    default=size_text(RECORDS.repair_rate),
    help="Bytes a second spent on bringing lost copies back.",
)
@option(
    "--lease",
    type=float,
    metavar="S",
    default=number_text(RECORDS.lease),
    help="Seconds that a value put here lives without being renewed, 60 to 86400.",
)
@option(
    "--replicate-interval",
    type=float,
    metavar="S",
    default=number_text(RECORDS.replicate_interval),
    help="Seconds between offers of the records held to the other holders.",
)
@option(
    "--refresh-interval",
    type=float,
    metavar="S",
    default=number_text(Kademlia().refresh_interval),
    help="Seconds after which an untouched part of the routing table is looked up again.",
)
@log_options(level="info")
@click.pass_context
def node(
    context: click.Context,
    listen: Endpoint,
    advertise: Endpoint | None,
    http: Endpoint,
    http_host: tuple[str, ...],
    http_per_address: int | None,
    join: tuple[str, ...],
    first: bool,
    expect: int | None,
    network: str,
    network_key: Path | None,
    classic: bool,
    trust: tuple[str, ...],
    data_dir: Path | None,
    ephemeral: bool,
    socket: Path | None,
    publisher_key: Path | None,
    http_token: Path | None,
    sync: SyncMode,
    max_storage: int,
    max_value_size: int,
    cache_life: float,
    repair_rate: int,
    lease: float,
    replicate_interval: float,
    refresh_interval: float,
    log_level: LogLevel,
    log_format: LogFormat | None,
) -> None:
    """Run one node of a network until it is stopped.

    Without --join it is the first of its network. SIGINT and SIGTERM end it in order within 10 s; a second one ends it
    at once. SIGHUP ends it in order where it was started on a terminal, and does what `camomile reload` does elsewhere;
    if nohup ignores it, it does nothing.
    """
    if MISTAKEN_VARIABLE in os.environ:
        # Nothing would say that the node is in an open network then.
        raise click.UsageError(
            f"{MISTAKEN_VARIABLE} is no setting: name the file with the key by {MISTAKEN_VARIABLE}_FILE"
        )
    place = _data_place(context, data_dir, ephemeral)
    config = Config(
        listen=listen,
        advertise=advertise,
        join=join,
        first=first,
        expect=expect,
        network=network,
        network_key=network_key,
        classic=classic,
        trust=trust,
        publisher_key=publisher_key,
        kademlia=Kademlia(refresh_interval=refresh_interval),
        records=Records(
            lease=lease,
            replicate_interval=replicate_interval,
            cache_life=cache_life,
            max_value_size=max_value_size,
            repair_rate=repair_rate,
        ),
        storage=StorageConfig(data_dir=place, sync=sync, max_storage=max_storage),
    )
    token = read_token(http_token) if http_token else None
    control = socket_of_node(socket, place, os.environ, os.getuid())

    with imports_for_good():
        import trio

        from camomile_trio.cli.descriptors import bounded, raise_limit
        from camomile_trio.cli.logs import logging_events
        from camomile_trio.cli.running import Process, run_node
        from camomile_trio.http.settings import HttpSettings

    served = HttpSettings(listen=http, token=token, host_names=http_host, max_connections_per_address=http_per_address)
    config, settings = bounded(config, served, raise_limit())
    with logging_events(log_level, log_format) as log_lines:
        trio.run(run_node, config, settings, control, Process(context.ensure_object(StopSignals), log_lines))


def _data_place(context: click.Context, data_dir: Path | None, ephemeral: bool) -> Path | None:
    """The data directory, None for an ephemeral node. What is on the command line goes before the environment."""
    if not ephemeral:
        return data_dir or default_data_dir(os.environ)
    if data_dir is None:
        return None
    typed_dir = context.get_parameter_source("data_dir") is ParameterSource.COMMANDLINE
    typed_ephemeral = context.get_parameter_source("ephemeral") is ParameterSource.COMMANDLINE
    if typed_dir == typed_ephemeral:
        raise click.UsageError("a node is --ephemeral or has a --data-dir, not both")
    return data_dir if typed_dir else None
