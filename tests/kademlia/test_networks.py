"""Source networks: which addresses are taken to be one party's.

Rules of this file: addresses are only read, never contacted.
"""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.kademlia.networks import source_network


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("8.8.4.4", "080804"),
        ("198.18.7.9", "c61207"),  # RFC 2544 counts as public; tests use it
        ("203.0.113.9", "cb0071"),
        ("2606:4700:1:2::3", "260647000001"),
        ("10.1.2.3", "0a010203"),
        ("172.16.0.1", "ac100001"),
        ("172.31.0.1", "ac1f0001"),
        ("172.32.0.1", "ac2000"),
        ("192.168.7.7", "c0a80707"),
        ("100.64.0.1", "64400001"),
        ("100.127.0.1", "647f0001"),
        ("100.128.0.1", "648000"),
        ("169.254.1.1", "a9fe0101"),
        ("fd00:1:2:3:4::5", "fd00000100020003"),
        ("fe80::5", "fe80000000000000"),
        ("fec0::5", "fec0000000000000"),
        ("fe00::5", "fe0000000000"),
        ("127.9.9.9", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("::ffff:8.8.4.4", "080804"),
        ("64:ff9b::8.8.4.4", "080804"),
        ("2002:0808:0404:1::1", "080804"),
        ("2001:0:1:2:3:4:f7f7:fbfb", "080804"),  # Teredo has the client's address inverted
    ],
)
def test_an_address_belongs_to_its_source_network(text: str, network: str) -> None:
    assert source_network(packed(text)).hex() == network


@pytest.mark.parametrize("inside", ["127.0.0.1", "10.0.0.1", "192.168.1.1"])
def test_an_ipv6_address_is_not_exempt_by_the_ipv4_address_in_it(inside: str) -> None:
    """Loopback has no bound, so no public address may get there by what is written in it."""
    ip = packed(inside)
    assert source_network(b"\x20\x02" + ip + bytes(10)) == b"\x20\x02" + ip
    assert source_network(packed("64:ff9b::")[:12] + ip) == packed("64:ff9b::")[:6]
    teredo = packed("2001::")[:12] + bytes(byte ^ 0xFF for byte in ip)
    assert source_network(teredo) == packed("2001::")[:6]


@given(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16))
def test_every_address_has_a_source_network_and_only_loopback_has_none(ip: bytes) -> None:
    network = source_network(ip)
    assert len(network) in {0, 3, 4, 6, 8}
    assert (network == b"") == (
        (ip[:1] == b"\x7f" and len(ip) == 4) or ip == bytes(15) + b"\x01" or ip.startswith(bytes(10) + b"\xff\xff\x7f")
    )
