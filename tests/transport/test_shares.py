"""What one source of datagrams may cost, on clocks that the test turns."""

from __future__ import annotations

import math

import pytest

from camomile_trio.transport.shares import (
    AGAIN_AT,
    BURST,
    OF_A_PROCESSOR,
    OF_THE_NODE,
    UNEXPECTED,
    Moment,
    Share,
    Shares,
)

HOSTILE, PEER = ("10.0.0.66", 8118), ("10.0.0.1", 8118)


class Node:
    """A node's shares, and its time: what it does for others than the sources takes processor time as well."""

    def __init__(self, most: int = 100) -> None:
        self.shares = Shares(most)
        self.clock, self.processor = 1000.0, 10.0
        self.sessions_at: set[bytes] = set()

    @property
    def now(self) -> Moment:
        return Moment(self.clock, self.processor)

    def pass_time(self, seconds: float, *, busy: bool) -> None:
        self.clock += seconds
        self.processor += seconds * busy

    def turn(self, *sources: tuple[str, int], seconds: float) -> None:
        """A turn of 64 datagrams from each source, which took so long."""
        self.charge([self.shares.of(source) for source in sources for _ in range(64)], seconds)

    def expected_turn(self, source: tuple[str, int], *, seconds: float) -> None:
        """A turn of what was expected from a spent source."""
        self.charge([self.shares.of(source).of_expected] * 64, seconds)

    def charge(self, taken: list[Share], seconds: float, unexpected: int = 0) -> bool:
        self.pass_time(seconds, busy=True)
        return self.shares.charge(taken, unexpected, seconds, self.now, self.sessions_at.__contains__)

    def hears(self, source: tuple[str, int]) -> bool:
        self.shares.refill(self.now)
        return not self.shares.of(source).is_spent

    def given(self, source: tuple[str, int], seconds: float, *, busy: bool) -> float:
        """What a source gets that floods for so long, while the node has other things to do or not."""
        given, until = 0.0, self.clock + seconds
        while self.clock < until:
            if self.hears(source):
                self.turn(source, seconds=0.004)
                given += 0.004
            self.pass_time(0.001, busy=busy)
        return given


def test_a_source_that_floods_spends_its_share_and_nobody_elses() -> None:
    node = Node()
    node.given(HOSTILE, 1.0, busy=True)
    node.turn(HOSTILE, seconds=BURST)
    assert not node.hears(HOSTILE)
    assert node.hears(PEER)
    assert node.shares.held_back == [bytes([10, 0, 0, 66])]


def test_over_a_while_a_flood_gets_its_part_of_what_a_busy_node_spends() -> None:
    assert 0.9 * OF_THE_NODE < Node().given(HOSTILE, 20.0, busy=True) / 20.0 < 1.1 * OF_THE_NODE


def test_a_node_that_gets_little_of_a_processor_gives_little_to_a_flood() -> None:
    given = Node().given(HOSTILE, 20.0, busy=False) / 20.0
    assert 0.9 * OF_A_PROCESSOR < given < 1.2 * OF_A_PROCESSOR


def test_in_a_mixed_turn_each_pays_for_its_own_datagrams() -> None:
    node = Node()
    shares = [node.shares.of(HOSTILE)] * 60 + [node.shares.of(PEER)] * 4
    for _ in range(4):
        node.charge(shares, BURST / 3)
    assert node.shares.of(HOSTILE).is_spent
    assert node.shares.of(PEER).left > BURST / 2


def test_who_became_spent_or_is_heard_again_is_told_once() -> None:
    node = Node()
    taken = [node.shares.of(HOSTILE)]
    assert [node.charge(taken, BURST) for _ in range(3)] == [False, True, False]
    assert not node.shares.refill(node.now)
    node.pass_time(3600.0, busy=False)
    assert [node.shares.refill(node.now) for _ in range(2)] == [True, False]
    assert not node.shares.any_spent
    assert node.shares.held_back == []


def test_a_source_is_heard_again_at_the_time_that_is_named_and_not_before() -> None:
    node = Node()
    assert node.shares.due == math.inf
    node.turn(HOSTILE, seconds=2 * BURST)
    node.turn(PEER, seconds=3 * BURST)
    first = node.shares.due
    assert first == pytest.approx(node.clock - 3 * BURST + (BURST + AGAIN_AT) / OF_A_PROCESSOR)
    node.clock = first - 0.001
    assert not node.hears(HOSTILE)
    node.clock = first
    assert node.hears(HOSTILE)
    assert not node.hears(PEER)
    assert node.shares.due > first


def test_a_source_that_has_a_session_is_kept_out_of_the_kernels_sieve() -> None:
    node = Node()
    node.sessions_at = {bytes([10, 0, 0, 1])}
    node.turn(HOSTILE, seconds=2 * BURST)
    node.turn(PEER, seconds=2 * BURST)
    assert not node.hears(HOSTILE)
    assert not node.hears(PEER)
    assert node.shares.held_back == [bytes([10, 0, 0, 66])]


