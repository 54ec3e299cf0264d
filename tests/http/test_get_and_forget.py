"""GET, HEAD and DELETE /{key}: what they answer, what they let a cache keep, and what they refuse."""

from __future__ import annotations

import pytest
from quart_trio.testing import TrioClient as Client

from camomile_trio.kademlia.ids import Key
from tests.http.fake_node import OTHER, FakeNode, body_of
from tests.http.test_put import problem

SOME_KEY = Key.of(b"some value")


async def test_a_value_comes_back_with_its_origin(client: Client, node: FakeNode) -> None:
    key = node.holding("ABC, du är mina tankar".encode())
    response = await client.get(f"/{key}")
    assert response.status_code == 200
    assert await body_of(response) == "ABC, du är mina tankar".encode()
    assert response.headers["Origin"] == OTHER.hex()
    assert response.headers["ETag"] == f'"{key}"'
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "sandbox"


async def test_what_is_not_text_comes_back_as_bytes(client: Client, node: FakeNode) -> None:
    value = b"caf\xc3"
    response = await client.get(f"/{node.holding(value)}")
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "sandbox"
    assert await body_of(response) == value


async def test_a_key_in_upper_case_is_the_same_key(client: Client, node: FakeNode) -> None:
    key = node.holding(b"value")
    response = await client.get(f"/{str(key).upper()}")
    assert (response.status_code, response.headers["ETag"]) == (200, f'"{key}"')
    assert (await client.delete(f"/{str(key).upper()}")).status_code == 204


async def test_head_tells_what_get_would(client: Client, node: FakeNode) -> None:
    key = node.holding(b"x" * 1234)
    response = await client.head(f"/{key}")
    assert response.status_code == 200
    assert response.headers["Content-Length"] == "1234"
    assert response.headers["ETag"] == f'"{key}"'
    assert (await client.head(f"/{SOME_KEY}")).status_code == 404


@pytest.mark.parametrize("template", ['"{key}"', 'W/"{key}"', '"a,b", "{key}"', '"x" , W/"{key}"', "*", " * "])
async def test_who_has_the_value_is_told_that_it_is_still_there(client: Client, node: FakeNode, template: str) -> None:
    key = node.holding(b"value")
    response = await client.get(f"/{key}", headers={"If-None-Match": template.format(key=key)})
    assert response.status_code == 304
    assert await body_of(response) == b""
    assert response.headers["ETag"] == f'"{key}"'
    assert response.headers["Origin"] == OTHER.hex()


@pytest.mark.parametrize("tags", ['"other"', "", "{key}", '"{key}x"'])
async def test_who_has_something_else_gets_the_value(client: Client, node: FakeNode, tags: str) -> None:
    key = node.holding(b"value")
    response = await client.get(f"/{key}", headers={"If-None-Match": tags.format(key=key)})
    assert (response.status_code, await body_of(response)) == (200, b"value")


async def test_a_cached_value_is_confirmed_only_when_it_was_found_live(client: Client, node: FakeNode) -> None:
    key = node.holding(b"value")
    has_it = {"If-None-Match": f'"{key}"'}
    node.live = False
    assert (await client.get(f"/{key}", headers=has_it)).status_code == 200
    node.forgotten.add(key)
    assert (await client.get(f"/{key}", headers=has_it)).status_code == 410
    node.forgotten.clear()
    node.values.clear()
    assert (await client.get(f"/{key}", headers=has_it)).status_code == 404


async def test_what_is_not_there_is_not_remembered(client: Client, node: FakeNode) -> None:
    response = await client.get(f"/{SOME_KEY}")
    assert response.status_code == 404
    assert response.headers["Cache-Control"] == "no-store"
    assert (await problem(response))["type"] == "urn:camomile:problem:not-found"
    node.forgotten.add(SOME_KEY)
    response = await client.get(f"/{SOME_KEY}")
    assert response.status_code == 410
    assert response.headers["Cache-Control"] == "no-store"
    assert (await problem(response))["type"] == "urn:camomile:problem:forgotten"


@pytest.mark.parametrize("key", ["hello", "0" * 63, "0" * 65, "g" * 64, " " + "0" * 63, "0" * 62 + "é"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_what_is_no_key_is_refused(client: Client, node: FakeNode, key: str, method: str) -> None:
    response = await client.open(f"/{key}", method=method)
    assert response.status_code == 400
    assert (await problem(response))["type"] == "urn:camomile:problem:not-a-key"
    assert not node.begun.is_set()


async def test_forgetting_answers_with_nothing_and_again_on_repeats(client: Client, node: FakeNode) -> None:
    key = node.holding(b"value")
    for _ in range(2):
        response = await client.delete(f"/{key}")
        assert response.status_code == 204
        assert await body_of(response) == b""
        assert "Camomile-Publishers" not in response.headers
    assert (await client.get(f"/{key}")).status_code == 410


async def test_forgetting_tells_of_others_that_still_publish(client: Client, node: FakeNode) -> None:
    node.other_publishers = 2
    response = await client.delete(f"/{node.holding(b'value')}")
    assert (response.status_code, response.headers["Camomile-Publishers"]) == (204, "2")


async def test_forgetting_what_nobody_has_is_not_found(client: Client) -> None:
    response = await client.delete(f"/{SOME_KEY}")
    assert response.status_code == 404
    assert response.headers["Cache-Control"] == "no-store"
