"""Makes inner_packets.json and stream_v2.json from the text of docs/protocol.md, beside this file.

Rules of this file: none of our code, so that the vectors are another implementation's; of libraries only PyNaCl's bare
functions. Keys, times and other choices are those of handshake_v2.json where it has such.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_seed_keypair,
)

DIRECTORY = Path(__file__).parent
INITIATOR_SEED, RESPONDER_SEED = bytes(range(32)), bytes(range(32, 64))
INITIATOR_EPHEMERAL, RESPONDER_EPHEMERAL = bytes(range(64, 96)), bytes(range(96, 128))
WALL_MS = 1_700_000_000_000
ENDPOINT4 = bytes((198, 18, 1, 1)) + (8118).to_bytes(2, "big")
ENDPOINT6 = bytes.fromhex("20010db8000000000000000000000001") + (8118).to_bytes(2, "big")
VALUE = "ABC, du är mina tankar".encode()
LONG_BYTES = 70_000  # of a message that takes two records


def h(size: int, key: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=key, digest_size=size).digest()


NETWORK_ID = h(32, b"", b"camomile")
BASE = h(32, h(32, b"", b"camomile open" + NETWORK_ID), b"camomile network\0" + NETWORK_ID)
INITIATOR, RESPONDER = (h(32, seed, b"camomile node\0") for seed in (INITIATOR_SEED, RESPONDER_SEED))
INITIATOR_PUBLIC, RESPONDER_PUBLIC = crypto_scalarmult_base(INITIATOR), crypto_scalarmult_base(RESPONDER)


# Inner packets -------------------------------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    return bytes((number,)) if number < 128 else bytes((number & 127 | 128,)) + varint(number >> 7)


def number_field(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def bytes_field(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def inner_packet(number: int, flags: int, field: int, message: bytes) -> bytes:
    return number_field(1, number) + (number_field(2, flags) if flags else b"") + bytes_field(field, message)


def lease(key: bytes, seq: int, issued: int, expires: int) -> bytes:
    """The row of a renewable lease that the initiator's seed has signed."""
    publisher, secret = crypto_sign_seed_keypair(INITIATOR_SEED)
    head, terms = b"\x01\x01\x01", struct.pack(">QQQ", seq, issued, expires)
    signed = b"camomile record\0" + head + NETWORK_ID + key + publisher + terms
    return head + publisher + terms + crypto_sign(signed, secret)[:64]


def inner_packets() -> dict[str, dict[str, object]]:
    target, key = h(32, b"", RESPONDER_PUBLIC), h(32, b"", VALUE)
    seq, issued, expires = WALL_MS, WALL_MS, WALL_MS + 86_400_000
    row = lease(key, seq, issued, expires)
    contacts4, contacts6 = INITIATOR_PUBLIC + ENDPOINT4, RESPONDER_PUBLIC + ENDPOINT6
    pong = bytes_field(12, ENDPOINT4) + number_field(13, WALL_MS)
    node_list = bytes_field(10, contacts4) + bytes_field(11, contacts6)
    store = number_field(1, 1) + bytes_field(3, VALUE) + bytes_field(10, row) + number_field(13, 1)
    stored = number_field(1, 1) + number_field(2, 2) + bytes_field(10, contacts4)
    return {
        "ping": {"number": 1, "flags": 0, "packet": inner_packet(1, 0, 3, b"").hex()},
        "pong": {
            "number": 1,
            "flags": 2,
            "observed": ENDPOINT4.hex(),
            "clock": WALL_MS,
            "packet": inner_packet(1, 2, 4, pong).hex(),
        },
        "find_node": {
            "number": 127,
            "flags": 0,
            "node_id": target.hex(),
            "packet": inner_packet(127, 0, 7, bytes_field(1, target)).hex(),
        },
        "node_list": {
            "number": 127,
            "flags": 0,
            "contacts4": contacts4.hex(),
            "contacts6": contacts6.hex(),
            "packet": inner_packet(127, 0, 9, node_list).hex(),
        },
        "store": {
            "number": 300,
            "flags": 1,
            "class": 1,
            "value": VALUE.hex(),
            "key": key.hex(),
            "record_kind": "a lease that may be renewed",
            "record_publisher": row[3:35].hex(),
            "record_seq": seq,
            "record_issued": issued,
            "record_expires": expires,
            "record": row.hex(),
            "name_contacts": True,
            "packet": inner_packet(300, 1, 5, store).hex(),
        },
        "store_result": {
            "number": 300,
            "flags": 0,
            "status": 1,
            "durability": 2,
            "contacts4": contacts4.hex(),
            "packet": inner_packet(300, 0, 10, stored).hex(),
        },
    }


# A connection --------------------------------------------------------------------------------------------------------


def hmac_hash(key: bytes, data: bytes) -> bytes:
    block = key.ljust(128, b"\0")
    inner = hashlib.blake2b(bytes(byte ^ 0x36 for byte in block) + data).digest()
    return hashlib.blake2b(bytes(byte ^ 0x5C for byte in block) + inner).digest()


def hkdf(chaining_key: bytes, material: bytes) -> Iterator[bytes]:
    temp_key, output = hmac_hash(chaining_key, material), b""
    for number in range(1, 4):
        output = hmac_hash(temp_key, output + bytes((number,)))
        yield output


