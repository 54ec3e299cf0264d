"""What the calls on a Node give back.

Rules of this file: values only; nothing of the wire, nothing of HTTP.
"""

from __future__ import annotations

import builtins
from typing import Literal

import attrs

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId


# Ids and public keys are shown as hexadecimal digits, a value by its size: it may be a megabyte.
def _hex(raw: builtins.bytes | None) -> str:
    return "None" if raw is None else raw.hex()


def _size(value: builtins.bytes) -> str:
    return f"<{len(value)} bytes>"


@attrs.frozen
class Stored:
    """A put that a majority of the holders acknowledged.

    `expires` is when the lease that stands ends (wall-clock ms): the lease of this put, or one that lasts longer. None:
    the value is kept until it is forgotten.
    """

    key: Key
    replicas: int  # acknowledgements at the time of the answer; the rest go on in the background
    durable: int  # those of them that had reached the operating system or the disk
    expires: int | None = None


@attrs.frozen
class Found:
    """A value that was got, hashed and found right."""

    key: Key
    value: bytes = attrs.field(repr=_size)
    origin: NodeId = attrs.field(converter=NodeId)  # the node it came from, this one included
    live: bool  # a live lease stands behind it; False for a value of a classic node


@attrs.frozen
class ForgetResult:
    """A forget that a majority of the holders acknowledged."""

    key: Key
    replicas: int
    other_publishers: int  # others that still publish the value: it stays for them


@attrs.frozen
class Pinged:
    node: NodeId = attrs.field(converter=NodeId)
    endpoint: Endpoint
    round_trip: float  # seconds


@attrs.frozen(kw_only=True)
class RecordStatus:
    """One record that a node holds, and what the node knows of the others that should hold it."""

    key: Key
    # Its public key; None for a classic node's value, which nobody signed.
    publisher: builtins.bytes | None = attrs.field(repr=_hex)
    kind: Literal["lease", "tombstone", "classic"]
    renewable: bool
    seq: int
    issued: int  # wall ms, as expires
    expires: int
    size: int | None  # of the value, None if it is not here
    published_here: bool
    is_holder: bool  # whether this node knows fewer than k nodes that are closer to the key
    heard_from_holder: float | None  # seconds since another holder showed that it has the latest; None: not since start
    copies_known: int | None = None  # other holders that have confirmed this very record lately; None: not known


@attrs.frozen
class RecordPage:
    records: tuple[RecordStatus, ...]
    last: Key | None  # to ask for the page after it; None: there are no more keys
    unreadable: int  # keys whose rows are damaged


@attrs.frozen
class ExportPage:
    """Lines of an export, without header and end."""

    lines: bytes = attrs.field(repr=_size)
    entries: int
    last: Key | None
    unsigned: int  # values of classic nodes, which have no record
    unreadable: int


@attrs.frozen
class Imported:
    """What became of one entry of an export."""

    key: Key | None  # None if the entry did not say
    stored: int  # records that a majority of their holders has now
    refused: tuple[str, ...]  # why each of the others was refused; one reason alone if the entry was no good at all


@attrs.frozen
class BucketStatus:
    index: int  # distances of 2**index and up
    contacts: int
    replacements: int


@attrs.frozen(kw_only=True)
class PeerStatus:
    """A node of the routing table, and what its answers have shown. None: not measured, or not known any more."""

    id: NodeId = attrs.field(converter=NodeId)
    public: builtins.bytes = attrs.field(repr=_hex)  # its public key, whose hash the id is
    endpoint: Endpoint
    answers: bool  # whether the last request to it was answered
    round_trip: float | None = None  # its usual one, in seconds (RFC 6298's smoothed round trip)
    last_seen: float | None = None  # seconds since its latest answer
    network_key: str | None = None  # the fingerprint of the key that its session is under; None in an open network


@attrs.frozen
class NetworkKeyStatus:
    """A key that a node of a closed network accepts."""

    fingerprint: str  # 8 hexadecimal digits, which tell nothing of the key
    sessions: int  # peers that were heard from within the hour and have their session under it


@attrs.frozen(kw_only=True)
class Reloaded:
    """What a node has read anew, and what that has changed. Keys are named by their fingerprints."""

    added: tuple[str, ...] = ()  # keys that are accepted now, and were not
    removed: tuple[str, ...] = ()
    promoted: str | None = None  # the key that is sent under now, if it was another one
    sessions_ended: int = 0  # of peers that still had theirs under a removed key
    expect_before: int | None
    expect: int | None


@attrs.frozen
class NodeStatus:
    """A node at one moment, for people and for /-/node."""

    id: NodeId = attrs.field(converter=NodeId)
    node_key: builtins.bytes = attrs.field(repr=_hex)  # its public key; `bytes` below is a number
    endpoint: Endpoint  # where it is bound
    advertised: Endpoint | None
    network: str
    classic: bool  # whether it speaks with classic nodes
    version: str  # of the package
    ready: bool
    not_ready_because: str  # empty when ready
    uptime: float  # seconds
    contacts: int
    classic_contacts: int  # of a table of their own, which has no part in the other figures
    buckets: tuple[BucketStatus, ...]
    keys: int
    values: int
    bytes: int
    max_bytes: int
    cached: int
    publisher: builtins.bytes = attrs.field(repr=_hex)  # the public key that signs what is put here
    observed: Endpoint | None = None  # where others see it
    # Of the contacts' public addresses that are not trusted; 0 in a closed network. With 1 to 4 all nodes count.
    source_networks: int = 0
    network_keys: tuple[NetworkKeyStatus, ...] = ()  # the one that is sent under first; none in an open network

    @property
    def closed(self) -> bool:
        """Whether only nodes that have a network key enter its network."""
        return bool(self.network_keys)


@attrs.frozen
class Statistics:
    """Counters since the start, by name and labels, for /-/metrics and for people.

    `counters` only grow, `gauges` go up and down. Names follow Prometheus: those of counters end in `_total`. Labels
    come as (name, value) pairs, in a fixed order for each name. `meanings` has a line for each name that there is, also
    for one with labels of which nothing was counted yet.
    """

    counters: dict[tuple[str, tuple[tuple[str, str], ...]], float] = attrs.field(factory=dict)
    gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = attrs.field(factory=dict)
    meanings: dict[str, str] = attrs.field(factory=dict)
