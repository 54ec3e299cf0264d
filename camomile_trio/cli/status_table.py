"""How `camomile status` shows a node to people.

Rules of this file: what a node answers is untrusted text: it is cleaned and cannot carry markup. A missing field
is left out, so that nodes of other versions can be shown.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from camomile_trio.cli.failures import one_line
from camomile_trio.kademlia.counting import TOO_FEW_NETWORKS, TOO_FEW_NETWORKS_REMEDY, are_few

MOST = 2**63  # of any number that a node gives
_WIDE = 200  # columns where nobody says how many there are: a file or a pipe should get whole lines


def print_status(found_untrusted: dict[str, object]) -> None:
    """Prints the table to standard output."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in status_rows(found_untrusted):
        table.add_row(label, Text(one_line(text)))
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def status_rows(found: dict[str, object]) -> list[tuple[str, str]]:
    """The rows of the table, label and text."""
    rows = [
        (label, str(found[name]))
        for name, label in (
            ("id", "id"),
            ("node_key", "node key"),
            ("version", "version"),
            ("network", "network"),
            ("endpoint", "peers at"),
            ("advertised", "advertised"),
            ("observed", "seen at"),
            ("publisher", "publisher"),
        )
        if found.get(name) not in (None, "")
    ]
    ready = "yes" if found.get("ready") is True else f"no: {found.get('not_ready_because', '')}"
    rows.insert(1, ("ready", ready))
    if isinstance(closed := found.get("closed"), bool):
        rows.append(("closed", "yes" if closed else "no: any host that reaches it may join"))
    if keys_text := _keys_text(found.get("network_keys")):
        rows.append(("network keys", keys_text))
    if isinstance(classic := found.get("classic"), bool):
        rows.append(("classic", "spoken with" if classic else "not spoken with"))
    if (uptime := number_in(found, "uptime")) is not None:
        rows.append(("uptime", duration_text(uptime)))
    if (contacts := number_in(found, "contacts")) is not None:
        buckets = found.get("buckets")
        in_buckets = f" in {len(buckets)} buckets" if isinstance(buckets, list) else ""
        of_classic = number_in(found, "classic_contacts")
        classic_too = f", and {of_classic:.0f} classic ones" if of_classic else ""
        rows.append(("contacts", f"{contacts:.0f}{in_buckets}{classic_too}"))
    if are_few(networks := int(number_in(found, "source_networks") or 0)):
        rows.append(("diversity", f"{TOO_FEW_NETWORKS} ({networks} known); {TOO_FEW_NETWORKS_REMEDY}"))
    if (keys := number_in(found, "keys")) is not None:
        rows.append(("records", f"{keys:.0f} keys, {number_in(found, 'values') or 0:.0f} values"))
    if (used := number_in(found, "bytes")) is not None:
        most = number_in(found, "max_bytes")
        rows.append(("storage", bytes_text(used) + (f" of {bytes_text(most)}" if most else "")))
    if (cached := number_in(found, "cached")) is not None:
        rows.append(("cached", f"{cached:.0f}"))
    return rows


def _keys_text(keys_untrusted: object) -> str:
    """The network keys, by their fingerprints: the one that is sent under, and the one that is accepted as well."""
    words = ("sent under", "also accepted")
    return ", ".join(
        f"{word} {key.get('fingerprint', '-')} (sessions: {number_in(key, 'sessions') or 0:.0f})"
        for word, key in zip(words, keys_untrusted if isinstance(keys_untrusted, list) else [], strict=False)
        if isinstance(key, dict)
    )


def number_in(found: dict[str, object], name: str) -> float | None:
    """The number under this name; None if there is none, or one that no node would give."""
    number = found.get(name)
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not abs(number) < MOST:
        return None
    return float(number)


def duration_text(seconds: float) -> str:
    """5 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    whole = int(seconds)
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // part} {smaller}"
    return f"{whole} s"


def bytes_text(count: float) -> str:
    """512 B, 1.5 KiB, 20.0 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("the last unit takes any number")