def sealed(key: bytes, nonce: int, associated: bytes, plaintext: bytes) -> bytes:
    return crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, associated, bytes(4) + struct.pack("<Q", nonce), key)


class Noise:
    """What both sides of Noise_IKpsk1 compute. Here one hand makes both messages, so it has all secrets."""

    def __init__(self, prologue: bytes) -> None:
        # The name has less than 64 bytes, so it is its own hash.
        self.ck = self.h = b"Noise_IKpsk1_25519_ChaChaPoly_BLAKE2b".ljust(64, b"\0")
        self.k = b""
        self.mix_hash(prologue)
        self.mix_hash(RESPONDER_PUBLIC)

    def mix_hash(self, data: bytes) -> None:
        self.h = hashlib.blake2b(self.h + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.ck, key, _ = hkdf(self.ck, material)
        self.k = key[:32]

    def mix_psk(self, psk: bytes) -> None:
        self.ck, to_hash, key = hkdf(self.ck, psk)
        self.mix_hash(to_hash)
        self.k = key[:32]

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Each key that the pattern makes seals once, so the nonce is 0."""
        ciphertext = sealed(self.k, 0, self.h, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def message_1(self, payload: bytes) -> bytes:
        e = crypto_scalarmult_base(INITIATOR_EPHEMERAL)
        self.mix_hash(e)
        self.mix_key(e)
        self.mix_key(crypto_scalarmult(INITIATOR_EPHEMERAL, RESPONDER_PUBLIC))
        static = self.encrypt_and_hash(INITIATOR_PUBLIC)
        self.mix_key(crypto_scalarmult(INITIATOR, RESPONDER_PUBLIC))
        self.mix_psk(h(32, BASE, b"psk\0"))
        return e + static + self.encrypt_and_hash(payload)

    def message_2(self, payload: bytes) -> bytes:
        e = crypto_scalarmult_base(RESPONDER_EPHEMERAL)
        self.mix_hash(e)
        self.mix_key(e)
        self.mix_key(crypto_scalarmult(RESPONDER_EPHEMERAL, crypto_scalarmult_base(INITIATOR_EPHEMERAL)))
        self.mix_key(crypto_scalarmult(RESPONDER_EPHEMERAL, INITIATOR_PUBLIC))
        return e + self.encrypt_and_hash(payload)

    def split(self) -> tuple[bytes, bytes]:
        first, second, _ = hkdf(self.ck, b"")
        return first[:32], second[:32]


def about(wall_ms: int, run: bytes, flags: int, advertised: bytes) -> bytes:
    return wall_ms.to_bytes(8, "big") + run + bytes((2, flags, len(advertised))) + advertised


def records(key: bytes, nonce: int, message: bytes) -> bytes:
    whole = len(message).to_bytes(4, "big") + message
    chunks = [whole[start : start + 65_520] for start in range(0, len(whole), 65_520)]
    return b"".join(sealed(key, nonce + number, b"", chunk) for number, chunk in enumerate(chunks))


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def stream(question: str, answer: str) -> dict[str, object]:
    """`question` and `answer` are inner packets in hexadecimal."""
    noise = Noise(b"camomile stream 1\0" + NETWORK_ID)
    first = noise.message_1(about(WALL_MS, b"run of a", 1, ENDPOINT4))
    mac1 = h(16, h(32, BASE, b"mac1\0" + RESPONDER_PUBLIC), b"\x1b" + first)
    second = noise.message_2(about(WALL_MS + 123, b"run of b", 0, b""))
    asking, accepting = noise.split()
    long = framed(records(asking, 1, bytes(LONG_BYTES)))
    return {
        "network_id": NETWORK_ID.hex(),
        "initiator_seed": INITIATOR_SEED.hex(),
        "responder_seed": RESPONDER_SEED.hex(),
        "initiator_ephemeral": INITIATOR_EPHEMERAL.hex(),
        "responder_ephemeral": RESPONDER_EPHEMERAL.hex(),
        "initiator_wall_clock": WALL_MS,
        "initiator_run": b"run of a".hex(),
        "initiator_flags": 1,
        "initiator_advertised": ENDPOINT4.hex(),
        "responder_wall_clock": WALL_MS + 123,
        "responder_run": b"run of b".hex(),
        "responder_flags": 0,
        "responder_advertised": "",
        "asking_side_first": framed(first + mac1).hex(),
        "accepting_side_first": framed(second).hex(),
        "question": question,
        "question_sealed": framed(records(asking, 0, bytes.fromhex(question))).hex(),
        "answer": answer,
        "answer_sealed": framed(records(accepting, 0, bytes.fromhex(answer))).hex(),
        "long_question": f"{LONG_BYTES} zero bytes, the asking side's second message",
        "long_question_sealed_bytes": len(long),
        "long_question_sealed_blake2b_256": h(32, b"", long).hex(),
    }


def made() -> dict[str, str]:
    """The text of each file, by its name."""
    packets = inner_packets()
    connection = stream(str(packets["find_node"]["packet"]), str(packets["node_list"]["packet"]))
    return {
        name: json.dumps(content, indent=2) + "\n"
        for name, content in (("inner_packets.json", packets), ("stream_v2.json", connection))
    }


if __name__ == "__main__":
    for file_name, text in made().items():
        (DIRECTORY / file_name).write_text(text, encoding="utf-8")
