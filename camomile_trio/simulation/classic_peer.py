"""A classic Camomile node (Go, 2019), made of raw bytes: a machine of another kind on a simulated network.

Rules of this file: it does what docs/protocol.md, Classic nodes, says of its kind and ignores all else from any
sender. It keeps every packet that it ever received, and `check` reads them all. Nothing of `camomile_trio.wire` or
`camomile_trio.node`.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import distance
from camomile_trio.simulation.network import MemoryNetwork, MemoryTransport
from camomile_trio.simulation.raw_packets import (
    ANSWER_TO,
    MAPPED,
    MAX_VALUE,
    PUBLISH,
    REPLICATE,
    SENDER,
    SESSION,
    Kind,
    Known,
    Received,
    content,
    field,
    key_of,
)
from camomile_trio.simulation.strangers import Stranger, open_stranger

K = 32
ALPHA = 3
PATIENCE = 2.0  # seconds until it gives a request up
REPLICATES_EVERY = 3600.0
PORT = 8118


@attrs.define(eq=False)
class ClassicPeer(Stranger):
    """One classic node."""

    node_id: bytes
    rng: random.Random
    contacts: dict[bytes, Known] = attrs.field(factory=dict)
    values: dict[bytes, bytes] = attrs.field(factory=dict)
    received: list[Received] = attrs.field(factory=list)
    streams: int = 0  # attempts at a stream, which classic nodes do not know
    dropped: int = 0  # packets with a value that is not text
    is_silent: bool = False  # receives and never answers, like a forged address
    forgets: bool = False  # keeps no values, so that what is found is not found here
    _waiting: dict[bytes, list[Received]] = attrs.field(factory=dict)
    _answered: trio.Event = attrs.field(factory=trio.Event)

    # Receiving -----------------------------------------------------------------------------------------------------

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        packet = Received(trio.current_time(), source, datagram_untrusted)
        self.received.append(packet)
        if packet.kind is Kind.UNKNOWN:
            return
        message = packet.message
        if not _is_text(packet.value):
            self.dropped += 1
            return
        if self.is_silent:
            return
        sender, session = content(packet.fields, SENDER), content(packet.fields, SESSION)
        self.learn(sender, source)
        match packet.kind:
            case Kind.PING:
                self._send(source, session, Kind.PONG, field(1, content(message, 1)))
            case Kind.FIND_NODE:
                self._send(source, session, Kind.NODE_LIST, self._closest(content(message, 1)))
            case Kind.FIND_VALUE:
                self._send(source, session, Kind.VALUE, self._value(content(message, 1)))
            case Kind.STORE:
                if not self.forgets:
                    value = packet.value[:MAX_VALUE]
                    self.values[key_of(value)] = value
            case _:
                if session in self._waiting:
                    self._waiting[session].append(packet)
                    self._answered.set()
                    self._answered = trio.Event()

    async def on_stream_message(self, message_untrusted: bytes, source: Endpoint) -> bytes | None:
        self.streams += 1
        return None

    def learn(self, node_id: bytes, endpoint: Endpoint) -> None:
        """Knows a node, with every other ip in its IPv4-mapped form, as Go's net.IP has it."""
        ip = endpoint.ip if len(self.contacts) % 2 else MAPPED + endpoint.ip
        self.contacts.setdefault(node_id, Known(node_id, ip, endpoint.port))

    def _closest(self, target: bytes) -> bytes:
        # It names itself too, with the empty ip of a node that was started without a peer.
        known = [*self.contacts.values(), Known(self.node_id, b"", PORT)]
        known.sort(key=lambda each: distance(each.node_id, target))
        return b"".join(
            field(1, field(1, each.node_id) + (field(2, each.ip) if each.ip else b"") + field(3, each.port))
            for each in known[:K]
        )

    def _value(self, key: bytes) -> bytes:
        value = self.values.get(key)
        if value is None:
            return field(1, key) + field(3, self._closest(key))
        return field(1, key) + field(2, value) + field(3, b"")

    # Asking --------------------------------------------------------------------------------------------------------

    async def ping(self, to: Endpoint) -> bool:
        challenge = self.rng.randbytes(32)
        answer = await self.ask(to, Kind.PING, field(1, challenge))
        return answer is not None and answer.message == [(1, challenge)]

    async def find_node(self, to: Endpoint, target: bytes) -> list[Known] | None:
        answer = await self.ask(to, Kind.FIND_NODE, field(1, target))
        return None if answer is None else answer.contacts

    async def find_value(self, to: Endpoint, key: bytes) -> bytes | list[Known] | None:
        """The value of a hit, the contacts of a miss, or None without an answer."""
        answer = await self.ask(to, Kind.FIND_VALUE, field(1, key))
        if answer is None:
            return None
        assert content(answer.message, 1) == key
        return answer.value or answer.contacts

    def store(self, to: Endpoint, value: bytes, kind: int = PUBLISH) -> None:
        """Sends a value; nobody answers."""
        self.send(to, Kind.STORE, field(1, kind) + field(3, value))

    async def join(self, through: Endpoint) -> None:
        """Finds the nodes around itself and greets them, so that they know it."""
        for known in await self.find_node(through, self.node_id) or []:
            # Who was started without a peer names itself with an empty ip.
            if known.ip:
                await self.ping(known.endpoint)

    async def ask(self, to: Endpoint, kind: Kind, message: bytes) -> Received | None:
        """The answer of the right kind, or None."""
        session = self.rng.randbytes(32)
        answers = self._waiting[session] = []
        self._send(to, session, kind, message)
        with trio.move_on_after(PATIENCE):
            while not answers:
                await self._answered.wait()
        del self._waiting[session]
        return next((each for each in answers if each.kind is ANSWER_TO[kind]), None)

    def send(self, to: Endpoint, kind: Kind, message: bytes) -> None:
        """One packet, whose answer nobody waits for."""
        self._send(to, self.rng.randbytes(32), kind, message)

    def _send(self, to: Endpoint, session: bytes, kind: Kind, message: bytes) -> None:
        self.transport.send(field(SESSION, session) + field(SENDER, self.node_id) + field(kind, message), to)

    # Its users -------------------------------------------------------------------------------------------------------

    async def put(self, value: bytes) -> int:
        """Publishes at the k closest that a lookup finds, itself included where it is one; at how many others."""
        key = key_of(value)
        self.values[key] = value
        _, closest = await self._lookup(key, Kind.FIND_NODE)
        for known in closest:
            self.store(known.endpoint, value)
        return len(closest)

    async def get(self, key: bytes) -> bytes | None:
        """The value, if a lookup finds it."""
        if key in self.values:
            return self.values[key]
        value, _ = await self._lookup(key, Kind.FIND_VALUE)
        return value if value is not None and key_of(value) == key else None

    async def replicate(self) -> None:
        """Every hour, until cancelled: sends all that it holds to the closest that it knows."""
        while True:
            await trio.sleep(REPLICATES_EVERY * self.rng.uniform(0.9, 1.1))
            for key, value in list(self.values.items()):
                for known in self._nearest(key):
                    self.store(known.endpoint, value, REPLICATE)

    def _nearest(self, target: bytes) -> list[Known]:
        return sorted(self.contacts.values(), key=lambda each: distance(each.node_id, target))[:K]

    async def _lookup(self, target: bytes, kind: Kind) -> tuple[bytes | None, list[Known]]:
        """In rounds, as Kademlia has it: the value if one is found, and the k closest that answered."""
        known = {each.node_id: each for each in self._nearest(target)}
        answered: dict[bytes, Known] = {}
        asked: dict[bytes, None] = {self.node_id: None}
        found: list[bytes] = []

        async def ask(of: Known) -> None:
            answer = await self.ask(of.endpoint, kind, field(1, target))
            if answer is None:
                del known[of.node_id]
                return
            answered[of.node_id] = of
            if answer.value:
                found.append(answer.value)
            for contact in answer.contacts:
                if contact.ip and contact.node_id not in asked:
                    known.setdefault(contact.node_id, contact)

        while not found:
            closest = sorted(known.values(), key=lambda each: distance(each.node_id, target))[:K]
            turn = [each for each in closest if each.node_id not in asked][:ALPHA]
            if not turn:
                break
            asked.update((each.node_id, None) for each in turn)
            async with trio.open_nursery() as nursery:
                for each in turn:
                    nursery.start_soon(ask, each)
        closest = sorted(answered.values(), key=lambda each: distance(each.node_id, target))[:K]
        return (found[0] if found else None), closest

    # What it has seen ----------------------------------------------------------------------------------------------

    def stores(self, kind: int) -> list[bytes]:
        """The values that it was sent to be stored, PUBLISH or REPLICATE."""
        return [each.value for each in self.received if each.kind is Kind.STORE and (1, kind) in each.message]

    def check(self, kin: set[Endpoint]) -> None:
        """Nothing that it does not know has ever reached it, but for hellos, which it skips. `kin`: classic peers."""
        assert self.received, "it was never spoken to"
        for packet in self.received:
            if packet.source not in kin:
                packet.check()
        assert self.dropped == 0
        assert self.streams == 0


def _is_text(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@asynccontextmanager
async def open_classic_peers(
    network: MemoryNetwork, count: int, *, first: str, seed: int
) -> AsyncIterator[list[ClassicPeer]]:
    """`count` classic nodes that know nobody yet, at addresses that follow `first`, for the length of the block."""
    rng = random.Random(seed)
    at = Endpoint.parse(first)
    peers: list[ClassicPeer] = []

    def make(transport: MemoryTransport) -> ClassicPeer:
        return ClassicPeer(transport, rng.randbytes(32), random.Random(rng.getrandbits(64)))

    async with AsyncExitStack() as stack:
        for number in range(count):
            ip = (int.from_bytes(at.ip, "big") + number).to_bytes(4, "big")
            peers.append(await stack.enter_async_context(open_stranger(network, Endpoint.of(ip, at.port), make)))
        yield peers
