"""Layouts: one encoding of each message, and MalformedPacket for everything else.

Rules of this file: no keys; what is sealed is in test_handshake.py and test_sessions.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer import packets
from camomile_trio.peer.noise import MESSAGE_1_OVERHEAD, MESSAGE_2_OVERHEAD
from camomile_trio.peer.packets import (
    HELLO_BYTES,
    LARGEST_DATAGRAM,
    LEAST_INITIATION_PAYLOAD,
    LEAST_RESPONSE_PAYLOAD,
    LONGEST_SHORT,
    MOST_INNER,
    SEALED,
    SEALED_HEADS,
    SEALED_OVERHEAD,
    About,
    CookieReply,
    Hello,
    HelloAnswer,
    Initiation,
    InitiationPayload,
    Response,
    ResponsePayload,
    frame,
    room_for_answer,
    unframe_untrusted,
)

ENDPOINTS = (
    st.just(b"")
    | st.builds(Endpoint.of, st.binary(min_size=4, max_size=4), st.integers(0, 65535))
    | st.builds(Endpoint.of, st.binary(min_size=16, max_size=16), st.integers(0, 65535))
)
ABOUTS = st.builds(
    About,
    wall_ms=st.integers(0, 2**64 - 1),
    run=st.binary(min_size=8, max_size=8),
    version=st.integers(0, 255),
    flags=st.integers(0, 255),
    advertised=ENDPOINTS,
)
FIELDS = st.integers(16, 2047)
Decoder = Callable[[bytes], object]
BODIES: list[Decoder] = [each.decode_untrusted for each in (Initiation, Response, CookieReply, Hello, HelloAnswer)]
PAYLOADS: list[Decoder] = [InitiationPayload.decode_untrusted, ResponsePayload.decode_untrusted]


@given(FIELDS, st.binary(min_size=1, max_size=1228))
def test_a_frame_comes_back_as_it_went_in(field: int, body: bytes) -> None:
    assert unframe_untrusted(frame(field, body)) == (field, body)


@given(st.binary(max_size=40) | st.builds(lambda field, body: frame(field, body), FIELDS, st.binary(max_size=200)))
def test_a_message_has_one_frame_only(datagram: bytes) -> None:
    try:
        field, body = unframe_untrusted(datagram)
    except MalformedPacket:
        return
    assert frame(field, body) == datagram


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\xa2",
        b"\xa2\x01\x00",
        b"\xa2\x01\x81\x00x",  # a length in two bytes where one is enough
        b"\xa2\x81\x00\x01x",  # a field number in three
        b"\xa0\x01\x01x",  # a number, not bytes
        b"\x22\x01\x01x",  # a field number in one byte
        b"\xa2\x00\x01x",  # a field number of one byte in two
        b"\xa2\x81\x01x",
        b"\xa2\x01\x02x",
        b"\xa2\x01\x01xy",
        frame(20, bytes(LARGEST_DATAGRAM)),
    ],
)
def test_another_frame_is_refused(datagram: bytes) -> None:
    with pytest.raises(MalformedPacket):
        unframe_untrusted(datagram)


@given(FIELDS, st.binary(max_size=40))
def test_a_frame_begins_as_no_packet_of_a_classic_node_does(field: int, body: bytes) -> None:
    """Classic fields have numbers of 1 to 9, whose tags are one byte below 0x80."""
    assert frame(field, body)[0] >= 0x80


@given(st.integers(0, 2**64 - 1), ABOUTS, st.binary(max_size=300), st.integers(0, LARGEST_DATAGRAM))
def test_what_an_initiator_seals_comes_back_as_it_went_in(
    time: int, about: About, request: bytes, padded_to: int
) -> None:
    payload = InitiationPayload(time, about, request)
    encoded = payload.encode(padded_to)
    assert InitiationPayload.decode_untrusted(encoded) == payload
    assert len(encoded) >= LEAST_INITIATION_PAYLOAD


@given(st.binary(min_size=4, max_size=4), ABOUTS, st.binary(max_size=300))
def test_what_a_responder_seals_comes_back_as_it_went_in(index: bytes, about: About, answer: bytes) -> None:
    payload = ResponsePayload(index, about, answer)
    assert ResponsePayload.decode_untrusted(payload.encode()) == payload
    assert len(payload.encode()) >= LEAST_RESPONSE_PAYLOAD


@given(st.sampled_from(BODIES), st.binary(max_size=400) | st.binary(min_size=HELLO_BYTES, max_size=HELLO_BYTES))
def test_a_body_is_refused_or_encodes_as_it_came(decode: Decoder, body: bytes) -> None:
    try:
        message = decode(body)
    except MalformedPacket:
        return
    assert isinstance(message, Initiation | Response | CookieReply | Hello | HelloAnswer)
    assert unframe_untrusted(message.encode())[1] == body


@given(st.sampled_from(PAYLOADS), st.binary(max_size=120))
def test_a_payload_is_refused_or_encodes_as_it_came(decode: Decoder, payload: bytes) -> None:
    try:
        message = decode(payload)
    except MalformedPacket:
        return
    assert isinstance(message, InitiationPayload | ResponsePayload)
    assert message.encode().ljust(len(payload), b"\0") == payload


@given(st.integers(0, 2**64 - 1), ABOUTS, st.binary(max_size=50), st.data())
def test_a_payload_that_is_cut_short_is_refused(time: int, about: About, request: bytes, data: st.DataObject) -> None:
    encoded = InitiationPayload(time, about, request).encode()
    with pytest.raises(MalformedPacket):
        InitiationPayload.decode_untrusted(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


ABOUT = About(1, b"r" * 8, 2, 0)


@pytest.mark.parametrize(
    ("advertised", "is_right"),
    [
        (Endpoint.parse("8.8.8.8:1"), True),
        (Endpoint.parse("[2600::1]:1"), True),
        (b"\x08\x08\x08\x08\x00", False),
        (b"\x08" * 7, False),
        (bytes(10) + b"\xff\xff\x08\x08\x08\x08\x00\x01", False),  # IPv4 in IPv6 has another encoding
    ],
)
def test_an_advertised_endpoint_has_one_encoding(advertised: bytes, is_right: bool) -> None:
    encoded = ResponsePayload(b"1234", About(1, b"r" * 8, 2, 0, advertised), b"x" * 20).encode()
    if is_right:
        assert ResponsePayload.decode_untrusted(encoded).about.advertised == advertised
        return
    with pytest.raises(MalformedPacket, match="wrong_endpoint"):
        ResponsePayload.decode_untrusted(encoded)


def test_padding_is_zeros() -> None:
    encoded = InitiationPayload(1, ABOUT, b"find").encode(400)
    with pytest.raises(MalformedPacket, match="wrong_padding"):
        InitiationPayload.decode_untrusted(encoded[:-1] + b"\x01")
    with pytest.raises(MalformedPacket, match="wrong_padding"):
        Hello.decode_untrusted(b"\x01" * HELLO_BYTES)


def test_every_message_fits_into_the_largest_datagram() -> None:
    endpoint = Endpoint.parse("[2600::1]:1")
    about = About(1, b"r" * 8, 2, 0, endpoint)
    request = InitiationPayload(1, about, bytes(packets.MOST_REQUEST)).encode()
    body = bytes(4 + MESSAGE_1_OVERHEAD) + request + bytes(32)
    assert len(frame(packets.INITIATION, body)) == LARGEST_DATAGRAM
    assert len(frame(packets.SEALED, bytes(SEALED_OVERHEAD + MOST_INNER))) == LARGEST_DATAGRAM
    answer = ResponsePayload(b"1234", about, bytes(room_for_answer(LARGEST_DATAGRAM, endpoint))).encode()
    assert len(frame(packets.RESPONSE, bytes(4 + MESSAGE_2_OVERHEAD) + answer + bytes(16))) == LARGEST_DATAGRAM


def test_there_is_one_head_of_a_sealed_datagram_for_each_size() -> None:
    bodies = {len(frame(SEALED, bytes(size))): frame(SEALED, bytes(size)) for size in range(1, LARGEST_DATAGRAM - 3)}
    assert len(SEALED_HEADS) == LARGEST_DATAGRAM + 1
    for size, head in enumerate(SEALED_HEADS):
        datagram = bodies.get(size)
        if datagram is None:
            # Nothing that such a head begins is taken for a sealed datagram, and it is refused as any other is.
            assert head == b"none"
        else:
            assert datagram.startswith(head)
            assert len(head) == (3 if size <= LONGEST_SHORT else 4)
