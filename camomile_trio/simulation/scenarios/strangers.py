"""Machines of another kind are in the network: classic nodes of 2019, and strangers who send what they may not."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import attrs
import trio

from camomile_trio.config import Config
from camomile_trio.identity import sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import FindNode, FindValue, Ping, Store, StoreKind, Value
from camomile_trio.kademlia.records import Record
from camomile_trio.simulation.adversary import Adversary, open_adversary
from camomile_trio.simulation.classic_peer import ClassicPeer, open_classic_peers
from camomile_trio.simulation.ledger import OK, Standing
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.manners import each_other
from camomile_trio.simulation.properties.promises import leases_of
from camomile_trio.simulation.raw_packets import Kind, field
from camomile_trio.simulation.reading import Kind as Heard
from camomile_trio.simulation.reading import Reader
from camomile_trio.simulation.scenario import Scenario, claim_all_read, claim_none_read, claim_share
from camomile_trio.simulation.strangers import Recording, Stranger, open_stranger, recorded
from camomile_trio.simulation.world import World

FIRST_CLASSIC = "10.200.0.1:8118"
HOURS = 2.0
CLASSIC_VALUES = 20
FORGOTTEN = 10


async def _classic_mixed(world: World, nodes: int) -> None:
    """A third of the network are classic nodes, which know no leases, no forgetting and no acknowledgement.

    Both kinds have users, who put at nodes of their kind and read at the other; ours forget some of theirs.
    """
    count = nodes // 3
    machines = await world.settle(nodes - count)
    world.has_strangers = True
    async with AsyncExitStack() as stack:
        peers = await stack.enter_async_context(
            open_classic_peers(
                world.network, count, first=FIRST_CLASSIC, seed=world.generator("classic").getrandbits(32)
            )
        )
        for peer in peers:
            await peer.join(machines[0].endpoint)
        # Ours name classic nodes to classic nodes only, so each of ours has to meet one.
        for number, machine in enumerate(machines[1:]):
            await peers[number % count].join(machine.endpoint)
        nursery = await stack.enter_async_context(trio.open_nursery())
        for peer in peers:
            nursery.start_soon(peer.replicate)
        keys = await world.users.put_many(2 * nodes)
        values = [b"value %d of a classic user" % number for number in range(CLASSIC_VALUES)]
        for number, value in enumerate(values):
            await peers[number % count].put(value)
        await trio.sleep(5.0)
        await _claim_both_read(world, "at once", peers, keys, values)
        before = len(world.ledger.operations)
        forgotten = keys[:FORGOTTEN]
        for key in forgotten:
            await world.users.forget(key)
        claim_share(world, "every forget succeeded", "forget", before, least=1.0)
        world.progress.begin("replicating")
        await world.users.keep_busy(HOURS * 3600.0, gets=0.1, puts=0.01)
        claim_share(world, "every get succeeded", "get", before, least=1.0)
        claim_share(world, "every put succeeded", "put", before, least=1.0)
        kept = world.ledger.keys_that_are(Standing.PROMISED)
        await _claim_both_read(world, f"after {HOURS:g} hours", peers, kept, values)
        await claim_none_read(world, "what was forgotten is read at none of ours", forgotten)
        wrong = [reason for peer in peers if (reason := _what_it_cannot_read(peer, peers))]
        world.claim("classic nodes were sent only what they can read", not wrong, wrong[:3] or "nothing else")
        nursery.cancel_scope.cancel()


async def _claim_both_read(
    world: World, when: str, peers: Sequence[ClassicPeer], keys: Sequence[Key], values: Sequence[bytes]
) -> None:
    await claim_all_read(world, f"{when} ours read what our users put", keys, within=2.0)
    read = 0
    for value in values:
        operation = await world.users.get(Key.of(value))
        read += operation is not None and operation.outcome == OK
    world.claim(f"{when} ours read what classic users put", read == len(values), f"{read} of {len(values)}")
    read = 0
    for number, key in enumerate(keys):
        read += await peers[number % len(peers)].get(key) is not None
    world.claim(f"{when} classic nodes read what our users put", read == len(keys), f"{read} of {len(keys)}")


def _what_it_cannot_read(peer: ClassicPeer, peers: Sequence[ClassicPeer]) -> str:
    try:
        peer.check({each.endpoint for each in peers})
    except AssertionError as error:
        return f"{peer.endpoint}: {error}"
    return ""


_CLASSIC_MIXED = (
    Scenario(
        name="classic-mixed",
        summary="A third of the nodes are classic ones of 2019; both kinds have users.",
        passes="each kind reads what the other's users put; ours forget; classic nodes can read all they are sent",
        run=_classic_mixed,
        nodes=36,
        config=Config(classic=True),
        tick=0.001,
    ),
)


SILENT, TWO_FACED, ELSEWHERE, LIAR, VICTIM, REPLAYER = (
    Endpoint.parse(f"10.9.9.{number}:8118") for number in range(1, 7)
)
VALUES = 20
NAMED_THERE = 20  # keys that the liar names at the victim's address
MOST_KEYS = 2  # that a node may try there in a minute: the rule's own number
LIED_TO = 100  # gets
LARGE = bytes(900)  # more than three times an initiation
REPLAYED = 5  # of them are forgotten, and what was said of them before is sent again
ROUNDS = 4
PAUSE = 20.0


async def _strangers(world: World, nodes: int) -> None:
    """Strangers send what they may not: questions from forged addresses, packets from others than their handshakes came
    from, forged and old words, old packets, and the names of twenty nodes that should all be at a victim's address. So
    does a classic node, since no node here was started with `--classic`.

    Meanwhile nobody else does anything, so whatever happens is their doing.
    """
    world.has_strangers = True
    with recorded(world.network) as recording:
        machines = await world.settle(nodes)
        keys = await world.users.put_many(VALUES)
        await world.users.put(LARGE)
    value = b"nobody here has asked for this"
    wall = machines[0].clock()
    async with (
        open_adversary(world, SILENT, mouth=None) as silent,
        open_adversary(world, TWO_FACED, mouth=ELSEWHERE) as two_faced,
        open_adversary(world, LIAR, mouth=LIAR) as liar,
        open_classic_peers(world.network, 1, first=FIRST_CLASSIC, seed=world.generator("classic").getrandbits(32)) as (
            classic,
        ),
    ):
        unproven = _signed_store(silent, value, wall)
        for _ in range(ROUNDS):
            for machine in machines:
                silent.begin(machine.contact, _find(silent))
                silent.begin(machine.contact, FindValue(Key.of(LARGE)))
                silent.begin(machine.contact, unproven)
                silent.seal_without_session(unproven, machine.contact)
                for stranger in (two_faced, liar):
                    stranger.say(_find(stranger), machine.contact)
                two_faced.say(unproven, machine.contact)
                classic.send(machine.endpoint, Kind.FIND_NODE, field(1, classic.node_id))
                classic.store(machine.endpoint, value)
            await trio.sleep(PAUSE)
        heard = [packet.source for packet in classic.received]
        world.claim("no classic node is spoken with", not heard, heard or "nothing was sent to it")
        for key in keys:
            # The right publisher's word, but for the signature.
            forged = leases.new_tombstone(key, world.publisher.public, seen=0, now=wall)
            forged = attrs.evolve(forged, signature=liar.rng.randbytes(64))
            for machine in machines:
                liar.say(Store(StoreKind.PUBLISH, key, None, (forged.row(),)), machine.contact)
        await trio.sleep(PAUSE)
        believers = [machine.number for machine in machines if two_faced.id in machine.table]
        world.claim(
            "nobody believes a packet that comes from another address than its handshake",
            not believers,
            believers or "none",
        )
        welcome = b"the liar has answered as it should"
        for machine in machines:
            liar.say(_signed_store(liar, welcome, wall), machine.contact)
        await trio.sleep(PAUSE)
        holders = sum(machine.holds(Key.of(welcome)) for machine in machines)
        world.claim("who answers as it should is believed", holders == nodes, f"{holders} nodes")
        taken = [machine.number for machine in machines if machine.stored(Key.of(value)) is not None]
        world.claim("nobody stores what comes from an address that nobody has proven", not taken, taken or "nobody did")
        await _claim_no_wrong_bytes_are_got(world, machines, liar, keys[REPLAYED:])
        await _claim_handshakes_are_not_repeated(world, recording)
        await _claim_nothing_old_comes_back(world, machines, liar, keys[:REPLAYED], recording)
        await _claim_a_victim_is_spared(world, machines, liar)
    keys = keys[REPLAYED:]
    await claim_all_read(world, "nobody forgets by a word that its publisher has not signed", keys, within=2.0)


@attrs.define(eq=False)
class _Listener(Stranger):
    """Notes what reaches it, and answers nothing."""

    reader: Reader
    heard: list[tuple[Heard, Endpoint]] = attrs.field(factory=list)

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        self.heard.append((self.reader.read(datagram_untrusted).kind, source))


def _listener(world: World, at: Endpoint) -> AbstractAsyncContextManager[_Listener]:
    return open_stranger(world.network, at, lambda transport: _Listener(transport, world.reader))


async def _claim_handshakes_are_not_repeated(world: World, recording: Recording) -> None:
    """Handshakes that nodes have begun are sent again, from an address that listens."""
    begun = [each for each in recording.datagrams if world.reader.read(each.payload).kind is Heard.INITIATION]
    async with _listener(world, REPLAYER) as replayer:
        for each in begun:
            replayer.transport.send(each.payload, each.destination)
        await trio.sleep(PAUSE)
    kinds = Counter(kind.value for kind, _ in replayer.heard)
    is_true = list(kinds) == [Heard.COOKIE.value]
    world.claim("recorded handshakes are answered by cookies", is_true, f"{len(begun)} sent; {dict(kinds)} came back")


async def _claim_no_wrong_bytes_are_got(
    world: World, machines: Sequence[Machine], liar: Adversary, keys: Sequence[Key]
) -> None:
    """The liar, whom all nodes know, has bytes of its own for each key, and the right leases with them."""
    for key in keys:
        rows = tuple(lease.row() for lease in _leases(world.holders(key)[0], key))
        liar.manners.gives[key] = Value(b"not what was put", (), rows)
    for machine in machines:
        liar.say(Ping(), machine.contact)
    await trio.sleep(1.0)
    gets = await world.users.get_many(keys, LIED_TO)
    right = sum(each.outcome == OK and each.is_right for each in gets)
    world.claim("a liar's bytes are taken for no value", right == len(gets), f"{right} of {len(gets)} gets are right")
    liar.manners.gives.clear()


async def _claim_a_victim_is_spared(world: World, machines: Sequence[Machine], liar: Adversary) -> None:
    """The nodes look for something, and the liar names twenty nodes at the victim's address, whatever that is."""
    suite = liar.sessions.local.suite
    named = [Contact.of(suite.public(liar.rng.randbytes(32)), VICTIM) for _ in range(NAMED_THERE)]
    liar.manners.names = each_other(named)
    async with _listener(world, VICTIM) as victim:
        for machine in machines:
            liar.say(Ping(), machine.contact)
        await world.probe_lookups(2 * len(machines))
    liar.manners.names = None
    most = max(Counter(source for _, source in victim.heard).values(), default=0)
    # In these seconds each key may be tried at once, a second later and two seconds later, and each time twice.
    is_spared = 0 < most <= 6 * MOST_KEYS
    world.claim("an address at which many nodes are named is spared", is_spared, f"{most} datagrams of one node")


