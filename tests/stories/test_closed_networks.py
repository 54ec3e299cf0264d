"""Closed networks: a host without the key hears nothing, and the key changes while the network is used.

Rules of this file: each node has a key file of its own on the real disk, as hosts have; the network is simulated. A
stranger is a machine at an address that no node knows. Sizes, times and bounds are those of docs/protocol.md.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable, Iterable, MutableMapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import attrs
import pytest
import structlog.testing
import trio
import trio.testing

from camomile_trio.config import Config, StorageConfig
from camomile_trio.errors import ConfigError, TransportError
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.kademlia.messages import FindNode, Ping, Pong
from camomile_trio.network_keys import (
    add_network_key,
    fingerprint,
    load_network_keys,
    promote_network_key,
    remove_network_key,
)
from camomile_trio.node.core import CUT_OFF
from camomile_trio.node.join import NOBODY_ANSWERS
from camomile_trio.node.node import Node, open_node
from camomile_trio.operations.results import NetworkKeyStatus, Reloaded
from camomile_trio.peer.budget import HandshakeRates
from camomile_trio.peer.handshake import NetworkKey, open_network_key, write_hello
from camomile_trio.peer.streams import MOST_RESPONSE, Asking, Streams
from camomile_trio.simulation.clocks import VirtualClock
from camomile_trio.simulation.disk import SimulatedDisk
from camomile_trio.simulation.network import MemoryNetwork, MemoryTransport
from camomile_trio.simulation.strangers import Stranger, open_stranger
from tests.classic.recorded import RECORDED
from tests.fixtures.cluster import Cluster, Machine, config_with, open_cluster
from tests.fixtures.counts import count, counts
from tests.fixtures.line import wall_clock
from tests.fixtures.records import NETWORK
from tests.fixtures.speaker import CODEC, Heard, Speaker
from tests.fuzz import damaged
from tests.peer.test_untrusted import CORPUS
from tests.secrets_on_disk import secret_file
from tests.wire.corpus import CORPUS as INNER

pytestmark = pytest.mark.long

OLD, NEW, OTHER = (random.Random(name).randbytes(32) for name in ("old", "new", "other"))
MINUTE = 60.0
LARGE = 100_000  # bytes: by TCP
STRANGER = Endpoint.parse("10.66.0.1:8118")

Logs = list[MutableMapping[str, Any]]


def content(*keys: bytes) -> bytes:
    return b"".join(key.hex().encode() + b"\n" for key in keys)


@attrs.frozen
class Hosts:
    """Where the key files are, one for each node."""

    directory: Path
    config: Config

    def next(self, *keys: bytes, **settings: object) -> Config:
        """The config of one more node, whose file has these keys."""
        path = self.directory / f"{len(list(self.directory.iterdir()))}.key"
        secret_file(path, content(*keys))
        return attrs.evolve(self.config, network_key=path, **settings)  # type: ignore[arg-type]


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path, config_with(cache_life=0))


@contextlib.asynccontextmanager
async def open_closed(number: int, hosts: Hosts, *, network: MemoryNetwork | None = None) -> AsyncIterator[Cluster]:
    """So many nodes that have joined, under the old key."""
    async with open_cluster(0, config=hosts.config, network=network) as cluster:
        for _ in range(number):
            await cluster.start(config=hosts.next(OLD))
        yield cluster


def file_of(node: Node) -> Path:
    path = node.config.network_key
    assert path is not None
    return path


def reload_with(node: Node, *keys: bytes) -> Reloaded:
    """The node's file has these keys from now on, and it is told so."""
    file_of(node).write_bytes(content(*keys))
    return node.reload()


def sessions(node: Node) -> dict[str, int]:
    """How many sessions the node has under each key, by fingerprint, the key that is sent under first."""
    return {each.fingerprint: each.sessions for each in node.status().network_keys}


def warnings(logs: Iterable[MutableMapping[str, Any]]) -> Logs:
    return [each for each in logs if each["log_level"] in ("warning", "error")]


# Strangers -----------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Words:
    """The caller's side of a stream that says the same whatever it hears."""

    words: bytes
    most_bytes: int = 2**20
    is_over: bool = False
    answered: list[bytes] = attrs.field(factory=list)

    def first(self) -> bytes:
        return self.words

    def on_first(self, answer_untrusted: bytes) -> None:
        self.answered.append(answer_untrusted)

    async def sealed(self, message: bytes) -> bytes:
        return message

    async def opened(self, answer_untrusted: bytes) -> bytes:
        self.answered.append(answer_untrusted)
        return answer_untrusted


