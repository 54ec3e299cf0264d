"""`python -m tests.fuzz`: whatever arrives ends in a checked message or in a counted drop, tried with many inputs.

Rules of this file: inputs are the corpus of the tests with damage done to it, by a seeded generator. Each target says
what an input came to, and raises only if the product is wrong. Hypothesis tries the same in the tests, with fewer.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import trio
import trio.testing

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.decisions import Dropped, Reply
from camomile_trio.peer.packets import MOST_INNER
from camomile_trio.peer.streams import Asking, Streams
from camomile_trio.wire import classic
from camomile_trio.wire.codec import Codec
from tests.classic.recorded import RECORDED
from tests.fixtures.line import SELF_CONTACT
from tests.fixtures.parts import open_parts
from tests.fixtures.peers import Peer
from tests.peer import test_untrusted
from tests.peer.nodes import Line, Node
from tests.wire.corpus import CORPUS as INNER

CODEC = Codec()
CLASSIC = [recorded.datagram for recorded in RECORDED]
SOURCE = Endpoint.parse("198.18.7.7:8118")

# What became of one input, in a word.
Target = Callable[[bytes], Awaitable[str]]


def damaged(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus with a few bytes changed, left out, added, or taken from another one."""
    packet = bytearray(rng.choice(corpus))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.choice((rng.randint(0, len(packet)), min(rng.randint(0, 90), len(packet))))
        kind = rng.randrange(6)
        if kind == 0 and at < len(packet):
            packet[at] = rng.randrange(256)
        elif kind == 1 and at < len(packet):
            packet[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del packet[at : at + rng.randint(1, 40)]
        elif kind == 3:
            packet[at:at] = rng.randbytes(rng.randint(1, 8))
        elif kind == 4:
            other = rng.choice(corpus)
            packet[at:] = other[min(at, len(other)) :]
        else:
            del packet[at:]
    return bytes(packet)


async def inner(data: bytes) -> str:
    """The decoder of inner packets. What it takes it takes again, once encoded."""
    try:
        number, message, flags = CODEC.decode_untrusted(data)
    except MalformedPacket:
        return "refused"
    again = CODEC.decode_untrusted(CODEC.encode(number, message, flags))
    assert again[0] == number, data.hex()
    assert type(again[1]) is type(message), data.hex()
    return "taken"


async def classic_packets(data: bytes) -> str:
    """The decoder of classic packets."""
    try:
        classic.decode_untrusted(data)
    except MalformedPacket:
        return "refused"
    return "taken"


async def handshakes(data: bytes) -> str:
    """A node that is sent damaged handshakes and sealed packets that were made for it."""
    line = Line(now=160.0, wall_ms=1_700_000_060_000)
    node = Node(line, b"b", "198.18.2.1")
    decision = node.sessions.on_datagram(data, SOURCE, line.now, line.wall_ms)
    if data in test_untrusted.CORPUS:
        return "undamaged"
    assert isinstance(decision, Dropped | Reply), data.hex()
    assert not node.sessions.table.by_index, data.hex()
    if isinstance(decision, Reply):
        assert len(decision.datagram) <= len(data), data.hex()
        return "replied"
    return "dropped"


class _Streams:
    """The accepting side of connections, each made anew for a message."""

    def __init__(self) -> None:
        line = Line()
        self._a, self._b = Node(line, b"a", "198.18.1.1"), Node(line, b"b", "198.18.2.1")

    def first(self) -> bytes:
        """A good initiation."""
        asking = Asking(self._a.sessions.local, self._b.public, lambda: self._a.wall_ms, 2**20)
        return asking.first()

    async def target(self, data: bytes) -> str:
        async def handle(contact: Contact, message: bytes) -> bytes | None:
            raise AssertionError(data.hex())  # nobody has proven a key

        streams = Streams(
            transport=None,  # type: ignore[arg-type]  # nothing is asked
            local=self._b.sessions.local,
            wall_ms=lambda: self._b.wall_ms,
            max_message=2**20,
            handle=handle,
            is_member=lambda public: False,
            afford=lambda source: True,
        )
        answering = streams.on_connection(SOURCE)
        answer = await answering.answer(data)
        assert await answering.answer(data[::-1]) is None or answer is None, data.hex()
        return "answered" if answer is not None else "closed"


async def run(inputs: int, seed: int) -> dict[str, Counter[str]]:
    """So many inputs in all; what they came to, by target."""
    streams = _Streams()
    async with open_parts() as (parts, line):
        peer = Peer.at(line, "a peer with a session", "10.9.0.2:8118")
        peer.introduce()

        async def node(data: bytes) -> str:
            """A whole node's parts, asked by a peer that has proven its key and says anything."""
            line.sent.clear()
            peer.speaker.seal(data[:MOST_INNER], SELF_CONTACT)
            if parts.requests.sessions.dropped:
                raise AssertionError(f"{parts.requests.sessions.dropped}: {data.hex()}")
            return "answered" if line.sent else "silent"

        targets: dict[str, tuple[Target, Sequence[bytes]]] = {
            "inner packets": (inner, INNER),
            "classic packets": (classic_packets, CLASSIC),
            "handshakes": (handshakes, test_untrusted.CORPUS),
            "streams": (streams.target, [streams.first() for _ in range(20)]),
            "a node and its peer": (node, INNER),
        }
        outcomes: dict[str, Counter[str]] = {}
        for name, (target, corpus) in targets.items():
            rng = random.Random(f"{seed} {name}")
            counts: Counter[str] = Counter()
            outcomes[name] = counts
            for number in range(inputs // len(targets)):
                data = damaged(rng, corpus)
                try:
                    counts[await target(data)] += 1
                except Exception as error:
                    raise AssertionError(f"{name}: {data.hex()}") from error
                if number % 64 == 0:
                    await trio.lowlevel.checkpoint()
        return outcomes


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    began = time.monotonic()
    clock = trio.testing.MockClock(autojump_threshold=0.01)
    for name, counts in trio.run(run, chosen.inputs, chosen.seed, clock=clock).items():
        print(f"{name}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    print(f"{chosen.inputs} inputs, seed {chosen.seed}, {time.monotonic() - began:.0f} s: nothing was raised")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
