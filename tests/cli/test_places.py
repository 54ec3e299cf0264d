"""Where files go when nobody says where."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from camomile_trio.cli.places import (
    checked_socket_path,
    default_data_dir,
    make_private_dir,
    runtime_dir,
    socket_of_node,
    socket_to_call,
)
from camomile_trio.errors import ConfigError

ME = os.getuid()


def test_data_lie_where_xdg_says() -> None:
    assert default_data_dir({"XDG_DATA_HOME": "/somewhere"}) == Path("/somewhere/camomile")


def test_without_xdg_data_lie_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = tmp_path / ".local" / "share" / "camomile"
    assert default_data_dir({}) == expected
    assert default_data_dir({"XDG_DATA_HOME": "relative"}) == expected


def test_the_runtime_directory_is_xdgs_or_one_of_this_user() -> None:
    assert runtime_dir({"XDG_RUNTIME_DIR": "/run/user/7"}, 7) == Path("/run/user/7/camomile")
    assert runtime_dir({}, 7).name == "camomile-7"
    assert runtime_dir({}, 7) != runtime_dir({}, 8)


def test_a_runtime_directory_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    make_private_dir(path, ME)
    make_private_dir(path, ME)
    assert path.stat().st_mode & 0o777 == 0o700


def test_somebody_elses_directory_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a directory of this user"):
        make_private_dir(tmp_path, ME + 1)


def test_a_directory_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(ConfigError, match="not a directory of this user alone"):
        make_private_dir(path, ME)


def test_a_link_put_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o700)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match="not a directory of this user alone"):
        make_private_dir(link, ME)


def test_a_directory_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        make_private_dir(tmp_path / "file" / "below", ME)


def test_a_socket_path_has_at_most_107_bytes() -> None:
    longest = Path("/" + "a" * 106)
    assert checked_socket_path(longest) == longest
    with pytest.raises(ConfigError, match="107 is the most") as caught:
        checked_socket_path(Path("/" + "ä" * 53 + "a"))
    assert "--socket" in caught.value.remedy


def test_a_nodes_socket_lies_in_its_data_directory_or_where_it_is_told(tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert socket_of_node(None, Path("/data"), environment, ME)(8118) == Path("/data/control.sock")
    assert socket_of_node(Path("/told.sock"), Path("/data"), environment, ME)(8118) == Path("/told.sock")
    assert socket_of_node(Path("/told.sock"), None, environment, ME)(8118) == Path("/told.sock")
    assert not (tmp_path / "camomile").exists()


def test_ephemeral_nodes_have_their_sockets_in_the_runtime_directory_one_for_each_port(tmp_path: Path) -> None:
    place = socket_of_node(None, None, {"XDG_RUNTIME_DIR": str(tmp_path)}, ME)
    assert place(8118) == tmp_path / "camomile" / "control-8118.sock"
    assert place(8119) == tmp_path / "camomile" / "control-8119.sock"
    assert (tmp_path / "camomile").is_dir()


def test_a_runtime_directory_that_is_too_deep_is_said_before_anything_starts(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100)
    with pytest.raises(ConfigError, match="107 is the most"):
        socket_of_node(None, None, {"XDG_RUNTIME_DIR": str(deep)}, ME)


@contextmanager
def listening(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


class TestWhichNodeIsCalled:
    @pytest.fixture
    def environment(self, tmp_path: Path) -> dict[str, str]:
        return {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "XDG_DATA_HOME": str(tmp_path / "data")}

    @pytest.fixture
    def usual(self, tmp_path: Path) -> Path:
        return tmp_path / "data" / "camomile" / "control.sock"

    @pytest.fixture
    def ephemeral(self, tmp_path: Path) -> Path:
        return tmp_path / "run" / "camomile" / "control-8118.sock"

    def test_as_it_is_told(self, environment: dict[str, str], ephemeral: Path, tmp_path: Path) -> None:
        with listening(ephemeral):
            assert socket_to_call(tmp_path / "told", None, environment, ME) == tmp_path / "told"
            assert socket_to_call(None, tmp_path / "it", environment, ME) == tmp_path / "it" / "control.sock"

    def test_the_only_one_that_runs(self, environment: dict[str, str], usual: Path, ephemeral: Path) -> None:
        for one in (usual, ephemeral):
            with listening(one):
                assert socket_to_call(None, None, environment, ME) == one
            one.unlink()

    def test_one_that_was_killed_does_not_count(
        self, environment: dict[str, str], usual: Path, ephemeral: Path
    ) -> None:
        with listening(usual), listening(ephemeral.with_name("control-8119.sock")):
            pass  # both leave their files behind
        with listening(ephemeral):
            assert socket_to_call(None, None, environment, ME) == ephemeral

    def test_of_several_it_is_asked_which(self, environment: dict[str, str], usual: Path, ephemeral: Path) -> None:
        second = ephemeral.with_name("control-8119.sock")
        with listening(usual), listening(ephemeral), listening(second), pytest.raises(ConfigError) as caught:
            socket_to_call(None, None, environment, ME)
        assert all(str(one) in str(caught.value) for one in (usual, ephemeral, second))
        assert "--socket" in caught.value.remedy

    def test_where_none_runs_it_is_that_of_a_node_without_options(
        self, environment: dict[str, str], usual: Path
    ) -> None:
        assert socket_to_call(None, None, environment, ME) == usual
