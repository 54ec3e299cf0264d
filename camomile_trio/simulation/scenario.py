"""A scenario: what happens in a simulated world, and what must come of it.

Rules of this file: it knows no scenario; they register themselves by being listed in `scenarios/__init__.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs

from camomile_trio.config import Config
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.world import World

# 20 to 60 ms one way: nodes of one continent.
CONTINENT = LinkConditions(latency=0.02, jitter=0.04)


@attrs.frozen(kw_only=True)
class Scenario:
    """`run` is the story; it ends the run by returning, and says what must be true with `world.claim`."""

    name: str  # lower case, with dashes
    summary: str  # one line for `camomile simulate --list`
    passes: str  # the pass line in words
    run: Callable[[World, int], Awaitable[None]]  # the world, and the number of nodes
    nodes: int = 50
    config: Config = attrs.field(factory=Config)
    links: LinkConditions = CONTINENT
    tick: float = 0.0  # s; deliveries of large networks are rounded up to whole ticks
    # Claims and rules that do not hold yet, by their words, each with the reason. Strict: one that holds fails the run.
    expected_failures: dict[str, str] = attrs.field(factory=dict)
