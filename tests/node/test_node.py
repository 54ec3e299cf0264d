"""A node as the program that embeds it sees it: what may be passed, what is shown, and when it is closed."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from camomile_trio.config import Config, StorageConfig
from camomile_trio.errors import BadKey, BadNodeId, ConfigError, NodeClosed, NotFound, StorageError
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.routing import RoutingTable
from camomile_trio.node.node import Node, open_node
from camomile_trio.operations.results import Found, Pinged
from camomile_trio.peer.local import StaticKey
from camomile_trio.storage.memory import MemoryStorage
from tests.fixtures.line import SUITE, Line, on_line, one_node
from tests.fixtures.peers import Peer

VALUE = b"a value"
KEY = Key.of(VALUE)
ALICE = KeyPair.new(random.Random("alice"))
ALICES_ID = StaticKey.from_seed(SUITE, ALICE.seed).node_id
NOBODY = Key.of(b"nobody has it")


async def test_the_first_node_of_a_network_is_ready_when_its_block_begins(autojump_clock: MockClock) -> None:
    async with open_node(transport=on_line(Line())) as node:
        assert node.ready
        assert (await node.put(VALUE)).key == KEY


async def test_one_that_has_somebody_to_ask_is_not(autojump_clock: MockClock) -> None:
    async with open_node(Config(join="10.0.0.1:8118"), transport=on_line(Line())) as node:
        assert not node.ready


async def test_a_table_that_is_given_is_the_one_that_the_node_uses(autojump_clock: MockClock) -> None:
    key = KeyPair.new(random.Random(1))
    table = RoutingTable(StaticKey.from_seed(SUITE, key.seed).node_id, 20)
    contact = Contact.of(SUITE.public(bytes(32)), Endpoint.parse("10.0.0.2:8118"))
    table.on_answer(contact, trio.current_time())
    async with open_node(transport=on_line(Line()), identity=key, table=table, suite=SUITE) as node:
        assert node.contacts() == [contact]


@pytest.mark.parametrize("table", [RoutingTable(NodeId(bytes(32)), 20), RoutingTable(ALICES_ID, 8)])
async def test_a_table_of_another_node_or_k_is_refused(table: RoutingTable, autojump_clock: MockClock) -> None:
    with pytest.raises(ConfigError, match="the routing table is of node"):
        async with open_node(transport=on_line(Line()), identity=ALICE, table=table, suite=SUITE):
            pass


async def test_an_error_of_the_block_arrives_as_itself(autojump_clock: MockClock) -> None:
    with pytest.raises(NotFound):
        async with open_node(transport=on_line(Line())) as node:
            await node.get(NOBODY)


async def test_a_task_that_crashes_ends_the_block_and_is_seen(autojump_clock: MockClock) -> None:
    class Broken(MemoryStorage):
        async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            await trio.sleep(1)
            raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        async with open_node(transport=on_line(Line()), storage=Broken(max_bytes=2**20)) as node:
            await trio.sleep_forever()
    with pytest.raises(NodeClosed):
        node.status()


# What may be passed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [VALUE, bytearray(VALUE), memoryview(VALUE)], ids=["bytes", "bytearray", "view"])
async def test_a_value_is_any_sort_of_bytes(autojump_clock: MockClock, value: bytes | bytearray | memoryview) -> None:
    async with one_node() as (node, _):
        assert (await node.put(value)).key == KEY
        assert type((await node.get(KEY)).value) is bytes


async def test_what_changes_after_the_put_changes_no_value(autojump_clock: MockClock) -> None:
    async with one_node() as (node, _):
        value = bytearray(VALUE)
        await node.put(value)
        value[:] = b"another"
        assert (await node.get(KEY)).value == VALUE


@pytest.mark.parametrize("key", [KEY, bytes(KEY), KEY.hex(), KEY.hex().upper()], ids=["key", "bytes", "hex", "HEX"])
async def test_a_key_may_be_given_as_its_digits_or_its_bytes(autojump_clock: MockClock, key: Key | bytes | str) -> None:
    async with one_node() as (node, _):
        await node.put(VALUE)
        assert (await node.get(key)).value == VALUE
        assert node.records(after=key).records == ()
        assert node.export(after=key).entries == 0
        assert (await node.forget(key)).key == KEY


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda node: node.put("text"), "the value has to be bytes, not str; encode text"),
        (lambda node: node.put(None), "the value has to be bytes, not NoneType"),
        (lambda node: node.put(7), "the value has to be bytes, not int"),
        (lambda node: node.put([1, 2]), "the value has to be bytes, not list"),
        (lambda node: node.put(VALUE, ttl="60"), "ttl has to be a number of seconds, not str"),
        (lambda node: node.get(None), "the key has to be the `key` that a put returned.*not NoneType"),
        (lambda node: node.get(7), "the key .*not int"),
        (lambda node: node.forget(None), "the key .*not NoneType"),
        (lambda node: node.ping(Endpoint), "the node has to be the `id` of a node.*not type"),
        (lambda node: node.take_in(b"{}"), "a list of lines.*not bytes"),
        (lambda node: node.take_in(["{}"]), "a line has to be bytes, not str"),
    ],
)
async def test_a_value_of_a_wrong_type_is_a_type_error_that_says_what_to_pass(
    autojump_clock: MockClock, call: Callable[[Any], Awaitable[object]], says: str
) -> None:
    async with one_node() as (node, _):
        with pytest.raises(TypeError, match=says):
            await call(node)


async def test_what_is_no_key_and_no_id_is_an_error_of_camomile(autojump_clock: MockClock) -> None:
    async with one_node() as (node, _):
        for wrong in ("abc", VALUE):
            with pytest.raises(BadKey):
                await node.get(wrong)
            with pytest.raises(BadKey):
                node.records(after=wrong)
            with pytest.raises(BadNodeId):
                await node.ping(wrong)


async def test_a_config_is_a_config(autojump_clock: MockClock) -> None:
    wrong: Any = {"join": ()}
    with pytest.raises(TypeError, match="config has to be a Config"):
        async with open_node(wrong):
            pass


# What is shown -----------------------------------------------------------------------------------------------------


async def test_keys_and_ids_are_shown_as_hexadecimal_digits(autojump_clock: MockClock) -> None:
    async with one_node() as (node, line):
        stored = await node.put(VALUE)
        found = await node.get(stored.key)
        peer = Peer.at(line, "peer", "10.0.0.1:8118")
        peer.introduce()
        (contact,) = node.contacts()
        (record,) = node.records().records
        status = node.status()
        shows: list[tuple[object, list[bytes]]] = [
            (stored, [KEY]),
            (found, [KEY, node.id]),
            (record, [KEY, status.publisher]),
            (status, [node.id, status.publisher]),
            (contact.id, [peer.id]),
            (Pinged(peer.id, peer.endpoint, 0.1), [peer.id]),
            (node, [node.id]),
        ]
        for shown, ids in shows:
            assert all(each.hex() in repr(shown) for each in ids)
            assert "\\x" not in repr(shown)
        assert f"{node.id} {found.origin} {contact.id}" == f"{node.id.hex()} {node.id.hex()} {peer.id.hex()}"
        assert peer.id.hex()[:8] in repr(contact)


def test_a_large_value_is_shown_by_its_size() -> None:
    assert "value=<1048576 bytes>" in repr(Found(KEY, bytes(2**20), NodeId(bytes(32)), True))


# Closed ------------------------------------------------------------------------------------------------------------


async def test_a_closed_node_says_that_it_is_closed(autojump_clock: MockClock) -> None:
    async with one_node() as (node, _):
        key = (await node.put(VALUE)).key
        node_id, endpoint = node.id, node.endpoint
    later: list[Callable[[], Awaitable[object]]] = [
        lambda: node.put(VALUE),
        lambda: node.get(key),
        lambda: node.forget(key),
        lambda: node.ping(node.id),
        lambda: node.take_in([]),
        node.wait_ready,
    ]
    for each in later:
        with pytest.raises(NodeClosed, match="closed") as caught:
            await each()
        assert "open_node" in caught.value.remedy
    for call in (node.records, node.export, node.contacts, node.status, node.statistics):
        with pytest.raises(NodeClosed):
            call()
    assert not node.ready
    assert "closed" in node.not_ready_because
    assert (node.id, node.endpoint) == (node_id, endpoint)


async def test_who_waits_for_a_node_that_ends_hears_of_it(autojump_clock: MockClock) -> None:
    heard: list[str] = []

    async def wait(node: Node) -> None:
        try:
            await node.wait_ready()
        except NodeClosed as error:
            heard.append(str(error))

    joining = Config(join="10.0.0.1:8118")
    async with trio.open_nursery() as nursery, open_node(joining, transport=on_line(Line())) as node:
        nursery.start_soon(wait, node)
        await trio.sleep(1)
    assert len(heard) == 1


async def test_a_node_that_could_not_be_opened_says_why_and_not_in_a_group(
    autojump_clock: MockClock, tmp_path: Any
) -> None:
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(StorageError):
        async with open_node(Config(storage=StorageConfig(data_dir=str(tmp_path / "file"))), transport=on_line(Line())):
            pass
