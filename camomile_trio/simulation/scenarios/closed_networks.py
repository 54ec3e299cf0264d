"""A closed network changes its key while it is used, and strangers try to get in."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import attrs
import trio

from camomile_trio.config import Config, Kademlia
from camomile_trio.identity import sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import FindNode, Store, StoreKind
from camomile_trio.network_keys import fingerprint
from camomile_trio.simulation.adversary import Adversary, open_adversary
from camomile_trio.simulation.key_files import KeyFiles, key_files
from camomile_trio.simulation.ledger import Standing
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.properties.tables import dead_bound
from camomile_trio.simulation.reading import Kind, Reader
from camomile_trio.simulation.scenario import Scenario, claim_all_read, claim_share
from camomile_trio.simulation.strangers import Overheard, Recording, Stranger, open_stranger, recorded
from camomile_trio.simulation.world import World

_STRANGERS = OPEN, ELSEWHERE, LEAKED, REPLAYER, LATE = tuple(
    Endpoint.parse(f"10.9.9.{number}:8118") for number in range(1, 6)
)
LONG_ENOUGH = 7200.0  # s: users and strangers go on until the change is over
PUTS, GETS, FORGETS = 1.0, 5.0, 0.2  # a second
LARGE_BYTES, LARGE_PAUSE = 5000, 3.0  # values that travel over streams; s from one to the next
TO_THE_NEXT = 2.0  # s from a machine to the next
RESTARTED = 4  # each fourth machine gets its file while it is down
A_WHILE = 30.0  # s
RENEWED_WITHIN = 60.0  # s: the rule's own number, and not the code's
ROUND = 10.0  # s between what strangers send
STREAM_PATIENCE = 2.0  # s
SEALED_REPLAYED = 100  # in a round
# What a node sends of itself, to whomever it has in its table. All else is an answer.
UNASKED = (Kind.INITIATION, Kind.HELLO)


async def _closed_network(world: World, nodes: int) -> None:
    """The key of a network is added, promoted and removed, machine by machine, while users put, get and forget.

    Each fourth machine is down while it gets a new file, by turns after a crash and in order. All the while strangers
    who know the public key of every machine send to each what they can: one with the key of the open network, one with
    that of another network, one with the old key of this one, and one that hears every packet and sends it again.
    """
    world.has_strangers = True
    rng = world.generator("network keys")
    async with AsyncExitStack() as stack:
        files = world.key_files = stack.enter_context(key_files(rng))
        recording = stack.enter_context(recorded(world.network))
        machines = await world.settle(nodes)
        await world.users.put_many(2 * nodes)
        keyless = [
            await stack.enter_async_context(open_adversary(world, OPEN, mouth=OPEN)),
            await stack.enter_async_context(
                open_adversary(world, ELSEWHERE, mouth=ELSEWHERE, network_key=rng.randbytes(32))
            ),
        ]
        leaked = await stack.enter_async_context(open_adversary(world, LEAKED, mouth=LEAKED, network_key=files.keys[0]))
        replayer = await stack.enter_async_context(_open_replayer(world, REPLAYER))
        late = await stack.enter_async_context(_open_replayer(world, LATE))
        before = len(world.ledger.operations)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                functools.partial(world.users.keep_busy, LONG_ENOUGH, puts=PUTS, gets=GETS, forgets=FORGETS)
            )
            nursery.start_soon(_put_large_values, world)
            for stranger in (*keyless, leaked):
                nursery.start_soon(_besiege, stranger, machines)
            nursery.start_soon(replayer.replay_all, recording)
            await trio.sleep(A_WHILE)
            await _claim_the_leaked_key_lets_in(world, machines, leaked)
            promoted = await _change_keys(world, machines, files, recording)
            removed = world.now
            await _claim_the_leaked_key_lets_nobody_in(world, machines, leaked)
            sent = late.replay(recording.datagrams[:promoted])
            await trio.sleep(A_WHILE)
            nursery.cancel_scope.cancel()
        for kind in ("put", "get", "forget"):
            claim_share(world, f"every {kind} succeeded", kind, before, least=1.0)
        turned_away = world.users.turned_away
        world.claim("there was always a node to ask", not turned_away, f"{turned_away} turned away")
        heard = sum(each.transport.statistics.bytes_in for each in keyless)
        asked = sum(each.transport.statistics.bytes_out for each in keyless)
        world.claim("strangers without the key get no byte back", not heard, f"{heard} bytes for {asked}")
        to_leaked = [each for each in recording.datagrams if each.time > removed and each.destination == LEAKED]
        kinds = Counter(world.reader.read(each.payload).kind for each in to_leaked)
        answers = {each.value: count for each, count in kinds.items() if each not in UNASKED}
        world.claim("nobody answers the removed key", not answers, answers or "no answer")
        _claim_replays_bring_little(world, replayer)
        heard = late.transport.statistics.bytes_in
        world.claim(
            "replays of what the removed key has sealed get no byte back", not heard, f"{heard} for {sent} packets"
        )
        kept = world.ledger.keys_that_are(Standing.PROMISED)
        await claim_all_read(world, "every value is read afterwards", kept, within=2.0)
        world.progress.begin("at rest")
        await trio.sleep(dead_bound(machines[0]))
        listed = [machine.number for machine in machines if leaked.id in machine.table]
        world.claim("no table keeps a stranger that has only the removed key", not listed, listed or "none has it")


# The change ----------------------------------------------------------------------------------------------------------


async def _change_keys(world: World, machines: Sequence[Machine], files: KeyFiles, recording: Recording) -> int:
    """All three steps. How much was recorded before the first machine sent under the new key."""
    files.add()
    await _hand_out(world, machines, "adding the key")
    before_promoting = len(recording.datagrams)
    files.promote()
    await _hand_out(world, machines, "promoting it")
    old = fingerprint(files.keys[1])
    was, now = _sessions_under(old, machines), _sessions_under(fingerprint(files.keys[0]), machines)
    await trio.sleep(RENEWED_WITHIN)
    left, new = _sessions_under(old, machines), _sessions_under(fingerprint(files.keys[0]), machines)
    seen = f"{was} and {now} under the old and the new one at first, {left} and {new} then"
    world.claim("a minute after the promotion all sessions are under the new key", new > left == 0, seen)
    files.remove()
    await _hand_out(world, machines, "removing the old one")
    return before_promoting


async def _hand_out(world: World, machines: Sequence[Machine], what: str) -> None:
    """The operator's file goes to one machine after another."""
    world.progress.begin(what, len(machines))
    for number, machine in enumerate(machines, 1):
        is_down_meanwhile = number % RESTARTED == 0
        if is_down_meanwhile:
            await (world.crash(machine) if number % (2 * RESTARTED) else world.leave(machine))
        world.hand_out_keys(machine)
        if is_down_meanwhile:
            await world.start(machine)
            await world.wait_ready([machine], A_WHILE)
        await trio.sleep(TO_THE_NEXT)
        world.progress.advance(1)


