"""Whoever gets a value gets the bytes that hash to its key.

Rules of this file: nothing but hashes. A value on a disk may have been damaged there, which no node can help: then it
must not be served. In memory nothing damages it.
"""

from __future__ import annotations

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.ledger import OK, Operation
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.looking import Looking, Pairs, served
from camomile_trio.simulation.world import World


class RightBytes(Looking):
    """Hashes the result of every get, and at each look what some machines serve and keep of some keys (`PAIRS`)."""

    name = "values have the right bytes"

    def __init__(self) -> None:
        self._pairs = Pairs()
        self._wrong: list[Operation] = []

    def on_operation(self, operation: Operation) -> None:
        if operation.kind == "get" and operation.outcome == OK and not operation.is_right:
            self._wrong.append(operation)

    def look(self, world: World) -> None:
        for operation in self._wrong:
            seen = f"get {operation.number} at {operation.ended:g} s brought other bytes"
            world.violated(self.name, f"the bytes of {_name(operation.key)}", seen, world.machines[operation.machine])
        self._wrong.clear()
        for machine, key in self._pairs.take(world, world.ledger.keys):
            found = served(machine, key)
            if found is not None and Key.of(found.value) != key:
                world.violated(self.name, f"the bytes of {_name(key)}", f"serves {found.value[:40]!r}", machine)
            elif machine.disk is None and not _is_kept_right(machine, key):
                world.violated(self.name, f"the bytes of {_name(key)}", "keeps other bytes in memory", machine)


def _is_kept_right(machine: Machine, key: Key) -> bool:
    assert machine.node is not None
    try:
        value = machine.node.core.storage.value(key)
    except StorageError:
        return True
    return value is None or Key.of(value) == key


def _name(key: Key) -> str:
    return key.hex()[:8]
