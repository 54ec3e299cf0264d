"""When a node's wall clock is believed: jumps, peers that disagree, how long that holds things up."""

from __future__ import annotations

import attrs
import pytest

from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.node.clocks import (
    ASK_EVERY,
    FIRST_ASKED,
    KEPT_EVERY,
    LONGEST_HOLD,
    MAX_PEERS,
    NAMED,
    PATIENCE,
    WARN_EVERY,
    Clocks,
)
from tests.fixtures.records import EPOCH

HOUR = 3_600_000


@attrs.define
class Watch:
    """Both clocks of a machine; `off` is by how many ms somebody set the wall clock."""

    now: float = 1000.0
    off: int = 0
    clocks: Clocks = attrs.field(init=False)
    has_records: bool = False
    kept: int = 0

    def __attrs_post_init__(self) -> None:
        self.clocks = Clocks(lambda: self.now, self.wall, has_records=self.has_records, kept=self.kept)

    def wall(self) -> int:
        return EPOCH + round(self.now * 1000) + self.off

    def hear(self, *numbers: int, skew: int = 0) -> None:
        """Peers whose clocks are so far from the right time say what they show."""
        for number in numbers:
            self.clocks.on_peer_clock(Contact(peer(number), HERE), self.wall() - self.off + skew)


HERE = Endpoint.parse("127.0.0.1:8118")


def peer(number: int) -> NodeId:
    return NodeId(number.to_bytes(32, "big"))


def test_time_that_passes_is_no_jump_nor_is_a_clock_that_is_put_right_slowly() -> None:
    watch = Watch()
    for _ in range(1000):
        watch.now += 60
        watch.off += 30  # 500 parts in a million, as NTP does it
        assert watch.clocks.look() == 0
    assert (watch.clocks.jumps, watch.clocks.may_end()) == (0, True)


def test_peers_are_asked_soon_after_the_start_and_when_none_has_spoken_for_an_hour() -> None:
    watch = Watch()
    watch.now += FIRST_ASKED + 1
    asked = [watch.clocks.asks]
    watch.hear(1)
    for seconds in (ASK_EVERY, 1):
        watch.now += seconds
        asked.append(watch.clocks.asks)
    assert asked == [True, False, True]
    assert watch.clocks.may_end()


@pytest.mark.parametrize("moved", [11_000, -11_000, 30 * 24 * HOUR, -30 * 24 * HOUR])
def test_a_jump_is_noticed_once_and_nothing_ends_before_a_peer_has_spoken(moved: int) -> None:
    watch = Watch()
    watch.hear(1, 2, 3)
    watch.off, watch.now = moved, watch.now + 60
    assert watch.clocks.look() == moved
    assert watch.clocks.look() == 0
    assert watch.clocks.jumps == 1
    assert watch.clocks.asks
    assert not watch.clocks.may_end()


def test_a_machine_that_slept_is_believed_as_soon_as_a_peer_agrees() -> None:
    watch = Watch()
    watch.off = 8 * HOUR
    watch.clocks.look()
    assert watch.clocks.is_ahead()
    watch.hear(1, skew=8 * HOUR + 1000)
    assert not watch.clocks.is_ahead()
    assert watch.clocks.may_end()


def test_a_clock_that_most_peers_call_ahead_ends_nothing_for_a_day_and_is_believed_when_put_right() -> None:
    watch = Watch()
    watch.off = HOUR
    watch.clocks.look()
    watch.hear(1, 2, 3)
    watch.hear(4, skew=HOUR)
    assert watch.clocks.is_ahead()
    assert not watch.clocks.may_end()
    watch.now += LONGEST_HOLD - 1
    assert not watch.clocks.may_end()
    watch.now += 2
    assert watch.clocks.may_end()  # by now all of it has ended, if nobody renewed it
    assert watch.clocks.is_ahead()
    watch.off = 0
    watch.clocks.look()
    watch.hear(1)
    assert not watch.clocks.is_ahead()
    assert watch.clocks.may_end()


def test_a_minority_that_disagrees_changes_nothing_nor_do_peers_that_are_ahead_of_us() -> None:
    watch = Watch()
    watch.hear(1, 2)
    watch.hear(3, 4, skew=-HOUR)
    assert not watch.clocks.is_ahead()
    watch.hear(*range(5, 50), skew=HOUR)
    assert not watch.clocks.is_ahead()
    assert watch.clocks.may_end()
    assert watch.clocks.disagreements == 47


def test_within_max_skew_nobody_disagrees() -> None:
    watch = Watch()
    watch.hear(1, 2, 3, skew=-602_000)
    assert (watch.clocks.is_ahead(), watch.clocks.disagreements, watch.clocks.to_warn_of()) == (False, 0, [])
    watch.hear(1, 2, 3, skew=-602_001)
    assert (watch.clocks.is_ahead(), watch.clocks.disagreements) == (True, 3)


def test_where_nobody_answers_the_clock_is_believed_after_a_while() -> None:
    watch = Watch()
    watch.off = HOUR
    watch.clocks.look()
    watch.now += PATIENCE - 1
    assert (watch.clocks.is_ahead(), watch.clocks.may_end()) == (True, False)
    watch.now += 2
    assert (watch.clocks.is_ahead(), watch.clocks.may_end()) == (False, True)


def test_a_start_with_old_records_waits_for_a_peer_before_it_lets_go_of_any() -> None:
    """A machine whose clock has lost its battery, or gone to the year 2099, finds its records ended."""
    watch = Watch(has_records=True)
    assert watch.clocks.asks
    assert not watch.clocks.may_end()
    assert not watch.clocks.is_ahead()
    watch.hear(1)
    assert watch.clocks.may_end()


