"""What is remembered of addresses: who may be asked, and who is forgotten first."""

from __future__ import annotations

from camomile_trio.classic.addresses import Addresses
from camomile_trio.config import Requests
from camomile_trio.kademlia.contacts import Endpoint

MOST = 64


def endpoint(number: int) -> Endpoint:
    return Endpoint.parse(f"10.9.{number // 250}.{number % 250 + 1}:8118")


def test_an_address_that_never_answered_is_asked_twice_a_minute() -> None:
    address = Addresses(Requests()).get(endpoint(0))
    assert [address.may_ask_first(now) for now in (0.0, 10.0, 20.0, 59.9)] == [True, True, False, False]
    assert [address.may_ask_first(now) for now in (60.0, 61.0, 70.0, 70.5)] == [True, False, True, False]


def test_what_was_used_least_recently_is_forgotten_first_and_the_silent_push_out_none_that_answered() -> None:
    addresses = Addresses(Requests(max_peers=MOST))
    first = addresses.get(endpoint(0))
    addresses.on_answer(endpoint(0), 1.0, 0.1)
    assert first.has_answered
    for number in range(1, 3 * MOST):
        addresses.get(endpoint(number))
        addresses.get(endpoint(1))
    assert len(addresses) == MOST + 1
    assert addresses.get(endpoint(0)) is first
    assert not addresses.has_answered(endpoint(1))
    for number in range(1, MOST):
        addresses.on_answer(endpoint(number), 2.0, 0.1)
    addresses.get(endpoint(0))
    addresses.on_answer(endpoint(MOST), 3.0, 0.1)
    assert addresses.has_answered(endpoint(0))
    assert not addresses.has_answered(endpoint(1))


def test_an_address_is_answering_until_a_deadline_passes() -> None:
    addresses = Addresses(Requests())
    assert not addresses.is_answering(endpoint(0))
    addresses.on_answer(endpoint(0), 1.0, 0.1)
    assert addresses.is_answering(endpoint(0))
    addresses.get(endpoint(0)).path.on_missed(2.0)
    assert not addresses.is_answering(endpoint(0))
    addresses.on_answer(endpoint(0), 3.0, None)
    assert addresses.is_answering(endpoint(0))
    addresses.forget(endpoint(0))
    assert not addresses.has_answered(endpoint(0))
