"""The names that a node is to join, and the addresses that they have now.

Rules of this file: all names are resolved side by side, and one that gets no answer delays no other. A resolution runs
in a thread, which nothing can cancel: it goes on behind the caller, its result is there for the next `take`, and a name
is not resolved twice at a time. The number of threads is bounded. An address as text needs no resolver.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Awaitable, Callable, Iterable

import trio

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint, is_sensible
from camomile_trio.logs import log

# From a name and a port to its addresses; OSError when it has none.
Resolver = Callable[[str, int], Awaitable[list[Endpoint]]]
Background = Callable[[Callable[[], Awaitable[None]]], None]

# Threads that wait for the system's resolver, of all nodes in one program. Few: many silent names delay the others.
RESOLVED_AT_ONCE = 16
_threads: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("threads that resolve names")


async def resolve(host: str, port: int) -> list[Endpoint]:
    """Every IPv4 and IPv6 address of a name, by the system's resolver. Cancelled, it leaves its thread behind."""
    try:
        limiter = _threads.get()
    except LookupError:
        limiter = trio.CapacityLimiter(RESOLVED_AT_ONCE)
        _threads.set(limiter)
    look = functools.partial(socket.getaddrinfo, host, port, type=socket.SOCK_DGRAM)
    found = await trio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=limiter)
    return list(dict.fromkeys(Endpoint.from_host(str(address[0]), port) for *_, address in found))


class Names:
    """`names` are HOST:PORT of nodes to join. `background` runs a task for as long as the node lives; `on_change` is
    called when a resolution has ended, well or not."""

    def __init__(
        self, names: Iterable[str], resolver: Resolver, background: Background, *, on_change: Callable[[], None]
    ) -> None:
        self._resolver = resolver
        self._background = background
        self._on_change = on_change
        self._addresses: list[Endpoint] = []
        self._names: list[str] = []
        for name in names:
            try:
                self._addresses.append(Endpoint.parse(name))
            except ConfigError:
                self._names.append(name)
        self._under_way: set[str] = set()
        self._found: list[Endpoint] = []
        self._complained: set[str] = set()

    @property
    def under_way(self) -> int:
        """Names that are being resolved."""
        return len(self._under_way)

    def look_up(self) -> None:
        """Begins to resolve every name, but for those that are still being resolved."""
        self._found += self._addresses
        for name in self._names:
            if name not in self._under_way:
                self._under_way.add(name)
                self._background(functools.partial(self._resolve, name))

    def take(self) -> list[Endpoint]:
        """The addresses that were found since the last call."""
        found, self._found = self._found, []
        return found

    async def _resolve(self, name: str) -> None:
        host, _, port = name.rpartition(":")
        try:
            found = await self._resolver(host, int(port))
            self._found += found
            if any(map(is_sensible, found)):
                self._complained.discard(name)
            else:
                self._complain(name, f"of its addresses ({', '.join(map(str, found))}) none can be contacted")
        except (OSError, UnicodeError) as error:  # a name that no resolver can take raises the latter
            self._complain(name, str(error))
        finally:
            self._under_way.discard(name)
            self._on_change()

    def _complain(self, name: str, reason: str) -> None:
        """Once, until the name is of use again."""
        if name not in self._complained:
            self._complained.add(name)
            log.warning("cannot resolve a name to join, will go on trying", name=name, reason=reason)
