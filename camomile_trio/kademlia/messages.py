"""The messages that nodes exchange, one frozen class for each.

Rules of this file: values only, already checked: what is in one of these came through `wire/` or was made here. How
they look on the wire is `wire/`'s business. Each travels in a sealed packet, with a number that matches an answer to
its request, and eight flags. Records stay rows in here, 123 bytes of the right form with an unchecked signature: only
`identity.verify_record` turns a row, with the key that it is about, into a Record. Source: docs/protocol.md.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Final

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.records import PublisherKey, RecordRow

MAX_CONTACTS: Final = 128
MAX_RECORDS: Final = 4
MAX_KEYS: Final = 32  # in one HAVE
# Flags of a packet. The first two are what its sender says of itself.
STORES_NOTHING: Final = 1  # bit 0
IS_LEAVING: Final = 2  # bit 1, in answers
IS_SHORTENED: Final = 4  # bit 2, in answers: there was no room for the last contacts


class _Message:
    """What requests and counters have to know of each message: words of its class, so that no packet costs a call."""

    __slots__ = ()

    label: ClassVar[str]  # its name, for counters
    answered_by: ClassVar[str] = ""  # the label of its true answer; TooLarge may come in its place
    is_answer: ClassVar[bool] = False
    may_be_long: ClassVar[bool] = False  # it may have a value, and so many bytes


@attrs.frozen
class Ping(_Message):
    label: ClassVar[str] = "ping"
    answered_by: ClassVar[str] = "pong"


@attrs.frozen
class Pong(_Message):
    label: ClassVar[str] = "pong"
    is_answer: ClassVar[bool] = True

    observed: Endpoint | None = None  # where the pinged node saw the ping come from
    clock: int | None = None  # the pinged node's wall clock, ms since the epoch


@attrs.frozen
class FindNode(_Message):
    label: ClassVar[str] = "find_node"
    answered_by: ClassVar[str] = "node_list"

    target: NodeId


@attrs.frozen
class FindValue(_Message):
    label: ClassVar[str] = "find_value"
    answered_by: ClassVar[str] = "value"

    key: Key
    publisher: PublisherKey | None = None  # its register comes first in the answer


@attrs.frozen
class NodeList(_Message):
    """The closest contacts that a node knows, closest first. `dropped`: senseless ones left out on arrival."""

    label: ClassVar[str] = "node_list"
    is_answer: ClassVar[bool] = True

    contacts: tuple[Contact, ...] = ()
    dropped: int = 0


@attrs.frozen
class Value(_Message):
    """The answer to a FIND_VALUE: the value (a hit) or None and closer contacts (a miss); registers with either."""

    label: ClassVar[str] = "value"
    is_answer: ClassVar[bool] = True
    may_be_long: ClassVar[bool] = True

    value: bytes | None = None
    contacts: tuple[Contact, ...] = ()
    records: tuple[RecordRow, ...] = ()
    cached: bool = False  # a cached copy, which nobody caches again
    dropped: int = 0


class StoreKind(enum.IntEnum):
    UNKNOWN = 0
    PUBLISH = 1
    REPLICATE = 2


@attrs.frozen
class Store(_Message):
    """Keep this. `key` does not travel with a value, and is None then after decoding: the receiver hashes the value.
    `value` is None in a renewal or a tombstone, which travel without it."""

    label: ClassVar[str] = "store"
    answered_by: ClassVar[str] = "store_result"
    may_be_long: ClassVar[bool] = True

    kind: StoreKind
    key: Key | None
    value: bytes | None
    records: tuple[RecordRow, ...]  # 1 to 4
    cached: bool = False
    names_contacts: bool = False  # the result is to name the closest contacts: a lookup asks by this STORE


class StoreStatus(enum.IntEnum):
    """What became of a STORE. Everything but STORED is a refusal that says why."""

    UNKNOWN = 0
    STORED = 1
    TOO_LARGE = 2
    FULL = 3
    QUOTA = 4
    EXPIRED = 5  # the record has ended, or its terms are outside what the network allows
    STALE = 6  # the register holds a greater record, which comes back with the answer
    VALUE_NEEDED = 7  # the record came without its value, and it is not here
    BAD_HASH = 8
    BAD_SIGNATURE = 9
    TOO_MANY_PUBLISHERS = 10
    NOT_YET = 11  # issued, or with a seq, too far in the future: the clock of its publisher, or ours, is wrong
    FAILED = 12  # the storage failed
    BUSY = 13
    NO_ROOM = 14  # the disk is full; FULL is a storage that holds as much as it may


class Durability(enum.IntEnum):
    """How far a write got before it was acknowledged."""

    NONE = 0
    MEMORY = 1
    SYSTEM = 2  # the operating system has it: it survives the process
    DISK = 3  # the disk has it: it survives the power


@attrs.frozen
class StoreResult(_Message):
    label: ClassVar[str] = "store_result"
    is_answer: ClassVar[bool] = True

    status: StoreStatus
    durability: Durability = Durability.NONE
    records: tuple[RecordRow, ...] = ()  # with STALE: what wins; with STORED: a live lease that was replaced
    contacts: tuple[Contact, ...] = ()  # the closest to the key, if the STORE asked for them
    dropped: int = 0


@attrs.frozen
class Have(_Message):
    """What do you hold of these keys? Answered by HaveResult with one Holding per key, in the same order.

    With `digests` (`registers.digest`) the asker says what it holds itself, of all keys or of none.
    """

    label: ClassVar[str] = "have"
    answered_by: ClassVar[str] = "have_result"

    keys: tuple[Key, ...]  # 1 to 32
    publisher: PublisherKey | None = None  # its register comes first
    digests: tuple[bytes, ...] = ()
    is_round: bool = False  # all holders of these keys are asked: who holds the same need not ask them for a while


@attrs.frozen
class Holding:
    key: Key
    has_value: bool
    records: tuple[RecordRow, ...] = ()  # the latest registers, ended ones that are still kept included
    classic: bool = False  # the value is here without a lease, from a classic node


@attrs.frozen
class HaveResult(_Message):
    """Where digests were sent, `holdings` are of keys of which something else is held, as many as fit."""

    label: ClassVar[str] = "have_result"
    is_answer: ClassVar[bool] = True

    holdings: tuple[Holding, ...]
    alike: int = 0  # bit n: of key n this node holds just what the digest says, and the value of a live lease


@attrs.frozen
class TooLarge(_Message):
    """The answer does not fit into a datagram, or into three times an initiation. Ask again, by session or stream."""

    label: ClassVar[str] = "too_large"
    is_answer: ClassVar[bool] = True

    size: int  # bytes of the answer


@attrs.frozen
class Leave(_Message):
    """The sender is about to stop. It has no answer."""

    label: ClassVar[str] = "leave"


Message = (
    Ping | Pong | FindNode | FindValue | NodeList | Value | Store | StoreResult | Have | HaveResult | TooLarge | Leave
)
