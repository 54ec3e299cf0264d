"""A node's state, as people read it."""

from __future__ import annotations

import pytest

from camomile_trio.cli.status_table import bytes_text, duration_text, print_status, status_rows

READY: dict[str, object] = {
    "id": "ab" * 32,
    "node_key": "ef" * 32,
    "endpoint": "127.0.0.1:8118",
    "advertised": None,
    "network": "camomile",
    "closed": False,
    "network_keys": [],
    "classic": False,
    "version": "0.1.0",
    "ready": True,
    "not_ready_because": "",
    "uptime": 3725.4,
    "contacts": 9,
    "classic_contacts": 0,
    "source_networks": 0,
    "buckets": [{"index": 255, "contacts": 5, "replacements": 0}, {"index": 254, "contacts": 4, "replacements": 0}],
    "keys": 12,
    "values": 11,
    "bytes": 1536,
    "max_bytes": 2**30,
    "cached": 2,
    "publisher": "cd" * 32,
    "observed": "127.0.0.1:8118",
}


def test_a_ready_node_is_shown_row_by_row() -> None:
    assert status_rows(READY) == [
        ("id", "ab" * 32),
        ("ready", "yes"),
        ("node key", "ef" * 32),
        ("version", "0.1.0"),
        ("network", "camomile"),
        ("peers at", "127.0.0.1:8118"),
        ("seen at", "127.0.0.1:8118"),
        ("publisher", "cd" * 32),
        ("closed", "no: any host that reaches it may join"),
        ("classic", "not spoken with"),
        ("uptime", "1 h 2 min"),
        ("contacts", "9 in 2 buckets"),
        ("records", "12 keys, 11 values"),
        ("storage", "1.5 KiB of 1.0 GiB"),
        ("cached", "2"),
    ]


def test_a_closed_network_says_which_keys_are_accepted() -> None:
    one, other = {"fingerprint": "11111111", "sessions": 12}, {"fingerprint": "22222222", "sessions": 1}
    rows = dict(status_rows({**READY, "closed": True, "network_keys": [one, other]}))
    assert rows["closed"] == "yes"
    assert rows["network keys"] == "sent under 11111111 (sessions: 12), also accepted 22222222 (sessions: 1)"
    assert dict(status_rows({**READY, "network_keys": [7, {}]}))["network keys"] == "also accepted - (sessions: 0)"
    assert "network keys" not in dict(status_rows({**READY, "network_keys": "11111111"}))


@pytest.mark.parametrize(("networks", "is_told"), [(0, False), (1, True), (4, True), (5, False), ("4", False)])
def test_a_node_that_knows_few_networks_says_what_that_means(networks: object, is_told: bool) -> None:
    rows = dict(status_rows({**READY, "source_networks": networks}))
    assert ("diversity" in rows) is is_told
    if is_told:
        assert rows["diversity"] == (
            f"an attacker in four other networks could stop this network ({networks} known); name your own networks "
            "with --trust, or close the network with a network key"
        )


def test_a_node_that_speaks_with_classic_ones_says_so() -> None:
    rows = dict(status_rows({**READY, "classic": True, "classic_contacts": 4}))
    assert (rows["classic"], rows["contacts"]) == ("spoken with", "9 in 2 buckets, and 4 classic ones")


def test_a_node_that_is_not_ready_says_why() -> None:
    rows = dict(status_rows({**READY, "ready": False, "not_ready_because": "nobody answered yet"}))
    assert rows["ready"] == "no: nobody answered yet"


def test_a_node_of_another_version_is_shown_as_far_as_it_goes() -> None:
    assert status_rows({"id": "x", "contacts": "many", "keys": None, "ready": 1}) == [("id", "x"), ("ready", "no: ")]


def test_text_of_a_node_is_neither_markup_nor_control(capsys: pytest.CaptureFixture[str]) -> None:
    print_status({**READY, "network": "[red]\x1b[31mred\nline"})
    assert "[red]\N{REPLACEMENT CHARACTER}[31mred line" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (200, "3 min 20 s"), (90061, "1 d 1 h"), (7500, "2 h 5 min")],
)
def test_a_duration_is_told_in_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (20 * 2**20, "20.0 MiB"), (2**53, "8192.0 TiB")],
)
def test_bytes_are_told_in_the_unit_that_fits(count: int, text: str) -> None:
    assert bytes_text(count) == text
