"""Which requests web pages of other sites can cause, and that they are refused (DESIGN §8, "Web pages").

Rules of this file: a pure look at headers, before any handler. A browser sends forms and images of any page to any
address, 127.0.0.1 included, so an address that only this machine reaches is no protection. Two things give such
requests away: a browser names the page's site (Sec-Fetch-Site, Origin); and a page whose own name was made to point
here afterwards (DNS rebinding) sends that name as `Host`. An address instead of a name cannot be rebound.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable

import attrs

from camomile_trio.http.problems import Problem

Headers = Iterable[tuple[bytes, bytes]]

_SAME_SITE = frozenset({b"none", b"same-origin"})
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# A name or an address, in brackets if it has colons, and perhaps a port.
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::[0-9]*)?")
_LOOKED_AT = frozenset({b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"})


def names_of_this_node(more: Iterable[str]) -> frozenset[str]:
    """The names under which a node may be asked: localhost, the machine's own name, and those of --http-host."""
    return frozenset(_bare_name(name) for name in ("localhost", socket.gethostname(), *more))


@attrs.frozen
class WebPages:
    """The check. `names` are those of this node, in lower case."""

    names: frozenset[str]

    def refusal(self, method: str, headers: Headers) -> Problem | None:
        """Why a request is refused, or None. HTTP/1.0 knows no Host; no browser speaks that."""
        found: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _LOOKED_AT:
                # Of a header that is there twice both must be right; together they are nothing that passes.
                found[name] = found[name] + b"," + value if name in found else value.strip()
        host = found.get(b"host", b"").decode("latin-1").lower()
        parts = _HOST.fullmatch(host)
        bare = host if parts is None else parts[1]
        if host and _bare_name(bare) not in self.names and (parts is None or not _is_address(bare)):
            return Problem(
                403,
                "Unknown host name",
                f"this node is not known as {bare[:80]!r}",
                "ask by an IP address or as localhost, or start the node with --http-host and the name",
            )
        if _is_followed_link(method, found):
            return None
        site = found.get(b"sec-fetch-site", b"none").lower()
        origin = found.get(b"origin")
        if site not in _SAME_SITE or (origin is not None and not _is_origin(origin.decode("latin-1").lower(), host)):
            return Problem(
                403,
                "Cross-site request",
                "a web page of another site sent this request",
                "send the token of a node with --http-token, or do not send it from a browser",
            )
        return None


def _is_followed_link(method: str, found: dict[bytes, bytes]) -> bool:
    return (
        method in {"GET", "HEAD"}
        and found.get(b"sec-fetch-mode", b"").lower() == b"navigate"
        and found.get(b"sec-fetch-dest", b"").lower() == b"document"
    )


def _is_origin(origin: str, host: str) -> bool:
    """Whether an Origin header names the server that `Host` names, port included. A proxy may have ended its TLS."""
    scheme, separator, authority = origin.partition("://")
    port = _DEFAULT_PORTS.get(scheme, "")
    return bool(separator and host and port) and authority.removesuffix(port) == host.removesuffix(port)


def _is_address(bare: str) -> bool:
    try:
        if bare.startswith("["):
            # A zone is of the asking machine alone (RFC 6874).
            ipaddress.IPv6Address(bare[1:-1].partition("%")[0])
        else:
            ipaddress.IPv4Address(bare)
    except ValueError:
        return False
    return True


def _bare_name(name: str) -> str:
    return name.lower().removesuffix(".")
