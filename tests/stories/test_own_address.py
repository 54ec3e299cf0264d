"""A peer that makes a node take the address of a node to join for its own does not keep it from joining there.

Rules of this file: one node on a line; the test plays the peer that lies, and the honest one that comes later.
"""

from __future__ import annotations

import pytest
import trio
import trio.testing

from camomile_trio.config import Config
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.messages import Message, Ping, Pong
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
