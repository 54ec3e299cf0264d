"""What must be true of every run, all the time.

Rules of this room: a property looks at what machines gave to their nodes, at what crosses the simulated wire and at the
public `Node`, and changes nothing. It says what it expected and what it saw with `world.violated`, which adds the time,
the seed and the command that repeats it.
"""

from __future__ import annotations

from camomile_trio.simulation.properties.amplification import Amplification
from camomile_trio.simulation.properties.base import Property
from camomile_trio.simulation.properties.bounds import Bounds, LeftBehind
from camomile_trio.simulation.properties.promises import Lost, Majority, Readable
from camomile_trio.simulation.properties.served import Forgotten, LeaseEnds, RightBytes
from camomile_trio.simulation.properties.tables import Living, NoDead

PROPERTIES: tuple[type[Property], ...] = (
    Readable,
    Lost,
    Forgotten,
    LeaseEnds,
    RightBytes,
    Bounds,
    NoDead,
    Living,
    Majority,
    LeftBehind,
    Amplification,
)
