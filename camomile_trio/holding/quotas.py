"""How much one publisher, and one source network, may hold of this node's store, so that none pushes the others out.

Rules of this file: it judges one record that would be stored, and writes nothing; what is held is counted by the
storage (`storage/accounts.py`). An account may always hold a small share. Beyond its share, what is published here may
hold twice what is left for all others (dynamic thresholds; Choudhury and Hahne, IEEE/ACM ToN 1998), less a part of the
store that only shares may fill: one account alone gets half of the store, and those that come later still find their
shares. All that strangers have published leaves a part of the store to what other holders bring.

Another holder brings everybody's records, in any order, and they were judged where they were published: what it
replicates meets fixed and wide bounds. Any node can be a holder of keys that it chose to be near to, so these bounds
hold for each source network. This node's own publisher has no quota, nor has loopback. A node has no account beside its
source network's: such an account could hold no more than the network's does, and a new id costs nothing. Source:
docs/protocol.md, Quotas.
"""

from __future__ import annotations

import attrs

from camomile_trio.kademlia.records import PublisherKey, Record
from camomile_trio.kademlia.registers import CARRIED, PUBLISHED, REPLICATED, KeyState
from camomile_trio.storage.accounts import STRANGERS, UNSEEN, Account, Sort, charges, of_bringer, of_publisher
from camomile_trio.storage.base import Storage

# All are parts of max_storage. What an account may always hold:
SHARE = 128
# What only shares may fill of the store, beside what was published and beside what was carried:
KEPT_FROM_PUBLISHED = 4
KEPT_FROM_CARRIED = 8
# What all that strangers have published leaves to other holders:
KEPT_FROM_STRANGERS = 8
# The most that one network may hold once it has carried something, and one publisher of which something is carried:
MOST_OF_NETWORK = 2
KEPT_FROM_CARRIED_PUBLISHER = 4
# The most that all tombstones of leases never seen may hold:
UNSEEN_SHARE = 16

_CARRIER = Sort.CARRIER.value
_NETWORK = Sort.NETWORK.value


@attrs.frozen
class Bringer:
    """Which source network brings a record, and how."""

    network: bytes = b""  # empty for loopback
    is_fellow_holder: bool = False  # it replicates, and this node knows it as another of the key's holders
    is_replicating: bool = False  # it says that it replicates, known as a holder or not

    @property
    def mark(self) -> bytes:
        """What a register keeps of it; empty where no network is charged."""
        if not self.network:
            return b""
        return (CARRIED if self.is_fellow_holder else REPLICATED if self.is_replicating else PUBLISHED) + self.network


# For what this node has asked for, or does for its own users.
NO_STRANGER = Bringer(is_fellow_holder=True)


class Quotas:
    """The quotas of one node."""

    def __init__(self, storage: Storage, publisher: PublisherKey) -> None:
        self._storage = storage
        self._publisher = publisher
        self._whole = storage.statistics.max_bytes

    def brought_by(self, record: Record, bringer: Bringer) -> bytes:
        """What a register of `record` keeps of its bringer: nothing if it is our own publisher's."""
        return b"" if record.publisher == self._publisher else bringer.mark

    def refusal(self, record: Record, before: KeyState, after: KeyState, bringer: Bringer) -> str:
        """Over which quota `record` would be, by which the key's stored state `before` becomes `after`; empty for none.

        A constant name, made to be counted. StorageError.
        """
        if record.publisher == self._publisher:
            return ""
        was, now = charges(before), charges(after)
        growth = {account: more for account, size in now.items() if (more := size - was.get(account, 0)) > 0}
        publisher = of_publisher(record.publisher)
        register = after.register(record.publisher)
        network = of_bringer(register.brought_by) if register is not None else b""
        if publisher not in growth and network not in growth:
            return ""  # it is renewed, or forgotten
        if UNSEEN in growth and self._held(UNSEEN, growth) > self._whole // UNSEEN_SHARE:
            return "quota_unseen_tombstones"
        used = self._storage.statistics.bytes + growth.get(publisher, 0)
        if network.startswith(_NETWORK):
            of_strangers = self._held(STRANGERS, growth)
            if STRANGERS in growth and of_strangers > self._whole - self._whole // KEPT_FROM_STRANGERS:
                return "quota_strangers"
            used = max(used, of_strangers)
        most = self._whole - self._whole // KEPT_FROM_CARRIED_PUBLISHER
        if not bringer.is_fellow_holder:
            most = self._most_published(used)
        if publisher in growth and self._held(publisher, growth) > most:
            return "quota_publisher"
        if network in growth:
            if network.startswith(_CARRIER):
                return "" if self._may_carry(network, growth, used) else "quota_carrier"
            if self._held(network, growth) > self._most_published(used):
                return "quota_network"
        return ""

    def _held(self, account: Account, growth: dict[Account, int]) -> int:
        """The bytes of an account, once it has grown."""
        return self._storage.held(account) + growth.get(account, 0)

    def _most_published(self, used: int) -> int:
        """The bytes that an account may hold when so many are used of the store."""
        return max(self._whole // SHARE, 2 * (self._whole - self._whole // KEPT_FROM_PUBLISHED - used))

    def _may_carry(self, carrier: Account, growth: dict[Account, int], used: int) -> bool:
        held = self._held(carrier, growth)
        if held <= self._whole // SHARE:
            return True
        published = self._storage.held(_NETWORK + carrier[len(_CARRIER) :])
        is_room_kept = used <= self._whole - self._whole // KEPT_FROM_CARRIED
        return is_room_kept and held + published <= self._whole // MOST_OF_NETWORK
