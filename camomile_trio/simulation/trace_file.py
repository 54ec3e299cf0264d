"""The file of one run: JSON lines, in the order in which things happened, packets, lookups and readiness among them.

Rules of this file: it only looks. The trace's hash is the same whether a file is written or not, so nothing here draws
from a generator, changes a node, or notes anything in the trace. The first line says which run it was, the last how it
ended; a run that was cut short has no last one. What is long is cut: ids and classic sessions to a prefix, values to
their size. Keys are in full, so that grep finds them. What the real cipher suite sealed is told as sealed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import (
    FindNode,
    FindValue,
    Have,
    HaveResult,
    Message,
    NodeList,
    Store,
    StoreKind,
    StoreResult,
    TooLarge,
    Value,
)
from camomile_trio.kademlia.records import Record, RecordRow
from camomile_trio.operations.events import Event, LookupEnded, ReadyChanged
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.outcome import Outcome
from camomile_trio.simulation.reading import Datagram, Kind
from camomile_trio.simulation.scenario import Plan
from camomile_trio.simulation.trace import Happening, Trace
from camomile_trio.simulation.world import World
from camomile_trio.wire import classic

FORMAT: Final = 1
_BUFFER = 2**20  # bytes

_encode: Callable[[Happening], str] = json.JSONEncoder(separators=(",", ":"), default=str).encode
ID_DIGITS = 16  # of a node's id: enough to tell millions of nodes apart
SESSION_DIGITS = 24

_CLASSIC_NAMES: dict[type[classic.Message], str] = {
    classic.Ping: "ping",
    classic.Pong: "pong",
    classic.FindNode: "find_node",
    classic.FindValue: "find_value",
    classic.NodeList: "node_list",
    classic.Value: "value",
    classic.Store: "store",
}


@attrs.frozen
class Writer:
    """Writes happenings to a file that is open."""

    _write: Callable[[str], object]

    def tell(self, happening: Happening) -> None:
        """One thing that happened."""
        self._write(_encode(happening) + "\n")

    def end(self, outcome: Outcome) -> None:
        """How the run ended."""
        self.tell(
            {
                "time": outcome.virtual_seconds,
                "event": "end",
                "trace": outcome.trace,
                "messages": outcome.messages,
                "passed": outcome.passed,
                "interrupted": outcome.interrupted,
            }
        )


@contextmanager
def writing(path: Path, plan: Plan) -> Iterator[Writer]:
    """A new file for the run of `plan`, written in large pieces and complete when the block is left."""
    with path.open("w", buffering=_BUFFER, encoding="utf-8") as file:
        writer = Writer(file.write)
        writer.tell(
            {
                "time": 0.0,
                "event": "run",
                "format": FORMAT,
                "scenario": plan.scenario.name,
                "nodes": plan.node_count,
                "seed": plan.seed,
                "repeat": plan.command,
            }
        )
        yield writer


@attrs.define(eq=False)
class PacketsInWords:
    """One world's packets and events as mappings. Made by `tell_world`."""

    _world: World
    _trace: Trace

    def packet(self, due: float, source: Endpoint, destination: Endpoint, payload: bytes) -> Happening:
        """A packet that was received; `from` and `to` are numbers of machines, or endpoints of anybody else."""
        seen = self._world.reader.read(payload)
        if seen.kind is Kind.CLASSIC and seen.classic is not None:
            inside = _classic_inside(seen.classic)
        else:
            inside = self._inside(seen)
        told: dict[str, object] = {
            "time": due,
            "event": "packet",
            "datagram": seen.kind.value,
            "from": self._who(source),
            "to": self._who(destination),
            "bytes": len(payload),
        }
        if seen.sender:
            told["id"] = NodeId.of(seen.sender).hex()[:ID_DIGITS]
        return told | inside

    def _inside(self, seen: Datagram) -> dict[str, object]:
        """What is in an inner packet; empty where nothing is, or can be, read."""
        if seen.because:
            return {"because": seen.because}
        if not seen.inner:
            return {}
        reader = self._world.reader
        try:
            number, message, _ = reader.opened(seen.inner)
        except MalformedPacket as error:
            return {"because": error.reason}
        return {"number": number, "kind": message.label} | _particulars(message)

    def on_event(self, machine: Machine, event: Event) -> None:
        """A node tells what it does. Operations are told by the world, as their users see them."""
        if self._trace.tell is None:
            return
        now = self._world.now
        if isinstance(event, LookupEnded):
            self._trace.tell(
                {
                    "time": now,
                    "event": "lookup",
                    "machine": machine.number,
                    "kind": event.kind,
                    "target": event.target.hex(),
                    "began": now - event.seconds,
                    "hops": event.hops,
                    "requests": event.requests,
                    "closest": _contacts(event.closest),
                }
            )
        elif isinstance(event, ReadyChanged):
            self._trace.tell(
                {
                    "time": now,
                    "event": "ready" if event.ready else "not_ready",
                    "machine": machine.number,
                    "because": event.because,
                }
            )

    def _who(self, endpoint: Endpoint) -> int | str:
        machine = self._world.machine_at(endpoint)
        return machine.number if machine is not None else str(endpoint)


