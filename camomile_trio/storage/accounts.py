"""How many bytes a key counts for, and to whose account they go: its publishers, and the source networks that brought
their records here.

Rules of this file: pure arithmetic, the same for every storage, so that one `max_storage` means one thing. What a key
counts for and is charged with follows from its state alone, so both can be carried along and never need a scan. How
much an account may hold is not decided here. A publisher's bytes do not depend on who else publishes the value: each of
them is charged with all of it, since each of them keeps it here. The two accounts that all share are charged with what
is there once.
"""

from __future__ import annotations

import enum

from camomile_trio.kademlia.records import Kind, PublisherKey
from camomile_trio.kademlia.registers import CARRIED, PUBLISHED, KeyState
from camomile_trio.storage.tally import KEY_BYTES, REGISTER_BYTES


class Sort(bytes, enum.Enum):
    """The first byte of an account's name."""

    PUBLISHER = b"p"
    NETWORK = PUBLISHED  # what came from a source network, and what other holders of it carried left out
    CARRIER = CARRIED  # what came from a source network in which another holder is
    STRANGERS = b"s"  # all that is charged to networks
    UNSEEN = b"t"  # all tombstones of publishers whose lease was never here, which are charged above too


# An account's name: its sort, then who it is of, if there is more than one of the sort.
Account = bytes
Charges = dict[Account, int]

STRANGERS: Account = Sort.STRANGERS.value
UNSEEN: Account = Sort.UNSEEN.value
_PUBLISHER = Sort.PUBLISHER.value
_CARRIER = Sort.CARRIER.value
_NETWORK = Sort.NETWORK.value
_TOMBSTONE = Kind.TOMBSTONE


def of_publisher(publisher: PublisherKey) -> Account:
    return _PUBLISHER + publisher


def of_bringer(brought_by: bytes) -> Account:
    """The account of what a register says of how it came here; empty for nobody's."""
    return brought_by if brought_by[:1] == _CARRIER else _NETWORK + brought_by[1:] if brought_by else b""


def weigh(state: KeyState) -> tuple[int, Charges]:
    """The bytes that a key counts for (its value, its registers and a fixed allowance), and those that each account is
    charged with for it."""
    value = state.size or 0
    counted = KEY_BYTES + value
    charged: Charges = {}
    of_strangers = most = 0
    for register in state.registers:
        record, by = register.record, register.brought_by
        counted += REGISTER_BYTES + len(by)
        is_tombstone = record.kind is _TOMBSTONE
        size = KEY_BYTES + REGISTER_BYTES if is_tombstone else KEY_BYTES + REGISTER_BYTES + value
        # A publisher has one register.
        charged[_PUBLISHER + record.publisher] = size
        if by:
            is_carried = by[:1] == _CARRIER
            account = by if is_carried else _NETWORK + by[1:]
            charged[account] = charged[account] + size if account in charged else size
            if not is_carried:
                of_strangers += REGISTER_BYTES
                most = max(most, size)
        if is_tombstone and not register.had_lease:
            charged[UNSEEN] = charged[UNSEEN] + size if UNSEEN in charged else size
    if of_strangers:
        charged[STRANGERS] = of_strangers + most - REGISTER_BYTES
    return counted, charged


def charges(state: KeyState | None) -> Charges:
    """The accounts that a key is charged to, with the bytes."""
    return {} if state is None else weigh(state)[1]


def change(before: KeyState | None, after: KeyState | None) -> tuple[int, Charges]:
    """By how many bytes a storage grows when `after` takes the place of `before`, and what changes in the accounts:
    only what is not 0."""
    if before is None:
        return (0, {}) if after is None else weigh(after)
    # Most writes of a key that is here already only move its times.
    if after is not None and before.size == after.size and before.registers == after.registers:
        return 0, {}
    growth, changes = (0, {}) if after is None else weigh(after)
    counted, charged = weigh(before)
    for account, size in charged.items():
        difference = changes.pop(account, 0) - size
        if difference:
            changes[account] = difference
    return growth - counted, changes
