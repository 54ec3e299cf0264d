"""The file of an export: signed records with their values, one key on a line, to be checked without trusting it.

Rules of this file: pure functions from values to lines and back, and what may be said of an entry without any node:
whether the value is the key's, the signatures are good in this network, and the terms still hold. What is read is
untrusted and bounded; a bad entry is one `BadEntry` with one reason, made to be counted. Source: docs/operating.md,
Records.
"""

from __future__ import annotations

import base64
import binascii
import json

import attrs

from camomile_trio.errors import BadKey, CamomileError
from camomile_trio.identity import BadSignature, verify_record
from camomile_trio.kademlia.admission import Verdict, admit
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.records import ROW_BYTES, Record, RecordRow
from camomile_trio.kademlia.registers import RULES, KeyState

FORMAT = "camomile records"
VERSION = 1
# More registers than a key can have: publishers, and tombstones of publishers that were never seen.
MOST_RECORDS = 2 * RULES.max_remembered + RULES.max_unseen_tombstones
# Names, quotes and commas of a line, generously.
_LINE_OVERHEAD = 512
_ROW_TEXT = 4 * -(-ROW_BYTES // 3) + 8

_REASON_OF = {
    Verdict.EXPIRED: "expired",
    Verdict.NOT_YET: "not yet valid",
    Verdict.BAD_TERMS: "bad terms",
    Verdict.VALUE_NEEDED: "value missing",
}


class BadEntry(CamomileError):
    """An entry of an export is not what it should be. `reason` is a few constant words, made to be counted."""

    fault = "caller"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@attrs.frozen
class Header:
    """The first line."""

    network: str


@attrs.frozen
class End:
    """The last line: without it the file was cut short."""

    entries: int


@attrs.frozen
class Entry:
    """One key: records as they were signed, and the value if there is one. Nothing of it has been checked."""

    key: Key
    rows: tuple[RecordRow, ...]
    value: bytes | None


def longest_line(max_value_size: int) -> int:
    """The bytes of the longest line that an entry with a value of `max_value_size` takes."""
    return 4 * -(-max_value_size // 3) + MOST_RECORDS * _ROW_TEXT + _LINE_OVERHEAD


def header_line(network: str) -> bytes:
    return _line({"format": FORMAT, "version": VERSION, "network": network})


def end_line(entries: int) -> bytes:
    return _line({"entries": entries})


def entry_line(entry: Entry) -> bytes:
    members: dict[str, object] = {"key": str(entry.key), "records": [_text(row) for row in entry.rows]}
    if entry.value is not None:
        members["value"] = _text(entry.value)
    return _line(members)


def read_line(line_untrusted: bytes, *, max_value_size: int) -> Header | Entry | End:
    """What a line says, if it has the form of one. BadEntry."""
    if len(line_untrusted) > longest_line(max_value_size):
        raise BadEntry("too large")
    try:
        members = json.loads(line_untrusted)
    except (ValueError, RecursionError):
        raise BadEntry("malformed", "not a line of JSON") from None
    if not isinstance(members, dict):
        raise BadEntry("malformed", "not a JSON object")
    if "format" in members:
        return _header(members)
    if members.keys() == {"entries"} and isinstance(members["entries"], int):
        return End(members["entries"])
    return _entry(members, max_value_size)


def check(entry_untrusted: Entry, network: bytes, now: int) -> tuple[list[Record], list[str]]:
    """The records of an entry that are good in themselves at `now` (wall ms), and why each of the others is not.

    BadEntry if the value is not the key's: then nothing of the entry is worth a look.
    """
    key, value = entry_untrusted.key, entry_untrusted.value
    if value is not None and Key.of(value) != key:
        raise BadEntry("wrong value", f"it does not hash to {key}")
    good: list[Record] = []
    refused: list[str] = []
    for row in entry_untrusted.rows:
        try:
            record = verify_record(row, key, network)
        except BadSignature:
            refused.append("bad signature")
            continue
        # Alone on an empty state: whatever is refused here would be refused by every node.
        size = None if value is None else len(value)
        verdict = admit(KeyState(key), record, now=now, value_size=size).verdict
        if verdict is Verdict.STORED:
            good.append(record)
        else:
            refused.append(_REASON_OF[verdict])
    return good, refused


def _header(members: dict[str, object]) -> Header:
    version, network = members.get("version"), members.get("network")
    if members["format"] != FORMAT:
        raise BadEntry("not an export", f"its format is {str(members['format'])[:40]!r}")
    if version != VERSION or isinstance(version, bool):
        raise BadEntry("unknown version", f"{str(version)[:20]}, and this Camomile knows version {VERSION}")
    if not isinstance(network, str) or not network:
        raise BadEntry("malformed", "the header names no network")
    return Header(network)


def _entry(members: dict[str, object], max_value_size: int) -> Entry:
    if not {"key", "records"} <= members.keys() <= {"key", "records", "value"}:
        raise BadEntry("malformed", "not the members of an entry")
    text, rows, value_text = members["key"], members["records"], members.get("value")
    if not isinstance(text, str) or not isinstance(rows, list) or not 0 < len(rows) <= MOST_RECORDS:
        raise BadEntry("malformed", "no key, no records, or too many")
    try:
        key = Key.parse(text)
    except BadKey as error:
        raise BadEntry("malformed", str(error)) from None
    value = None if "value" not in members else _bytes(value_text)
    if value is not None and not 0 < len(value) <= max_value_size:
        raise BadEntry("too large" if value else "malformed", f"a value of {len(value)} bytes")
    decoded = tuple(RecordRow(_bytes(row)) for row in rows)
    if any(len(row) != ROW_BYTES for row in decoded):
        raise BadEntry("malformed", f"a record has {ROW_BYTES} bytes")
    return Entry(key, decoded, value)


def _bytes(text_untrusted: object) -> bytes:
    if not isinstance(text_untrusted, str):
        raise BadEntry("malformed", "bytes are written in base64")
    try:
        return base64.b64decode(text_untrusted, validate=True)
    except (binascii.Error, ValueError):
        raise BadEntry("malformed", "not base64") from None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _line(members: dict[str, object]) -> bytes:
    return json.dumps(members, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
