"""The datagrams recorded from classic Camomile nodes (tests/vectors/classic_packets.json), typed."""

from __future__ import annotations

import json
from pathlib import Path

import attrs

_PATH = Path(__file__).parent.parent / "vectors" / "classic_packets.json"


@attrs.frozen
class Named:
    """A contact as a classic node named it: the ip has 4 or 16 bytes, or none."""

    node_id: bytes
    ip: bytes
    port: int


@attrs.frozen
class Recorded:
    """One datagram, and what it means as the recording tells it."""

    name: str
    datagram: bytes
    session: bytes
    sender: bytes
    payload: str
    texts: dict[str, str]
    nodes: tuple[Named, ...]


def recorded_packets() -> list[Recorded]:
    packets = []
    for number, entry in enumerate(json.loads(_PATH.read_text("utf-8"))["packets"]):
        decoded = entry["decoded"]
        nodes = tuple(
            Named(bytes.fromhex(node["node_id"]), bytes.fromhex(node["ip"]), node["port"])
            for node in decoded.get("nodes", ())
        )
        packets.append(
            Recorded(
                name=f"{number}-{entry['kind']}",
                datagram=bytes.fromhex(entry["datagram"]),
                session=bytes.fromhex(decoded["session_id"]),
                sender=bytes.fromhex(decoded["sender_id"]),
                payload=decoded["payload"],
                texts={name: text for name, text in decoded.items() if isinstance(text, str)},
                nodes=nodes,
            )
        )
    return packets


RECORDED = recorded_packets()
