"""One hostile host: sends datagrams of one kind at a rate, for a while. Prints a line when it begins, and at the end
how many left in a second.

Rules of this file: run in a host of its own, inside the harness's namespaces, where addresses may be forged. The
datagrams are made by the package's own room for peers, and it knows nothing else of a node's insides. It sends in
batches by sendmmsg(2), since a call for each datagram would take more of the processor than the node that is measured.
It floods one address, given by the harness, which is on the harness's own bridge.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import random
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import TypeVar

import attrs

from camomile_trio.config import DEFAULT_NETWORK
from camomile_trio.identity import KeyPair, network_id
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import FindNode, Have, Message, NodeList, Store, StoreKind
from camomile_trio.kademlia.records import Kind, Record
from camomile_trio.peer.decisions import Decision, Introduced, Responded
from camomile_trio.peer.handshake import NetworkKey, open_network_key, write_hello, write_initiation
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.packets import INDEX_BYTES, SEALED, InitiationPayload, frame
from camomile_trio.peer.sessions import Sessions
from camomile_trio.peer.suite import NaclSuite
from camomile_trio.transport.sockaddr import from_sockaddr
from camomile_trio.wire import classic
from camomile_trio.wire.codec import Codec

NETWORK = network_id(DEFAULT_NETWORK)
DIFFERENT = 1024  # datagrams of a kind, or inner packets
FEW = 8  # keys of its own whose initiations are replayed
BATCH = 50
KEYS_ASKED = 30  # in a have: what fits into a datagram
CONTACTS_NAMED = 20
FIND_BYTES = 420  # of an initiation with a find, as the package pads it
LEASE = 3_600_000  # ms
PATIENCE, TRIES = 1.0, 5  # s for an answer of the victim
ELSEWHERE = bytes([10, 9])  # forged sources begin so: nobody lives there
PEER_PORT = 8118
MERELY_DROPPED = {errno.EAGAIN, errno.ENOBUFS, errno.ECONNREFUSED}
_IP_AND_UDP = struct.Struct(">BBHHHBBH4s4sHHHH")

Wanted = TypeVar("Wanted")


def _wall_ms() -> int:
    return time.time_ns() // 10**6


@attrs.define(eq=False)
class Hostile:
    """What a kind's datagrams are made of: a key in the open network, a socket, and what it learns of the victim."""

    udp: socket.socket
    victim: Endpoint
    rng: random.Random
    _sessions: Sessions = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._sessions = Sessions(self.stranger(), time.monotonic())

    def stranger(self) -> Local:
        """A node that nobody knows."""
        network = NetworkKey.of(open_network_key(NETWORK), NETWORK)
        suite = NaclSuite()
        return Local.start(StaticKey.from_seed(suite, self.rng.randbytes(32)), (network,), suite, self.rng)

    @property
    def network(self) -> NetworkKey:
        return self._sessions.local.network_keys[0]

    def public_key(self) -> bytes:
        """The victim's, as it answers a hello. TimeoutError."""
        hello = self._sessions.initiator.hello(self.victim, time.monotonic())
        return self._answer(hello, Introduced).peer

    def meet(self) -> bytes:
        """Makes a session with the victim, confirmed by both; its public key. TimeoutError."""
        public, now = self.public_key(), time.monotonic()
        find = Codec().encode(1, FindNode(NodeId(self.rng.randbytes(32))), 0)
        self._answer(
            self._sessions.initiator.initiate(public, self.victim, find, now, _wall_ms(), FIND_BYTES), Responded
        )
        self.udp.sendto(self.sealed(public, b""), (self.victim.host, self.victim.port))
        return public

    def sealed(self, public: bytes, inner: bytes) -> bytes:
        sealed = self._sessions.seal(public, inner, time.monotonic())
        assert sealed is not None
        return sealed.datagram

    def _answer(self, datagram: bytes, wanted: type[Wanted]) -> Wanted:
        self.udp.settimeout(PATIENCE)
        for _ in range(TRIES):
            self.udp.sendto(datagram, (self.victim.host, self.victim.port))
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                try:
                    decision = self._received()
                except (TimeoutError, ConnectionRefusedError):
                    break
                if isinstance(decision, wanted):
                    return decision
        raise TimeoutError(f"{self.victim} does not answer")

    def _received(self) -> Decision:
        arrived, address = self.udp.recvfrom(65_536)
        return self._sessions.on_datagram(arrived, from_sockaddr(address), time.monotonic(), _wall_ms())

    def initiation(self, own: Local, public: bytes) -> bytes:
        """One that the victim takes: a find, of a node that it does not know."""
        find = Codec().encode(1, FindNode(NodeId(self.rng.randbytes(32))), 0)
        payload = InitiationPayload(1000 * _wall_ms(), own.about(_wall_ms()), find)
        index, ephemeral = self.rng.randbytes(INDEX_BYTES), own.ephemeral()
        _, initiation = write_initiation(
            self.network,
            own.suite,
            own.static.key,
            public,
            ephemeral=ephemeral,
            index=index,
            payload=payload,
            padded_to=FIND_BYTES,
        )
        return initiation.encode()

    def contact(self) -> Contact:
        return Contact.of(self.stranger().static.public, Endpoint.of(ELSEWHERE + self.rng.randbytes(2), PEER_PORT))

    def store(self) -> Store:
        """One that is in order but for its signature."""
        value, now = self.rng.randbytes(100), _wall_ms()
        publisher, signature = KeyPair.new(self.rng).public, self.rng.randbytes(64)
        record = Record(Key.of(value), Kind.LEASE, 1, publisher, 1, now, now + LEASE, signature)
        return Store(StoreKind.PUBLISH, None, value, (record.row(),))

    def say(self, message: Callable[[], Message]) -> Iterator[bytes]:
        """Such messages in a session, under numbers that answer nothing."""
        public, codec = self.meet(), Codec()
        said = [message() for _ in range(DIFFERENT)]
        inner = [codec.encode(self.rng.getrandbits(32), each, 0) for each in said]
        return (self.sealed(public, each) for each in cycle(inner))


