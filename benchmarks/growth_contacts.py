"""What a contact weighs: its seat in the routing table, and what is remembered of its endpoint. Prints JSON.

Rules of this file: bytes of Python's allocator, without the process around it, of the very tables of a node.
"""

from __future__ import annotations

import json
import random
import tracemalloc

from camomile_trio.config import Kademlia, Requests
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import ID_BYTES, NodeId
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.node.peers import Peers

MET = 100_000  # nodes that have answered: of a network of so many, the table keeps some hundreds


def seats() -> tuple[float, int]:
    """Bytes of each contact that the table keeps, replacements included, and how many these are."""
    rng = random.Random(1)
    table = RoutingTable(NodeId(rng.randbytes(ID_BYTES)), Kademlia().k)
    tracemalloc.start()
    for number in range(MET):
        endpoint = Endpoint.of(number.to_bytes(4, "big"), 8118)
        table.on_answer(Contact(NodeId(rng.randbytes(ID_BYTES)), endpoint), float(number))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = sum(len(each.contacts) + len(each.replacements) for each in table.buckets())
    return taken / kept, kept


def endpoints() -> tuple[float, int]:
    """Bytes of each endpoint that is remembered, and how many these are."""
    settings = Requests()
    tracemalloc.start()
    peers = Peers(settings)
    for number in range(settings.max_peers):
        endpoint = Endpoint.of(number.to_bytes(4, "big"), 8118)
        peer = peers.on_answer(endpoint, float(number), round_trip=number / 1e6, version=1)
        peer.token, peer.token_at = number.to_bytes(8, "big"), float(number)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / len(peers), len(peers)


if __name__ == "__main__":
    (seat, kept), (endpoint, remembered) = seats(), endpoints()
    found = {"bytes of a seat": seat, "seats": kept, "bytes of an endpoint": endpoint, "endpoints": remembered}
    print(json.dumps({name: round(value) for name, value in found.items()}))
