"""A scenario: what happens in a simulated world, what it asks of its network at the end, and what must come of it.

Rules of this file: it knows no scenario; they register themselves by being listed in `scenarios/__init__.py`. What they
ask they ask as users do, or they look at stores from outside; nothing is changed but what a get changes, and nothing is
claimed that was not to be claimed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from camomile_trio.config import Config
from camomile_trio.kademlia.ids import Key
from camomile_trio.simulation.distribution import percentile
from camomile_trio.simulation.ledger import CUT_OFF, OK, Operation, OperationKind, Standing
from camomile_trio.simulation.links import LinkConditions
from camomile_trio.simulation.machine import Machine
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
    # Whether packets are sealed as real nodes do, whatever the run says: of what an attacker must not be able to do.
    needs_real_crypto: bool = False
    # Claims and rules that do not hold yet, by their words, each with the reason. Strict: one that holds fails the run.
    expected_failures: dict[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Plan:
    """What to run. `nodes` None: as many as the scenario says."""

    scenario: Scenario
    seed: int = 1
    nodes: int | None = None
    # Routing tables laid out from the global view instead of joins, for experiments on a steady state.
    is_warm: bool = False
    # Nodes seal with the real cipher suite, which costs time and lets nobody read what they say, the judge included.
    has_real_crypto: bool = False

    @property
    def seals_really(self) -> bool:
        return self.has_real_crypto or self.scenario.needs_real_crypto

    @property
    def node_count(self) -> int:
        return self.scenario.nodes if self.nodes is None else self.nodes

    @property
    def command(self) -> str:
        """What repeats it."""
        # 0: the scenario draws its number from the seed.
        nodes = f" --nodes {self.node_count}" if self.node_count else ""
        warm = " --warm" if self.is_warm else ""
        real = " --real-crypto" if self.has_real_crypto else ""
        return f"camomile simulate --scenario {self.scenario.name}{nodes} --seed {self.seed}{warm}{real}"


# How soon a user tries another machine, as one that presses the button again. Virtual s.
TRY_AGAIN_AFTER = 0.5
ASKED_A_SECOND = 50.0


@attrs.define(eq=False)
class Reading:
    """How it went to read some keys."""

    keys: int
    unread: list[str] = attrs.field(factory=list)  # the beginnings of those keys
    again: int = 0  # gets that had to be repeated
    slowest: float = 0.0  # s until a key was read, repeats included

    @property
    def is_complete(self) -> bool:
        return not self.unread

    def __str__(self) -> str:
        unread = f", not read: {' '.join(self.unread[:5])}" if self.unread else ""
        read = self.keys - len(self.unread)
        return f"{read} of {self.keys} keys, the slowest in {self.slowest:.2f} s, {self.again} asked again{unread}"


async def read_each(
    world: World, keys: Sequence[Key], *, within: float, at: Sequence[Machine] | None = None
) -> Reading:
    """Reads each key at a random machine (of `at`), and at others until it is read or `within` seconds have passed."""
    reading = Reading(len(keys))
    world.progress.begin("reading", len(keys))

    async def read(key: Key) -> None:
        began = world.now
        with trio.move_on_after(within):
            while True:
                machine = world.users.any_machine(at)
                operation = await world.users.get(key, at=machine) if machine is not None else None
                if operation is not None and operation.outcome == OK:
                    reading.slowest = max(reading.slowest, world.now - began)
                    return
                reading.again += 1
                await trio.sleep(TRY_AGAIN_AFTER)
        reading.unread.append(key.hex()[:8])

    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(read, key)
            world.progress.advance(1)
            await trio.sleep(1 / ASKED_A_SECOND)
    return reading


async def claim_all_read(
    world: World, what: str, keys: Sequence[Key], *, within: float, at: Sequence[Machine] | None = None
) -> None:
    """Claims that each key is read within so many seconds."""
    reading = await read_each(world, keys, within=within, at=at)
    world.claim(what, reading.is_complete and bool(keys), reading)


async def claim_none_read(
    world: World, what: str, keys: Sequence[Key], *, asked: int = 3, at: Sequence[Machine] | None = None
) -> None:
    """Claims that none of the keys is read at any of `asked` random machines (of `at`)."""
    read = []
    for key in keys:
        for _ in range(asked):
            machine = world.users.any_machine(at)
            operation = await world.users.get(key, at=machine) if machine is not None else None
            if operation is not None and operation.outcome == OK:
                read.append(f"{key.hex()[:8]} at machine {operation.machine}")
    world.claim(what, not read and bool(keys), ", ".join(read[:5]) or f"{len(keys)} keys, asked {asked} times each")


def claim_share(
    world: World, what: str, kind: OperationKind, since: int, *, least: float, at: Sequence[Machine] | None = None
) -> None:
    """Claims that at least this share of the operations of one kind succeeded that began as number `since` or later.

    `at`: only those at these machines. Gets count that were of something promised, from beginning to end. Whose machine
    died under it counts nowhere.
    """
    numbers = None if at is None else [each.number for each in at]
    done, failures = 0, Counter[str]()
    for each in world.ledger.operations[since:]:
        if each.kind == kind and (numbers is None or each.machine in numbers) and _counts(world, each):
            done += each.outcome == OK
            if each.outcome != OK:
                failures[each.outcome] += 1
    count = done + failures.total()
    share = done / count if count else 0.0
    world.claim(what, share >= least, f"{done} of {count}, {share:.3%} {dict(failures) or ''}".rstrip())


def _counts(world: World, operation: Operation) -> bool:
    if operation.ended is None or operation.outcome == CUT_OFF:
        return False
    if operation.kind == "put":
        return True
    others = [each for each in world.ledger.words(operation.key) if each is not operation]
    # A get that met a forget may hear of it; a forget that met another one as well.
    meets_forget = any(each.kind == "forget" and operation.began <= each.began < operation.ended for each in others)
    return operation.standing is Standing.PROMISED and not meets_forget


def claim_quick(world: World, what: str, kind: OperationKind, since: int, *, p95: float, at: Sequence[Machine]) -> None:
    """Claims that of the operations that succeeded at these machines 95 % took at most so many seconds."""
    numbers = [each.number for each in at]
    seconds = sorted(
        each.seconds
        for each in world.ledger.operations[since:]
        if each.kind == kind and each.outcome == OK and each.machine in numbers
    )
    slow = percentile(seconds, 95)
    seen = f"p50 {percentile(seconds, 50):.2f} s, p95 {slow:.2f} s of {len(seconds)}"
    world.claim(what, bool(seconds) and slow <= p95, seen)


def promised_with_holder(world: World) -> list[Key]:
    """The keys that must be readable and of which a machine that runs still has the bytes."""
    return [key for key in world.ledger.keys_that_are(Standing.PROMISED) if world.holders(key)]


def lost(world: World) -> list[Key]:
    """The keys that must be readable and of which no machine that runs has the bytes."""
    return [key for key in world.ledger.keys_that_are(Standing.PROMISED) if not world.holders(key)]


def claim_copies(world: World, what: str, keys: Sequence[Key]) -> None:
    """Claims that each key has k live copies again, or one on every machine of a network of fewer."""
    wanted = min(world.config.kademlia.k, len(world.up))
    copies = [len(world.live_holders(key)) for key in keys]
    short = sum(each < wanted for each in copies)
    least, mean = min(copies, default=0), sum(copies) / max(len(copies), 1)
    seen = f"{short} of {len(keys)} keys short of {wanted}, the least {least}, mean {mean:.1f}"
    world.claim(what, bool(keys) and not short, seen)
