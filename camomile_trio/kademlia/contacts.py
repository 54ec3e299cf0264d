"""Where a node can be reached: Endpoint (ip and port) and Contact (a node at an endpoint).

Rules of this file: values only. An endpoint is kept as its wire form, since it is compared and hashed for every packet
and printed rarely. An IPv4-mapped IPv6 address is the IPv4 address: one node has one endpoint however it was written.
"""

from __future__ import annotations

import functools
import ipaddress
from typing import NamedTuple

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.ids import NodeId

_MAPPED_PREFIX = bytes(10) + b"\xff\xff"


class Endpoint(bytes):
    """An ip and a port as 6 (IPv4) or 18 (IPv6) bytes, port last, big endian."""

    __slots__ = ()

    @classmethod
    def of(cls, ip: bytes, port: int) -> Endpoint:
        """From a packed ip of 4 or 16 bytes (IPv4-mapped becomes IPv4) and a port of 0 to 65 535; else ValueError."""
        if len(ip) == 16 and ip.startswith(_MAPPED_PREFIX):
            ip = ip[12:]
        if len(ip) not in (4, 16):
            raise ValueError(f"an ip has 4 or 16 bytes, not {len(ip)}")
        if not 0 <= port <= 0xFFFF:
            raise ValueError(f"a port is 0 to 65535, not {port}")
        return cls(ip + port.to_bytes(2, "big"))

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """From `10.0.0.1:8118` or `[::1]:8118` (addresses, not names); ConfigError for anything else."""
        host, _, port = text.rpartition(":")
        if host.startswith("[") and "%" in host:
            raise ConfigError(
                f"{text!r} has a zone: it is good on one link of one machine, and cannot be told to other nodes",
                remedy="write a global or a unique local address (fd00::/8), or give the machines such addresses",
            )
        try:
            if not port.isascii() or not port.isdecimal():
                raise ValueError(port)
            bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
            address = ipaddress.ip_address(bare)
            if (address.version == 6) != (bare is not host):
                raise ValueError(host)
            return cls.of(address.packed, int(port))
        except ValueError:
            raise ConfigError(
                f"{text!r} is not an address and a port", remedy="write 127.0.0.1:8118, or [::1]:8118 for IPv6"
            ) from None

    @classmethod
    def from_host(cls, host: str, port: int) -> Endpoint:
        """From a literal ip address as text (an IPv6 zone is dropped) and a port; ValueError if it is neither."""
        return cls.of(ipaddress.ip_address(host.partition("%")[0]).packed, port)

    @property
    def ip(self) -> bytes:
        """The packed ip, 4 or 16 bytes."""
        return self[:-2]

    @property
    def host(self) -> str:
        """The ip as text, without brackets."""
        return str(ipaddress.ip_address(self[:-2]))

    @property
    def port(self) -> int:
        return (self[-2] << 8) | self[-1]

    @property
    def is_ipv4(self) -> bool:
        return len(self) == 6

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if len(self) == 6 else f"[{self.host}]:{self.port}"

    def __repr__(self) -> str:
        return f"Endpoint({self})"


NOWHERE = Endpoint()
"""That of a node which needs none: itself."""


class Contact(NamedTuple):
    """A node, which is its public key, and where it is reached. A tuple, because twenty of them come with an answer."""

    id: NodeId  # the key's hash
    endpoint: Endpoint
    public: bytes = b""  # empty for a classic node, which has no key

    @classmethod
    def of(cls, public: bytes, endpoint: Endpoint) -> Contact:
        """The node with this public key, at this endpoint."""
        return cls(NodeId.of(public), endpoint, public)

    def __repr__(self) -> str:
        return f"Contact({self.id.hex()[:8]} at {self.endpoint})"


def is_sensible(endpoint: Endpoint, *, told_by: Endpoint | None = None) -> bool:
    """Whether `endpoint` may be contacted at all (docs/protocol.md, Requests).

    Port 0, multicast, unspecified, reserved and broadcast addresses never, nor link-local ones of IPv6, which mean
    nothing without a zone. When a peer told us of it (`told_by`), a loopback address only if the peer is on loopback
    itself, and a private one only if the peer is not a public one: a stranger cannot point us at our own machine or our
    own LAN.
    """
    if endpoint.port == 0:
        return False
    scope = _scope(endpoint.ip)
    if scope == _NOWHERE:
        return False
    # Whoever speaks from nowhere forged its address, and is believed nothing.
    return told_by is None or _NOWHERE < _scope(told_by.ip) <= scope


# Scopes, widest last. Whoever is in one scope may tell of addresses in its own and in wider ones.
_NOWHERE, _LOOPBACK, _PRIVATE, _PUBLIC = -1, 0, 1, 2


# ipaddress takes 10 µs to decide, and the same few addresses come again and again.
@functools.lru_cache(maxsize=4096)
def _scope(ip: bytes) -> int:
    address = ipaddress.ip_address(ip)
    if address.is_loopback:
        return _LOOPBACK
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return _NOWHERE
    if address.version == 4 and ip[0] == 0:
        return _NOWHERE
    if address.version == 6 and address.is_link_local:
        return _NOWHERE
    # Not `is_private`: that leaves out the carriers' 100.64.0.0/10 (RFC 6598), where clusters and tunnels live too.
    if not address.is_global or (isinstance(address, ipaddress.IPv6Address) and address.is_site_local):
        return _PRIVATE
    return _PUBLIC
