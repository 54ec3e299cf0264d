"""Classic Camomile's README, word for word, on fifty nodes with real sockets: put, get and delete over HTTP."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import httpx
import pytest
import trio

from camomile_trio.config import Config, Records, local_cluster
from camomile_trio.http.serve import serve
from camomile_trio.http.settings import HttpSettings
from camomile_trio.identity import KeyPair
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.node.node import Node, open_node

KEY = "bde0e9f6e9d3fabd5bf6849e179f0aee485630f6d5c1c4398517cc1543fb9386"
TEXT = "ABC, du är mina tankar"
ANY_PORT = Endpoint.parse("127.0.0.1:0")
PATIENCE = 120.0  # seconds for the whole story, on a busy machine


@attrs.frozen
class Served:
    node: Node
    url: str


@asynccontextmanager
async def nodes(count: int) -> AsyncIterator[list[Served]]:
    """So many, joined through the first. Without cached copies, which may be served for a minute after a forget."""
    publisher = KeyPair.new(random.SystemRandom())
    config = local_cluster(Config(records=Records(cache_life=0.0, hand_over_deadline=0.0)))
    places: list[Served] = []

    async def live(config: Config, task_status: trio.TaskStatus[Served]) -> None:
        async with open_node(config, publisher=publisher) as node, trio.open_nursery() as servers:
            (http,) = await servers.start(lambda **started: serve(node, HttpSettings(listen=ANY_PORT), **started))
            await node.wait_ready()
            task_status.started(Served(node, f"http://{http}"))
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            join = (str(places[0].node.endpoint),) if places else ()
            places.append(await nursery.start(live, attrs.evolve(config, join=join)))
        yield places
        nursery.cancel_scope.cancel()


@pytest.mark.real_time
async def test_the_readme_of_classic_camomile() -> None:
    with trio.fail_after(PATIENCE):
        async with nodes(50) as places, httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
            stored = await client.post(places[0].url + "/", files={"value": (None, TEXT)})
            assert stored.status_code == 202
            assert stored.headers["Location"] == "/" + KEY
            assert stored.text == TEXT
            assert int(stored.headers["Camomile-Replicas"]) >= 11

            ids = {cluster.node.id.hex() for cluster in places}
            for cluster in places:
                found = await client.get(f"{cluster.url}/{KEY}")
                assert found.status_code == 200
                assert found.text == TEXT
                assert found.headers["Origin"] in ids

            gone = await client.delete(f"{places[31].url}/{KEY.upper()}")
            assert gone.status_code == 204
            assert gone.content == b""

            statuses = [(await client.get(f"{cluster.url}/{KEY}")).status_code for cluster in places]
            assert set(statuses) == {410}

            again = await client.delete(f"{places[12].url}/{KEY}")
            assert again.status_code == 204


@pytest.mark.real_time
async def test_two_clients_put_the_same_value_at_once() -> None:
    with trio.fail_after(PATIENCE):
        async with nodes(24) as places, httpx.AsyncClient(timeout=30.0, trust_env=False) as client:
            answers: list[httpx.Response] = []

            async def put(cluster: Served) -> None:
                answers.append(await client.post(cluster.url + "/", content=b"the same value"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(put, places[3])
                nursery.start_soon(put, places[22])
            assert [answer.status_code for answer in answers] == [202, 202]
            location = answers[0].headers["Location"]
            assert (await client.get(places[20].url + location)).content == b"the same value"
            # One publisher key: one forget ends both.
            assert (await client.delete(places[15].url + location)).status_code == 204
            assert (await client.get(places[7].url + location)).status_code == 410
