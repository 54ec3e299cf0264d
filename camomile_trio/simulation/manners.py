"""What an adversary answers when it is asked: whom it names, what it gives, and what it says that it stores.

Rules of this file: messages in, messages out. It knows neither keys, sessions nor transports, so the attacks on real
processes (`tests/attacks/`) speak by it too. All of it may be changed while an adversary lives. An adversary answers
every ping; what these fields leave out gets no answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import attrs

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import ID_BITS, Key, NodeId, as_int
from camomile_trio.kademlia.messages import (
    Durability,
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Message,
    NodeList,
    Ping,
    Pong,
    Store,
    StoreResult,
    StoreStatus,
    TooLarge,
    Value,
)
from camomile_trio.peer.suite import KEY_BYTES

# Whom an adversary names for a target.
Naming = Callable[[bytes], Sequence[Contact]]
MOST_NAMED = 20  # as many as an honest node with the default k names


@attrs.define(eq=False)
class Manners:
    """How one adversary answers, or a crowd of them that share it."""

    names: Naming | None = None  # None: it answers no lookups
    gives: dict[Key, Value] = attrs.field(factory=dict)  # its answers to who looks for these values
    says_too_large: int = 0  # every value that is looked for has so many bytes; 0: it says no such thing
    hangs: bool = False  # it accepts streams, and answers nothing over them
    # What it says of every STORE. It stores nothing. None: no answer.
    stores: StoreStatus | None = None
    has_the_same: bool = False  # it says of all keys that it holds just what the asker holds

    def answer(self, message: Message, source: Endpoint, wall_ms: int) -> Message | None:
        """What it answers to a request that came from `source`; None: nothing."""
        match message:
            case Ping():
                return Pong(source, wall_ms)
            case FindNode() if self.names is not None:
                return NodeList(self._named(message.target))
            case FindValue() if message.key in self.gives:
                return self.gives[message.key]
            case FindValue() if self.says_too_large:
                return TooLarge(self.says_too_large)
            case FindValue() if self.names is not None:
                return Value(None, self._named(message.key))
            case Store() if self.stores is not None:
                return self._store_result(message, self.stores)
            case Have() if self.has_the_same:
                return HaveResult((), (1 << len(message.keys)) - 1)
        return None

    def _named(self, target: bytes) -> tuple[Contact, ...]:
        return tuple(self.names(target)) if self.names is not None else ()

    def _store_result(self, message: Store, status: StoreStatus) -> StoreResult:
        key = message.key if message.value is None else Key.of(message.value)
        contacts = self._named(key) if message.names_contacts and key is not None else ()
        return StoreResult(status, Durability.DISK, (), contacts)


def each_other(contacts: Sequence[Contact]) -> Naming:
    """Names of these the closest to what is looked for."""
    numbers = [(as_int(contact.id), contact) for contact in contacts]

    def name(target: bytes) -> list[Contact]:
        place = as_int(target)
        return [contact for _, contact in sorted(numbers, key=lambda each: each[0] ^ place)[:MOST_NAMED]]

    return name


def invented(rng: random.Random, at: Callable[[], Endpoint], *, bits: int) -> Naming:
    """Names nodes that there are not, in each answer others, each with `bits` leading bits in common with the target.
    `at` says where each of them is said to be."""
    return lambda target: [Contact.of(public_key_beside(target, bits, rng), at()) for _ in range(MOST_NAMED)]


def public_key_beside(target: bytes, bits: int, rng: random.Random) -> bytes:
    """A public key whose id has so many leading bits in common with `target`. Nobody has its secret."""
    within, place = 1 << (ID_BITS - bits), as_int(target)
    while True:
        random_bytes = rng.randbytes(KEY_BYTES)
        # Canonical for the real suite (below 2^255 - 19, in little endian), and for the toy suite.
        public = random_bytes[:-1] + bytes([random_bytes[-1] & 0x7E])
        if as_int(NodeId.of(public)) ^ place < within:
            return public
