"""The users of a simulated network: they put, get and forget at machines, and remember what they were told.

Rules of this file: an operation here never raises; its outcome goes into the ledger. Users go through `Node` alone, as
an embedding program does. Load is bounded: what would be too much at once is not begun, and counted.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from camomile_trio.errors import CamomileError
from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.simulation.ledger import CUT_OFF, OK, Ledger, Operation, OperationKind, Standing
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.outcome import Progress

VALUE_BYTES = 100
MOST_AT_ONCE = 1000


@attrs.define(eq=False, kw_only=True)
class Users:
    """Everybody who uses the network. Where no machine is named, a random one that serves is taken."""

    _seed: int
    _machines: Sequence[Machine]
    ledger: Ledger
    _progress: Progress
    _rng: random.Random
    _is_troubled: Callable[[], bool]
    _on_operation: Callable[[Operation], None]  # told when one has ended
    # Every value that was ever put, by its key: they can be put again.
    values: dict[Key, bytes] = attrs.field(init=False, factory=dict)
    turned_away: int = attrs.field(init=False, default=0)  # since too many were under way, or no machine served
    _new_values: int = attrs.field(init=False, default=0)
    _under_way: int = attrs.field(init=False, default=0)

    def new_value(self, size: int = VALUE_BYTES) -> bytes:
        """A value that nobody has put yet."""
        self._new_values += 1
        return (b"value %d of seed %d " % (self._new_values, self._seed)).ljust(size, b".")

    def any_machine(self, among: Sequence[Machine] | None = None) -> Machine | None:
        """A random machine that serves; where none does, one that has joined: its storage fails, and it reads on.
        None if there is none of these either."""
        machines = self._machines if among is None else among
        # Nearly always nearly all of them serve.
        for _ in range(min(8, len(machines))):
            machine = self._rng.choice(machines)
            if machine.serves:
                return machine
        serving = [each for each in machines if each.serves] or [each for each in machines if each.has_joined]
        return self._rng.choice(serving) if serving else None

    async def put(
        self, value: bytes | None = None, *, at: Machine | None = None, ttl: float | None = None
    ) -> Operation | None:
        """Puts a value (a new one if none is named). None: no machine served."""
        wanted = self.new_value() if value is None else value
        key = Key.of(wanted)
        self.values[key] = wanted

        async def ask(node: Node, operation: Operation) -> None:
            operation.replicas = (await node.put(wanted, ttl=ttl)).replicas

        return await self._run("put", key, at, ask, ttl)

    async def get(self, key: Key, *, at: Machine | None = None) -> Operation | None:
        """Gets a key. None: no machine served."""

        async def ask(node: Node, operation: Operation) -> None:
            found = await node.get(key)
            operation.is_right = Key.of(found.value) == key == found.key
            operation.origin = found.origin
            operation.is_own = found.origin == node.id

        return await self._run("get", key, at, ask)

    async def forget(self, key: Key, *, at: Machine | None = None) -> Operation | None:
        """Forgets a key. None: no machine served."""

        async def ask(node: Node, operation: Operation) -> None:
            operation.replicas = (await node.forget(key)).replicas

        return await self._run("forget", key, at, ask)

    async def put_many(self, count: int, *, per_second: float = 20.0) -> list[Key]:
        """Puts `count` new values at random machines; the keys of those that were acknowledged."""
        done: list[Operation] = []

        async def one() -> None:
            operation = await self.put()
            if operation is not None and operation.outcome == OK:
                done.append(operation)

        await self._paced(count, per_second, one)
        return [operation.key for operation in sorted(done, key=lambda each: each.number)]

    async def get_many(self, keys: Sequence[Key], count: int, *, per_second: float = 50.0) -> list[Operation]:
        """`count` gets of random keys among these, at random machines."""
        done: list[Operation] = []

        async def one() -> None:
            operation = await self.get(self._rng.choice(keys))
            if operation is not None:
                done.append(operation)

        await self._paced(count, per_second, one)
        return sorted(done, key=lambda each: each.number)

    async def keep_busy(self, seconds: float, *, puts: float = 0.0, gets: float = 0.0, forgets: float = 0.0) -> None:
        """A load of so many operations per virtual second each, at random moments, for `seconds`.

        Gets and forgets are of keys that are promised when they begin.
        """

        async def put() -> None:
            await self.put()

        async def get() -> None:
            key = self.any_promised()
            if key is not None:
                await self.get(key)

        async def forget() -> None:
            key = self.any_promised()
            if key is not None:
                await self.forget(key)

        total = puts + gets + forgets
        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            while total and (next_at := trio.current_time() + self._rng.expovariate(total)) < until:
                await trio.sleep_until(next_at)
                kind = self._rng.choices((put, get, forget), weights=(puts, gets, forgets))[0]
                self._start(nursery, kind)
            await trio.sleep_until(until)

    def any_promised(self) -> Key | None:
        """A random key that must be readable; None if there is none."""
        keys = self.ledger.keys
        for _ in range(min(64, 2 * len(keys))):
            key = self._rng.choice(keys)
            if self.ledger.standing(key) is Standing.PROMISED:
                return key
        return None

    async def _paced(self, count: int, per_second: float, one: Callable[[], Awaitable[None]]) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(count):
                self._start(nursery, one)
                self._progress.advance(1)
                if number + 1 < count:
                    await trio.sleep(self._rng.expovariate(per_second))

    def _start(self, nursery: trio.Nursery, one: Callable[[], Awaitable[None]]) -> None:
        if self._under_way >= MOST_AT_ONCE:
            self.turned_away += 1
        else:
            nursery.start_soon(one)

    async def _run(
        self,
        kind: OperationKind,
        key: Key,
        at: Machine | None,
        ask: Callable[[Node, Operation], Awaitable[None]],
        ttl: float | None = None,
    ) -> Operation | None:
        machine = at or self.any_machine()
        if machine is None or machine.node is None:
            self.turned_away += 1
            return None
        operation = Operation(
            number=len(self.ledger.operations),
            kind=kind,
            key=key,
            machine=machine.number,
            publisher=machine.publisher.public,
            began=trio.current_time(),
            is_troubled=self._is_troubled(),
            ttl=ttl,
        )
        self.ledger.begin(operation)
        moved = machine.traffic
        sent, traffic = moved.datagrams_out, moved.bytes_in + moved.bytes_out
        self._under_way += 1
        outcome = CUT_OFF
        try:
            if await machine.ask(lambda node: ask(node, operation)):
                outcome = OK
        except CamomileError as error:
            outcome, operation.because = type(error).__name__, str(error)
        finally:
            self._under_way -= 1
            operation.ended, operation.outcome = trio.current_time(), outcome
            operation.is_troubled |= self._is_troubled()
            operation.sent = moved.datagrams_out - sent
            operation.bytes = moved.bytes_in + moved.bytes_out - traffic
            self._on_operation(operation)
        return operation
