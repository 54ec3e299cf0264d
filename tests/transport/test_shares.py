"""What one source of datagrams may cost, on clocks that the test turns."""

from __future__ import annotations

from camomile_trio.transport.shares import BURST, FLOOD, RATE, UNMEASURED, Share, Shares

HOSTILE, PEER = ("10.0.0.66", 8118), ("10.0.0.1", 8118)
TURN = 64


class Table:
    """Shares, and both clocks."""

    def __init__(self, most: int = 100) -> None:
        self.shares = Shares(most)
        self.now = 1000.0
        self.spent_on_last_turn = 0.0

    def turn(self, *sources: tuple[str, int], seconds: float, per: int = TURN) -> None:
        """A turn of `per` datagrams from each source, of which those behind the unmeasured ones took `seconds`."""
        taken: list[Share] = [self.shares.of(source) for source in sources for _ in range(per)]
        self.shares.charge(taken, 5.0, lambda: 5.0 + seconds, lambda: self.now)
        self.now += seconds

    def is_heard(self, source: tuple[str, int]) -> bool:
        self.shares.refill(self.now)
        return not self.shares.of(source).is_spent


def test_a_source_that_floods_spends_its_share_and_nobody_elses() -> None:
    table = Table()
    while table.is_heard(HOSTILE):
        table.turn(HOSTILE, seconds=BURST / 3)
    assert table.is_heard(PEER)
    assert table.now - 1000.0 < 3 * BURST


def test_over_a_while_a_flood_gets_its_rate_of_the_processor() -> None:
    table = Table()
    given = 0.0
    while table.now < 1010.0:
        if table.is_heard(HOSTILE):
            table.turn(HOSTILE, seconds=0.004 * (TURN - UNMEASURED) / TURN)
            given += 0.004
        else:
            table.now += 0.001
    assert 0.9 * RATE < given / 10.0 < 1.2 * RATE


def test_a_source_that_sends_few_at_a_time_is_never_charged() -> None:
    table = Table()
    for _ in range(1000):
        table.turn(PEER, seconds=0.004, per=FLOOD - 1)
    assert table.is_heard(PEER)


def test_in_a_mixed_turn_each_pays_for_its_own_datagrams() -> None:
    table = Table()
    shares = [table.shares.of(HOSTILE)] * 60 + [table.shares.of(PEER)] * 4
    for _ in range(4):
        table.shares.charge(shares, 0.0, lambda: BURST / 3, lambda: table.now)
    assert table.shares.of(HOSTILE).is_spent
    assert table.shares.of(PEER).left > BURST / 2


def test_those_that_were_not_measured_count_as_the_others() -> None:
    table = Table()
    measured = TURN - UNMEASURED
    table.turn(PEER, seconds=measured * 1e-5)
    assert abs(BURST - table.shares.of(PEER).left - TURN * 1e-5) < 1e-9


def test_a_share_is_heard_again_after_a_pause_and_saves_no_more_than_a_burst() -> None:
    table = Table()
    table.turn(HOSTILE, seconds=2 * BURST)
    assert not table.is_heard(HOSTILE)
    table.now += 3600.0
    assert table.is_heard(HOSTILE)
    assert not table.shares.any_spent
    table.turn(HOSTILE, seconds=2 * BURST)
    assert not table.is_heard(HOSTILE)


def test_ports_of_one_ip_share_but_for_loopback_where_a_whole_network_may_live() -> None:
    of = Shares(100).of
    assert of(("10.0.0.1", 1)) is of(("10.0.0.1", 2))
    assert of(("10.0.0.1", 1)) is not of(("10.0.0.2", 1))
    assert of(("127.0.0.1", 1)) is not of(("127.0.0.1", 2))
    assert of(("::1", 1, 0, 0)) is not of(("::1", 2, 0, 0))
    assert of(("::ffff:127.0.0.1", 1, 0, 0)) is not of(("::ffff:127.0.0.1", 2, 0, 0))
    assert of(("::ffff:10.0.0.1", 1, 0, 0)) is not of(("::ffff:10.0.0.2", 1, 0, 0))


def test_of_ipv6_one_network_is_one_source() -> None:
    of = Shares(100).of
    assert of(("2001:db8::1", 1, 0, 0)) is of(("2001:db8::ffff:2", 2, 0, 0))
    assert of(("fe80::1%eth0", 1, 0, 0)) is of(("fe80::2%eth0", 1, 0, 0))
    assert of(("2001:db8::1", 1, 0, 0)) is not of(("2001:db8:0:1::1", 1, 0, 0))


def test_the_table_is_bounded_and_who_owes_is_not_forgotten_for_others() -> None:
    table = Table(most=10)
    table.turn(HOSTILE, seconds=2 * BURST)
    for number in range(1000):
        table.shares.of((f"10.1.{number // 250}.{number % 250}", 1))
        assert len(table.shares) <= 10
    assert table.shares.of(HOSTILE).is_spent


def test_where_all_owe_there_is_nobody_to_be_told_apart_and_the_table_stays_bounded() -> None:
    table = Table(most=3)
    for number in range(5):
        table.turn((f"10.1.0.{number}", 1), seconds=2 * BURST)
    assert len(table.shares) <= 3
