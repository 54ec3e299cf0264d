"""Settings validate themselves: one line of cause, one of remedy, and no odd value gets through."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import attrs
import pytest

from camomile_trio.config import Config, Kademlia, Records, Requests, StorageConfig, local_cluster, split_pin
from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint

Section = type[Kademlia] | type[Requests] | type[Records] | type[StorageConfig]

NUMBERS = [
    (section, field.name)
    for section in (Kademlia, Requests, Records, StorageConfig)
    for field in attrs.fields(section)
    if isinstance(field.default, int | float)
]


def test_the_defaults_are_those_of_the_network() -> None:
    config = Config()
    assert (config.kademlia.k, config.kademlia.alpha) == (20, 3)
    assert (config.requests.first_rto, config.requests.least_rto, config.requests.most_rto) == (0.25, 0.05, 1.0)
    assert (config.records.lease, config.records.cache_life) == (86400.0, 60.0)
    assert config.records.max_value_size == 2**20
    assert (config.network, config.first, config.join, config.expect) == ("camomile", False, (), None)


@pytest.mark.parametrize(("section", "name"), NUMBERS)
@pytest.mark.parametrize("value", [-1, -math.inf, math.inf, math.nan, 2**60])
def test_no_number_is_out_of_bounds(section: Section, name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name) as caught:
        section(**{name: value})  # type: ignore[arg-type]
    assert "between" in caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "name", "low", "high"),
    [
        (Kademlia, "k", 1, 128),
        (Records, "lease", 60, 86400),
        (Records, "cache_life", 0, 60),
        (Requests, "max_operations", 1, 100_000),
    ],
)
def test_the_bounds_themselves_are_allowed(section: Section, name: str, low: int, high: int) -> None:
    assert getattr(section(**{name: low}), name) == low  # type: ignore[arg-type]
    assert getattr(section(**{name: high}), name) == high  # type: ignore[arg-type]
    for outside in (low - 1, high + 1):
        with pytest.raises(ConfigError):
            section(**{name: outside})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("section", "name", "value", "cause"),
    [
        (Records, "max_value_size", 2**27, "max_value_size is 128MiB, outside 1B to 64MiB"),
        (Records, "max_value_size", 2**26 + 1, "max_value_size is 67108865B, outside 1B to 64MiB"),
        (Records, "repair_rate", 1, "repair_rate is 1B, outside 1KiB to 100GiB a second"),
        (StorageConfig, "max_storage", 2**51, "max_storage is 2048TiB, outside 64KiB to 1024TiB"),
        (Requests, "max_pending", 2_000_000, "max_pending is 2000000, outside 16 to 1000000"),
        (Kademlia, "refresh_interval", 1e9, "refresh_interval is 1000000000, outside 1 to 604800 s"),
        (Records, "lease", 59.5, "lease is 59.5, outside 60 to 86400 s"),
    ],
)
def test_bounds_are_told_in_numbers_that_can_be_written_down(
    section: Section, name: str, value: float, cause: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        section(**{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == cause


@pytest.mark.parametrize(("section", "name"), NUMBERS)
@pytest.mark.parametrize("value", [-1, 2 * 10**15 + 1, 2e15, 2**60])
def test_no_bound_is_told_with_an_exponent(section: Section, name: str, value: float) -> None:
    with pytest.raises(ConfigError) as caught:
        section(**{name: value})  # type: ignore[arg-type]
    assert not re.search(r"[0-9]e[+-]?[0-9]", f"{caught.value} {caught.value.remedy}")


@pytest.mark.parametrize("name", ["node.example.org:8118", "10.0.0.1:1", "[fd00::1]:65535", "bootstrap:8118"])
def test_names_and_addresses_can_be_joined(name: str) -> None:
    assert Config(join=(name,)).join == (name,)


@pytest.mark.parametrize("name", ["", "node", "node:", ":8118", "node:0", "node:65536", "node:-1", "node:x", "node:²"])
def test_what_is_no_host_and_port_cannot_be_joined(name: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT") as caught:
        Config(join=("10.0.0.1:8118", name))
    assert "8118" in caught.value.remedy


KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize("name", ["node.example.org:8118", "10.0.0.1:8118", "[fd00::1]:8118"])
def test_a_node_to_join_can_be_pinned_by_its_key(name: str) -> None:
    assert Config(join=(f"{name}#{KEY}",)).join == (f"{name}#{KEY}",)
    assert split_pin(f"{name}#{KEY.upper()}") == (name, bytes.fromhex(KEY))
    assert split_pin(name) == (name, None)


@pytest.mark.parametrize("pin", ["", KEY[:-1], KEY + "0", KEY[:-1] + "x", " " + KEY[1:], KEY + "\n", f"#{KEY}"])
def test_what_is_no_key_pins_nothing(pin: str) -> None:
    with pytest.raises(ConfigError, match=r"what follows the # in .* is no key") as caught:
        Config(join=(f"node:8118#{pin}",))
    assert "64 hexadecimal digits of the node key" in caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "node", "node:0", "fd00::1:8118"])
def test_a_key_makes_no_place_of_what_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"):
        Config(join=(f"{name}#{KEY}",))


def test_one_name_need_not_be_in_a_list_and_an_endpoint_is_as_good_as_its_text() -> None:
    here = Endpoint.parse("10.0.0.1:8118")
    assert Config(join="node:8118").join == ("node:8118",)
    assert Config(join=here).join == ("10.0.0.1:8118",)
    assert Config(join=["node:8118", here]).join == ("node:8118", "10.0.0.1:8118")


def test_addresses_and_paths_may_be_given_as_text(tmp_path: Path) -> None:
    config = Config(
        listen="127.0.0.1:0",
        advertise="[fd00::1]:8118",
        network_key="network.key",
        publisher_key="publisher.key",
        storage=StorageConfig(data_dir=str(tmp_path)),
    )
    assert config.listen == Endpoint.parse("127.0.0.1:0")
    assert config.advertise == Endpoint.parse("[fd00::1]:8118")
    assert config.network_key == Path("network.key")
    assert config.publisher_key == Path("publisher.key")
    assert config.storage.data_dir == tmp_path


def test_classic_nodes_are_in_open_networks_only() -> None:
    with pytest.raises(ConfigError, match="classic nodes have no network keys") as caught:
        Config(classic=True, network_key="network.key")
    assert "not both" in caught.value.remedy


@pytest.mark.parametrize("name", ["listen", "advertise"])
def test_what_is_no_address_is_none_in_the_settings_either(name: str) -> None:
    with pytest.raises(ConfigError, match="is not an address and a port"):
        Config(**{name: "localhost:8118"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("section", "name", "value", "says"),
    [
        (Config, "listen", 8118, 'an address has to be text like "127.0.0.1:8118", or an Endpoint, not int'),
        (Config, "listen", b"\x7f\0\0\1\0\0", "an address .*not bytes"),
        (Config, "advertise", ("10.0.0.1", 8118), "an address .*not tuple"),
        (Config, "join", 8118, "join has to be text like .*not int"),
        (Config, "join", b"node:8118", "join .*not bytes"),
        (Config, "join", [("node", 8118)], "join .*not tuple"),
        (Config, "network", b"mine", "network has to be text, not bytes"),
        (Config, "classic", "no", "classic has to be True or False, not str"),
        (Config, "first", "no", "first has to be True or False, not str"),
        (Config, "network_key", b"00", "a path has to be text or a pathlib.Path, not bytes"),
        (Config, "trust", 7, 'trust has to be text like "203.0.113.0/24", or several of them, not int'),
        (Config, "trust", b"203.0.113.0/24", "trust .*not int"),
        (Config, "trust", [("203.0.113.0", 24)], "trust .*not tuple"),
        (Config, "publisher_key", 7, "a path has to be text or a pathlib.Path, not int"),
        (Config, "records", {"lease": 60}, "records has to be a Records, not dict"),
        (StorageConfig, "data_dir", b"d", "a path .*not bytes"),
        (Records, "lease", "60", "lease has to be a number, not str"),
        (Kademlia, "k", None, "k has to be a number, not NoneType"),
        (Kademlia, "k", 2.5, "k has to be a whole number, not float"),
    ],
)
def test_a_setting_of_a_wrong_type_is_a_type_error_that_says_what_to_pass(
    section: Callable[..., object], name: str, value: object, says: str
) -> None:
    with pytest.raises(TypeError, match=says):
        section(**{name: value})


@pytest.mark.parametrize("name", ["fe80::1%eth0:8118", "fd00::1:8118", "::1:8118", "fd00::8118"])
def test_an_ipv6_address_without_brackets_is_no_name(name: str) -> None:
    """Its zone used to be dropped without a word, and its last group to be taken for a port."""
    with pytest.raises(ConfigError, match="is not HOST:PORT") as caught:
        Config(join=(name,))
    assert "[fd00::1]:8118" in caught.value.remedy


@pytest.mark.parametrize("name", ["[fe80::1%eth0]:8118", "[fe80::1]:8118", "0.0.0.0:8118", "[::]:8118", "[gone]:8118"])
def test_an_address_where_no_node_can_be_is_refused_in_words(name: str) -> None:
    """They used to be asked for ever, or never, without a word."""
    with pytest.raises(ConfigError, match=r"zone|no node can be reached|not an address"):
        Config(join=(name,))


# What files and environments make of a name without anybody seeing it, and what is said about it.
LOOK_ALIKES = [
    ("", "it is empty"),
    (" ", "it is empty"),
    ("prod\r", "cannot be seen"),
    ("prod\n", "cannot be seen"),
    ("\ufeffprod", "cannot be seen"),
    ("pro\u200bd", "cannot be seen"),
    ("prod\0", "cannot be seen"),
    ("prod ", "begins or ends with a blank"),
    (" prod", "begins or ends with a blank"),
    ('"prod"', "begins or ends with a quote"),
    ("'prod", "begins or ends with a quote"),
    ("“prod”", "begins or ends with a quote"),
    (os.fsdecode(b"caf\xe9"), "bytes that are not UTF-8"),
    ("cafe\u0301", "not in form NFC"),
]


@pytest.mark.parametrize(("name", "flaw"), LOOK_ALIKES)
def test_a_name_that_only_looks_like_a_networks_is_refused(name: str, flaw: str) -> None:
    with pytest.raises(ConfigError, match=flaw) as caught:
        Config(network=name)
    assert "write the plain name" in caught.value.remedy


def test_classic_nodes_are_spoken_with_on_demand_and_in_the_default_network_only() -> None:
    assert not Config().classic
    assert Config(classic=True).classic
    with pytest.raises(ConfigError, match="classic nodes know no networks by name") as caught:
        Config(classic=True, network="mine")
    assert "--network" in (caught.value.remedy or "")


@pytest.mark.parametrize("name", ["prod", "my network", "caf\u00e9", "сеть", "it's mine", "a" * 500])
def test_any_other_name_is_a_networks(name: str) -> None:
    assert Config(network=name).network == name


@pytest.mark.parametrize("number", [0, -1, 1001])
def test_a_deployment_of_no_node_or_of_more_than_any_meets_is_refused(number: int) -> None:
    with pytest.raises(ConfigError, match="expect is") as caught:
        Config(expect=number)
    assert "a number of nodes from 1 to 1000" in caught.value.remedy


def test_to_wait_for_nobody_is_not_the_same_as_to_be_the_only_one() -> None:
    for number in (True, 2.0, math.nan, "3"):
        with pytest.raises(TypeError, match="expect has to be a whole number or None, not"):
            Config(expect=number)  # type: ignore[arg-type]
    assert Config().expect is None
    assert Config(expect=1).expect == 1


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Config().network = "other"  # type: ignore[misc]


def test_a_local_cluster_is_patient_with_a_busy_processor() -> None:
    config = local_cluster(Config(network="mine"))
    assert config.network == "mine"
    assert config.requests.first_rto > Requests().first_rto
    assert config.requests.deadline > Requests().deadline
    assert config.requests.max_pending == Requests().max_pending


def test_an_unknown_way_to_sync_is_refused() -> None:
    with pytest.raises(ConfigError, match="sync is 'sometimes'"):
        StorageConfig(sync="sometimes")  # type: ignore[arg-type]


def test_trusted_networks_may_be_given_as_text_and_one_need_not_be_in_a_list() -> None:
    one, other = ip_network("203.0.113.0/24"), ip_network("2001:db8::/32")
    assert Config(trust="203.0.113.0/24").trust == (one,)
    assert Config(trust=one).trust == (one,)
    assert Config(trust=["203.0.113.0/24", other]).trust == (one, other)


@pytest.mark.parametrize(
    ("network", "why", "remedy"),
    [
        ("203.0.113.7/24", "it has bits of a host", "the first address of the network"),
        ("203.0.113.0/33", "that is no network", "203.0.113.0/24"),
        ("alpha.example", "that is no network", "203.0.113.0/24"),
        ("", "that is no network", "203.0.113.0/24"),
        ("0.0.0.0/0", "nearly everybody's", "/8 or longer"),
        ("::/0", "nearly everybody's", "/16 or longer"),
    ],
)
def test_a_trusted_network_that_makes_no_sense_is_refused(network: str, why: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=why) as caught:
        Config(trust=network)
    assert remedy in caught.value.remedy


def test_in_an_open_network_diversity_counts_and_in_a_closed_one_all_nodes_do() -> None:
    assert Config(network_key="network.key", trust="203.0.113.0/24").diversity is None
    diversity = Config(trust="203.0.113.0/24").diversity
    assert diversity is not None
    assert diversity.trusts(bytes([203, 0, 113, 9]))
    assert not diversity.trusts(bytes([203, 0, 114, 9]))
