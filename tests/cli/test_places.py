"""Where files go when nobody says where."""

from __future__ import annotations

import os
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
    assert socket_of_node(None, Path("/data"), environment, ME) == Path("/data/control.sock")
    assert socket_of_node(Path("/told.sock"), Path("/data"), environment, ME) == Path("/told.sock")
    assert socket_of_node(Path("/told.sock"), None, environment, ME) == Path("/told.sock")
    assert not (tmp_path / "camomile").exists()


def test_an_ephemeral_nodes_socket_lies_in_the_runtime_directory(tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path)}
    assert socket_of_node(None, None, environment, ME) == tmp_path / "camomile" / "control.sock"
    assert (tmp_path / "camomile").is_dir()


def test_a_command_finds_the_socket_of_the_node_that_is_there(tmp_path: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "XDG_DATA_HOME": str(tmp_path / "data")}
    usual = tmp_path / "data" / "camomile" / "control.sock"
    ephemeral = tmp_path / "run" / "camomile" / "control.sock"
    assert socket_to_call(None, None, environment, ME) == usual

    ephemeral.parent.mkdir(parents=True)
    ephemeral.touch()
    assert socket_to_call(None, None, environment, ME) == ephemeral
    assert socket_to_call(None, tmp_path / "other", environment, ME) == tmp_path / "other" / "control.sock"

    usual.parent.mkdir(parents=True)
    usual.touch()
    assert socket_to_call(None, None, environment, ME) == usual
    assert socket_to_call(tmp_path / "told", None, environment, ME) == tmp_path / "told"
