"""To whose account the bytes of a key go: its publishers, and the source networks that brought their records here.

Rules of this file: pure arithmetic. What a key is charged with follows from its state alone, so accounts can be carried
along and never need a scan. How much an account may hold is not decided here. A publisher's bytes do not depend on who
else publishes the value: each of them is charged with all of it, since each of them keeps it here. The two accounts
that all share are charged with what is there once.
"""

from __future__ import annotations

import enum

from camomile_trio.kademlia.records import PublisherKey
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
_CARRIER = Sort.CARRIER.value
_NETWORK = Sort.NETWORK.value


def of_publisher(publisher: PublisherKey) -> Account:
    return Sort.PUBLISHER.value + publisher


def of_bringer(brought_by: bytes) -> Account:
    """The account of what a register says of how it came here; empty for nobody's."""
    return brought_by if brought_by.startswith(_CARRIER) else _NETWORK + brought_by[1:] if brought_by else b""


def charges(state: KeyState | None) -> Charges:
    """The accounts that a key is charged to, with the bytes."""
    found: Charges = {}
    if state is None:
        return found
    value = of_strangers = 0
    for register in state.registers:
        record = register.record
        size = KEY_BYTES + REGISTER_BYTES
        if not record.is_tombstone:
            size += state.size or 0
        # A publisher has one register.
        found[of_publisher(record.publisher)] = size
        by = of_bringer(register.brought_by)
        if by:
            found[by] = found.get(by, 0) + size
            if not by.startswith(_CARRIER):
                of_strangers += REGISTER_BYTES
                value = max(value, size - REGISTER_BYTES)
        if record.is_tombstone and not register.had_lease:
            found[UNSEEN] = found.get(UNSEEN, 0) + size
    if of_strangers:
        found[STRANGERS] = of_strangers + value
    return found


def differences(before: KeyState | None, after: KeyState | None) -> Charges:
    """What changes in the accounts when `after` takes the place of `before`: only what is not 0."""
    # Most writes of a key that is here already only move its times.
    if before and after and before.size == after.size and before.registers == after.registers:
        return {}
    was, now = charges(before), charges(after)
    changes = {account: now.get(account, 0) - was.get(account, 0) for account in {**was, **now}}
    return {account: change for account, change in changes.items() if change}