def tell_world(world: World, trace: Trace) -> None:
    """From now on `trace.tell` is told of every packet and event of `world`, too."""
    words = PacketsInWords(world, trace)
    trace.describe_packet = words.packet
    world.observers.append(words.on_event)


def _particulars(message: Message) -> dict[str, object]:
    match message:
        case FindNode(target):
            return {"target": target.hex()}
        case FindValue(key):
            return {"key": key.hex()}
        case NodeList():
            return {"contacts": _contacts(message.contacts)}
        case Value():
            found: dict[str, object] = {} if message.value is None else {"size": len(message.value)}
            found |= {"cached": True} if message.cached else {}
            return found | {"contacts": _contacts(message.contacts), "records": _records(message.records)}
        case Store():
            key = message.key or Key.of(message.value or b"")
            told = _store(key, message.kind, message.value)
            told |= {"why": "cache"} if message.cached else {}
            return told | {"records": _records(message.records)}
        case StoreResult():
            return {
                "status": message.status.name.lower(),
                "durability": message.durability.name.lower(),
                "records": _records(message.records),
            }
        case Have():
            return {"keys": [key.hex() for key in message.keys]}
        case HaveResult():
            return {
                "holdings": [
                    {"key": each.key.hex(), "has_value": each.has_value, "records": _records(each.records)}
                    for each in message.holdings
                ]
            }
        case TooLarge(size):
            return {"size": size}
        case _:
            return {}


def _classic_inside(packet: classic.Packet) -> dict[str, object]:
    message = packet.message
    told: dict[str, object] = {
        "session": packet.session.hex()[:SESSION_DIGITS],
        "id": packet.sender.hex()[:ID_DIGITS],
        "kind": _CLASSIC_NAMES[type(message)],
    }
    match message:
        case classic.FindNode(target):
            return told | {"target": target.hex()}
        case classic.FindValue(key):
            return told | {"key": key.hex()}
        case classic.NodeList():
            return told | {"contacts": _contacts(message.contacts)}
        case classic.Value():
            told |= {"key": message.key.hex()}
            told |= {} if message.value is None else {"size": len(message.value)}
            return told | {"contacts": _contacts(message.contacts)}
        case classic.Store():
            return told | _store(Key.of(message.value), message.kind, message.value)
        case _:
            return told


def _store(key: Key, kind: StoreKind, value: bytes | None) -> dict[str, object]:
    return {"key": key.hex(), "why": kind.name.lower(), "size": None if value is None else len(value)}


def _contacts(contacts: tuple[Contact, ...]) -> list[str]:
    return [each.id.hex()[:ID_DIGITS] for each in contacts]


def _records(rows: tuple[RecordRow, ...]) -> list[dict[str, object]]:
    told: list[dict[str, object]] = []
    for row in rows:
        # The key is not in a row, and is of no matter for what is told of it.
        record = Record.from_row(row, Key())
        told.append({"kind": record.kind.name.lower(), "seq": record.seq, "expires": record.expires})
    return told
