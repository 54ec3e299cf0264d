"""Why a put or a forget did not succeed, in words for whoever asked for it, and what to do.

Rules of this file: pure; it reads the count of acknowledgements. Source: docs/protocol.md, "Acknowledgement".
"""

from __future__ import annotations

from camomile_trio.errors import (
    LEFT_ALONE,
    CamomileError,
    DiskFull,
    NoMajority,
    StorageFull,
    TooManyPublishers,
    Unreachable,
    ValueTooLarge,
)
from camomile_trio.kademlia.acknowledgement import Acknowledgements, Failed, Refused
from camomile_trio.kademlia.messages import StoreStatus


def error_of(acknowledgements: Acknowledgements, what: str) -> CamomileError:
    """`what`: put or forget."""
    outcome = acknowledgements.outcome
    if isinstance(outcome, Refused):
        match outcome.status:
            case StoreStatus.TOO_LARGE:
                return ValueTooLarge("most of the holders do not take values of this size")
            case StoreStatus.FULL:
                refusals = acknowledgements.refusals
                return _full(refusals[StoreStatus.FULL], refusals[StoreStatus.NO_ROOM])
            case StoreStatus.FAILED:
                return NoMajority(
                    "the storage of most of the holders fails", remedy="look at the nodes' disks, then repeat"
                )
            case StoreStatus.QUOTA:
                return StorageFull(
                    "most of the holders keep no more of this publisher, or of what comes from this node's network",
                    remedy="forget some values, raise --max-storage at the holders, or give them the publisher's key",
                )
            case StoreStatus.TOO_MANY_PUBLISHERS:
                return TooManyPublishers("the value has as many publishers as its holders keep")
            case StoreStatus.NOT_YET:
                return NoMajority(
                    "most of the holders think that this node's clock is ahead",
                    remedy="set the clocks right, then repeat",
                )
            case StoreStatus.EXPIRED:
                return NoMajority(
                    "the lease has ended already by the clocks of most of the holders",
                    remedy="set the clocks right, or ask for a longer lifetime, then repeat",
                )
            case status:
                return NoMajority(f"most of the holders refused the {what}: {_in_words(status)}")
    if isinstance(outcome, Failed) and outcome.alone:
        return Unreachable("no other node answered", remedy=LEFT_ALONE)
    if isinstance(outcome, Failed) and outcome.short:
        return NoMajority(
            "fewer nodes answered than a majority of those that --expect says there are",
            remedy="start the others, or this node again with a lower --expect, then repeat",
        )
    said = ", ".join(f"{count} said {_in_words(status)}" for status, count in acknowledgements.refusals.most_common())
    return NoMajority(f"too few holders acknowledged the {what}" + (f"; {said}" if said else ""))


def _full(storages: int, disks: int) -> StorageFull:
    """So many holders hold as much as they may, and of so many the disk is full."""
    if not disks:
        return StorageFull("most of the holders hold as much as they may")
    if not storages:
        return DiskFull("the disks of most of the holders are full", remedy="make room on these disks, or add nodes")
    return StorageFull(
        f"most of the holders are full: {disks} have no room on their disks, {storages} hold as much as they may",
        remedy="make room on the disks, raise --max-storage at the others, or add nodes",
    )


def _in_words(status: StoreStatus) -> str:
    return status.name.lower().replace("_", " ")
