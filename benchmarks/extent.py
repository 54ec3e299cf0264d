"""How much is measured: three extents, and what each costs in time.

Rules of this file: values only.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs


@attrs.frozen(kw_only=True)
class Extent:
    """`seconds` of load for a cell; a first get ends earlier when it has read every key once."""

    nodes: int = 50
    rounds: int
    sizes: Sequence[int] = (100,)
    concurrent: Sequence[int] = (1, 16)
    seconds: int
    seconds_dead: int  # of puts while a fifth of the nodes is dead
    seconds_idle: int
    settle: float = 5.0  # s between the last node's being ready and the first measurement; counted to the join
    peers: Sequence[str] = ("opendht", "kademlia", "classic")
    has_tmpfs: bool = True  # ours once more with its data on tmpfs, in the last round

    @property
    def dead(self) -> int:
        return self.nodes // 5


EXTENTS = {
    "quick": Extent(
        rounds=1, seconds=2, seconds_dead=3, seconds_idle=3, settle=2.0, peers=("opendht", "classic"), has_tmpfs=False
    ),
    "bench": Extent(rounds=3, seconds=4, seconds_dead=8, seconds_idle=8),
    "full": Extent(
        rounds=5, sizes=(100, 1000, 60_000), concurrent=(1, 16, 64), seconds=6, seconds_dead=15, seconds_idle=20
    ),
}
