"""A connection is that of tests/vectors/stream_v2.json, which was made without our code."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.handshake import NetworkKey, open_network_key
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.streams import Answering, Asking, Streams
from camomile_trio.peer.suite import NaclSuite
from camomile_trio.transport.stream import framed

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "stream_v2.json").read_text(encoding="utf-8")
)
SUITE = NaclSuite()
LARGEST = 2**20
HERE = Endpoint.parse("198.18.1.1:40000")


def of(name: str) -> bytes:
    return bytes.fromhex(VECTOR[name])


class Scripted(random.Random):
    """Its next bytes are the vector's: a run, then an ephemeral key."""

    def __init__(self, *chosen: bytes) -> None:
        super().__init__()
        self.chosen = list(chosen)

    def randbytes(self, n: int) -> bytes:
        return self.chosen.pop(0)


def local(role: str) -> Local:
    network = NetworkKey.of(open_network_key(of("network_id")), of("network_id"))
    static = StaticKey.from_seed(SUITE, of(f"{role}_seed"))
    started = Local.start(static, (network,), SUITE, Scripted(of(f"{role}_run"), of(f"{role}_ephemeral")))
    started.flags, started.advertised = VECTOR[f"{role}_flags"], of(f"{role}_advertised")
    return started


@attrs.define(eq=False)
class Peer:
    """It answers with what the vector has, and keeps what it was asked."""

    asked: list[tuple[bytes, bytes]] = attrs.field(factory=list)

    async def handle(self, contact: Contact, message: bytes) -> bytes | None:
        self.asked.append((contact.public, message))
        return of("answer")


async def test_a_connection_is_as_the_vectors_have_it() -> None:
    a, b, peer = local("initiator"), local("responder"), Peer()
    streams = Streams(
        transport=None,  # type: ignore[arg-type]
        local=b,
        wall_ms=lambda: int(VECTOR["responder_wall_clock"]),
        max_message=LARGEST,
        handle=peer.handle,
        is_member=lambda public: False,
        afford=lambda source: True,
    )
    asking, answering = (
        Asking(a, b.static.public, lambda: int(VECTOR["initiator_wall_clock"]), streams.most_bytes),
        Answering(streams, HERE),
    )
    first = asking.first()
    assert framed(first) == of("asking_side_first")
    response = await answering.answer(first)
    assert response is not None
    assert framed(response) == of("accepting_side_first")
    asking.on_first(response)
    question = await asking.sealed(of("question"))
    assert framed(question) == of("question_sealed")
    answer = await answering.answer(question)
    assert answer is not None
    assert framed(answer) == of("answer_sealed")
    assert await asking.opened(answer) == of("answer")
    assert peer.asked == [(a.static.public, of("question"))]
    long = framed(await asking.sealed(bytes(70_000)))
    assert len(long) == VECTOR["long_question_sealed_bytes"]
    assert hashlib.blake2b(long, digest_size=32).hexdigest() == VECTOR["long_question_sealed_blake2b_256"]
    assert await answering.answer(long[4:]) is not None
    assert peer.asked[1:] == [(a.static.public, bytes(70_000))]
