"""The handshake: its network key, its two messages, and the cookie and the hello that may come before them.

Rules of this file: no state of a node, no clock, no table. What a datagram shows in the clear
is bound by what is sealed: the initiator's index and the cookie are in the prologue, the responder's index is in the
payload. So a recorded initiation can be given neither another index nor another cookie.
Sources: Noise specification rev 34; Donenfeld, WireGuard (2017), section 5; docs/protocol.md.
"""

from __future__ import annotations

import hashlib
import hmac
import random

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.peer.noise import HandshakeState
from camomile_trio.peer.packets import (
    COOKIE_BYTES,
    INITIATION,
    MAC_BYTES,
    NO_COOKIE,
    NONCE_BYTES,
    RESPONSE,
    CookieReply,
    Hello,
    HelloAnswer,
    Initiation,
    InitiationPayload,
    Response,
    ResponsePayload,
)
from camomile_trio.peer.suite import KEY_BYTES, CipherSuite, DhKey

_PROLOGUE = b"camomile handshake 1\0"


def keyed_hash(key: bytes, data: bytes, length: int) -> bytes:
    """Keyed BLAKE2b (RFC 7693)."""
    return hashlib.blake2b(data, key=key, digest_size=length).digest()


def open_network_key(network_id: bytes) -> bytes:
    """The key of a network that has no key file: no secret."""
    return hashlib.blake2b(b"camomile open" + network_id, digest_size=KEY_BYTES).digest()


@attrs.frozen(repr=False)
class NetworkKey:
    """One accepted network key, and what is derived from it for each use. Its text form never shows it."""

    network_id: bytes
    psk: bytes
    hello: bytes
    _base: bytes

    @classmethod
    def of(cls, key: bytes, network_id: bytes) -> NetworkKey:
        """From the 32 bytes of a key file, or of `open_network_key`."""
        base = keyed_hash(key, b"camomile network\0" + network_id, KEY_BYTES)
        psk, hello = keyed_hash(base, b"psk\0", KEY_BYTES), keyed_hash(base, b"hello\0", KEY_BYTES)
        return cls(network_id, psk, hello, base)

    def mac1(self, receiver: bytes, field: int, before_mac1: bytes) -> bytes:
        """Of a message to the node with the public key `receiver`: it costs that node two hashes to know its own."""
        return keyed_hash(
            keyed_hash(self._base, b"mac1\0" + receiver, KEY_BYTES), bytes([field]) + before_mac1, MAC_BYTES
        )

    def cookie_key(self, responder: bytes) -> bytes:
        return keyed_hash(self._base, b"cookie\0" + responder, KEY_BYTES)

    def __repr__(self) -> str:
        return f"NetworkKey(of network {self.network_id.hex()[:8]})"


# The two messages ----------------------------------------------------------------------------------------------------


def write_initiation(
    network: NetworkKey,
    suite: CipherSuite,
    own: DhKey,
    responder: bytes,
    *,
    ephemeral: DhKey,
    index: bytes,
    payload: InitiationPayload,
    cookie: bytes = NO_COOKIE,
    padded_to: int = 0,
) -> tuple[HandshakeState, Initiation]:
    """The first message to the node with the public key `responder`, which has been checked."""
    noise = HandshakeState.initiator(
        suite, prologue=_prologue(network, index, cookie), s=own, psk=network.psk, rs=responder
    )
    message = noise.write_message_1(ephemeral, payload.encode(padded_to))
    mac1 = network.mac1(responder, INITIATION, index + message)
    mac2 = mac2_of(cookie, index + message + mac1) if cookie != NO_COOKIE else NO_COOKIE
    return noise, Initiation(index, message, mac1, mac2)


def is_for(network: NetworkKey, own: bytes, initiation_untrusted: Initiation) -> bool:
    """Whether mac1 is right: made under this network key, for the node with the public key `own`."""
    expected = network.mac1(own, INITIATION, initiation_untrusted.before_mac1)
    return hmac.compare_digest(expected, initiation_untrusted.mac1)


