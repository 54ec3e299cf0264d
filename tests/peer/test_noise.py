"""The Noise pattern against another implementation's vectors, and what it refuses.

Rules of this file: nothing of our own messages; those are in test_handshake.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from camomile_trio.errors import MalformedPacket
from camomile_trio.peer.noise import MESSAGE_1_OVERHEAD, MESSAGE_2_OVERHEAD, HandshakeState
from camomile_trio.peer.suite import CipherSuite, DhKey, NaclSuite
from camomile_trio.simulation.suite import ToySuite

VECTOR: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "noise_ikpsk1.json").read_text(encoding="utf-8")
)
SUITES = pytest.mark.parametrize("suite", [NaclSuite(), ToySuite()], ids=["nacl", "toy"])
PSK = b"k" * 32


def key(suite: CipherSuite, letter: bytes) -> DhKey:
    return DhKey.of(suite, letter * 32)


def pair(suite: CipherSuite, *, psk: bytes = PSK, prologue: bytes = b"p") -> tuple[HandshakeState, HandshakeState]:
    """An initiator with the given psk and prologue, and a responder with the usual ones."""
    s_i, s_r = key(suite, b"i"), key(suite, b"r")
    initiator = HandshakeState.initiator(suite, prologue=prologue, s=s_i, psk=psk, rs=s_r.public)
    return initiator, HandshakeState.responder(suite, prologue=b"p", s=s_r, psk=PSK)


def of_vector(name: str) -> bytes:
    text = VECTOR[name]
    return bytes.fromhex(text if isinstance(text, str) else text[0])


def test_both_sides_write_and_read_what_another_implementation_wrote() -> None:
    suite = NaclSuite()
    s_r = DhKey.of(suite, of_vector("resp_static"))
    assert s_r.public == of_vector("init_remote_static")
    s_i = DhKey.of(suite, of_vector("init_static"))
    prologue, psk = of_vector("init_prologue"), of_vector("init_psks")
    initiator = HandshakeState.initiator(suite, prologue=prologue, s=s_i, psk=psk, rs=s_r.public)
    responder = HandshakeState.responder(suite, prologue=prologue, s=s_r, psk=psk)
    steps = [
        (bytes.fromhex(message["payload"]), bytes.fromhex(message["ciphertext"])) for message in VECTOR["messages"]
    ]
    (payload_1, message_1), (payload_2, message_2), *transport = steps
    assert VECTOR["protocol_name"].encode() == b"Noise_IKpsk1_" + suite.name
    assert initiator.write_message_1(DhKey.of(suite, of_vector("init_ephemeral")), payload_1) == message_1
    assert responder.read_message_1(message_1) == payload_1
    assert responder.rs == s_i.public
    assert responder.write_message_2(DhKey.of(suite, of_vector("resp_ephemeral")), payload_2) == message_2
    assert initiator.read_message_2(message_2) == payload_2
    assert initiator.symmetric.h == responder.symmetric.h == of_vector("handshake_hash")
    sending, receiving = initiator.symmetric.split(), responder.symmetric.split()
    for number, (payload, ciphertext) in enumerate(transport):
        direction = number % 2
        assert sending[direction].encrypt_with_ad(b"", payload) == ciphertext
        assert receiving[direction].decrypt_with_ad(b"", ciphertext) == payload


@SUITES
def test_both_sides_end_with_the_same_keys_and_know_each_other(suite: CipherSuite) -> None:
    initiator, responder = pair(suite)
    message_1 = initiator.write_message_1(key(suite, b"e"), b"first")
    assert len(message_1) == len(b"first") + MESSAGE_1_OVERHEAD
    assert responder.read_message_1(message_1) == b"first"
    message_2 = responder.write_message_2(key(suite, b"f"), b"second!")
    assert len(message_2) == len(b"second!") + MESSAGE_2_OVERHEAD
    assert initiator.read_message_2(message_2) == b"second!"
    assert (responder.rs, initiator.rs) == (initiator.s.public, responder.s.public)
    assert [cipher.k for cipher in initiator.symmetric.split()] == [cipher.k for cipher in responder.symmetric.split()]


@SUITES
def test_no_bit_of_a_message_can_be_changed(suite: CipherSuite) -> None:
    initiator, responder = pair(suite)
    message_1 = initiator.write_message_1(key(suite, b"e"), b"first")
    for bit in range(8 * len(message_1)):
        with pytest.raises(MalformedPacket):
            responder.copy().read_message_1(flipped(message_1, bit))
    responder.read_message_1(message_1)
    message_2 = responder.write_message_2(key(suite, b"f"), b"second")
    for bit in range(8 * len(message_2)):
        with pytest.raises(MalformedPacket):
            initiator.copy().read_message_2(flipped(message_2, bit))
    assert initiator.read_message_2(message_2) == b"second"


@SUITES
def test_no_message_can_be_cut_short_or_lengthened(suite: CipherSuite) -> None:
    initiator, responder = pair(suite)
    message_1 = initiator.write_message_1(key(suite, b"e"), b"first")
    for wrong in [*(message_1[:length] for length in range(len(message_1))), message_1 + b"\0"]:
        with pytest.raises(MalformedPacket):
            responder.copy().read_message_1(wrong)


@SUITES
@pytest.mark.parametrize("difference", [{"psk": b"K" * 32}, {"prologue": b"q"}])
def test_another_network_key_or_prologue_makes_another_message(
    suite: CipherSuite, difference: dict[str, bytes]
) -> None:
    initiator, responder = pair(suite, **difference)
    with pytest.raises(MalformedPacket, match="wrong_tag"):
        responder.read_message_1(initiator.write_message_1(key(suite, b"e"), b"first"))


@SUITES
def test_a_response_is_good_for_its_own_initiation_only(suite: CipherSuite) -> None:
    initiator, responder = pair(suite)
    responder.read_message_1(initiator.write_message_1(key(suite, b"e"), b"first"))
    message_2 = responder.write_message_2(key(suite, b"f"), b"second")
    other, _ = pair(suite)
    other.write_message_1(key(suite, b"g"), b"first")
    with pytest.raises(MalformedPacket, match="wrong_tag"):
        other.read_message_2(message_2)


P = 2**255 - 19
LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
]


@pytest.mark.parametrize("number", LOW_ORDER)
def test_a_key_of_low_order_is_refused(number: int) -> None:
    public = number.to_bytes(32, "little")
    with pytest.raises(MalformedPacket, match="key_of_low_order"):
        NaclSuite().check_public_untrusted(public)
    # The reason: the shared secret would be zero for every secret, so libsodium refuses to compute it.
    with pytest.raises(RuntimeError):
        NaclSuite().dh(DhKey.of(NaclSuite(), b"s" * 32), public)


@pytest.mark.parametrize("number", [P, P + 1, P + 9, 2**255 - 1, 2**255, 2**255 + 9, 2**256 - 1])
def test_a_second_encoding_of_a_key_is_refused(number: int) -> None:
    with pytest.raises(MalformedPacket, match="key_not_canonical"):
        NaclSuite().check_public_untrusted(number.to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(MalformedPacket, match="key_not_canonical"):
        NaclSuite().check_public_untrusted(b"\x09" * length)


@pytest.mark.parametrize("as_what", ["ephemeral", "static"])
@pytest.mark.parametrize("number", [0, 2**255 + 9])
def test_an_initiation_with_a_refused_key_is_refused_even_by_one_with_the_psk(number: int, as_what: str) -> None:
    suite = NaclSuite()
    bad = DhKey(b"s" * 32, number.to_bytes(32, "little"))
    initiator, responder = pair(suite)
    if as_what == "static":
        initiator.s = bad
    ephemeral = bad if as_what == "ephemeral" else key(suite, b"e")
    with pytest.raises(MalformedPacket, match="key_"):
        responder.read_message_1(initiator.write_message_1(ephemeral, b"first"))


@pytest.mark.parametrize("number", [0, 2**255 + 9])
def test_a_response_with_a_refused_key_is_refused(number: int) -> None:
    suite = NaclSuite()
    initiator, responder = pair(suite)
    responder.read_message_1(initiator.write_message_1(key(suite, b"e"), b"first"))
    message_2 = responder.write_message_2(DhKey(b"f" * 32, number.to_bytes(32, "little")), b"second")
    with pytest.raises(MalformedPacket, match="key_"):
        initiator.read_message_2(message_2)


@SUITES
@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_ciphertext_without_room_for_a_tag_is_refused(suite: CipherSuite, length: int) -> None:
    with pytest.raises(MalformedPacket, match="too_short"):
        suite.open_untrusted(b"k" * 32, 0, b"", bytes(length))


def test_a_secret_is_never_shown() -> None:
    assert (b"i" * 32).hex() not in repr(key(NaclSuite(), b"i"))


def flipped(message: bytes, bit: int) -> bytes:
    changed = bytearray(message)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
