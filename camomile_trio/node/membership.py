"""Whether a node may count without others, and how many nodes its deployment has at least.

Rules of this file: what must outlast a start is a note of the storage. The first answer of any other node is noted at
once, and from then on the node counts alone only if the operator says so (`expect` is 1). Nothing here waits or sends.
Source: docs/protocol.md, "Acknowledgement".
"""

from __future__ import annotations

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.storage.base import Storage

# Notes, 1 when it is so: this node has had a contact; it has met as many nodes as `expect` said.
HAS_MET, HAS_MET_ALL = "has_met", "has_met_all"


class Membership:
    """What one node knows of the size of its network. `expect` as in `Config`."""

    def __init__(self, storage: Storage, *, expect: int | None, k: int) -> None:
        self._k = k
        self.least = min(expect or 1, k)  # how many nodes are counted at least when a majority is counted
        self._storage = storage
        self._expect = expect
        self._has_met: bool | None = None  # None while the storage cannot say
        self._has_met_all = expect is None or expect == 1 or self._has_noted_all()
        self._met: set[NodeId] = set()  # until it has met all of them; so never more than `expect`

    @property
    def has_met(self) -> bool:
        """Whether this node, or one that had its data directory before, ever had a contact.

        It may have, as long as its disk does not say.
        """
        if self._has_met is None:
            self._has_met = self._look()
        return self._has_met is not False

    @property
    def may_go_on_alone(self) -> bool:
        """Whether the operator says that this node may count alone, whomever it has met."""
        return self._expect == 1

    @property
    def counts_alone(self) -> bool:
        """Whether this node needs nobody else to acknowledge, or to say that there is no value, while none answers."""
        return self.may_go_on_alone or not self.has_met

    @property
    def lacks(self) -> str:
        """Why the node is not ready for the first time yet; empty once it has met as many nodes as it should."""
        if self._has_met_all or self._expect is None:
            return ""
        return (
            f"it has met {len(self._met)} of the {self._expect - 1} other nodes that --expect {self._expect} waits for"
        )

    @property
    def is_noted(self) -> bool:
        """Whether answers tell this object nothing new any more."""
        return self._has_met is True and self._has_met_all

    def set_expect(self, expect: int) -> None:
        """The operator says another number, which counts from the next majority on. A node that has met all others
        once waits for no more."""
        self.least = min(expect, self._k)
        self._expect = expect
        if not self._has_met_all:
            self._look_whether_all_are_met()

    def on_answer(self, contact: Contact) -> None:
        """Another node of ours has answered. (A classic one acknowledges nothing, and does not count.)"""
        if not (self.has_met and self._has_met):
            self._has_met = True
            self._note(HAS_MET, contact)
        if not self._has_met_all and self._expect is not None:
            self._met.add(contact.id)
            self._look_whether_all_are_met()

    def _look_whether_all_are_met(self) -> None:
        if self._expect is None or len(self._met) >= self._expect - 1:
            self._has_met_all = True
            self._met.clear()
            if not self.may_go_on_alone:
                self._note(HAS_MET_ALL)

    def _look(self) -> bool | None:
        try:
            # Contacts outlast a database that was damaged and set aside; notes do not.
            return bool(self._storage.note(HAS_MET) or self._storage.contacts())
        except StorageError:
            return None

    def _has_noted_all(self) -> bool:
        try:
            return bool(self._storage.note(HAS_MET_ALL))
        except StorageError:
            return False

    def _note(self, name: str, contact: Contact | None = None) -> None:
        """Notes it, and the first contact of all, which nobody had saved yet."""
        try:
            self._storage.set_note(name, 1)
            if contact is not None:
                self._storage.save_contacts([contact])
        except StorageError:
            pass  # the node is not ready then; contacts are saved again and again, and tell the next start as well
