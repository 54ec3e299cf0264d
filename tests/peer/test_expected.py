"""What a node expects from an address: the question that a transport asks of a source that has spent its share.

Rules of this file: a forger knows all addresses and no index.
"""

from __future__ import annotations

import pytest

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.decisions import Reply
from camomile_trio.peer.packets import HELLO_ANSWER, INITIATION, RESPONSE, SEALED, frame
from tests.peer.nodes import A, B, C, Line, Node, met, two

RANDOM = b"\x07" * 4


def test_a_sealed_packet_is_expected_from_where_its_session_is(line: Line) -> None:
    a, b = two(line)
    met(line, a, b)
    request = a.seal(b, b"request")
    assert request is not None
    elsewhere, other_port = Endpoint.parse(f"{C}:8118"), Endpoint.parse(f"{A}:8119")
    assert b.sessions.is_expected(request, a.endpoint)
    assert not b.sessions.is_expected(request, elsewhere)
    assert not b.sessions.is_expected(request, other_port)
    assert not a.sessions.is_expected(request, a.endpoint)


def test_so_is_the_packet_that_confirms_a_session(line: Line) -> None:
    a, b = two(line)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    line.deliver(line.flying.pop(0))
    confirming = line.flying[0].datagram
    assert b.sessions.is_expected(confirming, a.endpoint)


@pytest.mark.parametrize("answer", ["response", "cookie"])
def test_what_answers_an_initiation_is_expected_from_where_that_went(line: Line, answer: str) -> None:
    a, b = two(line)
    initiation = a.initiate(b)
    assert not b.sessions.is_expected(initiation, a.endpoint)
    if answer == "cookie":
        b.sessions.responder.forget_answers()
        line.deliver(line.flying[0])
        b.sessions.responder.forget_answers()  # so the same initiation is a replay
        line.flying = line.flying[:1]
    line.deliver(line.flying.pop(0))
    reply = line.flying.pop(0).datagram
    assert a.sessions.is_expected(reply, b.endpoint)
    assert not a.sessions.is_expected(reply, Endpoint.parse(f"{C}:8118"))
    if answer == "response":
        a.on_datagram(reply, b.endpoint)
        assert not a.sessions.is_expected(reply, b.endpoint)


def test_what_answers_a_hello_is_expected_from_where_that_went_until_it_has_come(line: Line) -> None:
    """So a node that is flooded can join by a bare address."""
    a, b = two(line)
    hello = a.sessions.initiator.hello(b.endpoint, line.now)
    answer = b.sessions.on_datagram(hello, a.endpoint, line.now, line.wall_ms)
    assert isinstance(answer, Reply)
    assert not b.sessions.is_expected(hello, a.endpoint)
    assert a.sessions.is_expected(answer.datagram, b.endpoint)
    assert not a.sessions.is_expected(answer.datagram, Endpoint.parse(f"{C}:8118"))
    assert not a.sessions.is_expected(frame(HELLO_ANSWER, RANDOM + answer.datagram[-76:]), b.endpoint)
    a.on_datagram(answer.datagram, b.endpoint)
    assert not a.sessions.is_expected(answer.datagram, b.endpoint)


@pytest.mark.parametrize("field", [SEALED, RESPONSE, INITIATION])
def test_an_index_that_was_guessed_is_not_expected(line: Line, field: int) -> None:
    a, b = two(line)
    met(line, a, b)
    a.initiate(b)
    assert not a.sessions.is_expected(frame(field, RANDOM + bytes(200)), b.endpoint)


@pytest.mark.parametrize("datagram", [b"", b"\x0a\x20", bytes(100), b"\xff" * 1300])
def test_nor_is_what_is_no_packet_of_ours(line: Line, datagram: bytes) -> None:
    a, b = two(line)
    met(line, a, b)
    assert not b.sessions.is_expected(datagram, a.endpoint)


def test_a_session_is_found_by_the_beginning_of_its_address(line: Line) -> None:
    b = Node(line, b"b", B)
    four, six = Node(line, b"4", "10.0.0.1"), Node(line, b"6", "[2001:db8:0:1::7]")
    table = b.sessions.table
    for node in (four, six):
        assert not table.has_session_at(node.endpoint[: 4 if node is four else 8])
        met(line, node, b)
    assert table.has_session_at(bytes([10, 0, 0, 1]))
    assert not table.has_session_at(bytes([10, 0, 0, 2]))
    assert table.has_session_at(bytes.fromhex("20010db800000001"))
    assert not table.has_session_at(bytes.fromhex("20010db800000002"))
    assert not table.has_session_at(bytes.fromhex("20010db8"))  # an IPv4 address that begins as the other one does


def test_one_that_is_not_confirmed_does_not_count(line: Line) -> None:
    """Anybody can begin one in another's name."""
    a, b = two(line)
    a.initiate(b)
    line.deliver(line.flying.pop(0))
    assert not b.sessions.table.has_session_at(a.endpoint.ip)
