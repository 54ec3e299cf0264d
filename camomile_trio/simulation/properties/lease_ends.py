"""No value is served after its leases have ended.

Rules of this file: it reads the signed terms themselves and compares them with the right time, which no node knows. A
node judges by its own clock, so the bound is how far the clock most behind has ever been behind.
"""

from __future__ import annotations

from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.clocks import EPOCH
from camomile_trio.simulation.ledger import OK, Operation
from camomile_trio.simulation.properties.looking import Looking, Pairs, served, stored
from camomile_trio.simulation.properties.promises import worst_clocks
from camomile_trio.simulation.world import World

SLACK = 0.01  # s, of rounding


class LeaseEnds(Looking):
    """Looks at what some machines serve of some keys (`PAIRS` at each look), and at every get of a value that was only
    ever put for a time.

    Bounds: what is served has a lease that ends no earlier than now less the worst clock error. A get began no later
    than the last put of the key, its `ttl`, the worst errors behind and ahead, and two operation deadlines (a put that
    met an older word late is signed once more).
    """

    name = "nothing is served after its leases ended"

    def __init__(self) -> None:
        self._pairs = Pairs()
        self._behind = 0.0
        self._ahead = 0.0
        self._got: list[Operation] = []

    def on_operation(self, operation: Operation) -> None:
        if operation.kind == "get" and operation.outcome == OK:
            self._got.append(operation)

    def look(self, world: World) -> None:
        behind, ahead = worst_clocks(world)
        self._behind, self._ahead = max(self._behind, behind), max(self._ahead, ahead)
        for operation in self._got:
            self._judge(world, operation)
        self._got.clear()
        right_now = EPOCH + world.now * 1000
        earliest = right_now - (self._behind + SLACK) * 1000
        for machine, key in self._pairs.take(world, world.ledger.keys):
            found = served(machine, key)
            if found is None:
                continue
            ends = [record.expires for record in found.records if not record.is_tombstone]
            if not ends and not found.is_cached and world.has_strangers:
                # A copy that a classic node stored has no lease, but an end of its own.
                state = stored(machine, key)
                ends = [state.classic_until] if state is not None else []
            if max(ends, default=0) < earliest:
                ago = (right_now - max(ends)) / 1000 if any(ends) else float("inf")
                world.violated(
                    self.name,
                    f"{key.hex()[:8]} gone within {self._behind:g} s of its end",
                    f"served {ago:.1f} s after it{', from the cache' if found.is_cached else ''}",
                    machine,
                )

    def _judge(self, world: World, operation: Operation) -> None:
        end = _end_of(world, operation.key)
        if end is None:
            return
        last = end + self._behind + self._ahead + 2 * world.config.requests.operation_deadline
        if operation.began > last:
            world.violated(
                self.name,
                f"no get of {operation.key.hex()[:8]} that began after {last:.1f} s succeeds",
                f"get {operation.number} began at {operation.began:.1f} s",
                world.machines[operation.machine],
            )


def _end_of(world: World, key: Key) -> float | None:
    """When the last lease that anybody put ends, by right clocks; None if one of them does not end."""
    end = 0.0
    for word in world.ledger.words(key):
        if word.kind == "put":
            if word.ttl is None or word.ended is None:
                return None
            end = max(end, word.ended + word.ttl)
    return end or None
