"""Endpoints and socket addresses."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport.sockaddr import from_sockaddr, to_sockaddr

endpoints = st.builds(
    Endpoint.of, st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), st.integers(0, 65_535)
)


@given(endpoints)
def test_an_endpoint_comes_back_from_a_socket_open_to_both_families(endpoint: Endpoint) -> None:
    address = to_sockaddr(endpoint, socket.AF_INET6)
    assert address is not None
    assert from_sockaddr((*address, 0, 0)) == endpoint


@given(endpoints)
def test_a_socket_of_ipv4_reaches_ipv4_only(endpoint: Endpoint) -> None:
    address = to_sockaddr(endpoint, socket.AF_INET)
    assert (address is not None) == endpoint.is_ipv4
    assert address is None or from_sockaddr(address) == endpoint


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        (("192.0.2.7", 8118), "192.0.2.7:8118"),
        (("::ffff:192.0.2.7", 8118, 0, 0), "192.0.2.7:8118"),
        (("fe80::1%eth0", 8118, 0, 2), "[fe80::1]:8118"),
    ],
)
def test_addresses_as_sockets_give_them(address: tuple[str, int], endpoint: str) -> None:
    assert from_sockaddr(address) == Endpoint.parse(endpoint)