async def _claim_nothing_old_comes_back(
    world: World, machines: Sequence[Machine], liar: Adversary, keys: Sequence[Key], recording: Recording
) -> None:
    """The keys are forgotten; then what was said of them before is said again: as recorded, and in new packets."""
    replayed = {key: [lease.row() for lease in _leases(machines[0], key)] for key in keys}
    for key in keys:
        await world.users.forget(key)
    recording.replay(liar)
    await trio.sleep(PAUSE)
    await claim_none_read(world, "an old packet that is sent again brings nothing back", keys)
    for key, rows in replayed.items():
        for row, machine in itertools.product(rows, machines):
            liar.say(Store(StoreKind.PUBLISH, key, world.users.values[key], (row,)), machine.contact)
    await trio.sleep(PAUSE)
    await claim_none_read(world, "an old word that is sent again brings nothing back", keys)


def _find(adversary: Adversary) -> FindNode:
    return FindNode(NodeId(adversary.rng.randbytes(32)))


def _signed_store(adversary: Adversary, value: bytes, wall: int) -> Store:
    """A value with a right lease of the adversary's own."""
    key = Key.of(value)
    lease = leases.new_lease(key, adversary.pair.public, seen=0, now=wall, life_ms=3_600_000)
    return Store(StoreKind.PUBLISH, key, value, (sign_record(lease, adversary.pair, adversary.network).row(),))


def _leases(machine: Machine, key: Key) -> list[Record]:
    state = machine.stored(key)
    return leases_of(state) if state is not None else []


_STRANGERS = (
    Scenario(
        name="strangers",
        summary="Strangers forge addresses, words and names of nodes, speak from others, repeat words and packets.",
        passes="nobody is answered too much, believed, stored or obeyed that should not be",
        run=_strangers,
        nodes=12,
        tick=0.001,
    ),
)


SCENARIOS = (*_CLASSIC_MIXED, *_STRANGERS)
