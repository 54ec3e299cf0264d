"""Settings validate themselves: one line of cause, one of remedy, and no odd value gets through."""

from __future__ import annotations

import math

import attrs
import pytest

from camomile_trio.config import Config, Kademlia, Records, Requests, StorageConfig, local_cluster
from camomile_trio.errors import ConfigError

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
    assert (config.network, config.first, config.join) == ("camomile", False, ())


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


@pytest.mark.parametrize("name", ["node.example.org:8118", "10.0.0.1:1", "[fd00::1]:65535", "bootstrap:8118"])
def test_names_and_addresses_can_be_joined(name: str) -> None:
    assert Config(join=(name,)).join == (name,)


@pytest.mark.parametrize("name", ["", "node", "node:", ":8118", "node:0", "node:65536", "node:-1", "node:x", "node:²"])
def test_what_is_no_host_and_port_cannot_be_joined(name: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT") as caught:
        Config(join=("10.0.0.1:8118", name))
    assert "8118" in caught.value.remedy


def test_a_network_has_a_name() -> None:
    with pytest.raises(ConfigError, match="network is empty"):
        Config(network="")


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
