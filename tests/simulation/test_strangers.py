"""Machines of another kind: they answer as they like, forge sources, and send again what they have recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
import trio
import trio.testing

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.network import MemoryNetwork
from camomile_trio.simulation.strangers import Stranger, open_stranger, recorded
from camomile_trio.simulation.world import World
from tests.simulation.worlds import put, run_world
from tests.transport.peers import Caller

PARROT, THIEF, NOWHERE = (Endpoint.parse(f"198.18.0.{number}:8118") for number in (1, 2, 3))
A_MOMENT = 0.1


@attrs.define(eq=False)
class Parrot(Stranger):
    """Repeats every datagram that does not begin with an x, and every message over a stream."""

    heard: list[tuple[bytes, Endpoint]] = attrs.field(factory=list)

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        self.heard.append((datagram_untrusted, source))
        if not datagram_untrusted.startswith(b"x"):
            self.transport.send(datagram_untrusted, source)

    async def on_stream_message(self, message_untrusted: bytes, source: Endpoint) -> bytes | None:
        return message_untrusted


class TakesAnything(Caller):
    """The asking side of a stream to one that repeats its first message, too."""

    def on_first(self, answer_untrusted: bytes) -> None: ...


@pytest.fixture
async def network(autojump_clock: trio.testing.MockClock, nursery: trio.Nursery) -> AsyncIterator[MemoryNetwork]:
    network = MemoryNetwork()
    await nursery.start(network.run)
    yield network
    nursery.cancel_scope.cancel()


async def test_it_answers_as_it_likes(network: MemoryNetwork) -> None:
    async with open_stranger(network, PARROT, Parrot) as parrot, open_stranger(network, THIEF, Parrot) as other:
        other.transport.send(b"x silence", PARROT)
        await trio.sleep(A_MOMENT)
        assert (parrot.heard, other.heard) == ([(b"x silence", THIEF)], [])
        exchange = other.transport.exchange(b"over a stream", PARROT, peer=b"a parrot", caller=TakesAnything)
        assert await exchange == b"over a stream"
        async with open_stranger(network, NOWHERE, Stranger) as silent:
            other.transport.send(b"hello", NOWHERE)
            silent.transport.send(b"x", PARROT)
            await trio.sleep(A_MOMENT)
        assert [datagram for datagram, _ in other.heard] == []
        assert parrot.heard[-1] == (b"x", NOWHERE)


async def test_it_forges_sources_and_the_answer_goes_where_they_say(network: MemoryNetwork) -> None:
    async with open_stranger(network, PARROT, Parrot) as parrot, open_stranger(network, THIEF, Parrot) as thief:
        thief.transport.forge(b"x", PARROT, source=NOWHERE)
        await trio.sleep(A_MOMENT)
        assert parrot.heard == [(b"x", NOWHERE)]
        network.cut(THIEF, PARROT)
        thief.transport.forge(b"x again", PARROT, source=NOWHERE)
        await trio.sleep(A_MOMENT)
        # The way is that of the address which it gives: nobody has cut that.
        assert len(parrot.heard) == 2
        undeliverable = network.statistics.undeliverable
        thief.transport.forge(b"an answer goes astray", PARROT, source=NOWHERE)
        await trio.sleep(A_MOMENT)
        assert thief.heard == []
        assert network.statistics.undeliverable == undeliverable + 1


async def test_it_records_what_passes_it_or_everything_and_sends_it_again(network: MemoryNetwork) -> None:
    async with (
        open_stranger(network, PARROT, Parrot) as parrot,
        open_stranger(network, THIEF, Parrot) as thief,
        open_stranger(network, NOWHERE, Parrot) as other,
    ):
        with recorded(network) as everything, recorded(network, THIEF) as own:
            other.transport.send(b"x 1", PARROT)
            thief.transport.send(b"x 2", PARROT)
        other.transport.send(b"x after it", PARROT)
        await trio.sleep(A_MOMENT)
        assert [each.payload for each in everything.datagrams] == [b"x 1", b"x 2"]
        assert [each.payload for each in own.datagrams] == [b"x 2"]
        parrot.heard.clear()
        assert everything.replay(thief, lambda each: each.source == NOWHERE) == 1
        await trio.sleep(A_MOMENT)
        assert parrot.heard == [(b"x 1", NOWHERE)]


def test_in_a_world_it_is_a_machine_beside_the_others() -> None:
    """It records a put and sends it again, as its sender: nodes handle what they have handled once more."""
    seen: list[int] = []

    async def story(world: World, machines: list[Machine]) -> None:
        world.has_strangers = True
        async with open_stranger(world.network, THIEF, Stranger) as thief:
            with recorded(world.network) as recording:
                key = await put(world)
            await world.users.forget(key)
            seen.append(recording.replay(thief))
            await trio.sleep(5)
            seen.append(len(world.live_holders(key)))

    assert not run_world(story).violations
    assert seen[0] > 0
    assert seen[1] == 0
