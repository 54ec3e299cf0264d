"""What requests to peers are given by the rest of a node: a codec, a way to send, and ears for what they learn.

Rules of this file: types only. To this room a message is opaque, but for what its class says of it (`AnyMessage`); the
codec says the rest that is needed here. Messages are `M` throughout, whatever the codec makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Generic, Protocol, TypeVar

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.packets import About


class AnyMessage(Protocol):
    """What a message's class says of it: plain words, since each packet needs them."""

    label: ClassVar[str]  # its name, for counters
    answered_by: ClassVar[str]  # the label of a request's true answer; empty for what is no request with an answer
    is_answer: ClassVar[bool]
    may_be_long: ClassVar[bool]  # then `Codec.least_size` has to be asked before it is encoded


M = TypeVar("M", bound=AnyMessage)


class Codec(Protocol[M]):
    """Messages <-> inner packets, and the little that requests have to know of a message."""

    def encode(self, number: int, message: M, flags: int) -> bytes:
        """The inner packet of a request or an answer. `number` is one of 32 bits, `flags` one of 8."""

    def encode_within(self, number: int, message: M, flags: int, room: int) -> bytes:
        """Of an answer as much as fits into so many bytes, or that it is too large; there is room for that."""

    def decode_untrusted(self, inner_untrusted: bytes) -> tuple[int, M, int]:
        """The number, the message and the flags; MalformedPacket."""

    def least_size(self, message: M) -> int:
        """How many bytes its inner packet has at least, without making it."""

    def has_answer(self, message: M) -> bool:
        """Whether it is a request that is always answered."""

    def is_answer_to(self, answer: M, request: M) -> bool:
        """Whether it is of a kind that answers this request: the true one, or that it is too large."""

    def may_begin(self, message: M) -> bool:
        """Whether it is a request that an initiation may carry: that a node handles though nothing is confirmed yet."""

    def may_have_large_answer(self, request: M) -> bool:
        """Whether its answer may fill a datagram."""

    def too_large(self, answer: M) -> int | None:
        """If it says that the true answer is too large for where it was asked: how many bytes that one has."""

    def ping(self) -> M:
        """The least request, which begins a handshake for what may not."""


class Link(Protocol):
    """The ways out of this node."""

    def send(self, datagram: bytes, to: Endpoint) -> object:
        """Sends now or not at all, and never waits. What was dropped is counted there."""

    async def exchange(self, contact: Contact, inner: bytes) -> bytes:
        """The inner packet that answers this one, over a stream with exactly this node; TransportError. No deadline."""


@attrs.define
class Answer(Generic[M]):
    """What a peer answered. A value; a frozen one would cost each packet a call for each field."""

    contact: Contact  # at the address that it answered from: a session's, which a handshake has proven
    message: M
    flags: int
    round_trip: float | None  # None where it may belong to either of two transmissions (Karn), and over a stream
    by_stream: bool = False


class Hooks(Protocol[M]):
    """What requests tell of peers. Each call returns at once and raises nothing."""

    def on_responded(self, contact: Contact, about: About) -> None:
        """A handshake of ours has proven which node is at this address. `about`: what that node says of itself."""

    def on_confirmed(self, contact: Contact, about: About) -> None:
        """A handshake that the peer began is confirmed by its first sealed packet. `about`: what the peer said of
        itself when it began."""

    def on_copied_key(self, contact: Contact) -> None:
        """Two runs of this key alternate: a copied data directory. Told before the handshake that has shown it."""

    def on_answered(self, request: M, answer: Answer[M], now: float) -> None:
        """The peer is there. `now` is in seconds, of the clock of requests."""

    def on_missed(self, contact: Contact, asked_at: float) -> None:
        """It did not answer until the deadline. `asked_at` is in seconds, of the clock of requests."""

    def on_stream_failed(self, contact: Contact, why: str) -> None:
        """A stream has reasons of its own to fail, and says nothing of whether the peer is there."""

    def on_foreign(self, source: Endpoint, reason: str) -> None:
        """A datagram that no node of our network would send has been dropped. Its source may be forged.

        `reason`: "wrong_mac1", an initiation or a hello under another network or network key, or to another node's key;
        or "other_version".
        """


@attrs.define(eq=False)
class Request(Generic[M]):
    """One request of a peer, and the way back. `answer` is called at most once, now or after a commit."""

    contact: Contact
    is_confirmed: bool  # False: it came in an initiation, which may be a replay, and asks only for what begins
    by_stream: bool
    message: M
    number: int
    _send: Callable[[Request[M], M], None]
    is_answered: bool = False

    def answer(self, message: M) -> None:
        if not self.is_answered:
            self.is_answered = True
            self._send(self, message)
