"""Reading values out of requests: any bytes survive any form, and no form makes the reader fail otherwise than told."""

from __future__ import annotations

from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camomile_trio.errors import EmptyValue, ValueTooLarge
from camomile_trio.http.refusals import BadRequest
from camomile_trio.http.values import Encoding, body_bound, is_text, percent_decode, ttl_of, value_of

URLENCODED = "application/x-www-form-urlencoded"
LARGEST = 1000

# Bytes that mean something to one of the parsers come far more often than chance would have them.
MEANINGFUL = [b"%", b"%4", b"%41", b"=", b"&", b"+", b"\r", b"\n", b"\r\n", b"--", b"\r\n--", b"\xff", b"value=", b"\0"]
spicy = st.lists(st.one_of(st.sampled_from(MEANINGFUL), st.binary(max_size=8)), max_size=20).map(b"".join)
values = st.one_of(st.binary(min_size=1, max_size=LARGEST), spicy.filter(bool))


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    of_file = "" if filename is None else f'; filename="{filename}"\r\nContent-Type: application/octet-stream'
    return f'--fence-5d1\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n\r\n'.encode() + content + b"\r\n"


def value_or_refusal(body: bytes, content_type: str) -> bytes | None:
    """What is made of a body, None if it is refused as told; any other error goes up."""
    try:
        return value_of(body, content_type, largest_value=LARGEST)
    except (BadRequest, EmptyValue, ValueTooLarge):
        return None


@given(values, st.booleans())
@settings(max_examples=100)
def test_any_bytes_survive_a_urlencoded_form(value: bytes, plus: bool) -> None:
    escaped = quote_from_bytes(value, safe="").encode()
    if plus:
        escaped = escaped.replace(b"%20", b"+")
    body = b"first=1&value=" + escaped + b"&values=second&last"
    assert value_of(body, URLENCODED, largest_value=LARGEST) == value


@given(values, st.sampled_from([None, "a.bin", "ä.txt", ""]))
@settings(max_examples=100)
def test_any_bytes_survive_a_multipart_form(value: bytes, filename: str | None) -> None:
    body = b"preamble\r\n" + part("other", b"1") + part("value", value, filename) + part("values", b"second")
    body += b"--fence-5d1--\r\nepilogue"
    assert value_of(body, "multipart/form-data; boundary=fence-5d1", largest_value=LARGEST) == value


@pytest.mark.parametrize("end", range(-3, 4))
def test_a_value_survives_wherever_the_pieces_are_cut(end: int) -> None:
    # The parser is fed pieces of 16 KiB; let the fence, and what looks like it, lie across their edges.
    for tail in (b"", b"\r", b"\n", b"\r\n", b"\r\n--fence-5d", b"\r\n-"):
        value = b"x" * (16 * 1024 * 2 - len(part("value", b"")) + 2 + end) + tail
        body = part("value", value) + b"--fence-5d1--\r\n"
        assert value_of(body, 'multipart/form-data; boundary="fence-5d1"', largest_value=2**20) == value


@given(spicy)
def test_escapes_are_read_as_the_standard_library_reads_them(escaped: bytes) -> None:
    assert percent_decode(escaped) == unquote_to_bytes(escaped.replace(b"+", b" "))


@pytest.mark.parametrize("shift", range(-4, 5))
@pytest.mark.parametrize("tail", [b"%41%42", b"%%41", b"%4", b"%", b"%4%41", b"+%zz%2B", b"=%3D="])
def test_escapes_are_read_wherever_the_pieces_are_cut(shift: int, tail: bytes) -> None:
    escaped = b"x" * (64 * 1024 + shift) + tail + b"y" * (64 * 1024 - len(tail)) + tail
    assert percent_decode(escaped) == unquote_to_bytes(escaped.replace(b"+", b" "))


@pytest.mark.parametrize("character", ["é", "€", "🌼"])
def test_a_text_is_one_wherever_the_pieces_are_cut(character: str) -> None:
    for shift in range(4):
        text = b"x" * (64 * 1024 - shift) + character.encode()
        assert is_text(text)
        assert is_text(text + b"y" * 2**17)
        assert not is_text(text[:-1])
        assert not is_text(text[:-1] + b"y" * 2**17)


@given(
    st.one_of(spicy, st.binary(max_size=300)).map(lambda noise: noise.replace(b"\x01", b"--fence-5d1")),
    st.sampled_from([URLENCODED, "multipart/form-data; boundary=fence-5d1", "multipart/form-data; boundary=", "x/y"]),
)
@settings(max_examples=200)
def test_no_body_makes_the_reader_fail_otherwise_than_told(body: bytes, content_type: str) -> None:
    value = value_or_refusal(body, content_type)
    assert value is None or 0 < len(value) <= LARGEST


@given(spicy, st.integers(0, 200), st.integers(0, 200))
@settings(max_examples=200)
def test_no_damaged_multipart_form_makes_it_fail_otherwise_either(noise: bytes, at: int, length: int) -> None:
    whole = part("value", b"1\r\n--fence-5d\r\n2", "f") + part("b", b"") + b"--fence-5d1--"
    damaged = whole[:at] + noise + whole[at + length :]
    value = value_or_refusal(damaged, "multipart/form-data; boundary=fence-5d1")
    assert value is None or 0 < len(value) <= len(damaged)


@given(st.text(max_size=40), st.binary(max_size=20))
def test_no_content_type_makes_it_fail_otherwise_either(parameters: str, body: bytes) -> None:
    for content_type in (
        parameters,
        f"multipart/form-data; {parameters}",
        f"multipart/form-data; boundary={parameters}",
    ):
        value = value_or_refusal(body, content_type)
        assert value is None or len(value) <= len(body)


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [
        ("application/x-www-form-urlencoded", Encoding.URLENCODED),
        ("Application/X-WWW-Form-Urlencoded ; charset=utf-8", Encoding.URLENCODED),
        ("multipart/form-data; boundary=x", Encoding.MULTIPART),
        ("multipart/mixed; boundary=x", Encoding.RAW),
        ("", Encoding.RAW),
    ],
)
def test_a_content_type_tells_the_encoding(content_type: str, encoding: Encoding) -> None:
    assert Encoding.of(content_type) is encoding


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_bound_lets_the_largest_value_through_in_its_longest_form(encoding: Encoding) -> None:
    value = b"\xff" * LARGEST
    longest = {
        Encoding.RAW: value,
        Encoding.URLENCODED: b"value=" + b"%FF" * LARGEST,
        Encoding.MULTIPART: part("value", value) + b"--fence-5d1--",
    }[encoding]
    assert len(longest) <= body_bound(encoding, LARGEST)


def test_lifetimes_are_numbers_of_seconds() -> None:
    assert (ttl_of(None), ttl_of("90"), ttl_of("1.5"), ttl_of("0.001")) == (None, 90.0, 1.5, 0.001)
