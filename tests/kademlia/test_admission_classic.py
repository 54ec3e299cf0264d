"""What a holder accepts of classic nodes, which know no leases (rule 10)."""

from __future__ import annotations

import attrs
import pytest

from camomile_trio.kademlia.admission import Admission, Verdict, admit_classic
from camomile_trio.kademlia.records import Record
from camomile_trio.kademlia.registers import KeyState, expire, is_served
from tests.kademlia.record_builders import (
    DAY,
    HOUR,
    KEY,
    NOW,
    SIZE,
    UPTIME,
    holding,
    lease,
    tombstone,
)

EMPTY = KeyState(KEY)


def classic(state: KeyState, *, publish: bool, now: int = NOW, closer: int = 0) -> Admission:
    return admit_classic(state, publish=publish, now=now, value_size=SIZE, closer=closer, k=20)


@pytest.mark.parametrize("publish", [True, False])
def test_a_classic_value_is_kept_a_day_from_first_sight(publish: bool) -> None:
    admission = classic(EMPTY, publish=publish)
    assert admission.verdict is Verdict.STORED
    assert is_served(admission.state, NOW + DAY - 1)
    assert not is_served(admission.state, NOW + DAY)


@pytest.mark.parametrize("publish", [True, False])
def test_no_repeat_prolongs_a_classic_copy(publish: bool) -> None:
    held = classic(EMPTY, publish=True).state
    admission = classic(held, publish=publish, now=NOW + HOUR)
    assert (admission.verdict, admission.changed, admission.state) == (Verdict.SAME, False, held)


def test_after_its_end_a_classic_copy_comes_back_by_a_put_and_never_by_replication() -> None:
    left = expire(classic(EMPTY, publish=True).state, now=NOW + DAY, uptime=UPTIME)
    assert left is not None
    assert left.size is None
    hour = 24
    while hour < 200:
        admission = classic(left, publish=False, now=NOW + hour * HOUR)
        assert admission.verdict is Verdict.EXPIRED
        kept = expire(admission.state, now=NOW + hour * HOUR, uptime=UPTIME)
        assert kept is not None
        left, hour = kept, hour + 7
    again = classic(left, publish=True, now=NOW + hour * HOUR)
    assert again.verdict is Verdict.STORED
    assert is_served(again.state, NOW + (hour + 23) * HOUR)


def test_hourly_replication_of_an_ended_copy_is_not_written_every_hour() -> None:
    left = expire(classic(EMPTY, publish=True).state, now=NOW + DAY, uptime=UPTIME)
    assert left is not None
    writes = 0
    for hour in range(24, 72):
        admission = classic(left, publish=False, now=NOW + hour * HOUR)
        writes += admission.changed
        left = admission.state
    assert writes == 3


@pytest.mark.parametrize(("closer", "life"), [(20, DAY), (21, DAY // 2), (23, DAY // 8), (46, 1)])
def test_a_classic_copy_far_from_its_key_lives_exponentially_less(closer: int, life: int) -> None:
    assert classic(EMPTY, publish=True, closer=closer).state.classic_until == NOW + life


def test_a_classic_copy_very_far_from_its_key_is_not_kept_at_all() -> None:
    admission = classic(EMPTY, publish=True, closer=1000)
    assert (admission.verdict, admission.state) == (Verdict.EXPIRED, EMPTY)


@pytest.mark.parametrize("records", [[lease()], [tombstone()], [lease(), tombstone()]])
def test_classic_replication_of_what_has_a_register_is_refused(records: list[Record]) -> None:
    held = holding(*records)
    admission = classic(held, publish=False)
    assert (admission.verdict, admission.state) == (Verdict.STALE, held)


def test_classic_replication_brings_nothing_to_a_node_that_a_forget_does_not_tell() -> None:
    """The forget told the k closest. This node comes to know of it later, and by then has nothing that outlasts it."""
    admission = classic(EMPTY, publish=False, closer=20)
    assert (admission.verdict, admission.state) == (Verdict.STALE, EMPTY)
    assert classic(EMPTY, publish=False, closer=19).verdict is Verdict.STORED
    assert classic(EMPTY, publish=True, closer=20).verdict is Verdict.STORED


def test_a_classic_put_of_a_forgotten_value_is_served() -> None:
    admission = classic(holding(lease(), tombstone()), publish=True)
    assert admission.verdict is Verdict.STORED
    assert is_served(admission.state, NOW)


def test_forgetting_leaves_a_classic_copy_until_its_own_end() -> None:
    held = holding(lease(), tombstone(), state=classic(EMPTY, publish=True).state)
    assert held.classic_until == NOW + DAY
    assert is_served(held, NOW + DAY - 1)
    assert not is_served(held, NOW + DAY)


def test_a_classic_copy_whose_bytes_were_lost_is_restored_without_more_life() -> None:
    lost = attrs.evolve(classic(EMPTY, publish=True).state, size=None)
    admission = classic(lost, publish=False, now=NOW + HOUR)
    assert admission.verdict is Verdict.STORED
    assert (admission.state.size, admission.state.classic_until) == (SIZE, NOW + DAY)
