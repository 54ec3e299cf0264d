"""Which cookies are good, for which address and how long.

Rules of this file: one value of `CookieSecrets`, and times.
"""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.handshake import mac2_of
from camomile_trio.peer.packets import COOKIE_BYTES, INDEX_BYTES, MAC_BYTES, NO_COOKIE, Initiation
from camomile_trio.peer.responder import COOKIE_LIFE, CookieSecrets
from tests.peer.nodes import A, B

BEGUN = 100.0
HERE, ELSEWHERE = Endpoint.parse(f"{A}:8118"), Endpoint.parse(f"{B}:8118")
SECRETS = CookieSecrets(b"k" * 32, BEGUN)
BARE = Initiation(bytes(INDEX_BYTES), b"message", bytes(MAC_BYTES), NO_COOKIE)


def with_cookie(cookie: bytes) -> Initiation:
    return attrs.evolve(BARE, mac2=mac2_of(cookie, BARE.before_mac2))


@given(st.floats(0, 1e6), st.floats(0, 3 * COOKIE_LIFE))
def test_a_cookie_is_good_for_one_life_of_its_secret_at_least_and_two_at_most(given_after: float, age: float) -> None:
    given_at = BEGUN + given_after
    generation = SECRETS.generation(given_at)
    cookie = SECRETS.cookie(HERE, generation)
    made_with = SECRETS.made_with(with_cookie(cookie), HERE, given_at + age)
    if age <= COOKIE_LIFE - 0.001:
        assert made_with == (cookie, generation)
    if age >= 2 * COOKIE_LIFE:
        assert made_with is None


@pytest.mark.parametrize("lives", [0, 1, 10])
def test_the_secret_before_the_present_one_is_good_and_no_other(lives: int) -> None:
    now = BEGUN + lives * COOKIE_LIFE
    present = SECRETS.generation(now)
    assert present == 1 + lives
    good = [
        generation
        for generation in range(present + 5)
        if SECRETS.made_with(with_cookie(SECRETS.cookie(HERE, generation)), HERE, now) is not None
    ]
    assert good == [present - 1, present]


def test_a_cookie_is_good_for_its_own_address_and_for_the_node_that_gave_it() -> None:
    cookie = SECRETS.cookie(HERE, 1)
    assert len(cookie) == COOKIE_BYTES
    assert SECRETS.made_with(with_cookie(cookie), ELSEWHERE, BEGUN) is None
    assert CookieSecrets(b"l" * 32, BEGUN).made_with(with_cookie(cookie), HERE, BEGUN) is None


def test_an_initiation_without_a_mac2_was_made_with_no_cookie() -> None:
    assert SECRETS.made_with(BARE, HERE, BEGUN) == (NO_COOKIE, 0)


def test_the_text_form_shows_no_key() -> None:
    assert "kkk" not in repr(SECRETS)
