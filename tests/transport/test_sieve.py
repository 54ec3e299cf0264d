"""What the kernel holds back from a socket, on loopback, where every 127.x.y.z is an address."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from camomile_trio.transport.sieve import MOST, hold_back, program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sieve is Linux's")

FIRST, SECOND = "127.0.0.2", "127.0.0.3"


def prefix(ip: str) -> bytes:
    return socket.inet_aton(ip)


class Meeting:
    """One socket that listens, and others that each send their own name to it."""

    def __init__(self, stack: ExitStack, family: socket.AddressFamily, listen: str, senders: list[str]) -> None:
        self.listener = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        if family == socket.AF_INET6:
            self.listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.listener.bind((listen, 0))
        self.listener.setblocking(False)
        port = self.listener.getsockname()[1]
        self._senders: dict[str, socket.socket] = {}
        for ip in senders:
            six = ":" in ip
            sender = stack.enter_context(socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM))
            sender.bind((ip, 0))
            sender.connect(("::1" if six else "127.0.0.1", port))
            self._senders[ip] = sender

    def heard(self) -> set[str]:
        for ip, sender in self._senders.items():
            sender.send(ip.encode())
        found = set()
        while True:
            try:
                found.add(self.listener.recv(100).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_those_named_are_held_back_and_heard_again(stack: ExitStack) -> None:
    meeting = Meeting(stack, socket.AF_INET, "127.0.0.1", [FIRST, SECOND])
    assert meeting.heard() == {FIRST, SECOND}
    hold_back(meeting.listener, [prefix(FIRST)])
    assert meeting.heard() == {SECOND}
    hold_back(meeting.listener, [prefix(SECOND), prefix(FIRST)])
    assert meeting.heard() == set()
    hold_back(meeting.listener, [])
    assert meeting.heard() == {FIRST, SECOND}
    hold_back(meeting.listener, [])  # and nothing to take away is no trouble


def test_a_socket_open_to_both_families_holds_back_one_of_either(stack: ExitStack) -> None:
    try:
        meeting = Meeting(stack, socket.AF_INET6, "::", [FIRST, "::1"])
    except OSError:
        pytest.skip("this machine lacks IPv6")
    hold_back(meeting.listener, [bytes(8)])  # ::1 is in the first of all networks
    assert meeting.heard() == {FIRST}
    hold_back(meeting.listener, [prefix(FIRST)])
    assert meeting.heard() == {"::1"}
    hold_back(meeting.listener, [bytes.fromhex("20010db800000000"), prefix(SECOND)])
    assert meeting.heard() == {FIRST, "::1"}
    hold_back(meeting.listener, [bytes(8), prefix(FIRST)])
    assert meeting.heard() == set()


def test_more_than_a_sieve_takes_are_left_to_the_caller(stack: ExitStack) -> None:
    meeting = Meeting(stack, socket.AF_INET, "127.0.0.1", [FIRST, SECOND])
    others = [bytes([10, 0, 0, number]) for number in range(MOST - 1)]
    hold_back(meeting.listener, [*others, prefix(FIRST), prefix(SECOND)])
    assert meeting.heard() == {SECOND}


def test_no_jump_of_the_largest_program_is_longer_than_a_byte() -> None:
    for prefixes in (
        [bytes([10, 0, 0, number]) for number in range(MOST)],
        [bytes([number] * 8) for number in range(MOST)],
    ):
        assert max(max(true, false) for _, true, false, _ in program(prefixes)) < 256
