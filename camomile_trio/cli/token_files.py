"""The file with the bearer token that a node asks for, and that the client commands show.

Rules of this file: a token is read once, when the command starts, and never printed.
"""

from __future__ import annotations

from pathlib import Path

from camomile_trio.errors import ConfigError

LONGEST_TOKEN = 4096  # bytes; headers much longer than this are refused by servers


def read_token(path: Path) -> bytes:
    """The token in the file, without the white space around it; ConfigError if it cannot be one."""
    try:
        with path.open("rb") as file:
            token = file.read(LONGEST_TOKEN + 2).strip()
    except OSError as error:
        raise ConfigError(
            f"token file {path} cannot be read: {error.strerror}", remedy="name a readable file with one line in it"
        ) from None
    if not token:
        raise ConfigError(f"token file {path} is empty", remedy="put a long random word into it")
    if len(token) > LONGEST_TOKEN or not all(0x21 <= byte <= 0x7E for byte in token):
        raise ConfigError(
            f"token file {path} holds no token",
            remedy=f"put one word of at most {LONGEST_TOKEN} visible ASCII characters into it",
        )
    return token
