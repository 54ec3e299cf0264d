"""How much one publisher, and one source network, may hold of this node's store, so that none pushes the others out.

Rules of this file: it judges one record that would be stored, and writes nothing; what is held is counted by the
storage (`storage/accounts.py`). Nobody may hold more than what is left for all others: one alone gets half of the
store, and less as others come, but always a small share (dynamic thresholds; Choudhury and Hahne, IEEE/ACM ToN 1998).
This node's own publisher has no quota, nor has loopback. Another holder brings everybody's
records, in any order, and they were judged where they were published: what it replicates meets fixed and generous
bounds, which only keep a part of the store out of its reach, should it be pretending. Source: docs/protocol.md, Quotas.
"""

from __future__ import annotations

import attrs

from camomile_trio.kademlia.records import PublisherKey, Record
from camomile_trio.kademlia.registers import KeyState
from camomile_trio.storage.accounts import Account, Sort, charges, of_publisher
from camomile_trio.storage.base import Storage

# What an account may always hold, as a share of max_storage; unseen tombstones never more than that.
LEAST_SHARE = 16
# The shares that stay out of the reach of what other holders bring: of one publisher, and from one network.
KEPT_FROM_REPLICATED_PUBLISHER = 4
KEPT_FROM_CARRIER = 8

_REASONS = {
    Sort.PUBLISHER: "quota_publisher",
    Sort.NETWORK: "quota_network",
    Sort.CARRIER: "quota_carrier",
    Sort.UNSEEN_OF_PUBLISHER: "quota_unseen_tombstones",
    Sort.UNSEEN_OF_NETWORK: "quota_unseen_tombstones",
}


@attrs.frozen
class Bringer:
    """Who brings a record."""

    network: bytes = b""  # its source network, empty for loopback
    is_fellow_holder: bool = False  # it replicates, and this node knows it as another of the key's holders

    @property
    def account(self) -> Account:
        """Whose bytes it will be, beside the publisher's; empty for nobody's."""
        sort: bytes = (Sort.CARRIER if self.is_fellow_holder else Sort.NETWORK).value
        return sort + self.network if self.network else b""


# For what this node has asked for, or does for its own users.
NO_STRANGER = Bringer(is_fellow_holder=True)


class Quotas:
    """The quotas of one node."""

    def __init__(self, storage: Storage, publisher: PublisherKey) -> None:
        self._storage = storage
        self._publisher = publisher
        self._max_bytes = storage.statistics.max_bytes

    def brought_by(self, record: Record, bringer: Bringer) -> Account:
        """To whose account `record` goes, beside its publisher's: our own publisher's to nobody's."""
        return b"" if record.publisher == self._publisher else bringer.account

    def refusal(self, record: Record, before: KeyState, after: KeyState, bringer: Bringer) -> str:
        """Over which quota `record` would be, by which the key's stored state `before` becomes `after`; empty for none.

        A constant name, made to be counted. StorageError.
        """
        if record.publisher == self._publisher:
            return ""
        register = after.register(record.publisher)
        network = register.brought_by if register is not None else b""
        judged = [of_publisher(record.publisher), Sort.UNSEEN_OF_PUBLISHER.value + record.publisher]
        if network:
            judged += [network, Sort.UNSEEN_OF_NETWORK.value + network[1:]]
        was, now = charges(before), charges(after)
        for account in judged:
            growth = now.get(account, 0) - was.get(account, 0)
            if growth > 0 and self._storage.held(account) + growth > self._limit(account, growth, bringer):
                return _REASONS[Sort(account[:1])]
        return ""

    def _limit(self, account: Account, growth: int, bringer: Bringer) -> int:
        """How many bytes an account may hold that would grow by so much."""
        whole = self._max_bytes
        match Sort(account[:1]):
            case Sort.UNSEEN_OF_PUBLISHER | Sort.UNSEEN_OF_NETWORK:
                return whole // LEAST_SHARE
            case Sort.CARRIER:
                return whole - whole // KEPT_FROM_CARRIER
            case Sort.PUBLISHER if bringer.is_fellow_holder:
                return whole - whole // KEPT_FROM_REPLICATED_PUBLISHER
            case _:
                return max(whole // LEAST_SHARE, whole - self._storage.statistics.bytes - growth)