@attrs.define(eq=False)
class Intruder(Stranger):
    """A stranger that runs Camomile, with a network key of its own or a stolen one."""

    speaker: Speaker
    streams: Streams
    heard: list[Heard] = attrs.field(factory=list)

    def on_datagram(self, datagram_untrusted: bytes, source: Endpoint) -> None:
        heard = self.speaker.receive(datagram_untrusted, source)
        if heard is not None:
            self.heard.append(heard)

    async def is_answered(self, by: Contact) -> bool:
        """Whether a ping is, by UDP or by TCP."""
        number = self.speaker.ask(Ping(), by)
        await trio.sleep(1)
        by_datagram = any(heard.number == number and isinstance(heard.message, Pong) for heard in self.heard)
        return await self.is_answered_by_stream(by) or by_datagram

    async def is_answered_by_stream(self, by: Contact) -> bool:
        try:
            answer = await self.streams.exchange(by, CODEC.encode(1, Ping(), 0))
        except TransportError:
            return False
        return isinstance(CODEC.decode_untrusted(answer)[1], Pong)

    @property
    def bytes_received(self) -> int:
        statistics = self.transport.statistics
        return statistics.bytes_in + statistics.datagrams_in


def open_intruder(cluster: Cluster, network_key: NetworkKey) -> AbstractAsyncContextManager[Intruder]:
    async def answers_nothing(contact: Contact, inner: bytes) -> bytes | None:
        return None

    def make(transport: MemoryTransport) -> Intruder:
        pair = KeyPair.new(random.Random("intruder"))
        speaker = Speaker(pair, transport.endpoint, transport.send, network_key=network_key)
        streams = Streams(
            transport=transport,
            local=speaker.sessions.local,
            wall_ms=wall_clock,
            max_message=2**22,
            handle=answers_nothing,
            is_member=lambda public: False,
            afford=lambda source: True,
        )
        return Intruder(transport, speaker, streams)

    return open_stranger(cluster.network, STRANGER, make)


async def said(stranger: Stranger, to: Machine, words: bytes) -> list[bytes]:
    """What is answered over a stream that says the same again and again until it is closed."""
    caller = Words(words)
    with pytest.raises(TransportError):
        await stranger.transport.exchange(words, to.endpoint, peer=b"", caller=lambda: caller)
    return caller.answered


async def test_a_stranger_gets_no_byte_back_whatever_it_sends(virtual_clock: VirtualClock, hosts: Hosts) -> None:
    """Packets of other networks and of classic nodes, these with changes, and noise: by UDP and by TCP."""
    rng = random.Random(1)
    corpus = [*CORPUS, *(recorded.datagram for recorded in RECORDED), *INNER]
    noise = [rng.randbytes(size) for size in range(1, 1233, 3)]
    words = [each for each in (*corpus, *(damaged(rng, corpus) for _ in range(3000)), *noise) if 0 < len(each) <= 1232]
    async with open_closed(2, hosts) as cluster:
        member = cluster.machines[0]
        async with open_stranger(cluster.network, STRANGER, Stranger) as stranger:
            with structlog.testing.capture_logs() as logs:
                began = count(member.node, "datagrams_received_total")
                for each in words:
                    stranger.transport.send(each, member.endpoint)
                await trio.sleep(1)
                assert count(member.node, "datagrams_received_total") >= began + len(words)
                for each in words[::10]:
                    assert not await said(stranger, member, each)
            statistics = stranger.transport.statistics
            assert (statistics.datagrams_in, statistics.bytes_in, statistics.streams_in) == (0, 0, 0)
        assert counts(member.node, "rpc_dropped_total", "reason")["wrong_mac1"] > 10
        assert len(warnings(logs)) == 1
        assert [contact.id for contact in member.node.contacts()] == [cluster[1].id]
        assert (await cluster[1].put(b"a value")).replicas >= 2


NETWORKS = {
    "another key": NetworkKey.of(OTHER, NETWORK),
    "the open network": NetworkKey.of(open_network_key(NETWORK), NETWORK),
    "another network": NetworkKey.of(OLD, b"another network".ljust(32)),
}


