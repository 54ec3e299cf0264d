"""Where a node keeps its files when nobody says where: the directories of the XDG base directory specification.

Rules of this file: environment and user id are parameters. A control socket lets its owner stop a node: it lies only in
a directory of our own.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from camomile_trio.errors import ConfigError

SOCKET_NAME = "control.sock"
LONGEST_SOCKET_PATH = 107  # bytes: sun_path of unix(7) is 108 with its final zero


def default_data_dir(environment: Mapping[str, str]) -> Path:
    """`$XDG_DATA_HOME/camomile`, or `~/.local/share/camomile`. The XDG page wants a relative one ignored."""
    told = Path(environment.get("XDG_DATA_HOME", ""))
    base = told if told.is_absolute() else Path("~/.local/share").expanduser()
    return base / "camomile"


def runtime_dir(environment: Mapping[str, str], user: int) -> Path:
    """`$XDG_RUNTIME_DIR/camomile`, or a directory of this user under the temporary one."""
    told = Path(environment.get("XDG_RUNTIME_DIR", ""))
    if told.is_absolute():
        return told / "camomile"
    return Path(tempfile.gettempdir()) / f"camomile-{user}"


def make_private_dir(path: Path, user: int) -> None:
    """Makes the directory (mode 0700), or finds it there; ConfigError if it is somebody else's or open to others."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ConfigError(
            f"directory {path} cannot be made: {error.strerror}", remedy="name another place with --socket"
        ) from None
    # Under /tmp anybody could have been there first, with a directory or a link of their own.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o022:
        raise ConfigError(f"{path} is not a directory of this user alone", remedy="name another place with --socket")


def checked_socket_path(path: Path) -> Path:
    """The path itself; ConfigError if the system could not bind it."""
    length = len(os.fsencode(path))
    if length > LONGEST_SOCKET_PATH:
        raise ConfigError(
            f"the control socket's path has {length} bytes, and {LONGEST_SOCKET_PATH} is the most: {path}",
            remedy="name a shorter one with --socket",
        )
    return path


def socket_of_node(told: Path | None, data_dir: Path | None, environment: Mapping[str, str], user: int) -> Path:
    """Where a node puts its control socket: as told, in its data directory, or in the runtime directory."""
    if told is None and data_dir is None:
        make_private_dir(runtime_dir(environment, user), user)
    base = data_dir if data_dir is not None else runtime_dir(environment, user)
    return checked_socket_path(told if told is not None else base / SOCKET_NAME)


def socket_to_call(told: Path | None, data_dir: Path | None, environment: Mapping[str, str], user: int) -> Path:
    """Where a command looks for the node: as told, else in the data directory, else in the runtime directory."""
    if told is not None:
        return checked_socket_path(told)
    usual = (data_dir or default_data_dir(environment)) / SOCKET_NAME
    ephemeral = runtime_dir(environment, user) / SOCKET_NAME
    return checked_socket_path(ephemeral if data_dir is None and not usual.exists() and ephemeral.exists() else usual)
