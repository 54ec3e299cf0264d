"""Noise_IKpsk1: the three states of the Noise specification, with the steps in its order and under its names.

    IKpsk1:
      <- s
      ...
      -> e, es, s, ss, psk
      <- e, ee, se

Rules of this file: to be read beside the specification, rev 34, sections 5 and 9; nothing here is of our own making,
and nothing here knows our messages. What is left out never occurs in this pattern: a CipherState without a key, Rekey,
and messages after the second. Ephemeral keys are given, so that vectors and simulations can choose them. Public keys
that arrive are checked before they are used: the specification leaves that to the application (section 12.1).
"""

from __future__ import annotations

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.peer.suite import HASH_BYTES, KEY_BYTES, TAG_BYTES, CipherSuite, DhKey

# How much longer than its payload a message is.
MESSAGE_1_OVERHEAD = KEY_BYTES + KEY_BYTES + TAG_BYTES + TAG_BYTES
MESSAGE_2_OVERHEAD = KEY_BYTES + TAG_BYTES


@attrs.define(eq=False, repr=False)
class CipherState:
    """A key and the next nonce (section 5.1)."""

    suite: CipherSuite
    k: bytes
    n: int = 0

    def encrypt_with_ad(self, ad: bytes, plaintext: bytes) -> bytes:
        ciphertext = self.suite.seal(self.k, self.n, ad, plaintext)
        self.n += 1
        return ciphertext

    def decrypt_with_ad(self, ad: bytes, ciphertext_untrusted: bytes) -> bytes:
        """MalformedPacket, and the nonce is not counted, if the tag is wrong."""
        plaintext = self.suite.open_untrusted(self.k, self.n, ad, ciphertext_untrusted)
        self.n += 1
        return plaintext


@attrs.define(eq=False, repr=False)
class SymmetricState:
    """The chaining key, the hash of all that was sent, and a CipherState once there is a key (section 5.2)."""

    suite: CipherSuite
    ck: bytes
    h: bytes
    cipher: CipherState | None = None

    @classmethod
    def initialize_symmetric(cls, suite: CipherSuite, protocol_name: bytes) -> SymmetricState:
        h = protocol_name.ljust(HASH_BYTES, b"\0") if len(protocol_name) <= HASH_BYTES else suite.hash(protocol_name)
        return cls(suite, h, h)

    def mix_key(self, input_key_material: bytes) -> None:
        self.ck, temp_k = self.suite.hkdf(self.ck, input_key_material, 2)
        self.cipher = CipherState(self.suite, temp_k[:KEY_BYTES])

    def mix_hash(self, data: bytes) -> None:
        self.h = self.suite.hash(self.h + data)

    def mix_key_and_hash(self, input_key_material: bytes) -> None:
        self.ck, temp_h, temp_k = self.suite.hkdf(self.ck, input_key_material, 3)
        self.mix_hash(temp_h)
        self.cipher = CipherState(self.suite, temp_k[:KEY_BYTES])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        assert self.cipher is not None
        ciphertext = self.cipher.encrypt_with_ad(self.h, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext_untrusted: bytes) -> bytes:
        assert self.cipher is not None
        plaintext = self.cipher.decrypt_with_ad(self.h, ciphertext_untrusted)
        self.mix_hash(ciphertext_untrusted)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """The cipher of what the initiator sends, and that of what the responder sends."""
        temp_k1, temp_k2 = self.suite.hkdf(self.ck, b"", 2)
        return CipherState(self.suite, temp_k1[:KEY_BYTES]), CipherState(self.suite, temp_k2[:KEY_BYTES])