@pytest.mark.parametrize("network_key", NETWORKS.values(), ids=NETWORKS)
async def test_a_node_without_the_key_gets_no_byte_back_though_it_knows_address_and_node_key(
    virtual_clock: VirtualClock, hosts: Hosts, network_key: NetworkKey
) -> None:
    async with open_closed(2, hosts) as cluster, open_intruder(cluster, network_key) as intruder:
        member = cluster.machines[0]
        with structlog.testing.capture_logs() as logs:
            for _ in range(30):
                intruder.speaker.ask(FindNode(member.node.id), member.contact, padded_to=420)
                hello = intruder.speaker.sessions.initiator.hello(member.endpoint, trio.current_time())
                intruder.transport.send(hello, member.endpoint)
                assert not await intruder.is_answered(member.contact)
        assert intruder.bytes_received == 0
        assert counts(member.node, "rpc_dropped_total", "reason")["wrong_mac1"] == 30 * 4
        assert len(warnings(logs)) == 1
        assert intruder.speaker.id not in member.table


async def test_the_key_lets_it_in(virtual_clock: VirtualClock, hosts: Hosts) -> None:
    """So the others are kept out by their keys, and not by what this test plays."""
    async with open_closed(2, hosts) as cluster, open_intruder(cluster, NetworkKey.of(OLD, NETWORK)) as intruder:
        assert await intruder.is_answered(cluster.machines[0].contact)
        assert await intruder.is_answered_by_stream(cluster.machines[0].contact)
        assert intruder.speaker.id in cluster.machines[0].table


@pytest.mark.parametrize("keys", [(OTHER,), ()], ids=["another key", "no key"])
async def test_a_node_that_joins_with_the_wrong_key_says_what_may_be_wrong(
    virtual_clock: VirtualClock, hosts: Hosts, keys: tuple[bytes, ...]
) -> None:
    async with open_closed(2, hosts) as cluster:
        config = hosts.next(*keys) if keys else hosts.config
        with structlog.testing.capture_logs() as logs:
            joining = await cluster.start(config=config, wait=False)
            await trio.sleep(10 * MINUTE - 10)
        assert joining.node.not_ready_because == NOBODY_ANSWERS
        assert "network key" in NOBODY_ANSWERS
        assert len(joining.table) == 0
        assert counts(cluster[0], "rpc_dropped_total", "reason")["wrong_mac1"] >= 10
        (told,) = warnings(logs)
        assert told["at"] == str(joining.endpoint)
        # The right key, and it is in; an open node would have to start again.
        if keys:
            reload_with(joining.node, OLD)
            await trio.sleep(MINUTE)
            assert joining.node.ready


async def test_replies_to_recorded_packets_of_a_member_are_few_and_change_nothing(
    virtual_clock: VirtualClock, hosts: Hosts
) -> None:
    recorded: list[bytes] = []

    def observe(at: float, source: Endpoint, to: Endpoint, packet: bytes) -> None:
        if source != STRANGER and len(packet) <= 1232:
            recorded.append(packet)

    async with open_closed(3, hosts, network=MemoryNetwork(seed=1, observer=observe)) as cluster:
        for number in range(20):
            await cluster[number % 3].put(b"value %d" % number)
        await trio.sleep(1)
        packets = list(recorded)
        member = cluster.machines[0]
        seats = sorted(member.node.contacts())
        async with open_stranger(cluster.network, STRANGER, Stranger) as stranger:
            statistics = stranger.transport.statistics
            for _ in range(20):
                sent, received = statistics.bytes_out, statistics.bytes_in
                for packet in packets:
                    stranger.transport.send(packet, member.endpoint)
                await trio.sleep(1)
                # Cookies and answers to hello are no larger than what they answer, and what is sealed has no answer.
                assert statistics.bytes_in - received < (statistics.bytes_out - sent) / 4
            # One of those that are answered, as fast as it can be sent.
            hello = write_hello(NetworkKey.of(OLD, NETWORK), random.Random(1)).encode()
            received, answered = statistics.bytes_in, statistics.datagrams_in
            for _ in range(20_000):
                stranger.transport.send(hello, member.endpoint)
            await trio.sleep(1)
            rate = HandshakeRates().replies
            assert statistics.datagrams_in - answered <= rate.at_once + rate.each_second
            assert statistics.bytes_in - received <= (statistics.datagrams_in - answered) * len(hello)
        assert sorted(member.node.contacts()) == seats
        before = count(cluster[1], "rpc_retransmissions_total")
        assert (await cluster[1].put(b"another")).replicas >= 2
        assert count(cluster[1], "rpc_retransmissions_total") == before


