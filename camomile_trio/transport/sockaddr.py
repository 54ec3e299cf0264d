"""Endpoints as the operating system's socket addresses, and back, and an option that all sockets of streams have.

Rules of this file: no state, no cache, no I/O, no names to resolve. A socket of IPv6 that is open to both
families sees IPv4 peers as `::ffff:a.b.c.d`; here alone that form is made and taken apart.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Protocol

from camomile_trio.kademlia.contacts import Endpoint

# (host, port), or (host, port, flow, scope) of IPv6: what the socket module gives and takes.
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

# Bytes of a stream in one IP packet, at most. A stream is also what is left where a router drops large packets and does
# not say so (`peer/paths.py`), and there the segments that the system would choose are lost as well.
_SEGMENT = 1000


class _HasOptions(Protocol):
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def to_sockaddr(endpoint: Endpoint, family: socket.AddressFamily) -> tuple[str, int] | None:
    """The address by which a socket of `family` reaches `endpoint`; None when IPv6 is to be reached over IPv4."""
    if not endpoint.is_ipv4:
        return (endpoint.host, endpoint.port) if family == socket.AF_INET6 else None
    host = socket.inet_ntoa(endpoint.ip)
    return (host if family == socket.AF_INET else f"::ffff:{host}", endpoint.port)


def from_sockaddr(address: SocketAddress) -> Endpoint:
    """The endpoint that a socket told of; an IPv6 zone (`%eth0`) is dropped."""
    host = address[0].partition("%")[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return Endpoint.of(socket.inet_pton(family, host), address[1])


def keep_segments_small(opened: _HasOptions) -> None:
    """Before a stream connects or a listener listens: it sends small segments, and asks the peer for such."""
    with contextlib.suppress(OSError):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
