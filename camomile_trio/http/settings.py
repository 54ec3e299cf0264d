"""The settings of a node's HTTP server, each with a default, a reason, and what goes wrong at its extremes.

Rules of this file: a frozen value that validates itself (ConfigError, one line with a remedy). No I/O: who reads the
token from its file is the command line. Times are in seconds.
"""

from __future__ import annotations

import re
from typing import TypeVar

import attrs
from attrs.validators import deep_iterable

from camomile_trio.config import MIB, number_text
from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint

_Number = TypeVar("_Number", int, float)

# The alphabet of a bearer token (RFC 6750 §2.1): anything else could not be sent in the header.
BEARER_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")
# Characters of a token. A shorter one is found by trying, at the thousands of requests a second that a node answers.
LEAST_TOKEN = 16
# The letters of a name in DNS, and what container engines put into theirs.
_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")


def _is_token(instance: object, attribute: attrs.Attribute[bytes | None], token: bytes | None) -> None:
    if token is None:
        return
    if not BEARER_TOKEN.fullmatch(token):
        raise ConfigError(
            "the HTTP token is empty or has characters that a header cannot carry",
            remedy="use letters, digits and . _ ~ + / - only, in one line",
        )
    if len(token) < LEAST_TOKEN:
        raise ConfigError(
            f"the HTTP token has fewer than {LEAST_TOKEN} characters",
            remedy="make a random one: (umask 077 && head -c 24 /dev/urandom | base64 > FILE)",
        )


def _at_least_one(instance: object, attribute: attrs.Attribute[_Number], value: _Number) -> None:
    if not value >= 1:
        given = number_text(value)
        raise ConfigError(f"{attribute.name} is {given}", remedy=f"choose a {attribute.name} of at least 1")


def _is_host_name(instance: object, attribute: attrs.Attribute[str], name: str) -> None:
    if not _HOST_NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r} is no name of a host", remedy="write it without scheme and port, as node.example"
        )


def _none_or_at_least_one(instance: object, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None and value < 1:
        raise ConfigError(f"{attribute.name} is {value}", remedy=f"choose a {attribute.name} of at least 1")


@attrs.frozen(kw_only=True)
class HttpSettings:
    """How a node is served over HTTP. Its body limits come from the node's own `max_value_size`."""

    # Whoever reaches this address may write and delete, so it is loopback unless told otherwise. Port 0: a free one.
    listen: Endpoint = attrs.field(default=Endpoint.parse("127.0.0.1:8080"))
    # Asked of every POST and DELETE as `Authorization: Bearer …`; None asks nothing.
    token: bytes | None = attrs.field(default=None, validator=_is_token, repr=False)
    # Names, beside localhost and the machine's own, under which clients may ask this node. A name that is not here is
    # refused, since a web page can make its own name point here (DNS rebinding). Too many: that protection.
    host_names: tuple[str, ...] = attrs.field(default=(), validator=deep_iterable(_is_host_name))
    # Puts, gets and deletes that the node works on at once; past that a client hears 503. Small: busy clients are sent
    # away. Large: memory.
    max_requests: int = attrs.field(default=256, validator=_at_least_one)
    # Bytes of bodies that come and of values that go out, for all clients together; past that a client hears 503 before
    # its body is asked for. Small: few large values at a time. Large: memory, about one and a half times as much, since
    # forms are decoded into copies. One body of the largest value always fits, whatever is set here.
    max_bytes: int = attrs.field(default=64 * MIB, validator=_at_least_one)
    # Open connections; past that a new one is closed at once. Small: idle clients lock others out. Large: descriptors.
    max_connections: int = attrs.field(default=1024, validator=_at_least_one)
    # Open connections of one client address, a /64 of IPv6; None is half of all. Small: clients that share an address,
    # behind a proxy or in containers, lock each other out. As large as all: one client locks out the others.
    max_connections_per_address: int | None = attrs.field(default=None, validator=_none_or_at_least_one)
    # How long a client may take to send its body. Short: slow links fail. Long: slow clients hold places.
    body_timeout: float = attrs.field(default=60.0, validator=_at_least_one)

    @property
    def most_per_address(self) -> int:
        """How many connections one client address gets."""
        most = self.max_connections_per_address
        return max(1, self.max_connections // 2) if most is None else most
