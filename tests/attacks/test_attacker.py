"""The attacker of `make test-attacks` is one whom nodes take for nodes, or its attacks would prove nothing."""

from __future__ import annotations

import random

import pytest
import trio

from camomile_trio import Config, open_node
from camomile_trio.config import DEFAULT_NETWORK
from camomile_trio.identity import network_id
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId, as_int
from camomile_trio.kademlia.messages import Ping, Pong, StoreStatus
from camomile_trio.peer.handshake import NetworkKey, open_network_key
from camomile_trio.peer.local import StaticKey
from camomile_trio.peer.suite import NaclSuite
from camomile_trio.simulation.manners import MOST_NAMED, Manners
from tests.attacks.invented import invented_in_advance
from tests.attacks.sybils import grind, open_sybil

NETWORK = network_id(DEFAULT_NETWORK)
SEED = bytes(range(32))
NEAREST_OF_100 = 7  # leading bits that a hundred nodes' nearest shares with a target, nearly always at most


def test_invented_nodes_are_nearer_than_real_ones_and_have_keys_that_nodes_take() -> None:
    rng = random.Random(1)
    name = invented_in_advance(rng, lambda: Endpoint.parse("60.0.0.1:8118"))
    for target in (bytes(32), b"\xff" * 32, rng.randbytes(32)):
        named = name(target)
        assert len({each.id for each in named}) == MOST_NAMED
        for contact in named:
            NaclSuite().check_public_untrusted(contact.public)
            assert contact.id == NodeId.of(contact.public)
            assert (as_int(contact.id) ^ as_int(target)).bit_length() <= 256 - NEAREST_OF_100


def test_ids_are_ground_beside_a_key() -> None:
    key = Key.of(b"beside this")
    seeds = grind(key, 5, 3, random.Random(1))
    ids = {StaticKey.from_seed(NaclSuite(), seed).node_id for seed in seeds}
    assert len(ids) == 3
    assert all((as_int(each) ^ as_int(key)).bit_length() <= 256 - 5 for each in ids)


@pytest.mark.real_time
async def test_a_node_takes_a_sybil_for_a_node() -> None:
    network = NetworkKey.of(open_network_key(NETWORK), NETWORK)
    manners = Manners(lambda target: (), stores=StoreStatus.STORED)
    with trio.fail_after(30):
        async with (
            open_node(Config()) as node,
            open_sybil(Endpoint.parse("127.0.0.1:0"), network, manners, seed=SEED) as sybil,
        ):
            peer = Contact.of(node.status().node_key, node.endpoint)
            for _ in range(2):  # the first is answered before the session is confirmed, which gives the seat
                assert isinstance(await sybil.ask(peer, Ping()), Pong)
            assert [each.id for each in node.contacts()] == [sybil.contact.id]
            await node.put(b"of two nodes both have to acknowledge")
