"""A cipher suite of the real sizes without cryptography: it costs a hash where the real one costs a multiplication.

Rules of this file: the sizes are those of `peer/suite.py`, a function of a key is a keyed hash, and wrong keys, changed
bytes and keys that are not canonical are refused as the real suite refuses them. It hides nothing: a plaintext stands
readable before its tag, so the judge of a simulation reads packets, and two public keys are enough to compute their
shared secret. So only the simulation and tests may import it (`tests/test_layering.py`), and no option, environment
variable or packet chooses it.
"""

from __future__ import annotations

import hashlib
from typing import Final

from camomile_trio.errors import MalformedPacket
from camomile_trio.peer.suite import KEY_BYTES, TAG_BYTES, DhKey

_EVEN = 0xFE  # the last byte of a canonical public key


class ToySuite:
    name: Final = b"Toy_Toy_BLAKE2b"

    def public(self, secret: bytes) -> bytes:
        digest = hashlib.blake2b(secret, digest_size=KEY_BYTES, person=b"public").digest()
        return digest[:-1] + bytes([digest[-1] & _EVEN])

    def check_public_untrusted(self, public_untrusted: bytes) -> None:
        if len(public_untrusted) != KEY_BYTES or public_untrusted[-1] & 1:
            raise MalformedPacket("key_not_canonical")
        if not any(public_untrusted):
            raise MalformedPacket("key_of_low_order")

    def dh(self, own: DhKey, public: bytes) -> bytes:
        pair = sorted((own.public, public))
        return hashlib.blake2b(b"".join(pair), digest_size=KEY_BYTES, person=b"dh").digest()

    def seal(self, key: bytes, nonce: int, associated: bytes, plaintext: bytes) -> bytes:
        return plaintext + _tag(key, nonce, associated, plaintext)

    def open_untrusted(self, key: bytes, nonce: int, associated: bytes, ciphertext_untrusted: bytes) -> bytes:
        plaintext, tag = ciphertext_untrusted[:-TAG_BYTES], ciphertext_untrusted[-TAG_BYTES:]
        if len(ciphertext_untrusted) < TAG_BYTES:
            raise MalformedPacket("too_short")
        if tag != _tag(key, nonce, associated, plaintext):
            raise MalformedPacket("wrong_tag")
        return plaintext

    def hash(self, data: bytes) -> bytes:
        return hashlib.blake2b(data).digest()

    def hkdf(self, chaining_key: bytes, input_key_material: bytes, num_outputs: int) -> list[bytes]:
        # One hash where HMAC takes six or eight: half of a handshake's time, in a simulation of thousands.
        first = hashlib.blake2b(input_key_material, key=chaining_key).digest()
        return [first, first[32:] + first[:32], first[::-1]][:num_outputs]


def _tag(key: bytes, nonce: int, associated: bytes, plaintext: bytes) -> bytes:
    lengths = nonce.to_bytes(8, "big") + len(associated).to_bytes(8, "big")
    return hashlib.blake2b(lengths + associated + plaintext, digest_size=TAG_BYTES, key=key).digest()
