"""The settings of a node's HTTP server, each with a default, a reason, and what goes wrong at its extremes.

Rules of this file: a frozen value that validates itself (ConfigError, one line with a remedy). No I/O: who reads the
token from its file is the command line. Times are in seconds.
"""

from __future__ import annotations

import re
from typing import TypeVar

import attrs

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint

_Number = TypeVar("_Number", int, float)

# The alphabet of a bearer token (RFC 6750 §2.1): anything else could not be sent in the header.
BEARER_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")


def _sendable(instance: object, attribute: attrs.Attribute[bytes | None], token: bytes | None) -> None:
    if token is not None and not BEARER_TOKEN.fullmatch(token):
        raise ConfigError(
            "the HTTP token is empty or has characters that a header cannot carry",
            remedy="use letters, digits and . _ ~ + / - only, in one line",
        )


def _at_least_one(instance: object, attribute: attrs.Attribute[_Number], value: _Number) -> None:
    if not value >= 1:
        raise ConfigError(f"{attribute.name} is {value:g}", remedy=f"choose a {attribute.name} of at least 1")


@attrs.frozen(kw_only=True)
class HttpSettings:
    """How a node is served over HTTP. Its body limits come from the node's own `max_value_size`."""

    # Whoever reaches this address may write and delete, so it is loopback unless told otherwise. Port 0: a free one.
    listen: Endpoint = attrs.field(default=Endpoint.parse("127.0.0.1:8080"))
    # Asked of every POST and DELETE as `Authorization: Bearer …`; None asks nothing.
    token: bytes | None = attrs.field(default=None, validator=_sendable, repr=False)
    # Puts, gets and deletes served at once; past that a client hears 503. Each holds at most one body, of up to three
    # times `max_value_size` when it comes urlencoded. Small: busy clients are sent away. Large: memory.
    max_requests: int = attrs.field(default=256, validator=_at_least_one)
    # Open connections; past that a new one is closed at once. Small: idle clients lock others out. Large: descriptors.
    max_connections: int = attrs.field(default=1024, validator=_at_least_one)
    # How long a client may take to send its body. Short: slow links fail. Long: slow clients hold places.
    body_timeout: float = attrs.field(default=60.0, validator=_at_least_one)