def _again(make: Callable[[], bytes], count: int = DIFFERENT) -> Iterator[bytes]:
    return cycle([make() for _ in range(count)])


def _unsealed(hostile: Hostile) -> Iterator[bytes]:
    rng = hostile.rng
    return _again(
        lambda: classic.encode(
            classic.Packet(rng.randbytes(32), NodeId(rng.randbytes(32)), classic.FindNode(NodeId(rng.randbytes(32))))
        )
    )


def _unknown_index(hostile: Hostile) -> Iterator[bytes]:
    return _again(lambda: frame(SEALED, hostile.rng.randbytes(INDEX_BYTES + 8 + 100)))


def _initiations(hostile: Hostile) -> Iterator[bytes]:
    public = hostile.public_key()
    return _again(lambda: hostile.initiation(hostile.stranger(), public))


def _replayed_initiations(hostile: Hostile) -> Iterator[bytes]:
    public = hostile.public_key()
    return _again(lambda: hostile.initiation(hostile.stranger(), public), FEW)


def _keys(rng: random.Random) -> tuple[Key, ...]:
    return tuple(Key(rng.randbytes(32)) for _ in range(KEYS_ASKED))


def _node_lists(hostile: Hostile) -> Iterator[bytes]:
    known = [hostile.contact() for _ in range(10 * CONTACTS_NAMED)]
    return hostile.say(lambda: NodeList(tuple(hostile.rng.sample(known, CONTACTS_NAMED))))


KINDS: dict[str, Callable[[Hostile], Iterator[bytes]]] = {
    "random bytes": lambda one: _again(lambda: one.rng.randbytes(120)),
    "unsealed": _unsealed,
    "unknown index": _unknown_index,
    "hellos": lambda one: _again(lambda: write_hello(one.network, one.rng).encode()),
    "initiations": _initiations,
    "replayed initiations": _replayed_initiations,
    "unsolicited node lists": _node_lists,
    "finds": lambda one: one.say(lambda: FindNode(NodeId(one.rng.randbytes(32)))),
    "stores with bad signatures": lambda one: one.say(one.store),
    "have": lambda one: one.say(lambda: Have(_keys(one.rng))),
}
FORGED = frozenset({"initiations"})  # each from an address of its own, unless others are given


# How they leave ------------------------------------------------------------------------------------------------------


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_char_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Outgoing(ctypes.Structure):
    _fields_ = (("header", _Header), ("sent", ctypes.c_uint32))


def forged(datagrams: Iterator[bytes], sources: Iterator[Endpoint], to: Endpoint) -> Iterator[bytes]:
    """Packets of IPv4 for a raw socket. The kernel fills in their lengths and the checksum of IP; UDP's may be 0."""
    for datagram, source in zip(datagrams, sources, strict=False):
        length = 8 + len(datagram)
        yield (
            _IP_AND_UDP.pack(
                0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0, source.ip, to.ip, source.port, to.port, length, 0
            )
            + datagram
        )


def nowhere(rng: random.Random) -> Iterator[Endpoint]:
    while True:
        yield Endpoint.of(ELSEWHERE + rng.randbytes(2), PEER_PORT)


def flood(aim: socket.socket, packets: Iterator[bytes], rate: int, seconds: float) -> float:
    """Sends `rate` a second, as far as this machine can, until the time is over or Ctrl-C; how many left a second."""
    library = ctypes.CDLL(None, use_errno=True)
    vectors = (_Vector * BATCH)()
    outgoing = (_Outgoing * BATCH)()
    for place, vector in zip(outgoing, vectors, strict=True):
        place.header.vectors = ctypes.pointer(vector)
        place.header.vector_count = 1
    sent, began = 0, time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        print("floods", flush=True)  # from now on it may be interrupted
        while (passed := time.monotonic() - began) < seconds:
            if sent >= passed * rate:
                time.sleep(BATCH / rate)
                continue
            batch = list(islice(packets, BATCH))
            for vector, packet in zip(vectors, batch, strict=True):
                vector.base, vector.length = packet, len(packet)
            done = library.sendmmsg(aim.fileno(), ctypes.byref(outgoing), BATCH, 0)
            if done < 0 and ctypes.get_errno() not in MERELY_DROPPED:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            sent += max(done, 0)
    return sent / (time.monotonic() - began)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.hostile", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("victim", type=Endpoint.parse, help="HOST:PORT of the node that the datagrams are made for")
    parser.add_argument("--at", type=Endpoint.parse, help="HOST:PORT that is flooded with them instead")
    parser.add_argument("--forge", type=Endpoint.parse, action="append", help="HOST:PORT that they seem to come from")
    parser.add_argument("--rate", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    chosen = parser.parse_args(arguments)
    # It is ended by SIGINT, which a shell has its background commands ignore, and what they start too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng = random.Random(os.urandom(16))  # an index and a key that no earlier run has used
    aim = chosen.at or chosen.victim
    with contextlib.ExitStack() as stack:
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        packets = KINDS[chosen.kind](Hostile(udp, chosen.victim, rng))
        if chosen.forge or chosen.kind in FORGED:
            packets = forged(packets, cycle(chosen.forge) if chosen.forge else nowhere(rng), aim)
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
        udp.connect((aim.host, aim.port))
        udp.setblocking(False)
        print(flood(udp, packets, chosen.rate, chosen.seconds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
