"""One hostile peer: sends datagrams of one kind at a rate, for a while. Prints how many left in a second.

Rules of this file: run in a host of its own. It knows the wire and nothing of a node's insides. It sends in batches by
sendmmsg(2), since a call for each datagram would take more of the processor than the node that is measured. It aims at
one address, given by the harness, which is on the harness's own bridge.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import random
import socket
import sys
import time
from collections.abc import Callable, Sequence

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Have,
    Message,
    NodeList,
    Packet,
    Ping,
    Store,
    StoreKind,
)
from camomile_trio.kademlia.records import ROW_BYTES, RecordRow
from camomile_trio.wire.codec import decode_untrusted, encode

DIFFERENT = 1024  # datagrams of a kind
BATCH = 50
KEYS_ASKED = 30  # in a have: what fits into a datagram
TOKEN_PATIENCE = 2.0
MERELY_DROPPED = {errno.EAGAIN, errno.ENOBUFS, errno.ECONNREFUSED}


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


@attrs.frozen
class Invention:
    """What a kind's datagrams are made of."""

    rng: random.Random
    token: bytes  # the victim's, for this address

    def packet(self, message: Message) -> bytes:
        """From a node that is another one each time."""
        return encode(Packet(self.rng.randbytes(32), NodeId(self.rng.randbytes(32)), message, 1))

    def store(self, token: bytes) -> bytes:
        value = self.rng.randbytes(100)
        row = bytearray(self.rng.randbytes(ROW_BYTES))
        row[:3] = b"\x01\x01\x01"  # format 1, a lease, that may be renewed
        return self.packet(Store(StoreKind.PUBLISH, None, value, (RecordRow(bytes(row)),), token))

    def contact(self) -> Contact:
        return Contact(NodeId(self.rng.randbytes(32)), Endpoint.of(bytes([10, 9, *self.rng.randbytes(2)]), 8118))


KINDS: dict[str, Callable[[Invention], bytes]] = {
    "random bytes": lambda one: one.rng.randbytes(120),
    "nearly a packet": lambda one: one.packet(Ping(one.rng.randbytes(32)))[:-5],
    "pings": lambda one: one.packet(Ping(one.rng.randbytes(32))),
    "finds": lambda one: one.packet(FindNode(NodeId(one.rng.randbytes(32)))),
    "finds for values": lambda one: one.packet(FindValue(Key(one.rng.randbytes(32)))),
    "stores with bad tokens": lambda one: one.store(one.rng.randbytes(8)),
    "stores with bad signatures": lambda one: one.store(one.token),
    "have": lambda one: one.packet(Have(tuple(Key(one.rng.randbytes(32)) for _ in range(KEYS_ASKED)))),
    "answers nobody waits for": lambda one: one.packet(NodeList(tuple(one.contact() for _ in range(20)), b"")),
}


def token_of(victim: socket.socket, rng: random.Random) -> bytes:
    """The write token that the victim gives to whoever asks; none from who does not answer."""
    victim.settimeout(TOKEN_PATIENCE)
    victim.send(encode(Packet(rng.randbytes(32), NodeId(rng.randbytes(32)), FindNode(NodeId(rng.randbytes(32))), 1)))
    until = time.monotonic() + TOKEN_PATIENCE
    try:
        while time.monotonic() < until:
            message = decode_untrusted(victim.recv(65536)).message
            if isinstance(message, NodeList):
                return message.token
    except (TimeoutError, ConnectionRefusedError):
        pass
    return b""


def flood(victim: socket.socket, datagrams: Sequence[bytes], rate: int, seconds: float) -> float:
    """Sends them again and again, `rate` a second as far as this machine can; how many left a second until Ctrl-C."""
    library = ctypes.CDLL(None, use_errno=True)
    vectors = [_Vector(each, len(each)) for each in datagrams]
    outgoing = (_Outgoing * len(datagrams))()
    for place, vector in zip(outgoing, vectors, strict=True):
        place.header.vectors = ctypes.pointer(vector)
        place.header.vector_count = 1
    descriptor, size = victim.fileno(), ctypes.sizeof(_Outgoing)
    sent, position, began = 0, 0, time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        while (passed := time.monotonic() - began) < seconds:
            if sent >= passed * rate:
                time.sleep(BATCH / rate)
                continue
            count = min(BATCH, len(datagrams) - position)
            done = library.sendmmsg(descriptor, ctypes.byref(outgoing, position * size), count, 0)
            if done < 0 and ctypes.get_errno() not in MERELY_DROPPED:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            sent += max(done, 0)
            position = (position + count) % len(datagrams)
    return sent / (time.monotonic() - began)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.hostile", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("victim", help="HOST:PORT")
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    chosen = parser.parse_args(arguments)
    host, _, port = chosen.victim.rpartition(":")
    rng = random.Random(118)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as victim:
        victim.connect((host, int(port)))
        invention = Invention(rng, token_of(victim, rng))
        datagrams = [KINDS[chosen.kind](invention) for _ in range(DIFFERENT)]
        victim.setblocking(False)
        print(flood(victim, datagrams, chosen.rate, chosen.seconds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
