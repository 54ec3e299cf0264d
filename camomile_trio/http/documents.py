"""JSON documents about a node, for /-/node and /-/peers and for the command line.

Rules of this file: plain functions from results to what `json` can write. Ids and keys are hexadecimal, endpoints are
`host:port`, times are seconds; a member once published keeps its name and meaning.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from quart import Response

from camomile_trio.operations.results import Imported, NodeStatus, PeerStatus, Pinged, RecordPage, Reloaded

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def node_document(status: NodeStatus) -> dict[str, Json]:
    """A node at one moment."""
    return {
        "id": status.id.hex(),
        "node_key": status.node_key.hex(),
        "endpoint": str(status.endpoint),
        "advertised": None if status.advertised is None else str(status.advertised),
        "observed": None if status.observed is None else str(status.observed),
        "network": status.network,
        "closed": status.closed,
        "network_keys": [{"fingerprint": key.fingerprint, "sessions": key.sessions} for key in status.network_keys],
        "classic": status.classic,
        "version": status.version,
        "ready": status.ready,
        "not_ready_because": status.not_ready_because,
        "uptime": round(status.uptime, 3),
        "contacts": status.contacts,
        "classic_contacts": status.classic_contacts,
        "source_networks": status.source_networks,
        "buckets": [
            {"index": bucket.index, "contacts": bucket.contacts, "replacements": bucket.replacements}
            for bucket in status.buckets
        ],
        "keys": status.keys,
        "values": status.values,
        "cached": status.cached,
        "bytes": status.bytes,
        "max_bytes": status.max_bytes,
        "publisher": status.publisher.hex(),
    }


def peers_document(peers: Iterable[PeerStatus]) -> dict[str, Json]:
    """The nodes that a node has in its routing table."""
    return {
        "peers": [
            {
                "id": peer.id.hex(),
                "node_key": peer.public.hex(),
                "endpoint": str(peer.endpoint),
                "round_trip": None if peer.round_trip is None else round(peer.round_trip, 6),
                "last_seen": None if peer.last_seen is None else round(peer.last_seen, 3),
                "answers": peer.answers,
                "network_key": peer.network_key,
            }
            for peer in peers
        ]
    }


def pinged_document(pinged: Pinged) -> dict[str, Json]:
    """A ping that was answered."""
    return {
        "node": pinged.node.hex(),
        "endpoint": str(pinged.endpoint),
        "round_trip": pinged.round_trip,
    }


def reloaded_document(reloaded: Reloaded) -> dict[str, Json]:
    """What a reload has changed. Network keys are named by their fingerprints."""
    return {
        "added": list(reloaded.added),
        "promoted": reloaded.promoted,
        "removed": list(reloaded.removed),
        "sessions_ended": reloaded.sessions_ended,
        "expect_before": reloaded.expect_before,
        "expect": reloaded.expect,
    }


def records_document(page: RecordPage) -> dict[str, Json]:
    """Some of the records that a node holds; `last` is what to ask for the next ones with. Times of records are ms."""
    return {
        "records": [
            {
                "key": str(record.key),
                "publisher": None if record.publisher is None else record.publisher.hex(),
                "kind": record.kind,
                "renewable": record.renewable,
                "seq": record.seq,
                "issued": record.issued,
                "expires": record.expires,
                "size": record.size,
                "published_here": record.published_here,
                "holder": record.is_holder,
                "copies_known": record.copies_known,
                "heard_from_holder": (None if record.heard_from_holder is None else round(record.heard_from_holder, 3)),
            }
            for record in page.records
        ],
        "last": None if page.last is None else str(page.last),
        "unreadable": page.unreadable,
    }


def imported_document(outcomes: list[Imported]) -> dict[str, Json]:
    """What became of each entry that was taken in, in their order."""
    return {
        "entries": [
            {
                "key": None if outcome.key is None else str(outcome.key),
                "stored": outcome.stored,
                "refused": list(outcome.refused),
            }
            for outcome in outcomes
        ]
    }


def json_response(document: Json) -> Response:
    return Response(
        json.dumps(document, ensure_ascii=False).encode() + b"\n",
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
