"""Peers of a village that are no honest nodes: they speak the protocol, and do with it what a story wants.

Rules of this file: a stranger decides nothing by itself but how it answers; it has no table and no storage.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs
import trio

from camomile_trio.identity import KeyPair, network_id, sign_pong
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId, distance
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Holding,
    Message,
    NodeList,
    Packet,
    Ping,
    Pong,
    Store,
    StoreResult,
    StoreStatus,
    Value,
)
from camomile_trio.transport.base import Transport
from camomile_trio.wire.codec import decode_untrusted, encode
from tests.stories.village import Village

NETWORK = network_id("camomile")

# What a stranger says to a request; None is silence.
Behaviour = Callable[["Stranger", Packet], Message | None]


def truthful(stranger: Stranger, packet: Packet) -> Message | None:
    """An honest node that knows nobody and takes every value, only to lose it."""
    match packet.message:
        case Ping(challenge):
            return Pong(challenge, stranger.key.public, sign_pong(challenge, stranger.key, NETWORK))
        case FindNode():
            return NodeList((), b"token")
        case FindValue():
            return Value(token=b"token")
        case Store():
            return StoreResult(StoreStatus.STORED, Durability.MEMORY)
        case Have(keys):
            return HaveResult(tuple(Holding(key, False) for key in keys))
    return None


def only_pongs(stranger: Stranger, packet: Packet) -> Message | None:
    """Alive enough to be in every table, and of no use to anybody."""
    return truthful(stranger, packet) if isinstance(packet.message, Ping) else None


@attrs.define(eq=False)
class Stranger:
    """Implements `transport.Inbound`. `delay` seconds pass before each answer."""

    key: KeyPair
    endpoint: Endpoint
    behave: Behaviour = truthful
    delay: float = 0.0
    received: list[Packet] = attrs.field(factory=list)
    _transport: Transport | None = None
    _nursery: trio.Nursery | None = None

    @property
    def id(self) -> NodeId:
        return self.key.node_id

    @property
    def contact(self) -> Contact:
        return Contact(self.id, self.endpoint)

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        packet = decode_untrusted(datagram_untrusted)
        self.received.append(packet)
        message = self.behave(self, packet)
        assert self._nursery is not None
        if message is not None:
            self._nursery.start_soon(self._answer, packet, message, source)

    async def on_stream_message(self, message_untrusted: bytes, source: Endpoint) -> bytes | None:
        return None

    async def _answer(self, request: Packet, message: Message, to: Endpoint) -> None:
        await trio.sleep(self.delay)
        self._send(Packet(request.session, self.id, message, 1), to)

    def ask(self, message: Message, to: Endpoint, session: bytes) -> None:
        """Says something of its own accord, padded as a newcomer's words are."""
        self._send(Packet(session, self.id, message, 1, padding=480), to)

    def _send(self, packet: Packet, to: Endpoint) -> None:
        assert self._transport is not None
        self._transport.send(encode(packet), to)

    async def live(self, place: Village, *, task_status: trio.TaskStatus[None]) -> None:
        async with place.network.open(self.endpoint) as transport, trio.open_nursery() as nursery:
            self._transport, self._nursery = transport, nursery
            await nursery.start(transport.serve, self)
            task_status.started()

    async def settle(self, place: Village) -> None:
        """It moves in and says hello to everybody, so that it is in the tables of all that have a place for it."""
        await place._nursery.start(self.live, place)
        for number, inhabitant in enumerate(place.inhabitants):
            self.ask(Ping(bytes(32)), inhabitant.endpoint, number.to_bytes(32, "big"))
        await trio.sleep(2)


def a_stranger(name: str, number: int, *, near: bytes | None = None, behave: Behaviour = truthful) -> Stranger:
    """`near`: its id is chosen to be as close to this as a short search can make it, closer than honest nodes are."""
    rng = random.Random(name)
    keys = [KeyPair.new(rng) for _ in range(1 if near is None else 64)]
    key = keys[0] if near is None else min(keys, key=lambda each: distance(each.node_id, near))
    return Stranger(key, Endpoint.parse(f"10.66.0.{number}:8118"), behave)
