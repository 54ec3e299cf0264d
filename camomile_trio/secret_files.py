"""Files with a secret in them, such as a key or a token: read, made, and replaced.

Rules of this file: the rule is OpenSSH's for private keys. A file that belongs to the user that runs this process may
be open to that user only. The mode of another user's file is not checked, since this process could not change it:
secrets that Docker and Kubernetes mount belong to root, and every user of the container may read them. Symbolic links
are followed, since such mounts are made of them. What is checked is the opened file, so that no other file can take its
place after the check. A file is made and replaced whole or not at all: it is written under another name first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from camomile_trio.errors import ConfigError


class KeyFileExists(ConfigError):
    """A new key was to be made where there is a file already. Nothing was overwritten."""


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


def create_secret(path: Path, content: bytes) -> None:
    """Makes the file with this content, mode 0600. KeyFileExists if anything has that name; OSError."""
    with _written_beside(path, content) as (temporary, _):
        try:
            # A link fails where a rename would overwrite.
            os.link(temporary, path)
        except FileExistsError:
            raise KeyFileExists(
                f"{path} is there already, and was left as it is", remedy="name another file, or move this one away"
            ) from None


def replace_secret(path: Path, content: bytes) -> None:
    """Puts this content in the place of the file's, which keeps its mode and its owner; of a symbolic link, in the
    place of the file that it names. OSError, and the file is as it was."""
    target = path.resolve(strict=True)
    before = target.stat()
    if not stat.S_ISREG(before.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")
    with _written_beside(target, content) as (temporary, descriptor):
        # A node that runs as another user than root has to be able to read what root has changed.
        made = os.fstat(descriptor)
        if (made.st_uid, made.st_gid) != (before.st_uid, before.st_gid):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
        os.replace(temporary, target)


@contextlib.contextmanager
def _written_beside(path: Path, content: bytes) -> Iterator[tuple[Path, int]]:
    """A file with this content, on disk, in the directory of `path`, and its descriptor; gone after the block."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # of mode 0600
    temporary = Path(name)
    try:
        if os.write(descriptor, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
        yield temporary, descriptor
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)
