"""Taking connections from a listening socket, whatever befalls them before they are taken.

Rules of this file: it knows of Trio and of nothing else here. What a peer did, or a system that is out of descriptors,
never ends a listener, is never logged, and never makes it spin.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import trio

# accept(2) reports on Linux what befell the connection before we took it: that peer's trouble, not the listener's.
_PEER_WENT_AWAY = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
    }
)
_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_RECOVERY = 0.1  # s before the next accept when the system is out of descriptors: it would fail again at once


async def accept(
    listener: trio.socket.SocketType, on_refused: Callable[[], object]
) -> tuple[trio.socket.SocketType, Any]:
    """The next connection, and the address of who made it. `on_refused` is called when the system has no room for it;
    it waits in the listener's backlog then."""
    while True:
        try:
            return await listener.accept()
        except OSError as error:
            if error.errno in _OUT_OF_RESOURCES:
                on_refused()
                await trio.sleep(_RECOVERY)
            elif error.errno not in _PEER_WENT_AWAY:
                raise
