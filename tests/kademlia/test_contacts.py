"""Endpoints, how they are written, and which of them a node may be talked into contacting.

Rules of this file: addresses are only read, never contacted.
"""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Contact, Endpoint, is_sensible
from camomile_trio.kademlia.ids import NodeId

LOOPBACK = "127.0.0.1:8118"
LOOPBACK_6 = "[::1]:8118"
PRIVATE = ["10.0.0.1:8118", "172.16.3.4:8118", "192.168.1.1:1", "169.254.7.7:9", "[fd00::1]:8118"]
CARRIER = "100.64.0.1:8118"
SITE_LOCAL = "[fec0::1]:8118"
PUBLIC = ["8.8.8.8:8118", "[2606:4700::1111]:8118"]
NOWHERE = [
    "0.0.0.0:8118",
    "0.1.2.3:8118",
    "[::]:8118",
    "224.0.0.1:8118",
    "239.255.255.250:1900",
    "[ff02::1]:8118",
    "255.255.255.255:8118",
    "240.0.0.1:8118",
    "[::127.0.0.1]:8118",
    "[fe80::1]:8118",  # on which link?
]


@given(st.binary(min_size=4, max_size=4), st.integers(0, 65535))
def test_an_ipv4_endpoint_is_six_bytes_and_comes_back_as_it_went_in(ip: bytes, port: int) -> None:
    endpoint = Endpoint.of(ip, port)
    assert (len(endpoint), endpoint.ip, endpoint.port, endpoint.is_ipv4) == (6, ip, port, True)
    assert endpoint.host == str(ipaddress.IPv4Address(ip))
    assert Endpoint.parse(str(endpoint)) == Endpoint.from_host(endpoint.host, port) == endpoint


@given(st.binary(min_size=16, max_size=16), st.integers(0, 65535))
def test_an_ipv6_endpoint_comes_back_as_it_went_in(ip: bytes, port: int) -> None:
    endpoint = Endpoint.of(ip, port)
    assert endpoint.port == port
    assert Endpoint.parse(str(endpoint)) == Endpoint.from_host(endpoint.host, port) == endpoint


def test_an_endpoint_is_printed_as_people_write_it() -> None:
    assert str(Endpoint.of(bytes([10, 0, 0, 1]), 8118)) == "10.0.0.1:8118"
    assert str(Endpoint.of(bytes(15) + b"\x01", 8118)) == LOOPBACK_6
    assert repr(Endpoint.parse(LOOPBACK)) == "Endpoint(127.0.0.1:8118)"


def test_an_ipv4_address_in_ipv6_clothes_is_the_same_endpoint() -> None:
    plain = Endpoint.parse("10.1.2.3:8118")
    mapped = bytes(10) + b"\xff\xff" + bytes([10, 1, 2, 3])
    assert Endpoint.of(mapped, 8118) == Endpoint.parse("[::ffff:10.1.2.3]:8118") == plain
    assert Endpoint.from_host("::ffff:10.1.2.3", 8118).is_ipv4


def test_a_zone_is_refused_in_words() -> None:
    """It used to be dropped, and the address without it led nowhere."""
    with pytest.raises(ConfigError, match="zone") as caught:
        Endpoint.parse("[fe80::1%eth0]:8118")
    assert "fd00::/8" in caught.value.remedy
    # What a socket or a resolver tells of is read, and then never contacted.
    assert not is_sensible(Endpoint.from_host("fe80::1%eth0", 8118))


@pytest.mark.parametrize("ip", [b"", b"\x7f\x00\x00", bytes(5), bytes(15), bytes(17)])
def test_an_ip_of_another_length_is_refused(ip: bytes) -> None:
    with pytest.raises(ValueError, match="4 or 16 bytes"):
        Endpoint.of(ip, 1)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_refused(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        Endpoint.of(bytes(4), port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        ":8118",
        "127.0.0.1:",
        "127.0.0.1:port",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:65536",
        "127.0.0.1:" + "9" * 5000,
        "127.0.0.1:\u0661",
        "example.org:8118",
        "::1:8118",
        "[127.0.0.1]:8118",
        "[::1:8118",
        "::1]:8118",
        "300.0.0.1:8118",
    ],
)
def test_what_is_not_an_address_and_a_port_gives_an_error_with_a_remedy(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint.parse(text)
    assert "[::1]:8118" in caught.value.remedy


def test_a_contact_is_printed_short() -> None:
    assert repr(Contact(NodeId(bytes(32)), Endpoint.parse(LOOPBACK))) == "Contact(00000000 at 127.0.0.1:8118)"


@pytest.mark.parametrize("text", [LOOPBACK, LOOPBACK_6, *PRIVATE, CARRIER, SITE_LOCAL, *PUBLIC])
def test_what_the_operator_names_is_contacted_whatever_its_scope(text: str) -> None:
    assert is_sensible(Endpoint.parse(text))


@pytest.mark.parametrize("text", NOWHERE)
def test_an_address_that_no_node_can_have_is_never_contacted(text: str) -> None:
    assert not is_sensible(Endpoint.parse(text))
    assert not is_sensible(Endpoint.parse(text), told_by=Endpoint.parse(LOOPBACK))


def test_port_0_is_never_contacted() -> None:
    assert not is_sensible(Endpoint.parse("127.0.0.1:0"))
    assert is_sensible(Endpoint.parse("127.0.0.1:1"))


@pytest.mark.parametrize("told_by", PUBLIC)
@pytest.mark.parametrize("text", [LOOPBACK, LOOPBACK_6, *PRIVATE, CARRIER, SITE_LOCAL])
def test_a_stranger_cannot_point_us_at_our_own_machine_or_network(text: str, told_by: str) -> None:
    assert not is_sensible(Endpoint.parse(text), told_by=Endpoint.parse(told_by))


@pytest.mark.parametrize("told_by", [*PRIVATE, CARRIER, SITE_LOCAL])
def test_a_neighbour_tells_of_its_network_and_of_the_world_but_not_of_our_machine(told_by: str) -> None:
    neighbour = Endpoint.parse(told_by)
    assert all(is_sensible(Endpoint.parse(text), told_by=neighbour) for text in [*PRIVATE, CARRIER, *PUBLIC])
    assert not is_sensible(Endpoint.parse(LOOPBACK), told_by=neighbour)
    assert not is_sensible(Endpoint.parse(LOOPBACK_6), told_by=neighbour)


def test_a_peer_on_loopback_tells_of_everything() -> None:
    told = [LOOPBACK, LOOPBACK_6, *PRIVATE, CARRIER, *PUBLIC]
    assert all(is_sensible(Endpoint.parse(text), told_by=Endpoint.parse(LOOPBACK_6)) for text in told)


def test_a_stranger_tells_of_strangers() -> None:
    assert is_sensible(Endpoint.parse(PUBLIC[0]), told_by=Endpoint.parse(PUBLIC[1]))


@pytest.mark.parametrize("told_by", NOWHERE)
def test_a_peer_with_a_forged_address_is_believed_nothing(told_by: str) -> None:
    assert not is_sensible(Endpoint.parse(LOOPBACK), told_by=Endpoint.parse(told_by))
    assert not is_sensible(Endpoint.parse(PUBLIC[0]), told_by=Endpoint.parse(told_by))