def test_who_disagrees_is_named_but_not_often_and_not_for_ever() -> None:
    watch = Watch()
    watch.hear(1, skew=-HOUR)
    watch.hear(2, skew=3 * HOUR)
    watch.hear(3)
    assert watch.clocks.to_warn_of() == [(peer(2), 3 * HOUR), (peer(1), -HOUR)]
    watch.hear(4, skew=HOUR)
    assert watch.clocks.to_warn_of() == []
    watch.now += WARN_EVERY
    assert watch.clocks.to_warn_of() == [(peer(4), HOUR)]
    watch.now += WARN_EVERY
    assert watch.clocks.to_warn_of() == []


def test_a_crowd_of_liars_fills_neither_memory_nor_log() -> None:
    watch = Watch()
    watch.hear(*range(3 * MAX_PEERS), skew=HOUR)
    assert len(watch.clocks) == MAX_PEERS
    assert len(watch.clocks.to_warn_of()) == NAMED


# What this node has seen itself -------------------------------------------------------------------------------------


def test_a_clock_behind_a_time_that_was_kept_is_wrong_until_it_is_right() -> None:
    watch = Watch(kept=EPOCH + 1_000_000 + 12 * HOUR)
    assert watch.clocks.behind_by == 12 * HOUR
    watch.off = 12 * HOUR - 600_000  # so far two clocks may be apart
    assert watch.clocks.behind_by == 0


def test_only_a_time_that_most_peers_confirm_is_kept_and_not_often() -> None:
    watch = Watch()
    assert watch.clocks.time_to_keep() is None  # nobody has spoken
    watch.hear(1, skew=2 * HOUR)
    assert watch.clocks.time_to_keep() is None
    watch.hear(1, 2)
    assert watch.clocks.time_to_keep() == watch.wall()
    watch.now += KEPT_EVERY / 1000 - 1
    assert watch.clocks.time_to_keep() is None
    watch.now += 1
    assert watch.clocks.time_to_keep() == watch.wall()


def test_of_three_clocks_two_are_most() -> None:
    """In the least deployment a right node hears one right peer and one wrong one."""
    watch = Watch()
    said = [watch.clocks.is_confirmed]  # by nobody
    for number, skew in ((1, 48 * HOUR), (2, 0), (3, 48 * HOUR)):
        watch.hear(number, skew=skew)
        said.append(watch.clocks.is_confirmed)
    assert said == [False, False, True, False]


def test_a_clock_that_was_ahead_leaves_no_evidence_against_the_right_one() -> None:
    watch = Watch()
    watch.hear(1, 2, 3)
    watch.clocks.time_to_keep()
    watch.off = 48 * HOUR
    watch.clocks.look()
    watch.hear(1, 2, 3)
    assert watch.clocks.time_to_keep() is None
    watch.off = 0
    watch.clocks.look()
    assert watch.clocks.behind_by == 0


def test_most_peers_take_back_what_was_kept_under_a_clock_that_all_of_them_had_wrong() -> None:
    """The clock of a host was two days ahead, and with it those of all the nodes on it; then it was put right."""
    watch = Watch(kept=EPOCH + 48 * HOUR)
    assert watch.clocks.behind_by > 0
    watch.hear(1, 2, 3)
    assert watch.clocks.behind_by == 0
    assert watch.clocks.time_to_keep() == watch.wall()
    watch.hear(1, 2, 3, skew=12 * HOUR)
    assert watch.clocks.behind_by == 0


def test_peers_alone_are_no_evidence() -> None:
    watch = Watch()
    watch.hear(*range(60), skew=-HOUR)
    assert watch.clocks.is_ahead()
    assert watch.clocks.behind_by == 0


@pytest.mark.parametrize("ip", ["198.18.7.{}", "10.1.2.3", "2001:db8:7::{}", "fd00::{}"])
def test_of_many_ids_of_one_host_two_have_a_say(ip: str) -> None:
    watch = Watch()
    for number in range(1, 4):
        watch.clocks.on_peer_clock(Contact(peer(number), Endpoint.from_host(f"198.{number}.0.1", 1)), watch.wall())
    assert watch.clocks.is_confirmed
    for number in range(4, 140):
        liar = Contact(peer(number), Endpoint.from_host(ip.format(number), 1))
        watch.clocks.on_peer_clock(liar, watch.wall() - HOUR)
    assert len(watch.clocks) == 5
    assert watch.clocks.is_confirmed
    assert not watch.clocks.is_ahead()
    assert not watch.clocks.behind_by


def test_who_speaks_again_is_heard_and_takes_no_other_voice() -> None:
    watch = Watch()
    near, far = (Contact(peer(number), Endpoint.from_host("198.18.7.1", number)) for number in (1, 2))
    for contact, skew in ((near, 0), (far, -HOUR), (near, -HOUR), (near, 0)):
        watch.clocks.on_peer_clock(contact, watch.wall() + skew)
    assert len(watch.clocks) == 2
    assert watch.clocks.is_confirmed


def test_networks_in_which_nobody_is_heard_any_more_are_forgotten() -> None:
    watch = Watch()
    for number in range(4 * MAX_PEERS):
        ip = f"{20 + number // 250}.{number % 250}.0.1"
        watch.clocks.on_peer_clock(Contact(peer(number), Endpoint.from_host(ip, 1)), watch.wall())
    assert len(watch.clocks) == MAX_PEERS
    assert watch.clocks.networks <= 2 * MAX_PEERS
