"""The source network of an address: what one party is taken to have all of, wherever something is shared out by source.

Rules of this file: one pure function of the bytes of an ip, the same on every version of Python. (`ipaddress` is not
asked, since its answer for 6to4 depends on the patch release.) Source: docs/protocol.md, Source networks.
"""

from __future__ import annotations

import functools

_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96
_NAT64 = bytes.fromhex("0064ff9b") + bytes(8)  # 64:ff9b::/96, RFC 6052
_SIX_TO_FOUR = bytes.fromhex("2002")  # 2002::/16, RFC 3056
_TEREDO = bytes.fromhex("20010000")  # 2001::/32, RFC 4380
_LOOPBACK_6 = bytes(15) + b"\x01"

LONGEST_NETWORK = 8  # bytes


@functools.lru_cache(maxsize=4096)
def source_network(ip: bytes) -> bytes:
    """The source network of a packed ip of 4 or 16 bytes; empty for loopback, which no bound applies to.

    A public address belongs to its /24 or /48: a subscriber is given a /48 or less, and addresses of a /24 seldom
    belong to many. A private one (RFC 1918, RFC 6598, link-local) counts by itself, one of IPv6 (RFC 4193, link-local)
    by its /64, which one host may vary below. An IPv4 address inside of an IPv6 one (mapped, 6to4, Teredo, NAT64) is
    what counts, if it is public: one IPv4 address is enough to have a whole 6to4 /48. Networks of different kinds have
    different lengths, so none is mistaken for another.
    """
    if len(ip) == 4:
        return _of_ipv4(ip)
    if ip.startswith(_MAPPED):
        return _of_ipv4(ip[12:])
    if ip == _LOOPBACK_6:
        return b""
    inside = _ipv4_inside(ip)
    if inside and len(network := _of_ipv4(inside)) == 3:
        return network
    is_private = ip[0] & 0xFE == 0xFC or (ip[0] == 0xFE and ip[1] & 0x80)  # fc00::/7; fe80::/10 and fec0::/10
    return ip[:8] if is_private else ip[:6]


def party(ip: bytes, public: bytes) -> bytes:
    """Who a node with this ip and public key is taken for: its source network, or itself on loopback."""
    return source_network(ip) or public


def public_network(ip: bytes) -> bytes:
    """The source network of a public address; empty for any other one."""
    network = source_network(ip)
    return network if len(network) in (3, 6) else b""


def wide_network(network: bytes) -> bytes:
    """The /16 of a public source network of IPv4, the /32 of one of IPv6: what one provider is taken to have."""
    return network[:2] if len(network) == 3 else network[:4]


def _of_ipv4(ip: bytes) -> bytes:
    first, second = ip[0], ip[1]
    if first == 127:
        return b""
    is_private = (
        first == 10
        or (first == 172 and second & 0xF0 == 16)
        or (first == 192 and second == 168)
        or (first == 100 and second & 0xC0 == 64)
        or (first == 169 and second == 254)
    )
    return ip if is_private else ip[:3]


def _ipv4_inside(ip: bytes) -> bytes:
    if ip.startswith(_SIX_TO_FOUR):
        return ip[2:6]
    if ip.startswith(_TEREDO):
        return bytes(byte ^ 0xFF for byte in ip[12:])
    return ip[12:] if ip.startswith(_NAT64) else b""
