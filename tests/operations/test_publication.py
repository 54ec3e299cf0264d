"""Whom a put remembers to tell later."""

from __future__ import annotations

import random

import trio.testing

from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.ids import Key
from camomile_trio.operations.publication import Publication
from tests.fixtures.parts import known_peers, open_parts
from tests.fixtures.peers import Peer
from tests.fixtures.records import lease_of

VALUE = b"a value"
KEY = Key.of(VALUE)
LEASE = lease_of(KeyPair.new(random.Random("publisher")), KEY)


async def test_a_silent_holder_is_told_later_only_where_this_node_knows_it_by_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Others may name addresses where there is no node, and the telling is tried eight times."""
    async with open_parts() as (parts, line):
        (bob,) = known_peers(parts, 1)
        named = Peer.at(line, "named", "198.18.1.1:8118")
        core = parts.make_core()
        Publication(core.publishing, LEASE, VALUE, with_value=True).settle([], silent=[bob.contact, named.contact])
        assert core.reminders.keys == 1
        assert [contact for contact, _ in core.reminders.due(1e9)] == [bob.contact]
