"""How `camomile peers` shows the nodes that a node knows to people.

Rules of this file: what a node answers is untrusted text: it is cleaned. What is missing, or not known, is a `-`.
"""

from __future__ import annotations

from collections.abc import Iterator

from camomile_trio.cli.failures import one_line
from camomile_trio.cli.status_table import duration_text, number_in


def peer_lines(found_untrusted: dict[str, object]) -> Iterator[str]:
    """A head, and a line for each peer. In an open network no session has a network key, and there is no column."""
    listed = found_untrusted.get("peers")
    peers = [peer for peer in listed if isinstance(peer, dict)] if isinstance(listed, list) else []
    is_closed = any(peer.get("network_key") is not None for peer in peers)
    yield _row("ID", "ENDPOINT", "ROUND TRIP", "LAST SEEN", "ANSWERS", *(["NETWORK KEY"] if is_closed else []))
    for peer in peers:
        round_trip, last_seen = number_in(peer, "round_trip"), number_in(peer, "last_seen")
        yield _row(
            one_line(f"{peer.get('id', '-')}"),
            one_line(f"{peer.get('endpoint', '-')}"),
            "-" if round_trip is None else f"{round_trip * 1000:.2f} ms",
            "-" if last_seen is None else duration_text(last_seen),
            "yes" if peer.get("answers") is True else "no",
            *([one_line(f"{peer.get('network_key') or '-'}")] if is_closed else []),
        )


def _row(node: str, endpoint: str, round_trip: str, last_seen: str, answers: str, *key: str) -> str:
    return "  ".join(
        (f"{node:64}", f"{endpoint:21}", f"{round_trip:>10}", f"{last_seen:>11}", f"{answers:7}", *key)
    ).rstrip()
