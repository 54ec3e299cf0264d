"""The names that a node is to join, and the addresses that they have now.

Rules of this file: all names are resolved side by side, and one that gets no answer delays no other. A resolution runs
in a thread, which nothing can cancel: it goes on behind the caller, its result is there for the next `take`, and a name
is not resolved twice at a time. The number of threads is bounded. An address as text needs no resolver. A key that pins
the node of a name holds at all addresses of the name.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Awaitable, Callable, Iterable

import attrs
import trio

from camomile_trio.config import split_pin
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


@attrs.frozen
class Address:
    """Where a node to join may be."""

    endpoint: Endpoint
    public: bytes | None  # the key that the node there must have; None: any


class Names:
    """`entries` are HOST:PORT or HOST:PORT#KEY of nodes to join, as in `Config.join`. `background` runs a task for as
    long as the node lives; `on_change` is called when a resolution has ended, well or not."""

    def __init__(
        self, entries: Iterable[str], resolver: Resolver, background: Background, *, on_change: Callable[[], None]
    ) -> None:
        self._resolver = resolver
        self._background = background
        self._on_change = on_change
        self._addresses: list[Address] = []
        self._names: dict[str, list[bytes | None]] = {}  # each with the keys that pin it
        for entry in entries:
            name, public = split_pin(entry)
            try:
                self._addresses.append(Address(Endpoint.parse(name), public))
            except ConfigError:
                self._names.setdefault(name, []).append(public)
        self._under_way: set[str] = set()
        self._found: list[Address] = []
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

    def take(self) -> list[Address]:
        """The addresses that were found since the last call."""
        found, self._found = self._found, []
        return found

    async def _resolve(self, name: str) -> None:
        host, _, port = name.rpartition(":")
        try:
            found = await self._resolver(host, int(port))
            self._found += [Address(endpoint, public) for public in self._names[name] for endpoint in found]
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