def _sessions_under(key: str, machines: Sequence[Machine]) -> int:
    """As the nodes show them to operators: those with the machines that are in their tables."""
    members = [machine.id for machine in machines]
    return sum(
        peer.network_key == key and peer.id in members
        for machine in machines
        if machine.node is not None
        for peer in machine.node.peers()
    )


async def _put_large_values(world: World) -> None:
    while True:
        await world.users.put(world.users.new_value(LARGE_BYTES))
        await trio.sleep(LARGE_PAUSE)


# The strangers -------------------------------------------------------------------------------------------------------


async def _besiege(stranger: Adversary, machines: Sequence[Machine]) -> None:
    """It sends to each machine what gets an answer in its own network, and what nobody should answer."""
    while True:
        for machine in machines:
            to = machine.contact
            stranger.say(_find(stranger), to)
            stranger.begin_with_a_wrong_cookie(to)
            stranger.begin(to, _find(stranger), padded_to=1000)
            stranger.seal_without_session(_find(stranger), to)
            stranger.ask_for_the_key(to.endpoint)
            stranger.transport.send(stranger.rng.randbytes(stranger.rng.randrange(1, 1000)), to.endpoint)
            await _asks_by_stream(stranger, machine)
        await trio.sleep(ROUND)


async def _asks_by_stream(stranger: Adversary, machine: Machine) -> bool:
    """Whether there was an answer."""
    with trio.move_on_after(STREAM_PATIENCE):
        return await stranger.ask_by_stream(_find(stranger), machine.contact)
    return False


