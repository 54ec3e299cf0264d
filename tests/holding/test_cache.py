"""Cached copies: for so long, of so many bytes, and the least used goes first."""

from __future__ import annotations

from camomile_trio.holding.cache import COPY_OVERHEAD, Cache, CachedCopy
from camomile_trio.kademlia.ids import Key, NodeId

ORIGIN = NodeId(bytes(32))


def copy(value: bytes, until: float = 100.0) -> CachedCopy:
    return CachedCopy(value, (), ORIGIN, until)


def hint(value: bytes, until: float = 100.0) -> CachedCopy:
    return CachedCopy(value, (), ORIGIN, until, is_hint=True)


def key(number: int) -> Key:
    return Key(number.to_bytes(32, "big"))


def test_a_copy_is_there_until_its_time_and_not_at_it() -> None:
    cache = Cache(10_000)
    cache.keep(key(1), copy(b"one", until=60.0))
    found = cache.get(key(1), 59.9)
    assert found is not None
    assert found.value == b"one"
    assert cache.get(key(1), 60.0) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_the_least_recently_used_makes_room() -> None:
    cache = Cache(3 * (COPY_OVERHEAD + 100))
    for number in range(3):
        cache.keep(key(number), copy(bytes(100)))
    cache.get(key(0), 1.0)
    cache.keep(key(3), copy(bytes(100)))
    assert [number for number in range(4) if cache.get(key(number), 1.0) is not None] == [0, 2, 3]
    assert cache.bytes == 3 * (COPY_OVERHEAD + 100)
    assert cache.evicted == 1


def test_what_is_larger_than_all_of_it_is_not_kept() -> None:
    cache = Cache(5000)
    cache.keep(key(1), copy(b"small"))
    cache.keep(key(2), copy(bytes(5000)))
    assert cache.get(key(2), 0.0) is None
    assert cache.get(key(1), 0.0) is not None


def test_a_newer_copy_replaces_the_older_and_its_bytes() -> None:
    cache = Cache(10_000)
    cache.keep(key(1), copy(bytes(1000)))
    cache.keep(key(1), copy(bytes(10)))
    assert cache.bytes == COPY_OVERHEAD + 10
    cache.drop(key(1))
    cache.drop(key(1))
    assert cache.bytes == 0


def test_expiring_drops_what_is_over_and_only_that() -> None:
    cache = Cache(10_000)
    cache.keep(key(1), copy(b"over", until=10.0))
    cache.keep(key(2), copy(b"not yet", until=11.0))
    cache.expire(10.0)
    assert cache.get(key(1), 9.0) is None
    assert cache.get(key(2), 9.0) is not None
    assert cache.bytes == COPY_OVERHEAD + 7


def test_no_room_at_all_keeps_nothing() -> None:
    cache = Cache(0)
    cache.keep(key(1), copy(b"x"))
    assert len(cache) == 0


def test_a_hint_is_not_served_and_ends_as_any_copy() -> None:
    cache = Cache(10_000)
    cache.keep(key(1), hint(b"pushed", until=60.0))
    assert cache.get(key(1), 1.0) is None
    found = cache.hint(key(1), 59.9)
    assert found is not None
    assert found.value == b"pushed"
    assert cache.hint(key(1), 60.0) is None
    cache.expire(60.0)
    assert len(cache) == 0
    cache.keep(key(2), copy(b"looked up"))
    assert cache.hint(key(2), 1.0) is None


def test_hints_push_out_neither_copies_nor_earlier_hints_and_go_first() -> None:
    cache = Cache(3 * (COPY_OVERHEAD + 100))
    cache.keep(key(0), copy(bytes(100)))
    for number in range(1, 50):
        cache.keep(key(number), hint(bytes(100)))
    assert [number for number in range(50) if cache.hint(key(number), 1.0)] == [1, 2]
    for number in (50, 51):
        cache.keep(key(number), copy(bytes(100)))
    assert [number for number in range(52) if cache.get(key(number), 1.0)] == [0, 50, 51]
    assert cache.bytes == 3 * (COPY_OVERHEAD + 100)