async def test_a_recorded_stream_gets_one_response_and_nothing_more(virtual_clock: VirtualClock, hosts: Hosts) -> None:
    async with open_closed(2, hosts) as cluster:
        member = cluster.machines[0]
        async with open_intruder(cluster, NetworkKey.of(OLD, NETWORK)) as other_member:
            local = other_member.speaker.sessions.local
            recorded = Asking(local, member.public, wall_clock, 2**20).first()
        async with open_stranger(cluster.network, STRANGER, Stranger) as stranger:
            for _ in range(5):
                (answer,) = await said(stranger, member, recorded)
                assert len(answer) <= MOST_RESPONSE


# The key changes -----------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Load:
    """Puts, gets and forgets at all nodes, one after the other at each; none may fail."""

    cluster: Cluster
    done: int = 0
    large: int = 0
    keys: list[Key] = attrs.field(factory=list)
    rng: random.Random = attrs.field(factory=lambda: random.Random(3))

    async def run(self, node: Node) -> None:
        while True:
            self.done += 1
            is_large = self.done % 50 == 0
            value = b"value %d" % self.done + bytes(LARGE * is_large)
            self.large += is_large
            self.keys.append((await node.put(value)).key)
            key = self.keys.pop(self.rng.randrange(len(self.keys)))
            assert Key.of((await node.get(key)).value) == key
            if self.done % 3:
                self.keys.append(key)
            else:
                await node.forget(key)
            await trio.sleep(self.rng.uniform(0.0, 3.0))


async def each_in_turn(cluster: Cluster, change: Callable[[Path], object], check: Callable[[Reloaded], None]) -> None:
    """An operator changes the file of the first host, copies it from one host to the next, and has each reload it."""
    change(file_of(cluster[0]))
    keys = load_network_keys(file_of(cluster[0]))
    for node in cluster.nodes:
        check(reload_with(node, *keys))
        await trio.sleep(3)


@pytest.mark.parametrize("is_loaded", [True, False], ids=["under load", "at rest"])
async def test_the_key_changes_without_a_failed_request(
    virtual_clock: VirtualClock, hosts: Hosts, is_loaded: bool
) -> None:
    async with open_closed(8, hosts) as cluster, trio.open_nursery() as nursery:
        load = Load(cluster)
        with structlog.testing.capture_logs() as logs:
            if is_loaded:
                for node in cluster.nodes:
                    nursery.start_soon(load.run, node)
            else:
                await trio.sleep(30 * MINUTE)
            old = fingerprint(OLD)
            assert all(list(sessions(node)) == [old] for node in cluster.nodes)

            def added(reloaded: Reloaded) -> None:
                assert (len(reloaded.added), reloaded.removed, reloaded.promoted) == (1, (), None)

            await each_in_turn(cluster, lambda path: add_network_key(path, random.Random(5)), added)
            (_, key) = load_network_keys(file_of(cluster[0]))
            new = fingerprint(key)
            assert all(list(sessions(node)) == [old, new] for node in cluster.nodes)

            def promoted(reloaded: Reloaded) -> None:
                assert reloaded == Reloaded(promoted=new, expect_before=None, expect=None)

            await each_in_turn(cluster, promote_network_key, promoted)
            await trio.sleep(MINUTE - 3)
            for node in cluster.nodes:
                assert list(sessions(node)) == [new, old]
                assert sessions(node)[old] == 0
                assert sessions(node)[new] >= 7
                assert {peer.network_key for peer in node.peers()} == {new}
                assert count(node, "network_key_sessions", key=old) == 0

            def removed(reloaded: Reloaded) -> None:
                assert reloaded == Reloaded(removed=(old,), expect_before=None, expect=None)

            await each_in_turn(cluster, remove_network_key, removed)
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert not warnings(logs)
        for node in cluster.nodes:
            assert node.status().network_keys == (NetworkKeyStatus(new, sessions(node)[new]),)
            assert counts(node, "rpc_dropped_total", "reason")["wrong_mac1"] == 0
            counters = node.statistics().counters.items()
            assert not [name for (name, labels), number in counters if number and ("outcome", "failed") in labels]
        if is_loaded:
            assert load.done > 500
            assert load.large > 10
            assert sum(count(node, "rpc_retransmissions_total") for node in cluster.nodes) == 0
        nodes = cluster.nodes
        shown = repr([logs, *((node, node.status(), node.peers(), node.statistics(), node.config) for node in nodes)])
        for secret in (OLD, key):
            assert secret.hex()[:8] not in shown
            assert repr(secret)[2:20] not in shown


