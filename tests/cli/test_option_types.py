"""What a user may write behind an option, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.cli.option_types import (
    DIRECTORY,
    FILE,
    FILE_OR_STREAM,
    KEY_FILE,
    STREAM,
    TOKEN_FILE,
    IdOfNode,
    KeyOfValue,
    NodeUrl,
    PeerNames,
    ReachableAddress,
    Size,
    SocketAddress,
    option,
)
from camomile_trio.config import size_text
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key


def refusal(kind: click.ParamType[object], text: str) -> str:
    with pytest.raises(click.BadParameter) as caught:
        kind.convert(text, None, None)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GiB", 2**30),
        ("64KiB", 65536),
        ("500MB", 500_000_000),
        ("4096", 4096),
        ("0", 0),
        ("1.5 MiB", 3 * 2**19),
        ("7b", 7),
        ("2tb", 2 * 10**12),
    ],
)
def test_a_size_is_written_with_or_without_a_unit(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1e9", "1 XB", "1GiB2", "nan", "\u0661", "1" * 30])
def test_what_is_no_size_is_told_how_to_write_one(text: str) -> None:
    assert "write 1GiB, 64KiB, 500MB" in refusal(Size(), text)


@given(st.integers(0, 2**50))
def test_a_size_as_text_reads_back_as_the_same_size(size: int) -> None:
    assert Size().convert(size_text(size), None, None) == size


def test_sizes_are_shown_in_the_largest_unit_that_fits() -> None:
    assert [size_text(size) for size in (0, 1536, 2**20, 2**30, 2**20 + 1)] == [
        "0B",
        "1536B",
        "1MiB",
        "1GiB",
        "1048577B",
    ]


@pytest.mark.parametrize("text", ["127.0.0.1:8080", "0.0.0.0:0", "[::]:8118", "[::1]:1"])
def test_an_address_has_an_ip_and_a_port(text: str) -> None:
    assert SocketAddress().convert(text, None, None) == Endpoint.parse(text)


@pytest.mark.parametrize("text", [":8080", "8080"])
def test_a_port_alone_is_refused_with_both_ways_to_mean_it(text: str) -> None:
    message = refusal(SocketAddress(), text)
    assert "names no address" in message
    assert "127.0.0.1:8080" in message
    assert "0.0.0.0:8080" in message


@pytest.mark.parametrize("text", ["localhost:8080", "LocalHost:8080"])
def test_localhost_is_this_machine_and_nobody_is_asked_for_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.getaddrinfo", None)
    assert SocketAddress().convert(text, None, None) == Endpoint.parse("127.0.0.1:8080")


@pytest.mark.parametrize("text", ["localhost", "localhost:", "localhost:http", "localhost:99999", "a.localhost:80"])
def test_localhost_has_a_port_as_every_address(text: str) -> None:
    assert "write 127.0.0.1:8118" in refusal(SocketAddress(), text)


@pytest.mark.parametrize("kind", [FILE, TOKEN_FILE, KEY_FILE, DIRECTORY])
def test_a_dash_is_no_name_where_no_stream_is_taken(
    kind: click.ParamType[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if kind is TOKEN_FILE:
        (tmp_path / "-").touch()
    assert "stands for a standard stream" in refusal(kind, "-")
    assert FILE_OR_STREAM.convert("-", None, None) == STREAM


@pytest.mark.parametrize("text", ["example.org:8080", "127.0.0.1", "1.2.3.4:99999", "::1:80", ""])
def test_a_bad_address_is_told_how_to_write_a_good_one(text: str) -> None:
    assert "write 127.0.0.1:8118" in refusal(SocketAddress(), text)


@pytest.mark.parametrize("text", ["0.0.0.0:8118", "[::]:8118", "10.0.0.1:0", "224.0.0.1:8118"])
def test_peers_are_not_told_an_address_that_nobody_can_reach(text: str) -> None:
    assert "nobody can reach" in refusal(ReachableAddress(), text)


def test_a_peer_may_be_pinned_by_its_key() -> None:
    pinned = f"node.example:8118#{'ab' * 32}"
    assert PeerNames().convert(pinned, None, None) == pinned
    assert "holds no name of a host" in refusal(PeerNames(), f"node\t:8118#{'ab' * 32}")
    assert PeerNames().split_envvar_value(f"{pinned}, a:1") == [pinned, "a:1"]


def test_names_in_the_environment_are_separated_by_spaces_or_commas() -> None:
    assert PeerNames().split_envvar_value(" a:1, b:2\n[::1]:3,,") == ["a:1", "b:2", "[::1]:3"]


@pytest.mark.parametrize("text", ["http://127.0.0.1:8080\r", "http://a/\tb", " http://a", "http://a b"])
def test_a_url_with_characters_that_a_splitter_drops_is_refused(text: str) -> None:
    assert "write http://127.0.0.1:8080" in refusal(NodeUrl(), text)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:8080", "ftp://a", "http://", "http://a:b", "http://a?b=1", "http://u@a", "http://[::1", ""]
)
def test_only_the_address_of_a_web_server_is_a_nodes_url(text: str) -> None:
    assert "write http://127.0.0.1:8080" in refusal(NodeUrl(), text)


def test_a_url_loses_its_last_slash() -> None:
    assert NodeUrl().convert("http://[::1]:8080/", None, None) == "http://[::1]:8080"


def test_a_key_may_be_copied_from_a_location_and_be_in_upper_case() -> None:
    key = Key.of(b"abc")
    assert KeyOfValue().convert(f"/{key.hex().upper()}", None, None) == key


@pytest.mark.parametrize("text", ["", "ab", "g" * 64, "/" + "0" * 63])
def test_what_is_no_key_is_refused(text: str) -> None:
    assert "64 hexadecimal digits" in refusal(KeyOfValue(), text)
    assert "64 hexadecimal digits" in refusal(IdOfNode(), text)


def test_an_options_environment_variable_has_its_long_name() -> None:
    @click.command()
    @option("-n", "--how-many", default=3)
    def command(how_many: int) -> None: ...

    assert command.params[0].envvar == "CAMOMILE_HOW_MANY"