def read_initiation(
    network: NetworkKey, suite: CipherSuite, own: DhKey, initiation_untrusted: Initiation, cookie: bytes
) -> tuple[HandshakeState, InitiationPayload]:
    """The state, in which `rs` is the initiator's key, and what it sealed; MalformedPacket.

    `cookie` is the one that mac2 was right for, or NO_COOKIE without a mac2.
    """
    prologue = _prologue(network, initiation_untrusted.index, cookie)
    noise = HandshakeState.responder(suite, prologue=prologue, s=own, psk=network.psk)
    payload_untrusted = noise.read_message_1(initiation_untrusted.message)
    return noise, InitiationPayload.decode_untrusted(payload_untrusted)


def write_response(
    network: NetworkKey, noise: HandshakeState, receiver: bytes, *, ephemeral: DhKey, payload: ResponsePayload
) -> Response:
    """The second message; `receiver` is the index that the initiation named."""
    message = noise.write_message_2(ephemeral, payload.encode())
    return Response(receiver, message, network.mac1(noise.rs, RESPONSE, receiver + message))


def read_response(
    network: NetworkKey, own: DhKey, noise: HandshakeState, response_untrusted: Response
) -> tuple[HandshakeState, ResponsePayload]:
    """The state after it, and what the responder sealed; MalformedPacket, and `noise` is good for another try."""
    expected = network.mac1(own.public, RESPONSE, response_untrusted.before_mac1)
    if not hmac.compare_digest(expected, response_untrusted.mac1):
        raise MalformedPacket("wrong_response_mac")
    after = noise.copy()
    return after, ResponsePayload.decode_untrusted(after.read_message_2(response_untrusted.message))


def _prologue(network: NetworkKey, index: bytes, cookie: bytes) -> bytes:
    return _PROLOGUE + network.network_id + index + cookie


# Cookies and hellos ---------------------------------------------------------------------------------------------------


def mac2_of(cookie: bytes, before_mac2: bytes) -> bytes:
    return keyed_hash(cookie, before_mac2, MAC_BYTES)


def cookie_for(secret: bytes, source: bytes) -> bytes:
    """The cookie of a source address (an Endpoint): to have it, one has to receive there."""
    return keyed_hash(secret, source, COOKIE_BYTES)


def write_cookie_reply(
    network: NetworkKey, suite: CipherSuite, own: bytes, initiation: Initiation, cookie: bytes, rng: random.Random
) -> CookieReply:
    nonce = rng.randbytes(NONCE_BYTES)
    key = keyed_hash(network.cookie_key(own), nonce, KEY_BYTES)
    return CookieReply(initiation.index, nonce, suite.seal(key, 0, initiation.mac1, cookie))


def read_cookie_reply(
    network: NetworkKey, suite: CipherSuite, responder: bytes, mac1: bytes, reply_untrusted: CookieReply
) -> bytes:
    """The cookie, from a node that saw the initiation with this mac1 and knows the network key; MalformedPacket."""
    key = keyed_hash(network.cookie_key(responder), reply_untrusted.nonce, KEY_BYTES)
    return suite.open_untrusted(key, 0, mac1, reply_untrusted.sealed)


def write_hello(network: NetworkKey, rng: random.Random) -> Hello:
    nonce = rng.randbytes(NONCE_BYTES)
    return Hello(nonce, keyed_hash(network.hello, nonce, MAC_BYTES))


def is_under(network: NetworkKey, hello_untrusted: Hello) -> bool:
    """Whether a hello was made under this network key."""
    return hmac.compare_digest(keyed_hash(network.hello, hello_untrusted.nonce, MAC_BYTES), hello_untrusted.mac)


def write_hello_answer(
    network: NetworkKey, suite: CipherSuite, own: bytes, hello: Hello, rng: random.Random
) -> HelloAnswer:
    nonce = rng.randbytes(NONCE_BYTES)
    key = keyed_hash(network.hello, hello.nonce + nonce, KEY_BYTES)
    return HelloAnswer(hello.nonce, nonce, suite.seal(key, 0, b"", own))


def read_hello_answer(network: NetworkKey, suite: CipherSuite, answer_untrusted: HelloAnswer) -> bytes:
    """The public key, checked as a key; only a handshake proves that it is the node's. MalformedPacket."""
    key = keyed_hash(network.hello, answer_untrusted.asked + answer_untrusted.nonce, KEY_BYTES)
    public_untrusted = suite.open_untrusted(key, 0, b"", answer_untrusted.sealed)
    suite.check_public_untrusted(public_untrusted)
    return public_untrusted
