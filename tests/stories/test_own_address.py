"""A peer that makes a node take the address of a node to join for its own does not keep it from joining there.

Rules of this file: one node on a line; the test plays the peer that lies, and the honest one that comes later.
"""

from __future__ import annotations

import itertools

import pytest
import trio
import trio.testing

from camomile_trio.config import Config
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.messages import FindNode, Message, NodeList, Ping, Pong
from camomile_trio.node import join as join_file
from camomile_trio.peer.packets import HELLO, unframe_untrusted
from tests.fixtures.line import Line, one_node
from tests.fixtures.peers import Behaviour, Peer, attend, truthful
from tests.fixtures.records import EPOCH
from tests.fixtures.speaker import Heard

SEED = Endpoint.parse("10.9.0.8:8118")


@pytest.mark.parametrize("lie", ["observed", "hello"])
async def test_a_node_joins_at_an_address_that_a_peer_has_called_its_own(
    autojump_clock: trio.testing.MockClock, lie: str
) -> None:
    line = Line()
    mallory, bob = Peer.at(line, "mallory", "10.9.0.9:8118"), Peer(line, "bob", SEED)

    def behave(heard: Heard) -> Message | None:
        is_observing = lie == "observed" and isinstance(heard.message, Ping)
        return Pong(SEED, EPOCH) if is_observing else truthful(heard)

    config = Config(join=(f"{mallory.endpoint}#{mallory.contact.public.hex()}", str(SEED)))
    async with trio.open_nursery() as nursery:
        behaviours: dict[Peer, Behaviour] = {mallory: behave}
        nursery.start_soon(attend, behaviours)
        async with one_node(config, line=line) as (node, _):
            if lie == "hello":
                # As a host on the way can.
                hello = next(datagram for to, datagram in line.sent if unframe_untrusted(datagram)[0] == HELLO)
                line.bring(hello, SEED)
            await trio.sleep(90)
            assert lie == "hello" or node.status().observed == SEED
            behaviours[bob] = truthful
            await trio.sleep(90)
            assert bob.contact in node.contacts()
        nursery.cancel_scope.cancel()


async def test_a_peer_that_names_this_node_elsewhere_costs_no_victim_more_bytes_than_it_has_sent(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node asks such an address whether a copy of its key lives there."""
    monkeypatch.setattr(join_file, "SETTLED", (5.0,) * 30)  # as often as it looks itself up
    line = Line()
    mallory, bob = Peer.at(line, "mallory", "198.18.0.9:8118"), Peer(line, "bob", SEED)
    victim, ports = Endpoint.parse("198.19.0.8:1"), itertools.count(1000)

    def behave(heard: Heard) -> Message | None:
        if isinstance(heard.message, FindNode):
            return NodeList((line.contact._replace(endpoint=Endpoint.of(victim.ip, next(ports))),))
        return truthful(heard)

    async with trio.open_nursery() as nursery:
        behaviours: dict[Peer, Behaviour] = {mallory: behave, bob: truthful}
        nursery.start_soon(attend, behaviours)
        async with one_node(Config(join=(str(SEED),)), line=line):
            before = line.came
            mallory.introduce()
            await trio.sleep(90)
            asked = [datagram for to, datagram in line.sent if to.ip == victim.ip]
            assert next(ports) > 1010
            assert {unframe_untrusted(datagram)[0] for datagram in asked} == {HELLO}
            assert sum(len(datagram) for datagram in asked) <= line.came - before
        nursery.cancel_scope.cancel()
