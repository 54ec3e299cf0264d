"""Strangers send what they may not: questions from forged addresses, answers from others, forged and old words."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from camomile_trio.errors import MalformedPacket
from camomile_trio.identity import KeyPair, network_id, sign_pong, sign_record
from camomile_trio.kademlia import leases
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import FindNode, Message, NodeList, Packet, Ping, Pong, Store, StoreKind
from camomile_trio.kademlia.records import Record, RecordRow
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.network import MemoryTransport
from camomile_trio.simulation.properties.looking import stored
from camomile_trio.simulation.properties.promises import leases_of
from camomile_trio.simulation.readings import claim_all_read, claim_none_read
from camomile_trio.simulation.scenario import Scenario
from camomile_trio.simulation.world import World
from camomile_trio.wire.codec import decode_untrusted, encode

SILENT, TWO_FACED, ELSEWHERE, LIAR = (Endpoint.parse(f"10.9.9.{number}:8118") for number in (1, 2, 3, 4))
VALUES = 20
REPLAYED = 5  # of them are forgotten, and what was said of them before is sent again
ROUNDS = 4
PAUSE = 20.0


@attrs.define(eq=False)
class Stranger:
    """Somebody who is no machine of ours. It answers pings through `mouth`, which may have another address."""

    pair: KeyPair
    ear: MemoryTransport
    mouth: MemoryTransport | None  # None: it never answers
    network: bytes
    rng: random.Random
    tokens: dict[Endpoint, bytes] = attrs.field(factory=dict)

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        try:
            packet = decode_untrusted(datagram_untrusted)
        except MalformedPacket:
            return
        if isinstance(packet.message, NodeList) and self.mouth is not None:
            # Whoever forges an address does not read what is sent there.
            self.tokens[source] = packet.message.token
        if isinstance(packet.message, Ping) and self.mouth is not None:
            challenge = packet.message.challenge
            signature = sign_pong(challenge, self.pair, self.network)
            pong = Pong(challenge, self.pair.public, signature, source, 0)
            self.mouth.send(encode(Packet(packet.session, self.pair.node_id, pong, 1, b"", None)), source)

    async def on_stream_message(self, message_untrusted: bytes, source: Endpoint) -> bytes | None:
        return None

    def send(self, message: Message, to: Endpoint) -> None:
        """A request of its own, as small as it can be."""
        self.ear.send(encode(Packet(self.rng.randbytes(32), self.pair.node_id, message, 1, b"", None)), to)

    def ask(self, to: Endpoint) -> None:
        self.send(FindNode(NodeId(self.rng.randbytes(32))), to)

    def store(self, key: Key, value: bytes | None, row: RecordRow, to: Endpoint) -> None:
        self.send(Store(StoreKind.PUBLISH, key, value, (row,), self.tokens.get(to, b"")), to)


@asynccontextmanager
async def _open(world: World, ear: Endpoint, *, mouth: Endpoint | None) -> AsyncIterator[Stranger]:
    """A stranger, for the length of the block."""
    rng = world.generator("stranger", ear)
    async with world.network.open(ear) as hears, trio.open_nursery() as nursery:
        if mouth is None or mouth == ear:
            stranger = Stranger(KeyPair.new(rng), hears, hears if mouth else None, network_id("camomile"), rng)
            await nursery.start(hears.serve, stranger)
            yield stranger
        else:
            async with world.network.open(mouth) as speaks:
                stranger = Stranger(KeyPair.new(rng), hears, speaks, network_id("camomile"), rng)
                await nursery.start(hears.serve, stranger)
                yield stranger
        nursery.cancel_scope.cancel()


async def run(world: World, nodes: int) -> None:
    """Meanwhile nobody else does anything, so whatever happens is their doing."""
    world.has_strangers = True
    machines = await world.settle(nodes)
    keys = await world.users.put_many(VALUES)
    value = b"nobody here has asked for this"
    wall = machines[0].clock()
    async with (
        _open(world, SILENT, mouth=None) as silent,
        _open(world, TWO_FACED, mouth=ELSEWHERE) as two_faced,
        _open(world, LIAR, mouth=LIAR) as liar,
    ):
        lease = leases.new_lease(Key.of(value), silent.pair.public, seen=0, now=wall, life_ms=3_600_000)
        row = sign_record(lease, silent.pair, silent.network).row()
        for _ in range(ROUNDS):
            for machine in machines:
                for stranger in (silent, two_faced, liar):
                    stranger.ask(machine.endpoint)
                silent.store(Key.of(value), value, row, machine.endpoint)
            await trio.sleep(PAUSE)
        for key in keys:
            # The right publisher's word, but for the signature.
            forged = leases.new_tombstone(key, world.publisher.public, seen=0, now=wall)
            forged = attrs.evolve(forged, signature=liar.rng.randbytes(64))
            for machine in machines:
                liar.store(key, None, forged.row(), machine.endpoint)
        await trio.sleep(PAUSE)
        running = [machine.node.core for machine in machines if machine.node is not None]
        world.claim(
            "nobody believes an answer that comes from another address than was asked",
            not any(core.rpc.peers.is_proven(TWO_FACED) or two_faced.pair.node_id in core.table for core in running),
            f"{len(running)} nodes",
        )
        world.claim(
            "who answers as it should is believed",
            all(core.rpc.peers.is_proven(LIAR) for core in running),
            f"{len(running)} nodes",
        )
        taken = [machine.number for machine in machines if stored(machine, Key.of(value)) is not None]
        world.claim("nobody stores what comes from an address that nobody has proven", not taken, taken or "nobody did")
        forgotten = keys[:REPLAYED]
        replayed = {key: [lease.row() for lease in _leases(machines[0], key)] for key in forgotten}
        for key in forgotten:
            await world.users.forget(key)
        for key, rows in replayed.items():
            for row, machine in itertools.product(rows, machines):
                liar.store(key, world.users.values[key], row, machine.endpoint)
        await trio.sleep(PAUSE)
        await claim_none_read(world, "an old word that is sent again brings nothing back", forgotten)
    keys = keys[REPLAYED:]
    await claim_all_read(world, "nobody forgets by a word that its publisher has not signed", keys, within=2.0)


def _leases(machine: Machine, key: Key) -> list[Record]:
    state = stored(machine, key)
    return leases_of(state) if state is not None else []


SCENARIOS = (
    Scenario(
        name="strangers",
        summary="Strangers ask from forged addresses, answer from others, forge words, and repeat old ones.",
        passes="nobody is answered too much, believed, stored or obeyed that should not be",
        run=run,
        nodes=12,
        tick=0.001,
    ),
)
