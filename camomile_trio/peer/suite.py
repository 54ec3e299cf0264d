"""The cipher suite: the few operations that the handshake is made of, and the real ones (X25519, ChaCha20-Poly1305,
BLAKE2b).

Rules of this file: the only one of this room that touches the crypto library. It knows no protocol. `CipherSuite` is a
seam: a simulation of thousands of nodes supplies a suite of the same sizes that costs less. No option, environment
variable or packet chooses a suite. Python cannot erase a secret from memory, so nothing here pretends to.
Sources: Noise specification rev 34, sections 4 and 12; RFC 7748; RFC 8439.
"""

from __future__ import annotations

import hashlib
import random
from typing import Final, Protocol

import attrs
from nacl._sodium import ffi, lib  # type: ignore[import-not-found]
from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base

from camomile_trio.errors import MalformedPacket

KEY_BYTES: Final = 32  # of a public key, a secret, a shared secret and a key of the cipher (DHLEN)
TAG_BYTES: Final = 16
HASH_BYTES: Final = 64  # HASHLEN
BLOCK_BYTES: Final = 128  # BLOCKLEN


class CipherSuite(Protocol):
    """What Noise calls DH, cipher and hash functions."""

    @property
    def name(self) -> bytes:
        """The end of the Noise protocol name: DH, cipher and hash."""

    def public(self, secret: bytes) -> bytes:
        """The public key of a secret of 32 arbitrary bytes, in canonical form."""

    def check_public_untrusted(self, public_untrusted: bytes) -> None:
        """MalformedPacket unless it is the canonical encoding of a key that other keys can be agreed on with."""

    def dh(self, own: DhKey, public: bytes) -> bytes:
        """The shared secret. `public` has been checked. Both sides compute the same."""

    def seal(self, key: bytes, nonce: int, associated: bytes, plaintext: bytes) -> bytes:
        """The ciphertext and its tag of 16 bytes. A nonce (0 to 2**64 - 1) is used once with a key."""

    def open_untrusted(self, key: bytes, nonce: int, associated: bytes, ciphertext_untrusted: bytes) -> bytes:
        """The plaintext; MalformedPacket unless this key sealed exactly this, under this nonce."""

    def hash(self, data: bytes) -> bytes:
        """64 bytes."""

    def hkdf(self, chaining_key: bytes, input_key_material: bytes, num_outputs: int) -> list[bytes]:
        """The two or three outputs of HKDF, of 64 bytes each (section 4.3)."""


@attrs.frozen(repr=False)
class DhKey:
    """A secret and its public key. Its text form never shows the secret."""

    secret: bytes
    public: bytes

    @classmethod
    def of(cls, suite: CipherSuite, secret: bytes) -> DhKey:
        return cls(secret, suite.public(secret))

    @classmethod
    def generate(cls, suite: CipherSuite, rng: random.Random) -> DhKey:
        """A new key; pass `random.SystemRandom()` for anything but a simulation."""
        return cls.of(suite, rng.randbytes(KEY_BYTES))

    def __repr__(self) -> str:
        return f"DhKey({self.public.hex()[:16]})"


_P = 2**255 - 19
# The canonical encodings of points of order 1, 2, 4 and 8: every shared secret with them is zero (RFC 7748, 6.1).
_LOW_ORDER = frozenset(
    number.to_bytes(KEY_BYTES, "little")
    for number in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _P - 1,
    )
)


_open, _seal = lib.crypto_aead_chacha20poly1305_ietf_decrypt, lib.crypto_aead_chacha20poly1305_ietf_encrypt
_NULL: Final = ffi.NULL
_BYTES: Final = ffi.typeof("unsigned char[]")
_allocate = ffi.new_allocator(should_clear_after_alloc=False)
_view = ffi.buffer
_ZEROS: Final = bytes(4)  # before a nonce in little-endian order (Noise, section 12.3)
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class NaclSuite:
    """The real suite, by PyNaCl: 25519, ChaChaPoly, BLAKE2b.

    Every packet is sealed once and opened once, so these two call libsodium as `nacl.bindings` does, without its
    checks of types and lengths: a third of the time, half of it with cold caches. What they check is made sure here.
    """

    name: Final = b"25519_ChaChaPoly_BLAKE2b"

    def public(self, secret: bytes) -> bytes:
        return crypto_scalarmult_base(secret)

    def check_public_untrusted(self, public_untrusted: bytes) -> None:
        # X25519 itself ignores the top bit and reduces modulo p, so one node would have several keys and several ids.
        if len(public_untrusted) != KEY_BYTES or int.from_bytes(public_untrusted, "little") >= _P:
            raise MalformedPacket("key_not_canonical")
        if public_untrusted in _LOW_ORDER:
            raise MalformedPacket("key_of_low_order")

    def dh(self, own: DhKey, public: bytes) -> bytes:
        return crypto_scalarmult(own.secret, public)

    def seal(self, key: bytes, nonce: int, associated: bytes, plaintext: bytes) -> bytes:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        size = len(plaintext)
        sealed = _allocate(_BYTES, size + TAG_BYTES)
        nonce_bytes = _ZEROS + nonce.to_bytes(8, "little")
        _seal(sealed, _NULL, plaintext, size, associated, len(associated), _NULL, nonce_bytes, key)
        return bytes(_view(sealed, size + TAG_BYTES))

    def open_untrusted(self, key: bytes, nonce: int, associated: bytes, ciphertext_untrusted: bytes) -> bytes:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        size = len(ciphertext_untrusted) - TAG_BYTES
        if size < 0:
            raise MalformedPacket("too_short")
        opened = _allocate(_BYTES, size)
        nonce_bytes = _ZEROS + nonce.to_bytes(8, "little")
        if _open(
            opened, _NULL, _NULL, ciphertext_untrusted, size + TAG_BYTES, associated, len(associated), nonce_bytes, key
        ):
            raise MalformedPacket("wrong_tag")
        return bytes(_view(opened, size))

    def hash(self, data: bytes) -> bytes:
        return hashlib.blake2b(data).digest()

    def hkdf(self, chaining_key: bytes, input_key_material: bytes, num_outputs: int) -> list[bytes]:
        temp_key = _hmac_hash(chaining_key, input_key_material)
        outputs = [_hmac_hash(temp_key, b"\x01")]
        for number in range(2, num_outputs + 1):
            outputs.append(_hmac_hash(temp_key, outputs[-1] + bytes([number])))
        return outputs


def _hmac_hash(key: bytes, data: bytes) -> bytes:
    """HMAC-HASH (section 4.3; RFC 2104), for keys of one block at most."""
    block = key.ljust(BLOCK_BYTES, b"\0")
    inner = hashlib.blake2b(block.translate(_INNER) + data).digest()
    return hashlib.blake2b(block.translate(_OUTER) + inner).digest()
