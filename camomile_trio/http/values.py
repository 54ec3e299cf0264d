"""How values, lifetimes and validators are read out of requests.

Rules of this file: pure functions from bytes and header texts to values, and no framework's form parser: those decode
with replacement and cap what they keep, while a value's key is the hash of exactly the bytes that the client sent.
Everything is untrusted and bounded by count and by size. BadRequest says in one line how to do it right.
"""

from __future__ import annotations

import binascii
import codecs
import enum
import io
import re

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData, State

from camomile_trio.config import LEAST_LEASE, MAX_LEASE
from camomile_trio.errors import EmptyValue, ValueTooLarge
from camomile_trio.http.refusals import BadRequest
from camomile_trio.kademlia.ids import Key

FIELD = "value"

# What a form may have beside the value: other fields, boundaries, headers of parts.
_FORM_OVERHEAD = 64 * 1024
_MOST_FIELDS = 1000
_MOST_PARTS = 100
_PIECE = 16 * 1024
_DECODED_AT_ONCE = 64 * 1024
_LONGEST_BOUNDARY = 100  # RFC 2046 §5.1.1 allows 70
_LONGEST_NAME = 3 * len(FIELD)  # with every character escaped

_TWO_VALUES = "the form has more than one field `value`, and only one can be stored"
_RAW_REMEDY = "send a form field `value`, or raw bytes with -H 'Content-Type: application/octet-stream'"
# A % that begins no escape stands for itself (WHATWG URL standard, percent-decode).
_LONE_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
# Less than float() takes: no signs, exponents, underscores, infinities.
_SECONDS = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")
_ENTITY_TAG = re.compile(r'"([^"]*)"')


class Encoding(enum.Enum):
    """How a POST's body carries its value."""

    URLENCODED = "application/x-www-form-urlencoded"
    MULTIPART = "multipart/form-data"
    RAW = "application/octet-stream"  # any other type, or none: the body is the value

    @classmethod
    def of(cls, content_type: str) -> Encoding:
        bare = content_type.partition(";")[0].strip().lower()
        return next((encoding for encoding in (cls.URLENCODED, cls.MULTIPART) if encoding.value == bare), cls.RAW)

    @property
    def is_form(self) -> bool:
        return self is not Encoding.RAW


def body_bound(encoding: Encoding, largest_value: int) -> int:
    """The size of the largest body that can carry a value of `largest_value` bytes in this encoding."""
    if encoding is Encoding.URLENCODED:
        return 3 * largest_value + _FORM_OVERHEAD
    if encoding is Encoding.MULTIPART:
        return largest_value + _FORM_OVERHEAD
    return largest_value


def value_of(body_untrusted: bytes, content_type: str, *, largest_value: int) -> bytes:
    """The value that a POST's body carries, byte for byte.

    BadRequest if it carries none or is broken, EmptyValue, or ValueTooLarge for more than `largest_value` bytes.
    """
    encoding = Encoding.of(content_type)
    if encoding is Encoding.URLENCODED:
        value = _urlencoded_value(body_untrusted)
    elif encoding is Encoding.MULTIPART:
        value = _multipart_value(body_untrusted, content_type)
    else:
        value = body_untrusted
    if not value:
        raise EmptyValue("the value is empty")
    if len(value) > largest_value:
        raise ValueTooLarge(f"the value has {len(value)} bytes, this node takes {largest_value}; nothing was stored")
    return value


def _urlencoded_value(body: bytes) -> bytes:
    pairs = body.split(b"&", _MOST_FIELDS)
    if len(pairs) > _MOST_FIELDS:
        raise BadRequest(f"the form has more than {_MOST_FIELDS} fields", remedy=_RAW_REMEDY)
    found: bytes | None = None
    for pair in pairs:
        name, _, escaped = pair.partition(b"=")
        if len(name) <= _LONGEST_NAME and percent_decode(name) == FIELD.encode():
            if found is not None:
                raise BadRequest(_TWO_VALUES, remedy=_RAW_REMEDY)
            found = escaped
    if found is None:
        # curl -d and --data-binary announce a form, whatever they send.
        raise BadRequest("the form has no field `value`", remedy=_RAW_REMEDY)
    return percent_decode(found)


