"""The options of `camomile node`: what they mean, where they come from, and what is refused before anything starts."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path

import attrs
import pytest
import trio

from camomile_trio.cli import camomile, descriptors, logs
from camomile_trio.cli.places import SocketPlace
from camomile_trio.cli.running import Process
from camomile_trio.config import GIB, MIB, Config, Kademlia, Records, StorageConfig
from camomile_trio.http.settings import HttpSettings
from camomile_trio.kademlia.contacts import Endpoint
from tests.cli.terminal import Run, complaint
from tests.secrets_on_disk import secret_file


@attrs.define
class Started:
    """What would have run."""

    config: Config | None = None
    http: HttpSettings | None = None
    socket: SocketPlace | None = None

    @property
    def socket_at_8118(self) -> Path:
        assert self.socket is not None
        return self.socket(8118)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """Nothing starts; what would have is kept."""
    kept = Started()

    def keep(_: object, config: Config, http: HttpSettings, socket: SocketPlace, process: Process) -> None:
        kept.config, kept.http, kept.socket = config, http, socket

    monkeypatch.setattr(trio, "run", keep)
    monkeypatch.setattr(logs, "logging_events", lambda *_: nullcontext())
    monkeypatch.setattr(descriptors, "raise_limit", lambda: 4096)
    return kept


def test_without_options_it_is_a_lasting_node_whose_http_is_for_this_machine(
    run: Run, started: Started, home: Path
) -> None:
    assert run("node").exit_code == 0
    directory = home / "data" / "camomile"
    assert started.config == Config(
        listen=Endpoint.parse("0.0.0.0:8118"), storage=StorageConfig(data_dir=directory, max_storage=GIB)
    )
    assert started.http == HttpSettings(listen=Endpoint.parse("127.0.0.1:8080"), token=None)
    assert started.socket_at_8118 == directory / "control.sock"


EVERY_OPTION = {
    "--listen": "[::]:8119",
    "--advertise": "192.0.2.1:8118",
    "--http": "127.0.0.2:80",
    "--expect": "3",
    "--network": "alpha",
    "--network-key": "/keys/n",
    "--data-dir": "/data",
    "--socket": "/run/c.sock",
    "--publisher-key": "/keys/p",
    "--sync": "full",
    "--max-storage": "2GiB",
    "--max-value-size": "4MiB",
    "--cache-life": "5",
    "--repair-rate": "64KiB",
    "--lease": "3600",
    "--replicate-interval": "60",
    "--refresh-interval": "30",
    "--log-level": "debug",
    "--log-format": "json",
}
EXPECTED = Config(
    listen=Endpoint.parse("[::]:8119"),
    advertise=Endpoint.parse("192.0.2.1:8118"),
    join=("a.example:1", f"[::1]:2#{'ab' * 32}"),
    first=True,
    expect=3,
    network="alpha",
    network_key=Path("/keys/n"),
    trust=("203.0.113.0/24", "2001:db8::/48"),
    publisher_key=Path("/keys/p"),
    kademlia=Kademlia(refresh_interval=30),
    records=Records(lease=3600, replicate_interval=60, cache_life=5, max_value_size=4 * MIB, repair_rate=64 * 1024),
    storage=StorageConfig(data_dir=Path("/data"), sync="full", max_storage=2 * GIB),
)


def test_every_option_has_its_place(run: Run, started: Started, tmp_path: Path) -> None:
    secret_file(tmp_path / "token", b"secret-and-random\n")
    words = [word for pair in EVERY_OPTION.items() for word in pair]
    words += ["--first", "--http-token", str(tmp_path / "token")]
    words += [word for each in EXPECTED.join for word in ("--join", each)]
    words += [word for each in EXPECTED.trust for word in ("--trust", str(each))]
    assert run("node", *words).exit_code == 0
    assert started.config == EXPECTED
    assert started.http == HttpSettings(listen=Endpoint.parse("127.0.0.2:80"), token=b"secret-and-random")
    assert started.socket_at_8118 == Path("/run/c.sock")


def test_every_option_can_come_from_the_environment(run: Run, started: Started, tmp_path: Path) -> None:
    secret_file(tmp_path / "token", b"secret-and-random\n")
    environment = {f"CAMOMILE_{name[2:].replace('-', '_').upper()}": text for name, text in EVERY_OPTION.items()}
    environment["CAMOMILE_NETWORK_KEY_FILE"] = environment.pop("CAMOMILE_NETWORK_KEY")
    environment |= {"CAMOMILE_FIRST": "1", "CAMOMILE_JOIN": ", ".join(EXPECTED.join)}
    environment["CAMOMILE_TRUST"] = ", ".join(map(str, EXPECTED.trust))
    environment["CAMOMILE_HTTP_TOKEN"] = str(tmp_path / "token")
    assert run("node", environment=environment).exit_code == 0
    assert started.config == EXPECTED
    assert started.http == HttpSettings(listen=Endpoint.parse("127.0.0.2:80"), token=b"secret-and-random")


def test_classic_nodes_are_spoken_with_on_demand(run: Run, started: Started) -> None:
    """Which no named network does, so it is none of the options above."""
    for words, environment, expected in (
        ([], {}, False),
        (["--classic"], {}, True),
        ([], {"CAMOMILE_CLASSIC": "1"}, True),
    ):
        assert run("node", *words, environment=environment).exit_code == 0
        assert started.config is not None
        assert started.config.classic is expected


@pytest.mark.parametrize("command", ["node", "cluster", "put", "get", "forget", "status", "ping", "stop"])
def test_every_option_has_help_and_a_variable(run: Run, command: str) -> None:
    text = run(command, "--help").stdout
    for parameter in camomile.commands[command].params:
        if parameter.param_type_name == "option":
            suffix = "_FILE" if "--network-key" in parameter.opts else ""
            assert parameter.envvar == "CAMOMILE_" + max(parameter.opts, key=len)[2:].replace("-", "_").upper() + suffix
            assert parameter.envvar in text
            assert getattr(parameter, "help", None)


def test_an_empty_variable_counts_as_unset(run: Run, started: Started) -> None:
    names = ("JOIN", "LISTEN", "FIRST", "EXPECT")
    assert run("node", environment={f"CAMOMILE_{name}": "" for name in names}).exit_code == 0
    assert started.config is not None
    assert (started.config.join, started.config.first, started.config.expect) == ((), False, None)


def test_an_ephemeral_node_keeps_nothing_on_disk(run: Run, started: Started, home: Path) -> None:
    assert run("node", "--ephemeral").exit_code == 0
    assert started.config is not None
    assert started.config.storage.data_dir is None
    assert started.socket_at_8118 == home / "run" / "camomile" / "control-8118.sock"
    assert not (home / "data" / "camomile").exists()


def test_a_word_on_the_command_line_goes_before_the_environment(run: Run, started: Started) -> None:
    assert run("node", "--ephemeral", environment={"CAMOMILE_DATA_DIR": "/data"}).exit_code == 0
    assert started.config is not None
    assert started.config.storage.data_dir is None
    assert run("node", "--data-dir", "/data", environment={"CAMOMILE_EPHEMERAL": "1"}).exit_code == 0
    assert started.config.storage.data_dir == Path("/data")


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--ephemeral", "--data-dir", "/data"], {}),
        ([], {"CAMOMILE_EPHEMERAL": "1", "CAMOMILE_DATA_DIR": "/data"}),
    ],
)
def test_a_node_is_ephemeral_or_not(run: Run, words: list[str], environment: dict[str, str]) -> None:
    result = run("node", *words, environment=environment)
    assert "not both" in complaint(result)
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--lease", "86401"], "lease is 86401, outside 60 to 86400 s"),
        (["--lease", "59"], "lease is 59, outside 60 to 86400 s"),
        (["--lease", "nan"], "lease is nan"),
        (["--lease", "a day"], "--lease: 'a day' is not a valid float"),
        (["--expect", "0"], "expect is 0, outside 1 to 1000"),
        (["--expect", "1001"], "expect is 1001, outside 1 to 1000"),
        (["--expect", "some"], "--expect: 'some' is not a valid int"),
        (["--cache-life", "61"], "cache_life is 61, outside 0 to 60 s"),
        (["--max-value-size", "1TiB"], "max_value_size"),
        (["--max-storage", "much"], "--max-storage: 'much' is no size"),
        (["--listen", ":8118"], "--listen: ':8118' names no address"),
        (["--http", "example.org:8080"], "--http: 'example.org:8080' is not an address and a port"),
        (["--advertise", "0.0.0.0:8118"], "--advertise: nobody can reach 0.0.0.0:8118"),
        (["--join", "node"], "'node' is not HOST:PORT"),
        (["--join", "node:0"], "'node:0' is not HOST:PORT"),
        (["--join", "node:8118#abc"], "what follows the # in 'node:8118#abc' is no key"),
        (["--join", "[fe80::1%eth0]:8118"], "'[fe80::1%eth0]:8118' has a zone"),
        (["--listen", "[fe80::1%eth0]:8118"], "'[fe80::1%eth0]:8118' has a zone"),
        (["--network", " "], "--network: ' ' is no name: it is empty"),
        (["--classic", "--network", "mine"], "classic nodes know no networks by name, and this one is 'mine'"),
        (["--classic", "--network-key", "key"], "classic nodes have no network keys"),
        (["--sync", "never"], "--sync: 'never' is not one of 'os', 'full'"),
        (["--log-level", "loud"], "--log-level: 'loud' is not one of"),
        (["--what"], "no such option '--what'"),
        (["what"], "unexpected extra argument"),
    ],
)
def test_a_wrong_setting_is_one_line(run: Run, started: Started, words: list[str], says: str) -> None:
    result = run("node", *words)
    assert says in complaint(result)
    assert result.exit_code == 2
    assert started.config is None


def test_a_network_key_in_the_environment_is_refused_and_not_repeated(run: Run, started: Started) -> None:
    """The node would run in an open network, and nothing would say so."""
    result = run("node", environment={"CAMOMILE_NETWORK_KEY": "ab" * 32})
    assert "CAMOMILE_NETWORK_KEY_FILE" in complaint(result)
    assert "abab" not in result.output
    assert result.exit_code == 2
    assert started.config is None


def test_a_wrong_setting_of_the_environment_is_called_by_its_name(run: Run) -> None:
    result = run("node", environment={"CAMOMILE_LISTEN": ":8118"})
    assert complaint(result).startswith("CAMOMILE_LISTEN: ':8118' names no address")


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CAMOMILE_NETWORK", "prod\r"),
        ("CAMOMILE_NETWORK", "prod "),
        ("CAMOMILE_NETWORK", '"prod"'),
        ("CAMOMILE_NETWORK", os.fsdecode(b"caf\xe9")),
        ("CAMOMILE_DATA_DIR", "data\r"),
        ("CAMOMILE_DATA_DIR", "'data'"),
        ("CAMOMILE_PUBLISHER_KEY", "publisher.key "),
        ("CAMOMILE_SOCKET", "control.sock\r"),
        ("CAMOMILE_JOIN", '"node.example:8118 other.example:8118"'),
        ("CAMOMILE_LISTEN", "127.0.0.1:8118\r"),
    ],
)
def test_a_line_of_a_file_that_was_not_read_as_it_was_meant_is_refused(
    run: Run, started: Started, variable: str, text: str
) -> None:
    result = run("node", environment={variable: text})
    assert complaint(result).startswith(f"{variable}: ")
    assert result.exit_code == 2
    assert started.config is None


def test_a_path_may_have_bytes_that_are_not_utf_8(run: Run, started: Started, tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"caf\xe9")
    assert run("node", environment={"CAMOMILE_DATA_DIR": str(directory)}).exit_code == 0
    assert started.config is not None
    assert started.config.storage.data_dir == directory


@pytest.mark.parametrize("text", [b"a:b\n", b"a\n"])
def test_a_token_that_no_header_can_carry_or_that_is_short_is_refused(
    run: Run, started: Started, tmp_path: Path, text: bytes
) -> None:
    result = run("node", "--http-token", str(secret_file(tmp_path / "token", text)))
    assert "token" in complaint(result)
    assert result.exit_code == 2
    assert started.config is None


def test_the_version_is_one_line(run: Run) -> None:
    result = run("--version")
    assert result.stdout.startswith("camomile ")
    assert (len(result.stdout.splitlines()), result.exit_code) == (1, 0)


def test_without_a_command_there_is_help_and_an_exit_code_of_misuse(run: Run) -> None:
    result = run()
    assert "Commands:" in result.stderr
    assert (result.stdout, result.exit_code) == ("", 2)
