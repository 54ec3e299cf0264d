"""What `camomile node` runs: a node, its HTTP service and its control socket, from the first to the last.

Rules of this file: the node is the parent and the two servers are its children, so that nothing is served by a node
that is gone. HTTP is there as soon as the node is, and says 503 until the node is ready.
"""

from __future__ import annotations

import ipaddress

import attrs
import structlog
import trio

from camomile_trio.cli.lifetime import Stop, run_until_stopped
from camomile_trio.cli.line_writer import LineWriter
from camomile_trio.cli.node_log import ReadinessLog, logging_operations
from camomile_trio.cli.places import SocketPlace
from camomile_trio.cli.reloading import Reloads
from camomile_trio.cli.stop_signals import StopSignals
from camomile_trio.config import Config
from camomile_trio.http.control import serve_control
from camomile_trio.http.serve import serve
from camomile_trio.http.settings import HttpSettings
from camomile_trio.node.node import open_node
from camomile_trio.operations.results import Statistics

STOP_LIMIT = 10.0  # seconds from the first signal to the end

log = structlog.get_logger("camomile")


@attrs.frozen
class Process:
    """The process around what runs in it."""

    signals: StopSignals
    log_lines: LineWriter

    def statistics(self) -> Statistics:
        """What it counts, for the metrics."""
        name = "log_lines_dropped_total"
        meaning = "Lines of the log that nobody read in time, or that could not be written"
        return Statistics(counters={(name, ()): self.log_lines.dropped}, meanings={name: meaning})


async def run_node(config: Config, http: HttpSettings, control: SocketPlace, process: Process) -> None:
    """Runs one node until a signal, or its control socket, asks for its end."""
    reloads = Reloads()

    async def body(stop: Stop) -> None:
        async with open_node(config) as node, trio.open_nursery() as servers:
            stop.has_started = True
            _warn_of_what_surprises(config, http)
            bound = await servers.start(lambda **started: serve(node, http, process=process.statistics, **started))
            socket = control(node.endpoint.port)
            await servers.start(serve_control, node, socket, lambda: stop.request("control socket"))
            log.info(
                "listening",
                id=node.id.hex(),
                network=config.network,
                peers=str(node.endpoint),
                http=[f"http://{endpoint}" for endpoint in bound],
                control=str(socket),
            )
            servers.start_soon(ReadinessLog(node).run)
            servers.start_soon(reloads.run, node)
            with logging_operations(node):
                await stop.requested()
            servers.cancel_scope.cancel()

    await run_until_stopped(body, limit=STOP_LIMIT, signals=process.signals, reload=reloads.request)
    log.info("stopped")


def _warn_of_what_surprises(config: Config, http: HttpSettings) -> None:
    if config.storage.data_dir is None and config.publisher_key is None:
        log.warning(
            "ephemeral identity",
            meaning="after a restart this node can neither renew nor forget what it published before",
            remedy="give it a --publisher-key, or a --data-dir",
        )
    if http.token is None and not ipaddress.ip_address(http.listen.host).is_loopback:
        log.warning(
            "HTTP is open to others",
            meaning=f"whoever reaches {http.listen} may write and delete",
            remedy="give it a --http-token, or let --http listen on 127.0.0.1",
        )
