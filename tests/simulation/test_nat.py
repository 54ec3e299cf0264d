"""Who gets through a NAT, and for how long."""

from __future__ import annotations

import math

import pytest

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.links import Nats

ALICE, BOB, CAROL = (Endpoint.parse(f"10.0.0.{number}:8118") for number in (1, 2, 3))


def test_only_those_whom_it_wrote_to_get_through_and_only_for_a_while() -> None:
    nats = Nats()
    nats.put(ALICE, 30.0)
    assert not nats.lets_in(0.0, BOB, ALICE)
    nats.note(100.0, ALICE, BOB)
    assert nats.lets_in(130.0, BOB, ALICE)
    assert not nats.lets_in(130.1, BOB, ALICE)
    assert not nats.lets_in(101.0, CAROL, ALICE)
    assert not nats.lets_in(101.0, Endpoint.of(BOB.ip, 9), ALICE)
    # Who is in the open is reached by all, whoever wrote to whom.
    assert nats.lets_in(101.0, ALICE, BOB)


def test_each_writing_keeps_the_way_open_and_receiving_does_not() -> None:
    nats = Nats()
    nats.put(ALICE, 30.0)
    for now in (0.0, 20.0, 40.0):
        nats.note(now, ALICE, BOB)
    nats.note(60.0, BOB, ALICE)
    assert nats.lets_in(70.0, BOB, ALICE)
    assert not nats.lets_in(71.0, BOB, ALICE)


def test_two_behind_nats_meet_once_both_have_written() -> None:
    nats = Nats()
    nats.put(ALICE, 30.0)
    nats.put(BOB, 30.0)
    nats.note(0.0, ALICE, BOB)
    assert not nats.lets_in(0.1, ALICE, BOB)
    nats.note(1.0, BOB, ALICE)
    assert nats.lets_in(1.1, BOB, ALICE)
    assert nats.lets_in(1.1, ALICE, BOB)


def test_a_nat_remembers_nobody_whose_time_is_up() -> None:
    nats = Nats()
    nats.put(ALICE, 10.0)
    for number in range(1000):
        nats.note(float(number), ALICE, Endpoint.of(number.to_bytes(4, "big"), 1))
    assert len(nats.behind[ALICE].written) == 11
    nats.note(5000.0, ALICE, BOB)
    assert list(nats.behind[ALICE].written) == [BOB]


def test_a_new_nat_knows_nobody_and_without_one_everybody_gets_through() -> None:
    nats = Nats()
    nats.put(ALICE, 30.0)
    nats.note(0.0, ALICE, BOB)
    nats.put(ALICE, 60.0)
    assert not nats.lets_in(1.0, BOB, ALICE)
    nats.put(ALICE, None)
    nats.put(ALICE, None)
    assert nats.lets_in(1.0, BOB, ALICE)
    assert not nats.behind


@pytest.mark.parametrize("timeout", [-1.0, math.nan, math.inf])
def test_a_timeout_that_makes_no_sense_is_refused(timeout: float) -> None:
    with pytest.raises(ConfigError, match="timeout"):
        Nats().put(ALICE, timeout)