def test_what_is_expected_of_a_spent_source_has_a_bound_of_its_own_and_is_heard_again_before_all_else() -> None:
    node = Node()
    node.sessions_at = {bytes([10, 0, 0, 1])}
    node.turn(PEER, seconds=20 * BURST)
    assert not node.shares.of(PEER).of_expected.is_spent
    node.expected_turn(PEER, seconds=2 * BURST)
    assert node.shares.of(PEER).of_expected.is_spent
    # Then nothing of it is looked at, and the kernel may drop all of it.
    assert node.shares.held_back == [bytes([10, 0, 0, 1])]
    node.clock = node.shares.due
    assert node.shares.refill(node.now)
    assert not node.shares.of(PEER).of_expected.is_spent
    assert not node.hears(PEER)
    assert node.shares.held_back == []


def test_a_peer_that_floods_in_its_session_gets_no_more_than_one_that_has_none() -> None:
    node = Node()
    given, began = 0.0, node.clock
    while node.clock < began + 20.0:
        node.shares.refill(node.now)
        share = node.shares.of(PEER)
        share = share.of_expected if share.is_spent else share
        if not share.is_spent:
            node.charge([share] * 64, 0.004)
            given += 0.004
        node.pass_time(0.001, busy=True)
    assert given / 20.0 < 1.1 * OF_THE_NODE


def test_sources_without_number_have_two_shares_together_for_what_is_not_expected_of_them() -> None:
    node = Node()
    given, began, number = 0.0, node.clock, 0
    while node.clock < began + 20.0:
        node.shares.refill(node.now)
        if not node.shares.unexpected.is_spent:
            number += 1
            node.charge([node.shares.of((f"10.1.{number // 250 % 250}.{number % 250}", 1))] * 64, 0.004, unexpected=64)
            given += 0.004
        node.pass_time(0.001, busy=True)
    assert 0.9 * UNEXPECTED * OF_THE_NODE < given / 20.0 < 1.1 * UNEXPECTED * OF_THE_NODE
    assert node.shares.held_back == []


def test_one_source_that_floods_leaves_something_of_that_to_others() -> None:
    node = Node()
    while node.hears(HOSTILE):
        node.charge([node.shares.of(HOSTILE)] * 64, 0.004, unexpected=64)
    assert not node.shares.unexpected.is_spent


def test_what_is_spent_of_the_second_share_is_not_forgotten_for_others() -> None:
    node = Node(most=10)
    node.expected_turn(PEER, seconds=2 * BURST)
    for number in range(1000):
        node.shares.of((f"10.1.{number // 250}.{number % 250}", 1))
    assert node.shares.of(PEER).of_expected.is_spent


def test_a_share_saves_no_more_than_a_burst() -> None:
    node = Node()
    node.turn(HOSTILE, seconds=BURST / 2)
    node.pass_time(3600.0, busy=True)
    node.turn(HOSTILE, seconds=1.1 * BURST)
    assert not node.hears(HOSTILE)


def test_ports_of_one_ip_share_but_for_loopback_where_a_whole_network_may_live() -> None:
    of = Shares(100).of
    assert of(("10.0.0.1", 1)) is of(("10.0.0.1", 2))
    assert of(("10.0.0.1", 1)) is of(("::ffff:10.0.0.1", 2, 0, 0))
    assert of(("10.0.0.1", 1)) is not of(("10.0.0.2", 1))
    assert of(("127.0.0.1", 1)) is not of(("127.0.0.1", 2))
    assert of(("::1", 1, 0, 0)) is not of(("::1", 2, 0, 0))
    assert of(("::ffff:127.0.0.1", 1, 0, 0)) is not of(("::ffff:127.0.0.1", 2, 0, 0))
    assert of(("127.0.0.1", 1)).prefix is None


def test_of_ipv6_one_network_is_one_source() -> None:
    of = Shares(100).of
    assert of(("2001:db8::1", 1, 0, 0)) is of(("2001:db8::ffff:2", 2, 0, 0))
    assert of(("fe80::1%eth0", 1, 0, 0)) is of(("fe80::2%eth0", 1, 0, 0))
    assert of(("2001:db8::1", 1, 0, 0)) is not of(("2001:db8:0:1::1", 1, 0, 0))
    assert of(("2001:db8::1", 1, 0, 0)).prefix == bytes.fromhex("20010db800000000")


def test_the_table_is_bounded_and_who_owes_is_not_forgotten_for_others() -> None:
    node = Node(most=10)
    node.turn(HOSTILE, seconds=2 * BURST)
    for number in range(1000):
        node.shares.of((f"10.1.{number // 250}.{number % 250}", 1))
        assert len(node.shares) <= 10
    assert node.shares.of(HOSTILE).is_spent


def test_where_all_owe_there_is_nobody_to_be_told_apart_and_the_table_stays_bounded() -> None:
    node = Node(most=3)
    for number in range(5):
        node.turn((f"10.1.0.{number}", 1), seconds=2 * BURST)
    assert len(node.shares) <= 3