@attrs.define(eq=False, repr=False)
class HandshakeState:
    """One side of one handshake (section 5.3). After MalformedPacket from a read it is of no more use."""

    symmetric: SymmetricState
    s: DhKey
    psk: bytes
    e: DhKey | None = None
    rs: bytes = b""
    re: bytes = b""

    @classmethod
    def _initialize(
        cls, suite: CipherSuite, *, prologue: bytes, responder: bytes, s: DhKey, psk: bytes, rs: bytes
    ) -> HandshakeState:
        symmetric = SymmetricState.initialize_symmetric(suite, b"Noise_IKpsk1_" + suite.name)
        symmetric.mix_hash(prologue)
        symmetric.mix_hash(responder)  # the pre-message: <- s
        return cls(symmetric, s, psk, rs=rs)

    @classmethod
    def initiator(cls, suite: CipherSuite, *, prologue: bytes, s: DhKey, psk: bytes, rs: bytes) -> HandshakeState:
        """`rs` is the responder's static key, which the initiator knows and has checked."""
        return cls._initialize(suite, prologue=prologue, responder=rs, s=s, psk=psk, rs=rs)

    @classmethod
    def responder(cls, suite: CipherSuite, *, prologue: bytes, s: DhKey, psk: bytes) -> HandshakeState:
        return cls._initialize(suite, prologue=prologue, responder=s.public, s=s, psk=psk, rs=b"")

    def copy(self) -> HandshakeState:
        """An independent state, on which a read may fail."""
        before = self.symmetric
        symmetric = SymmetricState(before.suite, before.ck, before.h, before.cipher)
        return HandshakeState(symmetric, self.s, self.psk, self.e, self.rs, self.re)

    @property
    def suite(self) -> CipherSuite:
        return self.symmetric.suite

    def write_message_1(self, e: DhKey, payload: bytes) -> bytes:
        """-> e, es, s, ss, psk"""
        symmetric, dh = self.symmetric, self.suite.dh
        self.e = e
        symmetric.mix_hash(e.public)
        symmetric.mix_key(e.public)  # in every pattern with a psk (section 9.2)
        symmetric.mix_key(dh(e, self.rs))
        static = symmetric.encrypt_and_hash(self.s.public)
        symmetric.mix_key(dh(self.s, self.rs))
        symmetric.mix_key_and_hash(self.psk)
        return e.public + static + symmetric.encrypt_and_hash(payload)

    def read_message_1(self, message_untrusted: bytes) -> bytes:
        """The payload, from a peer that has the key `rs` and the psk; MalformedPacket."""
        symmetric, dh = self.symmetric, self.suite.dh
        re, static, payload = _cut(message_untrusted, KEY_BYTES, KEY_BYTES + TAG_BYTES)
        self.suite.check_public_untrusted(re)
        self.re = re
        symmetric.mix_hash(re)
        symmetric.mix_key(re)
        symmetric.mix_key(dh(self.s, re))
        rs = symmetric.decrypt_and_hash(static)
        self.suite.check_public_untrusted(rs)
        self.rs = rs
        symmetric.mix_key(dh(self.s, rs))
        symmetric.mix_key_and_hash(self.psk)
        return symmetric.decrypt_and_hash(payload)

    def write_message_2(self, e: DhKey, payload: bytes) -> bytes:
        """<- e, ee, se"""
        symmetric, dh = self.symmetric, self.suite.dh
        self.e = e
        symmetric.mix_hash(e.public)
        symmetric.mix_key(e.public)
        symmetric.mix_key(dh(e, self.re))
        symmetric.mix_key(dh(e, self.rs))
        return e.public + symmetric.encrypt_and_hash(payload)

    def read_message_2(self, message_untrusted: bytes) -> bytes:
        """The payload; MalformedPacket unless the responder made it for this very initiation."""
        assert self.e is not None
        symmetric, dh = self.symmetric, self.suite.dh
        re, _, payload = _cut(message_untrusted, KEY_BYTES, 0)
        self.suite.check_public_untrusted(re)
        self.re = re
        symmetric.mix_hash(re)
        symmetric.mix_key(re)
        symmetric.mix_key(dh(self.e, re))
        symmetric.mix_key(dh(self.s, re))
        return symmetric.decrypt_and_hash(payload)


def _cut(message_untrusted: bytes, first: int, second: int) -> tuple[bytes, bytes, bytes]:
    """The two fields of fixed length, and the sealed payload."""
    if len(message_untrusted) < first + second + TAG_BYTES:
        raise MalformedPacket("too_short")
    end = first + second
    return message_untrusted[:first], message_untrusted[first:end], message_untrusted[end:]
