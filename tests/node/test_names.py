"""Names to join: resolved side by side, each once at a time, and looked at again as long as the node lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import structlog
import trio
import trio.testing

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.node.names import Address, Names

HERE, THERE = Endpoint.parse("10.0.0.1:8118"), Endpoint.parse("10.0.0.2:8118")
KEY, OTHER_KEY = "ab" * 32, "cd" * 32
COMPLAINT = "cannot resolve a name to join, will go on trying"


@attrs.define(eq=False)
class NameService:
    """Answers with what is in `known`; a name of which it knows nothing gets no answer until `teach` brings one."""

    known: dict[str, list[Endpoint] | OSError] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)
    changes: int = 0
    _taught: trio.Event = attrs.field(factory=trio.Event)

    async def resolve(self, host: str, port: int) -> list[Endpoint]:
        self.asked.append(host)
        if host not in self.known:
            await self._taught.wait()
        found = self.known[host]
        if isinstance(found, OSError):
            raise found
        return found

    def teach(self, host: str, endpoint: Endpoint) -> None:
        self.known[host] = [endpoint]
        self._taught.set()

    def on_change(self) -> None:
        self.changes += 1


@asynccontextmanager
async def looking_up(service: NameService, *names: str) -> AsyncIterator[Names]:
    async with trio.open_nursery() as nursery:
        yield Names(names, service.resolve, nursery.start_soon, on_change=service.on_change)
        nursery.cancel_scope.cancel()


def complaints(logs: list[Any]) -> list[str]:
    return [each["name"] for each in logs if each["event"] == COMPLAINT]


async def test_a_silent_name_delays_no_other(autojump_clock: trio.testing.MockClock) -> None:
    service = NameService({"there": [THERE]})
    async with looking_up(service, "silent:8118", "there:8118") as names:
        names.look_up()
        await trio.sleep(0.1)
        assert names.take() == [Address(THERE, None)]
        assert names.under_way == 1
        assert service.changes == 1
        service.teach("silent", HERE)
        await trio.sleep(0.1)
        assert names.take() == [Address(HERE, None)]
        assert names.under_way == 0


async def test_a_name_is_not_resolved_twice_at_a_time(autojump_clock: trio.testing.MockClock) -> None:
    """Each would keep a thread until the system's resolver gives up."""
    service = NameService({"there": [THERE]})
    async with looking_up(service, "silent:8118", "there:8118") as names:
        for _ in range(5):
            names.look_up()
            await trio.sleep(1)
        assert service.asked.count("silent") == 1
        assert service.asked.count("there") == 5


async def test_an_address_needs_no_resolver(autojump_clock: trio.testing.MockClock) -> None:
    service = NameService()
    async with looking_up(service, "10.0.0.1:8118", "[fd00::1]:8118") as names:
        names.look_up()
        assert names.take() == [Address(HERE, None), Address(Endpoint.parse("[fd00::1]:8118"), None)]
        assert names.take() == []
        assert not service.asked


async def test_a_key_pins_the_node_at_an_address_and_at_each_address_of_a_name(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = NameService({"there": [HERE, THERE]})
    async with looking_up(service, f"there:8118#{KEY}", f"10.0.0.1:8118#{OTHER_KEY}") as names:
        names.look_up()
        await trio.sleep(0.1)
        pinned, other = bytes.fromhex(KEY), bytes.fromhex(OTHER_KEY)
        assert names.take() == [Address(HERE, other), Address(HERE, pinned), Address(THERE, pinned)]


async def test_a_name_with_two_keys_is_resolved_once_and_is_of_either_node(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = NameService({"there": [THERE]})
    async with looking_up(service, f"there:8118#{KEY}", f"there:8118#{OTHER_KEY}") as names:
        names.look_up()
        await trio.sleep(0.1)
        assert names.take() == [Address(THERE, bytes.fromhex(each)) for each in (KEY, OTHER_KEY)]
        assert service.asked == ["there"]


async def test_trouble_with_a_name_is_said_once_until_it_is_over(autojump_clock: trio.testing.MockClock) -> None:
    service = NameService({"there": OSError("no such name")})
    with structlog.testing.capture_logs() as logs:
        async with looking_up(service, f"there:8118#{KEY}") as names:
            for known in (OSError("no such name"), OSError("no such name"), [THERE], OSError("gone again")):
                service.known["there"] = known
                names.look_up()
                await trio.sleep(1)
    assert complaints(logs) == ["there:8118"] * 2


async def test_a_name_that_has_link_local_addresses_only_is_said_to_be_of_no_use(
    autojump_clock: trio.testing.MockClock,
) -> None:
    service = NameService({"printer": [Endpoint.from_host("fe80::1%eth0", 8118)]})
    with structlog.testing.capture_logs() as logs:
        async with looking_up(service, "printer:8118") as names:
            names.look_up()
            await trio.sleep(1)
    assert complaints(logs) == ["printer:8118"]
    assert "fe80::1" in str(logs[0]["reason"])
