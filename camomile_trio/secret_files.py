"""Reading a file with a secret in it, such as a key or a token.

Rules of this file: the rule is OpenSSH's for private keys. A file that belongs to the user that runs this process may
be open to that user only. The mode of another user's file is not checked, since this process could not change it:
secrets that Docker and Kubernetes mount belong to root, and every user of the container may read them. Symbolic links
are followed, since such mounts are made of them. What is checked is the opened file, so that no other file can take its
place after the check.
"""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from camomile_trio.errors import ConfigError


def read_secret(path: Path, kind: str, most: int) -> bytes:
    """The first `most` bytes of the file; `kind` is what an error calls it, such as "key file".

    FileNotFoundError if there is no such file; ConfigError if it cannot be read, or if others may read or write it too.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # A terminal or a pipe keeps nothing: what went through it cannot be read by others later.
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_mode & 0o077:
                command = f"chmod 600 {shlex.quote(str(path))}"
                raise ConfigError(
                    f"{kind} {path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o})",
                    remedy=f"run `{command}`, and make a new secret if another user may have read this one",
                )
            return file.read(most)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(
            f"{kind} {path} cannot be read: {error.strerror}", remedy="let this user read it (mode 0600, same owner)"
        ) from None
