"""What the HTTP storey needs of a node.

Rules of this file: a structural type and nothing else. `node.Node` fits it without knowing of it, and so does the fake
of the tests; nothing in `http` reaches past it into routing, storage or the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from camomile_trio.config import Config
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.operations.events import Events
from camomile_trio.operations.results import (
    ExportPage,
    ForgetResult,
    Found,
    Imported,
    NodeStatus,
    PeerStatus,
    Pinged,
    RecordPage,
    Reloaded,
    Statistics,
    Stored,
)


class ServedNode(Protocol):
    """A running node, as its HTTP server sees it. Its calls may be cancelled at any time."""

    @property
    def id(self) -> NodeId: ...

    @property
    def config(self) -> Config: ...

    @property
    def events(self) -> Events: ...

    @property
    def ready(self) -> bool: ...

    @property
    def not_ready_because(self) -> str:
        """Why it is not ready, in a few words; empty when it is."""

    async def put(self, value: bytes, *, ttl: float | None = None) -> Stored: ...

    async def get(self, key: Key) -> Found: ...

    async def forget(self, key: Key) -> ForgetResult: ...

    async def ping(self, node: NodeId) -> Pinged: ...

    def records(self, after: Key | None = None) -> RecordPage: ...

    def export(self, after: Key | None = None) -> ExportPage: ...

    async def take_in(self, lines_untrusted: Sequence[bytes]) -> list[Imported]: ...

    def reload(self, *, expect: int | None = None) -> Reloaded:
        """ConfigError if the key file is broken: then nothing has changed."""

    def status(self) -> NodeStatus: ...

    def peers(self) -> Sequence[PeerStatus]: ...

    def statistics(self) -> Statistics: ...
