"""Camomile: a leaderless, self-healing store of content-addressed values.

    async with open_node(Config(join=("node.example.org:8118",))) as node:
        await node.wait_ready()
        stored = await node.put(b"a value")
        found = await node.get(stored.key)

The names below are the public interface; everything else may change. The node itself, with all its libraries, is
imported when it is first asked for: a client command has no use for it.
"""

from typing import TYPE_CHECKING

from camomile_trio.config import Config, Kademlia, Records, Requests, StorageConfig
from camomile_trio.errors import (
    BadKey,
    BadNodeId,
    CallerError,
    CamomileError,
    ConfigError,
    DataDirectoryInUse,
    DiskFull,
    EmptyValue,
    Forgotten,
    NodeClosed,
    NoMajority,
    NotFound,
    NotJoined,
    NotPublisher,
    Overloaded,
    StorageDamaged,
    StorageError,
    StorageFull,
    StorageMoved,
    StorageUnknown,
    TooManyPublishers,
    TransportError,
    Unavailable,
    Unreachable,
    ValueTooLarge,
    WrongClock,
)
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.operations.results import (
    ForgetResult,
    Found,
    NetworkKeyStatus,
    NodeStatus,
    PeerStatus,
    Pinged,
    Reloaded,
    Stored,
)

if TYPE_CHECKING:
    from camomile_trio.node.node import Node, open_node

    __version__: str

__all__ = [
    "BadKey",
    "BadNodeId",
    "CallerError",
    "CamomileError",
    "Config",
    "ConfigError",
    "Contact",
    "DataDirectoryInUse",
    "DiskFull",
    "EmptyValue",
    "Endpoint",
    "ForgetResult",
    "Forgotten",
    "Found",
    "Kademlia",
    "Key",
    "NetworkKeyStatus",
    "NoMajority",
    "Node",
    "NodeClosed",
    "NodeId",
    "NodeStatus",
    "NotFound",
    "NotJoined",
    "NotPublisher",
    "Overloaded",
    "PeerStatus",
    "Pinged",
    "Records",
    "Reloaded",
    "Requests",
    "StorageConfig",
    "StorageDamaged",
    "StorageError",
    "StorageFull",
    "StorageMoved",
    "StorageUnknown",
    "Stored",
    "TooManyPublishers",
    "TransportError",
    "Unavailable",
    "Unreachable",
    "ValueTooLarge",
    "WrongClock",
    "__version__",
    "open_node",
]


def __getattr__(name: str) -> object:
    if name in {"Node", "open_node"}:
        from camomile_trio.node import node

        return getattr(node, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("camomile")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
