"""A reload over HTTP: who may ask for it, what the request may say, and what is answered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from quart_trio.testing import TrioClient as Client

from camomile_trio.errors import ConfigError
from camomile_trio.http.app import make_app
from camomile_trio.http.documents import Json
from camomile_trio.http.openapi import openapi_document
from camomile_trio.http.settings import HttpSettings
from tests.http.fake_node import FakeNode, body_of, client_for
from tests.http.test_control import controlled
from tests.http.test_put import problem

TOKEN = b"s3cret-and-random"
OPERATOR = {"Authorization": f"Bearer {TOKEN.decode()}"}


@pytest.fixture
def guarded(node: FakeNode) -> Client:
    """The same node, which asks for a token."""
    return client_for(make_app(node, HttpSettings(token=TOKEN)))


async def test_the_token_is_enough_and_what_changed_is_answered(guarded: Client, node: FakeNode) -> None:
    response = await guarded.post("/-/reload", headers=OPERATOR)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(await body_of(response)) == {
        "added": ["11111111"],
        "promoted": "22222222",
        "removed": ["33333333"],
        "sessions_ended": 4,
        "expect_before": None,
        "expect": None,
    }
    response = await guarded.post("/-/reload", headers=OPERATOR, data=b'{"expect": 3}')
    assert json.loads(await body_of(response))["expect"] == 3
    assert (node.reloads, node.expects) == (2, 3)


async def test_without_the_token_nothing_is_reloaded(guarded: Client, node: FakeNode) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        response = await guarded.post("/-/reload", headers=headers)
        assert (response.status_code, (await problem(response))["type"]) == (401, "urn:camomile:problem:token-required")
        assert "WWW-Authenticate" in response.headers
    assert node.reloads == 0


async def test_a_node_without_a_token_is_reloaded_over_its_socket_only(client: Client, node: FakeNode) -> None:
    for headers in ({}, OPERATOR, {"Authorization": "Bearer "}):
        response = await client.post("/-/reload", headers=headers)
        refused = await problem(response)
        assert (response.status_code, refused["type"]) == (403, "urn:camomile:problem:no-token-set")
        assert "camomile reload" in str(refused["remedy"])
    assert node.reloads == 0


async def test_only_a_post_reloads(guarded: Client, node: FakeNode) -> None:
    for method in ("GET", "HEAD", "DELETE", "PUT"):
        assert (await guarded.open("/-/reload", method=method, headers=OPERATOR)).status_code == 405
    assert node.reloads == 0


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}", b'{"expect": null}'])
async def test_a_body_may_say_nothing(guarded: Client, node: FakeNode, body: bytes) -> None:
    node.expects = 5
    assert (await guarded.post("/-/reload", headers=OPERATOR, data=body)).status_code == 200
    assert (node.reloads, node.expects) == (1, 5)


@pytest.mark.parametrize(
    "body",
    [
        *(b"3", b"[]", b"null", b"expect=3", b"{", b'{"expect": 3', b"\xff", b"[" * 1000),
        *(b'{"expect": 0}', b'{"expect": 1001}', b'{"expect": -1}', b'{"expect": true}', b'{"expect": 3.0}'),
        *(b'{"expect": "3"}', b'{"expect": 3, "expect": 4}', b'{"expect": 3, "network_key": "x"}'),
        b'{"expect": 3}' + b" " * 1024,
    ],
)
async def test_a_body_that_says_something_else_changes_nothing(guarded: Client, node: FakeNode, body: bytes) -> None:
    response = await guarded.post("/-/reload", headers=OPERATOR, data=body)
    assert (response.status_code, (await problem(response))["type"]) == (400, "urn:camomile:problem:bad-request")
    assert node.reloads == 0


async def test_a_broken_key_file_is_the_nodes_trouble_and_said(guarded: Client, node: FakeNode) -> None:
    node.failing = ConfigError("network key file /keys/n is empty", remedy="copy it from another node")
    response = await guarded.post("/-/reload", headers=OPERATOR)
    refused = await problem(response)
    assert (response.status_code, refused["type"]) == (500, "urn:camomile:problem:not-reloaded")
    assert refused["detail"] == "not reloaded, what was before goes on: network key file /keys/n is empty"
    assert refused["remedy"] == "copy it from another node"


async def test_what_is_answered_fits_its_schema(guarded: Client) -> None:
    document = json.loads(await body_of(await guarded.post("/-/reload", headers=OPERATOR)))
    components = openapi_document("1")["components"]
    assert isinstance(components, dict)
    schemas: Json = components["schemas"]
    assert isinstance(schemas, dict)
    schema = schemas["Reloaded"]
    assert isinstance(schema, dict)
    assert schema["required"] == list(document)


@pytest.mark.real_time
async def test_over_the_control_socket_no_token_is_asked_for(node: FakeNode, tmp_path: Path) -> None:
    async with controlled(node, tmp_path / "socket") as client:
        response = await client.post("/reload", json={"expect": 3})
        assert (response.status_code, response.json()["expect"]) == (200, 3)
        assert (await client.post("/reload")).status_code == 200
        assert (node.reloads, node.expects) == (2, 3)
        assert (await client.get("/reload")).status_code == 405
        assert (await client.post("/reload", content=b"3")).status_code == 400
        node.failing = ConfigError("network key file /keys/n is empty", remedy="copy it from another node")
        assert (await client.post("/reload")).json()["type"] == "urn:camomile:problem:not-reloaded"
