"""The file with the keys of a closed network: read, made, and changed while the network runs.

Rules of this file: a network key is 32 random bytes. The file has one key a line, as 64 hexadecimal digits: one, or two
while the network changes its key. A node sends under the first, and accepts both. No key is in an error, and for
people a key has a fingerprint, which tells nothing of it. What a key is good for is in `peer/handshake.py`.
Source: docs/protocol.md, Keys.
"""

from __future__ import annotations

import hashlib
import random
import re
import shlex
from pathlib import Path
from typing import Final

from camomile_trio.errors import ConfigError
from camomile_trio.secret_files import create_secret, read_secret, replace_secret

KEY_BYTES: Final = 32
MOST_KEYS: Final = 2
FINGERPRINT_BYTES: Final = 4

_KIND: Final = "network key file"
_MOST_OF_A_FILE: Final = 1024  # bytes; two keys, and blank lines behind them
_LINE: Final = re.compile(rb"[0-9A-Fa-f]{64}")


def fingerprint(key: bytes) -> str:
    """What people see of a network key: 8 hexadecimal digits."""
    return hashlib.blake2b(b"camomile network key\0", key=key, digest_size=FINGERPRINT_BYTES).hexdigest()


def load_network_keys(path: Path) -> tuple[bytes, ...]:
    """The keys in the file, the one that is sent under first.

    ConfigError if there is none, if it holds anything but one key or two, or if it is ours and others may read it.
    """
    try:
        content_untrusted = read_secret(path, _KIND, _MOST_OF_A_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {_KIND} {path}",
            remedy="copy the file of the network's other nodes here; for a new network make one with "
            "`camomile key network new FILE`",
        ) from None
    return _parse_untrusted(path, content_untrusted)


def create_network_key(path: Path, rng: random.Random) -> bytes:
    """A new key in a file of its own (mode 0600, whole or not at all). `rng` is a `random.SystemRandom()`.

    KeyFileExists if anything is there under that name; ConfigError if the file cannot be made.
    """
    key = rng.randbytes(KEY_BYTES)
    try:
        create_secret(path, _content((key,)))
    except OSError as error:
        raise ConfigError(
            f"{_KIND} {path} cannot be made: {error.strerror}", remedy="name a file in a directory that can be written"
        ) from None
    return key


def add_network_key(path: Path, rng: random.Random) -> bytes:
    """A new key is the file's second one from now on: accepted, and not sent under. ConfigError."""
    keys = load_network_keys(path)
    if len(keys) == MOST_KEYS:
        raise ConfigError(
            f"{_KIND} {path} holds two keys already",
            remedy="finish the change under way first: promote the new key at all nodes, then remove the old one",
        )
    key = rng.randbytes(KEY_BYTES)
    _replace(path, (*keys, key))
    return key


def promote_network_key(path: Path) -> bytes:
    """The file's second key is the first one from now on, and the first one the second. Returns the new first one.
    ConfigError."""
    keys = load_network_keys(path)
    if len(keys) < MOST_KEYS:
        raise ConfigError(
            f"{_KIND} {path} holds one key, so there is none to promote",
            remedy="add one with `camomile key network add FILE`, and bring the file to all nodes first",
        )
    _replace(path, keys[::-1])
    return keys[1]


def remove_network_key(path: Path) -> bytes:
    """The file's second key is not in it any more. Returns that key. ConfigError."""
    keys = load_network_keys(path)
    if len(keys) < MOST_KEYS:
        raise ConfigError(
            f"{_KIND} {path} holds one key, which stays",
            remedy="to change the key add a new one, promote it at all nodes, then remove the old one",
        )
    _replace(path, keys[:1])
    return keys[1]


def _content(keys: tuple[bytes, ...]) -> bytes:
    return b"".join(key.hex().encode() + b"\n" for key in keys)


def _replace(path: Path, keys: tuple[bytes, ...]) -> None:
    try:
        replace_secret(path, _content(keys))
    except OSError as error:
        raise ConfigError(
            f"{_KIND} {path} cannot be changed, and is as it was: {error.strerror}",
            remedy="run the command as a user that may write to its directory, where the file itself is kept",
        ) from None


def _parse_untrusted(path: Path, content_untrusted: bytes) -> tuple[bytes, ...]:
    def refused(flaw: str, remedy: str) -> ConfigError:
        return ConfigError(f"{_KIND} {path} {flaw}", remedy=remedy)

    if not content_untrusted.strip():
        raise refused("is empty", "copy it from another node; for a new network make one under another name")
    if b"\r" in content_untrusted:
        command = f"sed -i 's/\\r//' {shlex.quote(str(path))}"
        raise refused("has a CR, with which editors for Windows end lines", f"take it out: `{command}`")
    lines = content_untrusted.rstrip().split(b"\n")
    if len(lines) > MOST_KEYS or len(content_untrusted) > _MOST_OF_A_FILE:
        raise refused("has more than two lines", "leave the one key or the two that the network's other nodes have")
    for number, line in enumerate(lines, 1):
        if not _LINE.fullmatch(line):
            found = f"{len(line)} characters" if len(line) != 2 * KEY_BYTES else "another character"
            raise refused(
                f"has {found} on line {number}, where the 64 hexadecimal digits of a key should be",
                "copy it again from another node; it has one key or two, each on a line of its own",
            )
    keys = tuple(bytes.fromhex(line.decode()) for line in lines)
    if len(set(keys)) < len(keys):
        raise refused("has the same key twice", "take its second line out, or copy it again from another node")
    return keys
