"""Keys: who publishes, the signing and checking of records, and the files that keys are in.

Rules of this file: beside `peer/suite.py`, the only one that touches the crypto library. A key file holds a seed as 64
hexadecimal digits on one line, mode 0600. A seed gives two keys: the Ed25519 key here, which signs records, and the
X25519 key that a node is (`peer/local.py`). A signature covers the network's id: what is signed in one network means
nothing in another.
"""

from __future__ import annotations

import functools
import hashlib
import random
from pathlib import Path

import attrs
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from camomile_trio.errors import ConfigError, PeerError
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import PublisherKey, Record, RecordRow
from camomile_trio.secret_files import KeyFileExists, create_secret, read_secret

SEED_BYTES = 32
_MOST_OF_A_KEY_FILE = 1024  # bytes read; a key is 64 digits, with white space around it


class BadSignature(PeerError):
    """A record is not signed by whom it names."""


class KeyFileMissing(ConfigError):
    """The key file is not there, and its directory cannot be written to: somebody else has to make it."""


@attrs.frozen(repr=False)
class KeyPair:
    """An Ed25519 key that can sign. Its text form never shows the secret."""

    _signing: SigningKey
    public: PublisherKey

    @classmethod
    def from_seed(cls, seed: bytes) -> KeyPair:
        signing = SigningKey(seed)
        return cls(signing, PublisherKey(bytes(signing.verify_key)))

    @classmethod
    def new(cls, rng: random.Random) -> KeyPair:
        """A new key; pass `random.SystemRandom()` for anything but a simulation."""
        return cls.from_seed(rng.randbytes(SEED_BYTES))

    @property
    def seed(self) -> bytes:
        return bytes(self._signing)

    def sign(self, message: bytes) -> bytes:
        return self._signing.sign(message).signature

    def __repr__(self) -> str:
        return f"KeyPair({self.public.hex()[:16]})"


def network_id(name: str) -> bytes:
    """The 32-byte id of the network called `name`."""
    return hashlib.blake2b(name.encode(), digest_size=32).digest()


def sign_record(unsigned: Record, key: KeyPair, network: bytes) -> Record:
    """The same record with its signature. The publisher must be the key's own."""
    if unsigned.publisher != key.public:
        raise ValueError("a record is signed by its own publisher")
    return attrs.evolve(unsigned, signature=key.sign(unsigned.signed_bytes(network)))


# The same record comes from many holders. Only what is right is remembered: an exception leaves nothing.
@functools.lru_cache(maxsize=2048)
def verify_record(row_untrusted: RecordRow, key: Key, network: bytes) -> Record:
    """The record in a row about `key`, its signature checked; BadSignature if that or its form is wrong."""
    try:
        record = Record.from_row(row_untrusted, key)
        crypto_sign_open(record.signature + record.signed_bytes(network), record.publisher)
    except (BadSignatureError, ValueError) as error:
        raise BadSignature(f"a record of {key.hex()[:8]} is not what its publisher signed: {error}") from None
    return record


def load_or_create_key(path: Path, rng: random.Random) -> KeyPair:
    """The key in the file, which is made (mode 0600, whole or not at all) if it is missing.

    KeyFileMissing if it is missing and cannot be made here; ConfigError if it is there and is no key, or if it is ours
    and others may read it.
    """
    try:
        return _read_key(path)
    except FileNotFoundError:
        pass
    try:
        return create_key(path, rng)
    except KeyFileExists:
        # Of two makers at once, one wins and both use its key.
        return _read_key(path)


def load_key(path: Path) -> KeyPair:
    """The key in the file; ConfigError if there is none, or if the file is ours and others may read it."""
    try:
        return _read_key(path)
    except FileNotFoundError:
        raise ConfigError(f"there is no key file {path}", remedy="make one with `camomile key new FILE`") from None


def create_key(path: Path, rng: random.Random) -> KeyPair:
    """A new key in a file of its own (mode 0600, whole or not at all).

    KeyFileExists if anything is there under that name; KeyFileMissing if the file cannot be made.
    """
    pair = KeyPair.new(rng)
    try:
        create_secret(path, pair.seed.hex().encode() + b"\n")
    except OSError as error:
        raise KeyFileMissing(
            f"key file {path} is missing and cannot be made: {error.strerror}",
            remedy="make the directory writable, or let the node that may write there make the key first",
        ) from None
    return pair


def _read_key(path: Path) -> KeyPair:
    text = read_secret(path, "key file", _MOST_OF_A_KEY_FILE)
    try:
        seed = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise ConfigError(
            f"key file {path} holds no key", remedy="it must be 64 hexadecimal digits; restore it from a backup"
        )
    return KeyPair.from_seed(seed)
