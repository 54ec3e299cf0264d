"""The file with the bearer token that a node asks for, and that the client commands show.

Rules of this file: a token is read once, when the command starts, and never printed. It is what is in the file less
the end of its line; anything else around it would be another token to who reads the file in another way.
"""

from __future__ import annotations

from pathlib import Path

from camomile_trio.errors import ConfigError
from camomile_trio.http.settings import BEARER_TOKEN
from camomile_trio.secret_files import read_secret

LONGEST_TOKEN = 4096  # bytes; headers much longer than this are refused by servers


def read_token(path: Path) -> bytes:
    """The token in the file, without the end of its line; ConfigError if it cannot be one, or others may read it."""
    try:
        line = read_secret(path, "token file", LONGEST_TOKEN + len(b"\r\n") + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no token file {path}", remedy="name a file with one line in it") from None
    token = line.removesuffix(b"\n").removesuffix(b"\r")
    if not token:
        raise ConfigError(f"token file {path} is empty", remedy="put a long random word into it")
    if len(token) > LONGEST_TOKEN or not BEARER_TOKEN.fullmatch(token):
        raise ConfigError(
            f"token file {path} holds no token",
            remedy=f"put one line of at most {LONGEST_TOKEN} letters, digits and . _ ~ + / - into it, no quotes",
        )
    return token
