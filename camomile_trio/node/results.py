"""What the calls on a Node give back.

Rules of this file: values only; nothing of the wire, nothing of HTTP.
"""

from __future__ import annotations

import builtins

import attrs

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId


@attrs.frozen
class Stored:
    """A put that a majority of the holders acknowledged."""

    key: Key
    replicas: int  # acknowledgements at the time of the answer; the rest go on in the background
    durable: int  # those of them that had reached the operating system or the disk


@attrs.frozen
class Found:
    """A value that was got, hashed and found right."""

    key: Key
    value: bytes
    origin: NodeId  # the node it came from, this one included
    live: bool  # a live lease stands behind it; False for a value of a classic node


@attrs.frozen
class ForgetResult:
    """A forget that a majority of the holders acknowledged."""

    key: Key
    replicas: int
    other_publishers: int  # others that still publish the value: it stays for them


@attrs.frozen
class Pinged:
    node: NodeId
    endpoint: Endpoint
    round_trip: float  # seconds
    version: int  # 0: a classic node


@attrs.frozen
class BucketStatus:
    index: int  # distances of 2**index and up
    contacts: int
    replacements: int


@attrs.frozen
class NodeStatus:
    """A node at one moment, for people and for /-/node."""

    id: NodeId
    endpoint: Endpoint  # where it is bound
    advertised: Endpoint | None
    network: str
    version: str  # of the package
    ready: bool
    not_ready_because: str  # empty when ready
    uptime: float  # seconds
    contacts: int
    buckets: tuple[BucketStatus, ...]
    keys: int
    values: int
    bytes: int
    max_bytes: int
    cached: int
    publisher: builtins.bytes  # its public key; `bytes` above is a number here
    observed: Endpoint | None = None  # where others see it


@attrs.frozen
class Statistics:
    """Counters since the start, by name and labels, for /-/metrics and for people.

    `counters` only grow, `gauges` go up and down. Names follow Prometheus: `rpc_requests_total`. Labels come as
    (name, value) pairs, in a fixed order for each name.
    """

    counters: dict[tuple[str, tuple[tuple[str, str], ...]], float] = attrs.field(factory=dict)
    gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = attrs.field(factory=dict)