@attrs.define(eq=False)
class _Replayer(Stranger):
    """It has no key, and sends from its own address what others have sent."""

    reader: Reader
    heard: Counter[str] = attrs.field(factory=Counter)  # datagrams, by their kinds

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        self.heard[self.reader.read(datagram_untrusted).kind.value] += 1

    def replay(self, datagrams: Sequence[Overheard]) -> int:
        """Sends to machines all that may begin something, and the latest of what is sealed; how many packets."""
        sealed: list[Overheard] = []
        others: list[Overheard] = []
        for each in datagrams:
            if each.destination in _STRANGERS:
                continue
            (sealed if self.reader.read(each.payload).kind is Kind.SEALED else others).append(each)
        chosen = others + sealed[-SEALED_REPLAYED:]
        for each in chosen:
            self.transport.send(each.payload, each.destination)
        return len(chosen)

    async def replay_all(self, recording: Recording) -> None:
        done = 0
        while True:
            fresh, done = recording.datagrams[done:], len(recording.datagrams)
            self.replay([each for each in fresh if each.source not in _STRANGERS])
            await trio.sleep(ROUND)


def _open_replayer(world: World, at: Endpoint) -> AbstractAsyncContextManager[_Replayer]:
    return open_stranger(world.network, at, lambda transport: _Replayer(transport, world.reader))


def _find(stranger: Adversary) -> FindNode:
    return FindNode(NodeId(stranger.rng.randbytes(32)))


async def _stored_by(stranger: Adversary, value: bytes, machines: Sequence[Machine]) -> int:
    """How many machines have taken a value of the stranger's, with a right lease of its own."""
    key, wall = Key.of(value), stranger.wall_ms()
    lease = leases.new_lease(key, stranger.pair.public, seen=0, now=wall, life_ms=3_600_000)
    store = Store(StoreKind.PUBLISH, key, value, (sign_record(lease, stranger.pair, stranger.network).row(),))
    for machine in machines:
        stranger.say(store, machine.contact)
    await trio.sleep(A_WHILE)
    return sum(machine.holds(key) for machine in machines)


async def _claim_the_leaked_key_lets_in(world: World, machines: Sequence[Machine], leaked: Adversary) -> None:
    """Else it would be no wonder that it does not later."""
    stored = await _stored_by(leaked, b"who has the key is a member", machines)
    by_stream = [await _asks_by_stream(leaked, each) for each in machines].count(True)
    seen = f"{stored} nodes stored what it sent, {by_stream} answered over streams"
    world.claim("a stranger with a leaked key is let in", stored == by_stream == len(machines), seen)


async def _claim_the_leaked_key_lets_nobody_in(world: World, machines: Sequence[Machine], leaked: Adversary) -> None:
    stored = await _stored_by(leaked, b"who had the key was a member", machines)
    by_stream = [await _asks_by_stream(leaked, each) for each in machines].count(True)
    seen = f"{stored} nodes stored what it sent, {by_stream} answered over streams"
    world.claim("it is out once that key is removed everywhere", not stored + by_stream, seen)


def _claim_replays_bring_little(world: World, replayer: _Replayer) -> None:
    """A cookie at most as large as what it answers; of a node that has forgotten that it knows a handshake, a response
    to it, at most three times as large, and no session."""
    moved = replayer.transport.statistics
    is_little = 0 < moved.bytes_in <= moved.bytes_out and not replayer.heard[Kind.SEALED.value]
    seen = f"{moved.bytes_in} bytes for {moved.bytes_out}: {dict(replayer.heard)}"
    world.claim("replays bring less than they cost, and nothing sealed", is_little, seen)


SCENARIOS = (
    Scenario(
        name="closed-network",
        summary="The key of a closed network is changed under load, while strangers send what they can.",
        passes="no operation fails, no byte goes to who has no key, and the old key lets nobody in once it is removed",
        run=_closed_network,
        nodes=20,
        # Fewer replicas than nodes: else all gets are answered at home. And tables drop the silent within the run.
        config=Config(kademlia=Kademlia(k=8, refresh_interval=300.0)),
        tick=0.001,
    ),
)