async def test_a_leaked_key_is_of_no_use_once_it_is_removed_everywhere(
    virtual_clock: VirtualClock, hosts: Hosts
) -> None:
    async with open_closed(3, hosts) as cluster, open_intruder(cluster, NetworkKey.of(OLD, NETWORK)) as intruder:
        members = cluster.machines
        assert all([await intruder.is_answered(member.contact) for member in members])
        for node in cluster.nodes:
            reload_with(node, OLD, NEW)
        for node in cluster.nodes:
            reload_with(node, NEW, OLD)
        await trio.sleep(MINUTE)
        assert all([await intruder.is_answered(member.contact) for member in members])
        for node in cluster.nodes:
            assert reload_with(node, NEW).sessions_ended == 1
        await trio.sleep(1)
        received = intruder.bytes_received
        for _ in range(5):
            assert not any([await intruder.is_answered(member.contact) for member in members])
        assert intruder.bytes_received == received


async def test_a_node_that_was_left_behind_is_named_and_comes_back_with_the_key(
    virtual_clock: VirtualClock, hosts: Hosts
) -> None:
    async with open_closed(4, hosts) as cluster:
        *others, behind = cluster.nodes
        for node in others:
            reload_with(node, OLD, NEW)
        for node in others:
            reload_with(node, NEW, OLD)
        await trio.sleep(2 * MINUTE)
        # It goes on under the old key, which others can see before they remove it.
        assert behind.ready
        for node in others:
            assert sessions(node) == {fingerprint(NEW): 2, fingerprint(OLD): 1}
        with structlog.testing.capture_logs() as logs:
            reloads = [reload_with(node, NEW) for node in others]
        assert {(reloaded.removed, reloaded.sessions_ended) for reloaded in reloads} == {((fingerprint(OLD),), 1)}
        assert [(each["sessions"], each["keys"]) for each in warnings(logs)] == [(1, (fingerprint(OLD),))] * 3
        await trio.sleep(MINUTE)
        assert behind.not_ready_because == CUT_OFF
        assert (await others[0].put(b"a value")).replicas >= 2
        reload_with(behind, NEW)
        await trio.sleep(MINUTE)
        assert behind.ready
        assert (await others[0].put(b"another")).replicas >= 3


async def test_a_broken_file_changes_nothing(virtual_clock: VirtualClock, hosts: Hosts) -> None:
    async with open_closed(3, hosts) as cluster:
        node = cluster[1]
        path = file_of(node)
        before = sessions(node)
        for broken in (b"", content(NEW)[1:], content(OLD, NEW, OTHER), content(OLD, OLD), content(OLD)[:-1] + b"\r\n"):
            path.write_bytes(broken)
            with pytest.raises(ConfigError, match="network key file"):
                node.reload(expect=3)
        path.write_bytes(content(NEW))
        path.chmod(0o644)
        with pytest.raises(ConfigError, match="open to other users"):
            node.reload(expect=3)
        path.unlink()
        with pytest.raises(ConfigError, match="there is no network key file"):
            node.reload(expect=3)
        assert not path.exists()
        assert sessions(node) == before
        assert node.config.expect is None
        await trio.sleep(5 * MINUTE)
        assert sessions(node) == before
        assert (await node.put(b"a value")).replicas >= 2
        assert cluster[1].ready


async def test_a_file_that_is_the_same_changes_nothing(virtual_clock: VirtualClock, hosts: Hosts) -> None:
    async with open_closed(3, hosts) as cluster:
        begun = count(cluster[1], "handshakes_begun_total")
        before = sessions(cluster[1])
        assert reload_with(cluster[1], OLD) == Reloaded(expect_before=None, expect=None)
        await trio.sleep(2 * MINUTE)
        assert sessions(cluster[1]) == before
        assert count(cluster[1], "handshakes_begun_total") == begun


async def test_a_new_file_with_another_key_moves_a_node_to_another_network(
    virtual_clock: VirtualClock, hosts: Hosts
) -> None:
    async with open_closed(3, hosts) as cluster:
        reloaded = reload_with(cluster[2], OTHER)
        new, old = fingerprint(OTHER), fingerprint(OLD)
        assert (reloaded.added, reloaded.promoted, reloaded.removed) == ((new,), new, (old,))
        assert reloaded.sessions_ended == 2
        assert sessions(cluster[2]) == {new: 0}
        assert all(peer.network_key is None for peer in cluster[2].peers())
        await trio.sleep(MINUTE)
        assert not cluster[2].ready


