"""What a property is.

Rules of this file: types only.
"""

from __future__ import annotations

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.ledger import Operation
from camomile_trio.simulation.world import World


class Property:
    """A property watches a run. Each method may be left as it is."""

    name = ""
    # Whether `on_sent` and `on_received` are to be called: they cost every packet.
    watches_packets = False

    async def watch(self, world: World) -> None:
        """A task beside the scenario, cancelled at its end."""

    def on_sent(self, time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        """A node sends a datagram."""

    def on_received(self, time: float, source: Endpoint, destination: Endpoint, payload: bytes) -> None:
        """A node receives a datagram, or a message over a stream."""

    def on_operation(self, operation: Operation) -> None:
        """A user's operation ended."""

    def at_end(self, world: World) -> None:
        """The scenario is over; nodes still run."""

    def after_end(self, world: World) -> None:
        """All nodes have stopped, in good order, and time has passed."""
