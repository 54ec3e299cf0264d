"""Asking through a node's requests, and noting what became of it."""

from __future__ import annotations

import attrs
import trio
import trio.testing

from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Packet,
    Ping,
    Store,
)
from camomile_trio.node.pending import Pending
from camomile_trio.node.rpc import Rpc
from tests.node.line import Line, Peer

TARGET = NodeId(bytes(32))


@attrs.define(eq=False)
class Asked:
    """What became of one request."""

    pending: Pending | None = None
    replies: list[Packet] = attrs.field(factory=list)
    overdue_at: list[float] = attrs.field(factory=list)
    failed_at: list[float] = attrs.field(factory=list)

    @property
    def request(self) -> Pending:
        assert self.pending is not None
        return self.pending

    @property
    def is_open(self) -> bool:
        return not self.replies and not self.failed_at


def ask(rpc: Rpc, peer: Peer, message: Ping | FindNode | FindValue | Store, *, node: NodeId | None = None) -> Asked:
    asked = Asked()
    asked.pending = rpc.request(
        peer.endpoint,
        message,
        node=node or peer.id,
        on_reply=asked.replies.append,
        on_overdue=lambda: asked.overdue_at.append(trio.current_time()),
        on_failed=lambda: asked.failed_at.append(trio.current_time()),
    )
    return asked


def known_peers(line: Line, rpc: Rpc, count: int) -> list[Peer]:
    peers = [Peer.at(line, f"peer {number}", f"10.9.1.{number}:8118") for number in range(1, count + 1)]
    for peer in peers:
        peer.introduce()
    assert len(rpc.table) == count
    return peers
