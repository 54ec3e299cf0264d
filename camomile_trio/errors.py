"""Every error of Camomile, under one root.

Rules of this file: it imports nothing of the package. An error says whose fault it is (`fault`), in one line what
went wrong (`str(error)`) and in one line what to do about it (`remedy`). Errors of libraries (SQLite, sockets,
protobuf) are translated into these at the seam where they arise.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Fault = Literal["caller", "peer", "node", "network"]


class CamomileError(Exception):
    """The root of all errors that Camomile raises on purpose.

    `fault` names who has to change something: the *caller* (a bad argument), a *peer* (it broke the protocol), this
    *node* (its disk, its configuration) or the *network* (too few nodes answered; the same call may succeed later).
    """

    fault: ClassVar[Fault] = "node"
    default_remedy: ClassVar[str] = ""

    def __init__(self, cause: str, *, remedy: str = "") -> None:
        super().__init__(cause)
        self.remedy = remedy or self.default_remedy


# The caller's fault -------------------------------------------------------------------------------------------------


class CallerError(CamomileError):
    """The call itself cannot be carried out, now or later."""

    fault = "caller"


class ConfigError(CallerError):
    """A setting is out of range or contradicts another one."""


class BadKey(CallerError):
    """A key is not 64 hexadecimal digits (32 bytes)."""

    default_remedy = "give the 64 hexadecimal digits that a put returned"


class BadNodeId(CallerError):
    """A node's id is not 64 hexadecimal digits (32 bytes)."""

    default_remedy = "take it from `camomile status`, or from a node's `id`"


class NodeClosed(CallerError):
    """The node's block has ended, and its sockets and its storage are closed."""

    default_remedy = "use the node inside of its `async with open_node(...)` block, or open another one"


class EmptyValue(CallerError):
    """An empty value cannot be stored."""

    default_remedy = "give a value of at least one byte"


class ValueTooLarge(CallerError):
    """The value is larger than this node, or a majority of the holders, accepts; nothing was stored."""

    default_remedy = "split the value, or raise --max-value-size on every node"


class NotPublisher(CallerError):
    """Only other publishers, or classic nodes, published the value: this node cannot forget it."""

    default_remedy = "forget it at a node that has the publisher's key; a value from a classic node ends by itself"


class TooManyPublishers(CallerError):
    """The holders already keep as many publishers of this key as they may."""

    default_remedy = "the value is there already; get it, or wait until a publisher forgets it"


# Nobody's fault: there is no such value -----------------------------------------------------------------------------


class NotFound(CamomileError):
    """No node that was asked has the value."""

    fault = "caller"
    default_remedy = "check the key; a value ends when its lease ends"


class Forgotten(NotFound):
    """The value was there, and its publishers have forgotten it."""

    default_remedy = "put it again if it is wanted after all"


# The network's fault: the same call may succeed later ---------------------------------------------------------------


class Unavailable(CamomileError):
    """The network did not do it now. It is safe to repeat the call. `retry_after` is in seconds."""

    fault = "network"
    default_remedy = "it is safe to repeat the request"
    retry_after: int = 2


class NotJoined(Unavailable):
    """The node has not joined its network yet."""

    default_remedy = "wait until /-/ready answers 200, then repeat the request"


class NoMajority(Unavailable):
    """Too few holders acknowledged before the deadline."""


class Unreachable(Unavailable):
    """No node answered."""


class WrongClock(Unavailable):
    """This node's wall clock rejects what other nodes hold, or is behind a time that this node has seen."""

    default_remedy = "set this node's clock right, then repeat the request"


# What to do where no other node is left to answer.
LEFT_ALONE = (
    "repeat it when other nodes are back; if none is left, `camomile reload --expect 1` lets this one go on alone"
)


class Overloaded(Unavailable):
    """This node has as much in flight as it takes on at once."""


# A peer's fault -----------------------------------------------------------------------------------------------------


class PeerError(CamomileError):
    """A peer broke the protocol."""

    fault = "peer"


class MalformedPacket(PeerError):
    """The one error of `wire.decode_untrusted`. `reason` is a short constant word, made to be counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"malformed packet: {reason}" + (f" ({detail})" if detail else ""))
        self.reason = reason


# This node's own troubles -------------------------------------------------------------------------------------------


class StorageError(CamomileError):
    """The storage could not do what it was asked to do; what was acknowledged before is untouched."""


class StorageFull(StorageError):
    """The storage holds as much as it may (`max_storage`), or its disk has no room left (`DiskFull`)."""

    default_remedy = "raise --max-storage, or add nodes"


class DiskFull(StorageFull):
    """The disk of the storage has no room left, whatever `max_storage` allows."""

    default_remedy = "make room on the disk"


class StorageDamaged(StorageError):
    """The database file is damaged. Nothing was deleted."""


class StorageMoved(StorageError):
    """The data directory, or the database in it, was deleted, moved or replaced while the node ran."""

    default_remedy = "put it back if it was moved by mistake, then start the node again"


class StorageUnknown(StorageError):
    """The database file is another program's, or of a version that this Camomile does not know. It was left alone."""


class DataDirectoryInUse(StorageError):
    """Another process has the data directory open."""

    default_remedy = "stop the other process, or give this one a --data-dir of its own"


class TransportError(CamomileError):
    """An address could not be bound, or a stream to a peer failed."""
