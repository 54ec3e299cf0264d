"""What an operation of a village costs, in virtual time, and the value that most stories are told with."""

from __future__ import annotations

import trio

from camomile_trio.kademlia.ids import Key
from camomile_trio.node.node import Node
from camomile_trio.node.rpc import Rpc

VALUE = b"a value that somebody wants"
KEY = Key.of(VALUE)
FIRST_RTO, DEADLINE = 0.25, 2.0
# Round trips of 2 ms, a lookup of some of them, and a round of STOREs.
HEALTHY = 0.05


def rpc_of(node: Node) -> Rpc:
    return node._core.rpc


async def timed_put(node: Node, value: bytes = VALUE) -> float:
    began = trio.current_time()
    assert (await node.put(value)).replicas > 0
    return trio.current_time() - began


async def timed_get(node: Node, key: Key = KEY) -> float:
    began = trio.current_time()
    found = await node.get(key)
    assert Key.of(found.value) == key
    return trio.current_time() - began
