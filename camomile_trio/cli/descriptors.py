"""How many descriptors this process may have open, and how many of them clients and peers may take.

Rules of this file: it changes the whole process, so only a command calls it, never a program that embeds a node. Shares
add up to less than there is: what is left is for the database, the control socket and what the system needs meanwhile.
"""

from __future__ import annotations

import resource
from contextlib import suppress

import attrs

from camomile_trio.config import Config
from camomile_trio.http.settings import HttpSettings

# More than a node with all its bounds reached. Some systems allow a thousand million, for which tables would be made.
ENOUGH = 65_536
# Of one node at rest, and of the interpreter.
_RESERVED = 32


def raise_limit() -> int:
    """Raises the soft limit to the hard one, or to ENOUGH; returns how many descriptors there are now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return ENOUGH if soft == resource.RLIM_INFINITY else soft
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def bounded(config: Config, http: HttpSettings, descriptors: int) -> tuple[Config, HttpSettings]:
    """The same settings, with no more connections than so many descriptors can carry: half of them are for clients,
    three eighths for peers."""
    to_share = max(32, descriptors - _RESERVED)
    requests = attrs.evolve(config.requests, max_streams=min(config.requests.max_streams, to_share * 3 // 8))
    return (
        attrs.evolve(config, requests=requests),
        attrs.evolve(http, max_connections=min(http.max_connections, to_share // 2)),
    )
