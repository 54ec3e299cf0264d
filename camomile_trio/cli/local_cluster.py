"""Many nodes in one process: what `camomile cluster` runs.

Rules of this file: the nodes are whole ones on real sockets of the loopback interface, and know of each other only by
joining. Their publisher key never leaves this process. Their network key is in a file, so that more nodes can join; the
file is gone once the command has ended in order. Every port of HTTP is taken before the first node starts.
"""

from __future__ import annotations

import random
import shlex
import socket
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

import attrs
import trio

from camomile_trio.cli.descriptors import bounded
from camomile_trio.cli.lifetime import Stop, run_until_stopped
from camomile_trio.cli.line_writer import LineWriter, writing_lines
from camomile_trio.cli.node_log import logging_operations
from camomile_trio.cli.places import SocketPlace
from camomile_trio.cli.running import Process
from camomile_trio.cli.standard_streams import STDOUT
from camomile_trio.config import Config, Records, local_cluster
from camomile_trio.errors import ConfigError
from camomile_trio.http.control import serve_control
from camomile_trio.http.serve import bind_http, serve
from camomile_trio.http.settings import HttpSettings
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.network_keys import create_network_key
from camomile_trio.node.node import open_node

STOP_LIMIT = 5.0  # seconds from Ctrl-C to the end
JOINING_AT_ONCE = 8  # more only wait for each other, on a processor that they share
EXAMPLE = "ABC, du är mina tankar"


@attrs.frozen
class Member:
    """One node of the cluster, up and ready."""

    number: int  # from 1
    id: NodeId
    peers: Endpoint
    http: Endpoint


@attrs.frozen
class Places:
    """Where the nodes are reached."""

    http: Endpoint  # of node 1; the others are at the next ports, or at free ones where this is 0
    udp_port: int  # likewise
    control: SocketPlace  # of node 1


async def run_cluster(count: int, classic: bool, places: Places, descriptors: int, process: Process) -> None:
    """Runs `count` nodes until a signal asks for their end, and says on standard output where they are.

    They share so many `descriptors`. Their network is closed, unless they speak with classic nodes (`classic`), which
    have no network key. TransportError if an address of theirs is taken.
    """
    with ExitStack() as stack:
        config = Config(
            classic=classic,
            network_key=None if classic else _new_network_key(stack),
            # They all leave together: there is nobody to hand anything over to.
            records=Records(hand_over_deadline=0),
        )
        config, http = bounded(local_cluster(config), HttpSettings(), descriptors // count)
        addresses = [_in_row(places.http, number) for number in range(1, count + 1)]
        listening = [stack.enter_context(closing(bind_http(address))) for address in addresses]
        out = stack.enter_context(writing_lines(STDOUT))
        cluster = _Cluster(listening, places, config, http, KeyPair.new(random.SystemRandom()), process, out)
        await run_until_stopped(cluster.run, limit=STOP_LIMIT, signals=process.signals)


@attrs.define
class _Cluster:
    listening: list[socket.socket]  # one for each node
    places: Places
    config: Config
    http: HttpSettings
    publisher: KeyPair
    process: Process
    out: LineWriter
    members: dict[int, Member] = attrs.field(factory=dict, init=False)

    async def run(self, stop: Stop) -> None:
        async with trio.open_nursery() as nodes:
            first = await nodes.start(self._run_one, 1, stop, ())
            joining = trio.CapacityLimiter(JOINING_AT_ONCE)
            async with trio.open_nursery() as starting:
                for number in range(2, len(self.listening) + 1):
                    starting.start_soon(self._start_one, nodes, joining, number, stop, (str(first.peers),))
            stop.has_started = True
            self.out.write(announcement([self.members[number] for number in sorted(self.members)], self.config))
            await stop.requested()

    async def _start_one(
        self, nodes: trio.Nursery, joining: trio.CapacityLimiter, number: int, stop: Stop, join: tuple[str, ...]
    ) -> None:
        async with joining:
            await nodes.start(self._run_one, number, stop, join)

    async def _run_one(
        self,
        number: int,
        stop: Stop,
        join: tuple[str, ...],
        *,
        task_status: trio.TaskStatus[Member] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        listen = _in_row(Endpoint.from_host("127.0.0.1", self.places.udp_port), number)
        config = attrs.evolve(self.config, listen=listen, join=join)
        async with open_node(config, publisher=self.publisher) as node, trio.open_nursery() as servers:
            listening, process = self.listening[number - 1], self.process
            (http,) = await servers.start(
                lambda **started: serve(node, self.http, listening=listening, process=process.statistics, **started)
            )
            if number == 1:
                path = self.places.control(node.endpoint.port)
                await servers.start(serve_control, node, path, lambda: stop.request("control socket"))
            await node.wait_ready()
            self.members[number] = member = Member(number, node.id, node.endpoint, http)
            task_status.started(member)
            with logging_operations(node):
                await stop.requested()
            servers.cancel_scope.cancel()


def _in_row(first: Endpoint, number: int) -> Endpoint:
    """The endpoint of node `number` (from 1), where `first` is the first one's; port 0 stays 0."""
    return Endpoint.of(first.ip, first.port + number - 1 if first.port else 0)


def _new_network_key(stack: ExitStack) -> Path:
    """A new key in a directory of its own, which `stack` removes."""
    try:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="camomile-cluster-"))
    except OSError as error:
        raise ConfigError(
            f"no directory can be made for the network key: {error.strerror}",
            remedy="name one that this user may write to in TMPDIR",
        ) from None
    path = Path(directory) / "network.key"
    create_network_key(path, random.SystemRandom())
    return path


def announcement(members: list[Member], config: Config) -> str:
    """What runs where, and what to try: a table for a terminal, plain lines elsewhere."""
    put = f"curl -iF {shlex.quote(f'value={EXAMPLE}')} http://{members[0].http}/"
    get = f"curl -i http://{members[-1].http}/{Key.of(EXAMPLE.encode())}"
    lines = [f"node {each.number}  {each.id.hex()}  peers {each.peers}  http://{each.http}/\n" for each in members]
    return (
        (_table(members) if sys.stdout.isatty() else "".join(lines))
        + f"\nTry, in another terminal (a put at the first node, a get at the last):\n  {put}\n  {get}\n"
        + f"One more node of this {'closed' if config.network_key else 'open'} network:\n"
        + f"  {shlex.join(_one_more(members[0], config))}\n"
        + "Ctrl-C stops all nodes.\n"
    )


def _one_more(first: Member, config: Config) -> list[str]:
    """The command that starts one more node, from any directory: in memory and at free ports, as those that run."""
    called = Path(sys.argv[0])
    program = [sys.executable, "-m", "camomile_trio"] if called.suffix == ".py" else [str(called.absolute())]
    kind = ["--network-key", str(config.network_key)] if config.network_key else ["--classic"]
    ports = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    return [*program, "node", "--join", str(first.peers), *kind, "--ephemeral", *ports]


def _table(members: list[Member]) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table("node", "id", "peers (UDP, TCP)", "HTTP", title=f"{len(members)} nodes, all ready")
    for member in members:
        table.add_row(str(member.number), member.id.hex()[:16] + "…", str(member.peers), f"http://{member.http}/")
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get()
