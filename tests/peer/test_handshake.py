"""The handshake's messages against vectors that were made without our code, and the keys behind them.

Rules of this file: values in, bytes out; what a node makes of them is in test_sessions.py.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import attrs
import pytest

from camomile_trio.errors import MalformedPacket
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.handshake import (
    NetworkKey,
    cookie_for,
    is_for,
    is_under,
    mac2_of,
    open_network_key,
    read_cookie_reply,
    read_hello_answer,
    read_initiation,
    read_response,
    write_cookie_reply,
    write_hello,
    write_hello_answer,
    write_initiation,
    write_response,
)
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.packets import (
    NO_COOKIE,
    About,
    CookieReply,
    Hello,
    HelloAnswer,
    Initiation,
    InitiationPayload,
    Response,
    ResponsePayload,
    unframe_untrusted,
)
from camomile_trio.peer.session import Session
from camomile_trio.peer.suite import DhKey, NaclSuite

VECTOR: dict[str, str] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "handshake_v2.json").read_text(encoding="utf-8")
)
SUITE = NaclSuite()
REQUEST, ANSWER = b"\x1a\x06\x0a\x04ping", b"\x22\x06\x0a\x04pong"
TIME, WALL_MS = 1_700_000_000_000_000, 1_700_000_000_000
ABOUT_INITIATOR = About(WALL_MS, b"run of a", 2, 1, Endpoint.parse("198.18.1.1:8118"))
ABOUT_RESPONDER = About(WALL_MS + 123, b"run of b", 2, 0)


def of(name: str) -> bytes:
    return bytes.fromhex(VECTOR[name])


def body(name: str) -> bytes:
    return unframe_untrusted(of(name))[1]


class Scripted(random.Random):
    """Its next bytes are the vector's."""

    def __init__(self, *chosen: bytes) -> None:
        super().__init__()
        self.chosen = list(chosen)

    def randbytes(self, n: int) -> bytes:
        found = self.chosen.pop(0)
        assert len(found) == n
        return found


NETWORK = NetworkKey.of(open_network_key(of("network_id")), of("network_id"))
INITIATOR = StaticKey.from_seed(SUITE, of("initiator_seed"))
RESPONDER = StaticKey.from_seed(SUITE, of("responder_seed"))


def test_a_seed_gives_a_node_its_key_and_its_id() -> None:
    assert open_network_key(of("network_id")) == of("network_key")
    for key, name in ((INITIATOR, "initiator"), (RESPONDER, "responder")):
        assert key.public == of(f"{name}_public")
        assert key.node_id == of(f"{name}_id")
        assert key.public != KeyPair.from_seed(of(f"{name}_seed")).public


def initiation(index: bytes, cookie: bytes, time: int, padded_to: int) -> Initiation:
    _, written = write_initiation(
        NETWORK,
        SUITE,
        INITIATOR.key,
        RESPONDER.public,
        ephemeral=DhKey.of(SUITE, of("initiator_ephemeral")),
        index=index,
        payload=InitiationPayload(time, ABOUT_INITIATOR, REQUEST),
        cookie=cookie,
        padded_to=padded_to,
    )
    return written


def test_initiations_are_written_as_the_vectors_have_them() -> None:
    assert initiation(of("initiation_index"), NO_COOKIE, TIME, 0).encode() == of("initiation")
    with_cookie = initiation(of("initiation_with_cookie_index"), of("cookie"), TIME + 1, 420)
    assert with_cookie.encode() == of("initiation_with_cookie")
    assert len(of("initiation_with_cookie")) == 420


def test_a_cookie_is_made_sealed_and_opened_as_the_vectors_have_it() -> None:
    asked = Initiation.decode_untrusted(body("initiation"))
    assert cookie_for(of("cookie_secret"), of("source")) == of("cookie")
    rng = Scripted(of("cookie_reply_nonce"))
    reply = write_cookie_reply(NETWORK, SUITE, RESPONDER.public, asked, of("cookie"), rng)
    assert reply.encode() == of("cookie_reply")
    untrusted = CookieReply.decode_untrusted(body("cookie_reply"))
    assert read_cookie_reply(NETWORK, SUITE, RESPONDER.public, asked.mac1, untrusted) == of("cookie")
    with pytest.raises(MalformedPacket, match="wrong_tag"):
        read_cookie_reply(NETWORK, SUITE, RESPONDER.public, bytes(16), untrusted)
    with_cookie = Initiation.decode_untrusted(body("initiation_with_cookie"))
    assert with_cookie.mac2 == mac2_of(of("cookie"), with_cookie.before_mac2)


