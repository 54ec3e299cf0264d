"""The toy suite stands in for the real one in everything but secrecy, and only a simulation's code chooses it."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import click
import pytest

from camomile_trio.cli.command import camomile
from camomile_trio.config import Config
from camomile_trio.errors import MalformedPacket
from camomile_trio.peer.decisions import Dropped
from camomile_trio.peer.suite import HASH_BYTES, KEY_BYTES, TAG_BYTES, CipherSuite, DhKey, NaclSuite
from camomile_trio.simulation.suite import ToySuite
from tests.peer.nodes import Line, Node

SUITES = pytest.mark.parametrize("suite", [NaclSuite(), ToySuite()], ids=["nacl", "toy"])
KEY, TEXT = b"k" * KEY_BYTES, b"a packet"


@SUITES
def test_both_suites_have_the_same_sizes(suite: CipherSuite) -> None:
    assert len(suite.public(KEY)) == KEY_BYTES
    assert len(suite.dh(DhKey.of(suite, KEY), suite.public(b"s" * KEY_BYTES))) == KEY_BYTES
    assert len(suite.seal(KEY, 7, b"beside", TEXT)) == len(TEXT) + TAG_BYTES
    assert len(suite.hash(TEXT)) == HASH_BYTES
    assert [len(each) for each in suite.hkdf(suite.hash(TEXT), KEY, 3)] == [HASH_BYTES] * 3


@SUITES
def test_the_keys_that_either_suite_derives_differ_and_depend_on_all_that_they_are_made_of(suite: CipherSuite) -> None:
    chaining_key = suite.hash(TEXT)
    outputs = suite.hkdf(chaining_key, KEY, 3)
    assert len({*outputs, *(each[:KEY_BYTES] for each in outputs)}) == 6
    assert suite.hkdf(chaining_key, KEY, 2) == outputs[:2]
    others = [*suite.hkdf(suite.hash(KEY), KEY, 3), *suite.hkdf(chaining_key, bytes(KEY_BYTES), 3)]
    assert not {*outputs} & {*others}


@SUITES
def test_both_sides_of_either_suite_agree_on_a_secret_that_no_other_key_gives(suite: CipherSuite) -> None:
    mine, yours, other = (DhKey.of(suite, letter * KEY_BYTES) for letter in (b"m", b"y", b"o"))
    assert suite.dh(mine, yours.public) == suite.dh(yours, mine.public)
    assert suite.dh(other, yours.public) != suite.dh(mine, yours.public)


@SUITES
def test_either_suite_refuses_another_key_nonce_or_byte(suite: CipherSuite) -> None:
    sealed = suite.seal(KEY, 7, b"beside", TEXT)
    assert suite.open_untrusted(KEY, 7, b"beside", sealed) == TEXT
    changed = [
        (bytes(KEY_BYTES), 7, b"beside", sealed),
        (KEY, 8, b"beside", sealed),
        (KEY, 7, b"besides", sealed),
        (KEY, 7, b"beside", sealed[:-1]),
        (KEY, 7, b"beside", sealed[:3]),
    ]
    for bit in range(8 * len(sealed)):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        changed.append((KEY, 7, b"beside", bytes(flipped)))
    for key, nonce, associated, ciphertext in changed:
        with pytest.raises(MalformedPacket):
            suite.open_untrusted(key, nonce, associated, ciphertext)


@SUITES
def test_either_suite_refuses_keys_that_no_node_can_have(suite: CipherSuite) -> None:
    suite.check_public_untrusted(suite.public(KEY))
    for public in (bytes(KEY_BYTES), b"\xff" * KEY_BYTES, suite.public(KEY)[:-1]):
        with pytest.raises(MalformedPacket):
            suite.check_public_untrusted(public)


def test_the_judge_of_a_simulation_can_read_what_the_toy_suite_sealed() -> None:
    assert ToySuite().seal(KEY, 7, b"", TEXT)[:-TAG_BYTES] == TEXT
    assert NaclSuite().seal(KEY, 7, b"", TEXT)[:-TAG_BYTES] != TEXT


@pytest.mark.parametrize("suites", [(NaclSuite(), ToySuite()), (ToySuite(), NaclSuite())], ids=["real", "toy"])
def test_no_packet_makes_a_node_use_the_other_suite(suites: tuple[CipherSuite, CipherSuite]) -> None:
    line = Line()
    node = Node(line, b"a", "198.18.1.1", suite=suites[0])
    stranger = Node(line, b"b", "198.18.2.1", suite=suites[1])
    # Under a key that both suites take, so that nothing is refused for the key alone.
    while True:
        try:
            suites[1].check_public_untrusted(node.public)
            break
        except MalformedPacket:
            node = Node(line, node.seed + b"a", "198.18.1.1", suite=suites[0])
    stranger.initiate(node)
    (decision,) = line.deliver_all()
    assert isinstance(decision, Dropped)
    assert not node.has_session_with(stranger)
    assert not node.handled


def test_no_option_or_environment_variable_has_a_suite() -> None:
    options = [option for command in _commands(camomile) for option in command.params]
    assert len(options) > 20
    for option in options:
        assert not any("suite" in name.lower() for name in (*option.opts, *option.secondary_opts, str(option.envvar)))
    with_crypto = [command.name for command in _commands(camomile) for each in command.params if "crypto" in str(each)]
    assert with_crypto == ["simulate"]


def test_no_setting_of_a_node_has_a_suite() -> None:
    settings = list(_names(attrs.asdict(Config())))
    assert len(settings) > 20
    assert not [name for name in settings if "suite" in name]


def _commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from _commands(each)


def _names(settings: dict[str, object]) -> Iterator[str]:
    for name, value in settings.items():
        yield name
        if isinstance(value, dict):
            yield from _names(value)
