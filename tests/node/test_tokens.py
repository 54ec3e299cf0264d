"""A write token holds for one ip, for the hour in which it was given and the hour after."""

from __future__ import annotations

import random

import pytest

from camomile_trio.node.tokens import TOKEN_BYTES, Tokens

BOB, CAROL = bytes([10, 0, 0, 2]), bytes([10, 0, 0, 3])
HOUR = 3600.0


def test_a_token_holds_for_this_hour_and_the_next() -> None:
    tokens = Tokens(random.Random(1))
    token = tokens.token(BOB, 0.5 * HOUR)
    assert len(token) == TOKEN_BYTES
    held = [tokens.is_valid(token, BOB, now * HOUR) for now in (0.5, 0.99, 1.0, 1.99, 2.0, 3.0)]
    assert held == [True, True, True, True, False, False]


def test_a_token_is_no_good_before_its_hour() -> None:
    tokens = Tokens(random.Random(1))
    assert not tokens.is_valid(tokens.token(BOB, 5 * HOUR), BOB, 4.9 * HOUR)


def test_a_token_is_bound_to_its_ip() -> None:
    tokens = Tokens(random.Random(1))
    assert not tokens.is_valid(tokens.token(BOB, 0.0), CAROL, 0.0)
    assert tokens.token(BOB, 0.0) != tokens.token(CAROL, 0.0)


def test_each_node_makes_its_own() -> None:
    assert Tokens(random.Random(1)).token(BOB, 0.0) != Tokens(random.Random(2)).token(BOB, 0.0)


@pytest.mark.parametrize("guess", [b"", b"\0" * TOKEN_BYTES, b"\0" * 16])
def test_a_guess_is_no_token(guess: bytes) -> None:
    assert not Tokens(random.Random(1)).is_valid(guess, BOB, 0.0)


def test_a_token_is_the_same_however_many_were_made_meanwhile() -> None:
    tokens = Tokens(random.Random(1))
    first = tokens.token(BOB, 0.0)
    for number in range(10_000):
        tokens.token(number.to_bytes(4, "big"), 0.0)
    assert tokens.token(BOB, 0.0) == first