def test_a_whole_handshake_is_as_the_vectors_have_it() -> None:
    noise_i, asked = write_initiation(
        NETWORK,
        SUITE,
        INITIATOR.key,
        RESPONDER.public,
        ephemeral=DhKey.of(SUITE, of("initiator_ephemeral")),
        index=of("initiation_with_cookie_index"),
        payload=InitiationPayload(TIME + 1, ABOUT_INITIATOR, REQUEST),
        cookie=of("cookie"),
        padded_to=420,
    )
    assert asked == Initiation.decode_untrusted(body("initiation_with_cookie"))
    assert is_for(NETWORK, RESPONDER.public, asked)
    noise_r, payload = read_initiation(NETWORK, SUITE, RESPONDER.key, asked, of("cookie"))
    assert payload == InitiationPayload.decode_untrusted(of("initiation_payload"))
    assert payload == InitiationPayload(TIME + 1, ABOUT_INITIATOR, REQUEST)
    assert noise_r.rs == INITIATOR.public
    response = write_response(
        NETWORK,
        noise_r,
        asked.index,
        ephemeral=DhKey.of(SUITE, of("responder_ephemeral")),
        payload=ResponsePayload(of("responder_index"), ABOUT_RESPONDER, ANSWER),
    )
    assert response.encode() == of("response")
    after, answered = read_response(NETWORK, INITIATOR.key, noise_i, Response.decode_untrusted(body("response")))
    assert answered == ResponsePayload.decode_untrusted(of("response_payload"))
    assert answered == ResponsePayload(of("responder_index"), ABOUT_RESPONDER, ANSWER)
    send, receive = after.symmetric.split()
    session = Session(
        peer=RESPONDER.public,
        endpoint=Endpoint.parse("198.18.2.1:8118"),
        is_initiator=True,
        own_index=asked.index,
        peer_index=answered.index,
        send_key=send.k,
        receive_key=receive.k,
        network_psk=NETWORK.psk,
        begun_at=0.0,
        handshake_bytes=0,
        about=answered.about,
    )
    assert session.seal(SUITE, b"") == of("sealed_empty")
    assert session.open_untrusted(SUITE, body("sealed_back")) == b"hello"
    session.sent = 2**32 + 7
    assert session.seal(SUITE, b"x" * 200) == of("sealed_later")


def test_a_hello_and_its_answer_are_as_the_vectors_have_them() -> None:
    hello = write_hello(NETWORK, Scripted(of("hello_nonce")))
    assert hello.encode() == of("hello")
    assert is_under(NETWORK, Hello.decode_untrusted(body("hello")))
    answer = write_hello_answer(NETWORK, SUITE, RESPONDER.public, hello, Scripted(of("hello_answer_nonce")))
    assert answer.encode() == of("hello_answer")
    assert read_hello_answer(NETWORK, SUITE, HelloAnswer.decode_untrusted(body("hello_answer"))) == RESPONDER.public


def test_a_hello_answer_with_a_key_that_no_node_has_is_refused() -> None:
    hello = write_hello(NETWORK, random.Random(1))
    answer = write_hello_answer(NETWORK, SUITE, bytes(32), hello, random.Random(2))
    with pytest.raises(MalformedPacket, match="key_of_low_order"):
        read_hello_answer(NETWORK, SUITE, answer)


def test_a_mac_of_one_message_is_none_of_another() -> None:
    """Or a recorded initiation could be sent back as a response."""
    assert NETWORK.mac1(b"r" * 32, 22, b"x") != NETWORK.mac1(b"r" * 32, 23, b"x")
    assert NETWORK.mac1(b"r" * 32, 22, b"x") != NETWORK.mac1(b"q" * 32, 22, b"x")


def test_two_networks_with_one_key_file_have_nothing_in_common() -> None:
    other = NetworkKey.of(of("network_key"), b"m" * 32)
    assert not {other.psk, other.hello} & {NETWORK.psk, NETWORK.hello}
    assert other.cookie_key(b"r" * 32) != NETWORK.cookie_key(b"r" * 32)
    assert not is_for(other, RESPONDER.public, Initiation.decode_untrusted(body("initiation")))


def test_no_secret_is_shown() -> None:
    local = Local.start(INITIATOR, (NETWORK,), SUITE, random.Random(1))
    noise, payload = read_initiation(
        NETWORK, SUITE, RESPONDER.key, Initiation.decode_untrusted(body("initiation")), NO_COOKIE
    )
    shown = " ".join(map(repr, (local, NETWORK, INITIATOR, RESPONDER.key, noise, noise.symmetric, payload.about)))
    for secret in (NETWORK.psk, NETWORK.hello, INITIATOR.key.secret, RESPONDER.key.secret, noise.symmetric.ck):
        assert repr(secret) not in shown
        assert secret.hex() not in shown


def test_what_the_initiator_seals_is_bound_to_its_index_and_cookie() -> None:
    asked = Initiation.decode_untrusted(body("initiation"))
    for wrong, cookie in ((attrs.evolve(asked, index=b"\0\0\0\0"), NO_COOKIE), (asked, of("cookie"))):
        with pytest.raises(MalformedPacket, match="wrong_tag"):
            read_initiation(NETWORK, SUITE, RESPONDER.key, wrong, cookie)
