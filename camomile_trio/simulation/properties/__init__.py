"""What must be true of every run, all the time; one file for each property.

Rules of this room: a property looks at nodes from outside, or through `node.core`, and changes nothing. It says what it
expected and what it saw with `world.violated`, which adds the time, the seed and the command that repeats it.
"""

from __future__ import annotations

from camomile_trio.simulation.properties.amplification import Amplification
from camomile_trio.simulation.properties.base import Property
from camomile_trio.simulation.properties.bounds import Bounds
from camomile_trio.simulation.properties.forgotten import Forgotten
from camomile_trio.simulation.properties.lease_ends import LeaseEnds
from camomile_trio.simulation.properties.left_behind import LeftBehind
from camomile_trio.simulation.properties.living import Living
from camomile_trio.simulation.properties.lost import Lost
from camomile_trio.simulation.properties.majority import Majority
from camomile_trio.simulation.properties.no_dead import NoDead
from camomile_trio.simulation.properties.readable import Readable
from camomile_trio.simulation.properties.right_bytes import RightBytes


def all_properties() -> list[Property]:
    """One of each."""
    return [
        Readable(),
        Lost(),
        Forgotten(),
        LeaseEnds(),
        RightBytes(),
        Bounds(),
        NoDead(),
        Living(),
        Majority(),
        LeftBehind(),
        Amplification(),
    ]
