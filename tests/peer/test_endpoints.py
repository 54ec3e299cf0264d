"""How many keys a party has a node try at one address."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.endpoints import MOST_KEYS, TRIED_FOR, Endpoints

PARTY, OTHER = b"\xc6\x12\x01", b"\xc6\x12\x02"
VICTIM = Endpoint.parse("198.18.1.1:8118")


def endpoint(number: int) -> Endpoint:
    return Endpoint.of(number.to_bytes(4, "big"), 8118)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


@given(st.lists(st.tuples(st.integers(0, 6), st.floats(0, 40)), max_size=60))
def test_no_minute_sees_more_than_two_keys_of_a_party_tried_at_an_address(steps: list[tuple[int, float]]) -> None:
    endpoints, now = Endpoints(64), 0.0
    tried: list[tuple[float, bytes]] = []
    for number, pause in steps:
        now += pause
        if endpoints.try_key(VICTIM, key(number), PARTY, now):
            tried.append((now, key(number)))
        assert len({public for at, public in tried if now - at < TRIED_FOR}) <= MOST_KEYS


def test_a_key_may_be_tried_again_and_gives_way_to_others_a_minute_after_its_last_try() -> None:
    endpoints = Endpoints(64)
    assert all(endpoints.try_key(VICTIM, key(1), PARTY, now) for now in (0.0, 1.0, 50.0))
    assert endpoints.try_key(VICTIM, key(2), PARTY, 2.0)
    assert not endpoints.try_key(VICTIM, key(3), PARTY, 61.9)
    assert endpoints.try_key(VICTIM, key(3), PARTY, 62.0)
    assert not endpoints.try_key(VICTIM, key(4), PARTY, 62.0)
    assert endpoints.try_key(endpoint(7), key(4), PARTY, 62.0)  # another address


def test_what_one_party_names_takes_no_place_from_what_another_one_does() -> None:
    endpoints = Endpoints(64)
    assert [endpoints.try_key(VICTIM, key(number), PARTY, 0.0) for number in range(3)] == [True, True, False]
    assert endpoints.try_key(VICTIM, key(3), OTHER, 0.0)


def test_names_push_out_no_address_where_a_node_was_met() -> None:
    endpoints = Endpoints(64)
    endpoints.on_session(VICTIM)
    for number in range(1000):
        assert endpoints.try_key(endpoint(number), key(1), PARTY, 0.0)
    assert endpoints.has_met(VICTIM)


def test_the_address_that_was_used_least_recently_is_forgotten_first() -> None:
    endpoints = Endpoints(64)
    for number in range(64):
        endpoints.on_session(endpoint(number))
    endpoints.on_session(endpoint(0))
    endpoints.on_session(endpoint(64))
    assert [endpoints.has_met(endpoint(number)) for number in (0, 1, 2, 64)] == [True, False, True, True]
    endpoints = Endpoints(64)
    for number in range(65):
        for public in (key(1), key(2)):
            assert endpoints.try_key(endpoint(number), public, PARTY, 0.0)
    assert endpoints.try_key(endpoint(0), key(3), PARTY, 0.0)  # forgotten
    assert not endpoints.try_key(endpoint(2), key(3), PARTY, 0.0)
