"""The one place that reads what parts of a node keep to themselves, where a bound has no public face.

Rules of this file: it reads and changes nothing. Whoever renames one of these finds out here.
"""

from __future__ import annotations

from collections.abc import Iterable

import trio

from camomile_trio.node.core import Core
from camomile_trio.node.node import Node
from camomile_trio.node.pending import Pending
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.world import World

# ruff: noqa: SLF001


def requests_under_way(core: Core) -> Iterable[Pending]:
    """The requests that a node waits for."""
    return core.rpc._pending.values()


def earliest_deadline(core: Core) -> float | None:
    """When the node's heap of deadlines has something to do next."""
    heap = core.rpc.deadlines._heap
    return heap[0][0] if heap else None


def unjudged(core: Core) -> int:
    """Failures that wait for somebody's sign of life."""
    return len(core.rpc.verdicts)


def news(core: Core) -> int:
    """Keys whose news from other holders are remembered, or that were stored since the start, whichever are more."""
    return max(len(core.holdings._news), len(core.holdings.comparisons))


def newcomers(node: Node) -> int:
    """Newcomers that wait for their records."""
    return len(node._maintenance._newcomers)


def operations_under_way(node: Node) -> int:
    return node._operations.under_way


def is_listening(world: World, machine: Machine) -> bool:
    """Whether somebody has the machine's address in the simulated network."""
    return machine.endpoint in world.network._transports


def tasks_below(task: trio.lowlevel.Task) -> list[str]:
    """The names of all tasks in the nurseries of a task, and in theirs."""
    names: list[str] = []
    waiting = [task]
    while waiting:
        for nursery in waiting.pop().child_nurseries:
            children = sorted(nursery.child_tasks, key=lambda child: child.name)
            names += [child.name for child in children]
            waiting += children
    return names
