"""Where a node keeps its files when nobody says where: the directories of the XDG base directory specification.

Rules of this file: environment and user id are parameters. A control socket lets its owner stop a node: it lies only in
a directory of our own. Several nodes may run for one user: a command that is not told which never picks one of them.
"""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from camomile_trio.errors import ConfigError

SOCKET_NAME = "control.sock"
PATIENCE = 5.0  # seconds for a node to take a connection
LONGEST_SOCKET_PATH = 107  # bytes: sun_path of unix(7) is 108 with its final zero

# The path of a node's control socket, by the port at which peers reach the node.
SocketPlace = Callable[[int], Path]


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


def socket_of_node(told: Path | None, data_dir: Path | None, environment: Mapping[str, str], user: int) -> SocketPlace:
    """Where a node puts its control socket, once it knows at which port peers reach it.

    As told, or in its data directory. In the runtime directory, where there may be several, it is named after the port.
    """
    if told is not None or data_dir is not None:
        path = checked_socket_path(told if told is not None else (data_dir or Path()) / SOCKET_NAME)
        return lambda port: path
    directory = runtime_dir(environment, user)
    checked_socket_path(directory / _name_after(65535))
    make_private_dir(directory, user)
    return lambda port: directory / _name_after(port)


def _name_after(port: int | str) -> str:
    return f"control-{port}.sock"


def socket_to_call(told: Path | None, data_dir: Path | None, environment: Mapping[str, str], user: int) -> Path:
    """Where a command finds the node: as told, in the data directory as told, or where the only one listens that runs.

    ConfigError if several run. If none does, the path is where a node with the default data directory would be.
    """
    if told is not None:
        return checked_socket_path(told)
    usual = (data_dir or default_data_dir(environment)) / SOCKET_NAME
    if data_dir is not None:
        return checked_socket_path(usual)
    running = [
        path for path in (usual, *sorted(runtime_dir(environment, user).glob(_name_after("*")))) if _answers(path)
    ]
    if len(running) > 1:
        raise ConfigError(
            f"several nodes run here: {', '.join(map(str, running))}", remedy="name the socket of one with --socket"
        )
    return checked_socket_path(running[0] if running else usual)


def _answers(path: Path) -> bool:
    """Whether a process listens there. A node that was killed leaves its socket behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PATIENCE)
        try:
            probe.connect(str(path))
        except (TimeoutError, BlockingIOError):
            return True  # too busy to take it
        except OSError:
            return False
    return True