async def test_open_networks_have_no_keys_to_show_or_to_change(virtual_clock: VirtualClock) -> None:
    async with open_cluster(3, config=config_with(cache_life=0)) as cluster:
        node = cluster[0]
        begun = count(node, "handshakes_begun_total")
        assert node.reload() == Reloaded(expect_before=None, expect=None)
        await trio.sleep(2 * MINUTE)
        assert count(node, "handshakes_begun_total") == begun
        status = node.status()
        assert (status.closed, status.network_keys) == (False, ())
        assert [peer.network_key for peer in node.peers()] == [None, None]
        assert count(node, "network_closed") == 0
        assert not [name for name, _ in node.statistics().gauges if name == "network_key_sessions"]
        assert (await node.put(b"a value")).replicas >= 2


async def test_closed_networks_say_so(virtual_clock: VirtualClock, hosts: Hosts) -> None:
    async with open_closed(3, hosts) as cluster:
        status = cluster[0].status()
        assert (status.closed, status.network_keys) == (True, (NetworkKeyStatus(fingerprint(OLD), 2),))
        assert [peer.network_key for peer in cluster[0].peers()] == [fingerprint(OLD)] * 2
        assert count(cluster[0], "network_closed") == 1
        assert count(cluster[0], "network_key_sessions", key=fingerprint(OLD)) == 2


# Before anything is bound --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [None, b"", content(OLD)[1:], content(OLD, NEW, OTHER), content(OLD)[:-1] + b"\r\n"])
async def test_a_node_with_a_broken_file_does_not_start_and_binds_and_makes_nothing(
    tmp_path: Path, broken: bytes | None
) -> None:
    @contextlib.asynccontextmanager
    async def bound() -> AsyncIterator[MemoryTransport]:
        is_bound.append(True)
        async with MemoryNetwork().open(STRANGER) as transport:
            yield transport

    is_bound: list[bool] = []
    path = tmp_path / "network.key"
    if broken is not None:
        secret_file(path, broken)
    config = Config(network_key=path, storage=StorageConfig(data_dir=tmp_path / "data"))
    with pytest.raises(ConfigError, match="network key file"):
        async with open_node(config, transport=bound()):
            pass
    assert not is_bound
    assert names_in(tmp_path) == ([] if broken is None else ["network.key"])


def names_in(directory: Path) -> list[str]:
    return [each.name for each in directory.iterdir()]


# How many nodes there are ---------------------------------------------------------------------------------------------


async def test_a_node_that_waits_for_more_than_there_are_is_ready_once_it_is_told(
    virtual_clock: VirtualClock, hosts: Hosts
) -> None:
    async with open_cluster(0, config=hosts.config) as cluster:
        for _ in range(3):
            await cluster.start(config=hosts.next(OLD, expect=5), wait=False)
        await trio.sleep(MINUTE)
        for node in cluster.nodes:
            assert "it has met 2 of the 4 other nodes" in node.not_ready_because
            with pytest.raises(ConfigError, match="expect is 0"):
                node.reload(expect=0)
            assert node.config.expect == 5
            with trio.fail_after(0):
                reloaded = node.reload(expect=3)
                await node.wait_ready()
            assert (reloaded.expect_before, reloaded.expect, node.config.expect) == (5, 3, 3)
        assert (await cluster[0].put(b"a value")).replicas >= 2


async def test_a_node_that_has_lost_all_others_goes_on_alone_once_it_is_told(virtual_clock: VirtualClock) -> None:
    async with open_cluster(3, config=config_with(cache_life=0)) as cluster:
        left, *others = cluster.machines
        for machine in others:
            await cluster.lose(machine)
        await trio.sleep(MINUTE)
        assert left.node.not_ready_because == CUT_OFF
        left.node.reload(expect=1)
        await trio.sleep(10)
        assert left.node.ready
        assert (await left.node.put(b"a value")).replicas == 1


async def test_so_does_one_that_was_started_again_and_finds_nobody(virtual_clock: VirtualClock) -> None:
    async with open_cluster(1, config=config_with(cache_life=0)) as cluster:
        disk = SimulatedDisk(sync="os", max_bytes=2**24, rng=random.Random(1), commit_latency=0.0)
        first, left = cluster.machines[0], await cluster.start(storage=disk.open())
        await cluster.lose(left)
        disk.crash()
        await cluster.lose(first)
        config = attrs.evolve(cluster.config, join=(str(first.endpoint),))
        again = await cluster.start(config=config, storage=disk.open(), identity=left.identity, wait=False)
        await trio.sleep(MINUTE)
        assert again.node.not_ready_because == CUT_OFF
        again.node.reload(expect=1)
        await trio.sleep(MINUTE)
        assert again.node.ready
