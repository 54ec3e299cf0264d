"""How many connections follow from how many descriptors there are."""

from __future__ import annotations

import resource

import pytest

from camomile_trio.cli.descriptors import ENOUGH, bounded, raise_limit
from camomile_trio.config import Config
from camomile_trio.http.settings import HttpSettings
from camomile_trio.peer.exchanges import STREAMS_AT_ONCE
from camomile_trio.transport.stream import StreamLimits


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The soft and the hard limit of a process that is not this one."""
    limits = [1024, 524_288]

    def get(_: int) -> tuple[int, int]:
        return limits[0], limits[1]

    def set_(_: int, wanted: tuple[int, int]) -> None:
        if wanted[0] > limits[1]:
            raise ValueError("current limit exceeds maximum limit")
        limits[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", get)
    monkeypatch.setattr(resource, "setrlimit", set_)
    return limits


def test_the_soft_limit_is_raised_to_what_is_enough(limits: list[int]) -> None:
    assert raise_limit() == ENOUGH
    assert limits == [ENOUGH, 524_288]


def test_it_is_raised_to_the_hard_limit_where_that_is_less(limits: list[int]) -> None:
    limits[:] = [256, 1024]
    assert raise_limit() == 1024
    assert limits == [1024, 1024]


@pytest.mark.parametrize("soft", [ENOUGH, 200_000, resource.RLIM_INFINITY])
def test_it_is_never_lowered(limits: list[int], soft: int) -> None:
    limits[:] = [soft, resource.RLIM_INFINITY]
    assert raise_limit() >= ENOUGH
    assert limits == [soft, resource.RLIM_INFINITY]


def test_a_limit_that_cannot_be_raised_is_what_there_is(limits: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_limit() == 1024


@pytest.mark.parametrize("descriptors", [64, 100, 256, 1024, 2048, 4096, ENOUGH])
def test_all_bounds_together_stay_below_what_there_is(descriptors: int) -> None:
    config, http = bounded(Config(), HttpSettings(), descriptors)
    most = config.requests.max_streams
    streams = StreamLimits.within(most)
    at_once = min(STREAMS_AT_ONCE, most * 2 // 5)
    assert streams.total + streams.max_idle_outbound + at_once <= most
    assert http.max_connections + most <= descriptors - 32
    assert min(http.max_connections, streams.total, streams.max_idle_outbound, at_once) >= 1


def test_where_there_are_enough_the_settings_stay_what_they_were() -> None:
    assert bounded(Config(), HttpSettings(), 4096) == (Config(), HttpSettings())
    few = HttpSettings(max_connections=3)
    assert bounded(Config(), few, 64)[1] == few