def percent_decode(escaped: bytes) -> bytes:
    """The bytes behind a urlencoded text: `%41` and `+` undone, all else as it is."""
    # In pieces: a copy of a piece is made for each step, and another thread can run between two of them.
    decoded = io.BytesIO()
    begin = 0
    while begin < len(escaped):
        end = begin + _DECODED_AT_ONCE
        if end < len(escaped):
            # Not through the middle of an escape: where one may begin in the last two bytes, there ends the piece.
            tail = escaped.rfind(b"%", end - 2, end)
            end = end if tail < 0 else tail
        decoded.write(_decoded_piece(escaped[begin:end]))
        begin = end
    return decoded.getvalue()


def _decoded_piece(escaped: bytes) -> bytes:
    # urllib takes 0.4 s for a MiB of escapes, in which the node would do nothing else. Quoted-printable is the same
    # code with another escape character, and the standard library has that one in C.
    text = _LONE_PERCENT.sub(b"%25", escaped.replace(b"+", b" "))
    return binascii.a2b_qp(text.replace(b"=", b"%3D").replace(b"%", b"="))


def _multipart_value(body: bytes, content_type: str) -> bytes:
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
        raise BadRequest("the multipart form names no usable boundary", remedy=_RAW_REMEDY)
    try:
        value = _only_part(body, boundary.encode())
    except RequestEntityTooLarge:
        raise BadRequest(f"the form has more than {_MOST_PARTS} parts", remedy=_RAW_REMEDY) from None
    except ValueError:
        raise BadRequest("the multipart form is broken", remedy=_RAW_REMEDY) from None
    if value is None:
        raise BadRequest("the form has no field `value`", remedy=_RAW_REMEDY)
    return value


def _only_part(body: bytes, boundary: bytes) -> bytes | None:
    """The bytes of the part named `value`, a file's or a field's. BadRequest for two, ValueError for a broken form."""
    decoder = MultipartDecoder(boundary, max_parts=_MOST_PARTS)
    pieces = (body[start : start + _PIECE] for start in range(0, len(body), _PIECE))
    decoder.receive_data(next(pieces, None))
    wanted = has_value = False
    found = io.BytesIO()
    while True:
        event = decoder.next_event()
        if isinstance(event, NeedData):
            # Piece by piece, since a head of a MiB would be parsed line by line while the node stands still.
            if decoder.state is State.PART and len(decoder.buffer) >= _PIECE:
                raise ValueError("the head of a part is too long")
            decoder.receive_data(next(pieces, None))
        elif isinstance(event, Field | File):
            wanted = event.name == FIELD
            if wanted and has_value:
                raise BadRequest(_TWO_VALUES, remedy=_RAW_REMEDY)
            has_value = has_value or wanted
        elif isinstance(event, Data) and wanted:
            found.write(event.data)
        elif isinstance(event, Epilogue):
            return found.getvalue() if has_value else None


def ttl_of(header: str | None) -> float | None:
    """The lifetime in seconds that a Camomile-TTL header asks for; None without one. BadRequest for nonsense.

    Whether a lease of that length is possible is the node's to say.
    """
    if header is None:
        return None
    if not _SECONDS.fullmatch(header) or not float(header):
        raise BadRequest(
            f"Camomile-TTL is {header[:40]!r}, not a time in seconds",
            remedy=f"send a number from {LEAST_LEASE} to {MAX_LEASE}, as 3600",
        )
    return float(header)


def names_key(if_none_match: list[str], key: Key) -> bool:
    """Whether an If-None-Match header (its lines) names the entity tag of `key`, weakly compared (RFC 9110 §13.1.2)."""
    text = ",".join(if_none_match)
    return text.strip() == "*" or str(key) in _ENTITY_TAG.findall(text)


def is_text(value: bytes) -> bool:
    """Whether the value is valid UTF-8 as a whole."""
    # In pieces, since a text may take four times as much memory as its bytes.
    decode = codecs.getincrementaldecoder("utf-8")().decode
    try:
        for begin in range(0, len(value), _DECODED_AT_ONCE):
            decode(value[begin : begin + _DECODED_AT_ONCE], begin + _DECODED_AT_ONCE >= len(value))
    except UnicodeDecodeError:
        return False
    return True
