"""What a node knows of the size of its network, over starts and with a disk that fails."""

from __future__ import annotations

import random

import pytest

from camomile_trio.errors import StorageError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.node.membership import Membership
from camomile_trio.storage.memory import MemoryStorage


def contact(number: int) -> Contact:
    return Contact.of(random.Random(number).randbytes(32), Endpoint.parse(f"10.0.0.{number}:8118"))


def new_storage() -> MemoryStorage:
    return MemoryStorage(max_bytes=2**20)


def membership(storage: MemoryStorage, *, expect: int | None = None, k: int = 20) -> Membership:
    return Membership(storage, expect=expect, k=k)


def test_a_new_node_counts_alone_until_the_first_answer_and_so_does_nobody_with_its_storage_after_it() -> None:
    storage = new_storage()
    node = membership(storage)
    assert (node.has_met, node.counts_alone, node.is_noted) == (False, True, False)
    node.on_answer(contact(1))
    for each in (node, membership(storage)):
        assert (each.has_met, each.counts_alone, each.is_noted) == (True, False, True)
    assert storage.contacts() == [contact(1)]


def test_contacts_that_were_saved_tell_it_where_the_note_is_lost() -> None:
    storage = new_storage()
    storage.save_contacts([contact(1)])
    assert not membership(storage).counts_alone


def test_an_explicit_one_counts_alone_whomever_it_has_met() -> None:
    storage = new_storage()
    node = membership(storage, expect=1)
    node.on_answer(contact(1))
    assert (node.has_met, node.counts_alone, node.lacks) == (True, True, "")
    assert not membership(storage).counts_alone


def test_it_waits_for_as_many_as_it_is_told_once() -> None:
    storage = new_storage()
    node = membership(storage, expect=4)
    for number in (1, 2, 1, 2):
        node.on_answer(contact(number))
    assert node.lacks == "it has met 2 of the 3 other nodes that --expect 4 waits for"
    assert membership(storage, expect=4).lacks == "it has met 0 of the 3 other nodes that --expect 4 waits for"
    node.on_answer(contact(3))
    assert (node.lacks, node.is_noted) == ("", True)
    assert membership(storage, expect=4).lacks == ""
    assert membership(storage, expect=9).lacks == ""


# The operator says another number while the node runs ----------------------------------------------------------------


def test_of_a_lower_number_those_it_has_met_may_be_all() -> None:
    storage = new_storage()
    node = membership(storage, expect=5)
    for number in (1, 2):
        node.on_answer(contact(number))
    node.set_expect(4)
    assert node.lacks == "it has met 2 of the 3 other nodes that --expect 4 waits for"
    node.set_expect(3)
    assert (node.lacks, node.is_noted, node.least) == ("", True, 3)
    assert membership(storage, expect=5).lacks == ""


def test_of_a_higher_number_a_node_that_has_met_all_counts_majorities_and_waits_for_nobody() -> None:
    waiting, met_all, without = (membership(new_storage(), expect=expect, k=4) for expect in (3, 2, None))
    for node in (waiting, met_all, without):
        node.on_answer(contact(1))
        node.set_expect(6)
        assert node.least == 4  # k
    assert waiting.lacks == "it has met 1 of the 5 other nodes that --expect 6 waits for"
    assert (met_all.lacks, without.lacks) == ("", "")


def test_told_that_it_is_the_only_one_it_counts_alone_until_it_is_told_otherwise() -> None:
    storage = new_storage()
    node = membership(storage, expect=3)
    node.on_answer(contact(1))
    node.set_expect(1)
    assert (node.counts_alone, node.lacks, node.least) == (True, "", 1)
    assert membership(storage, expect=3).lacks != ""  # it never met two
    node.set_expect(2)
    assert not node.counts_alone


@pytest.mark.parametrize(("expect", "k", "least"), [(None, 20, 1), (1, 20, 1), (3, 20, 3), (50, 20, 20), (3, 1, 1)])
def test_a_majority_is_of_as_many_as_there_are_at_least_and_of_k_at_most(
    expect: int | None, k: int, least: int
) -> None:
    assert membership(new_storage(), expect=expect, k=k).least == least


class FailingStorage(MemoryStorage):
    """Nothing can be read or written."""

    is_failing = True

    def note(self, name: str) -> int:
        self._check()
        return super().note(name)

    def contacts(self) -> list[Contact]:
        self._check()
        return super().contacts()

    def set_note(self, name: str, number: int) -> None:
        self._check()
        super().set_note(name, number)

    def _check(self) -> None:
        if self.is_failing:
            raise StorageError("the disk fails")


def test_while_the_disk_does_not_say_it_does_not_count_alone() -> None:
    storage = FailingStorage(max_bytes=2**20)
    node = membership(storage)
    assert not node.counts_alone
    storage.is_failing = False
    assert node.counts_alone


def test_a_disk_that_takes_no_note_changes_nothing_about_this_life() -> None:
    storage = FailingStorage(max_bytes=2**20)
    node = membership(storage, expect=2)
    node.on_answer(contact(1))
    storage.is_failing = False
    assert not node.counts_alone
    assert node.lacks == ""
