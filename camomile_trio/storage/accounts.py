"""To whose account the bytes of a key go: its publishers, and those who brought their records here.

Rules of this file: pure arithmetic. What a key is charged with follows from its state alone, so accounts can be carried
along and never need a scan. How much an account may hold is not decided here. A publisher's bytes do not depend on who
else publishes the value: each of them is charged with all of it, since each of them keeps it here.
"""

from __future__ import annotations

import enum

from camomile_trio.kademlia.records import PublisherKey
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.tally import KEY_BYTES, REGISTER_BYTES


class Sort(bytes, enum.Enum):
    """The first byte of an account's name."""

    PUBLISHER = b"p"
    NETWORK = b"n"  # what came from a source network that published it
    CARRIER = b"c"  # what came from a source network in which another holder is
    # Tombstones of publishers whose lease was never here, which are charged above too.
    UNSEEN_OF_PUBLISHER = b"t"
    UNSEEN_OF_NETWORK = b"u"


# An account's name: its sort, then who it is of.
Account = bytes
Charges = dict[Account, int]


def of_publisher(publisher: PublisherKey) -> Account:
    return Sort.PUBLISHER.value + publisher


def charges(state: KeyState | None) -> Charges:
    """The accounts that a key is charged to, with the bytes."""
    found: Charges = {}
    for register in () if state is None else state.registers:
        record, by = register.record, register.brought_by
        size = KEY_BYTES + REGISTER_BYTES
        if state is not None and not record.is_tombstone:
            size += state.size or 0
        accounts = [of_publisher(record.publisher)]
        if by:
            accounts.append(by)
        if record.is_tombstone and not register.had_lease:
            accounts.append(Sort.UNSEEN_OF_PUBLISHER.value + record.publisher)
            if by:
                accounts.append(Sort.UNSEEN_OF_NETWORK.value + by[1:])
        for account in accounts:
            found[account] = found.get(account, 0) + size
    return found


def differences(before: KeyState | None, after: KeyState | None) -> Charges:
    """What changes in the accounts when `after` takes the place of `before`: only what is not 0."""
    # Most writes of a key that is here already only move its times.
    if before and after and before.size == after.size and before.registers == after.registers:
        return {}
    was, now = charges(before), charges(after)
    changes = {account: now.get(account, 0) - was.get(account, 0) for account in {**was, **now}}
    return {account: change for account, change in changes.items() if change}
