"""A codec of half a dozen messages, for requests that carry nothing of a store.

Rules of this file: each request has a name and its answer has the same, so a test sees which request was answered.
"""

from __future__ import annotations

import struct
from typing import ClassVar, Final

import attrs

from camomile_trio.errors import MalformedPacket

_HEAD = struct.Struct(">IBBB")


@attrs.frozen
class Message:
    label: ClassVar[str]
    answered_by: ClassVar[str] = ""
    is_answer: ClassVar[bool] = False
    may_be_long: ClassVar[bool] = True

    name: str
    body: bytes = b""

    def __init_subclass__(cls) -> None:
        cls.label = cls.__name__.lower()


class Ping(Message):
    """Answered by Pong."""

    answered_by = "pong"


class Pong(Message):
    is_answer = True


class Find(Message):
    """Answered by Nodes."""

    answered_by = "nodes"


class Nodes(Message):
    """Whatever is left of it is an answer."""

    is_answer = True


class Get(Message):
    """Answered by Value."""

    answered_by = "value"


class Value(Message):
    """Whole, or TooLarge in its place."""

    is_answer = True


class Store(Message):
    """Answered by Stored. No initiation carries it."""

    answered_by = "stored"


class Stored(Message):
    is_answer = True


class TooLarge(Message):
    """Its body is the size of the answer, as text."""

    is_answer = True


class Leave(Message):
    """Answered by nothing."""


KINDS: Final = (Ping, Pong, Find, Nodes, Get, Value, Store, Stored, TooLarge, Leave)
ANSWERS: Final = {Ping: (Pong,), Find: (Nodes, TooLarge), Get: (Value, TooLarge), Store: (Stored, TooLarge)}


class TinyCodec:
    def encode(self, number: int, message: Message, flags: int) -> bytes:
        name = message.name.encode()
        return _HEAD.pack(number, KINDS.index(type(message)), flags, len(name)) + name + message.body

    def encode_within(self, number: int, message: Message, flags: int, room: int) -> bytes:
        inner = self.encode(number, message, flags)
        if len(inner) <= room:
            return inner
        if isinstance(message, Nodes):
            return inner[:room]
        return self.encode(number, TooLarge(message.name, str(len(inner)).encode()), flags)

    def decode_untrusted(self, inner_untrusted: bytes) -> tuple[int, Message, int]:
        try:
            number, kind, flags, length = _HEAD.unpack_from(inner_untrusted)
            rest = inner_untrusted[_HEAD.size :]
            if kind >= len(KINDS) or len(rest) < length:
                raise MalformedPacket("wrong_message")
            return number, KINDS[kind](rest[:length].decode(), rest[length:]), flags
        except (struct.error, UnicodeDecodeError):
            raise MalformedPacket("wrong_message") from None

    def least_size(self, message: Message) -> int:
        return len(message.body)

    def has_answer(self, message: Message) -> bool:
        return type(message) in ANSWERS

    def is_answer_to(self, answer: Message, request: Message) -> bool:
        return isinstance(answer, ANSWERS.get(type(request), ()))

    def may_begin(self, message: Message) -> bool:
        return isinstance(message, Ping | Find | Get)

    def may_have_large_answer(self, request: Message) -> bool:
        return isinstance(request, Find | Get)

    def too_large(self, answer: Message) -> int | None:
        return int(answer.body) if isinstance(answer, TooLarge) else None

    def ping(self) -> Message:
        return Ping("")
