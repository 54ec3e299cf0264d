"""The front page and all under /-/: health, readiness, the node, its metrics, and the interface's description."""

from __future__ import annotations

import json
import platform

import pytest
from quart_trio.testing import TrioClient as Client

from camomile_trio.http.app import RestService, make_app
from camomile_trio.http.documents import Json
from camomile_trio.http.openapi import openapi_document
from camomile_trio.http.settings import HttpSettings
from camomile_trio.operations.events import LookupEnded, OperationEnded, ReadyChanged, RoundTrip
from camomile_trio.operations.results import NetworkKeyStatus, Statistics
from tests.http.fake_node import NODE, OTHER, FakeNode, body_of
from tests.http.test_get_and_forget import SOME_KEY
from tests.http.test_put import RAW, problem


async def scrape(client: Client) -> dict[str, float]:
    response = await client.get("/-/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    lines = (await body_of(response)).decode().splitlines()
    samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


async def test_a_browser_gets_a_page_that_runs_nothing(client: Client) -> None:
    response = await client.get("/", headers={"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"})
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    page = (await body_of(response)).decode()
    assert "curl -iF 'value=" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://127.0.0.1:8080", "")


async def test_another_client_gets_a_text(client: Client) -> None:
    response = await client.get("/", headers={"Accept": "*/*"})
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Vary"] == "Accept"
    assert "application/octet-stream" in (await body_of(response)).decode()


async def test_health_is_about_the_server_and_readiness_about_the_network(client: Client, node: FakeNode) -> None:
    assert (await client.get("/-/ready")).status_code == 200
    node.ready, node.not_ready_because = False, "nobody answered yet"
    assert (await client.get("/-/healthy")).status_code == 200
    response = await client.get("/-/ready")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    assert "nobody answered yet" in str((await problem(response))["detail"])


async def test_the_node_describes_itself(client: Client) -> None:
    response = await client.get("/-/node")
    assert response.headers["Content-Type"] == "application/json"
    document = json.loads(await body_of(response))
    assert document == {
        "id": NODE.hex(),
        "node_key": "cd" * 32,
        "endpoint": "127.0.0.1:8118",
        "advertised": "[::1]:9",
        "observed": None,
        "network": "camomile",
        "closed": False,
        "network_keys": [],
        "classic": False,
        "version": "0.1.0",
        "ready": True,
        "not_ready_because": "",
        "uptime": 12.346,
        "contacts": 3,
        "classic_contacts": 1,
        "source_networks": 6,
        "buckets": [
            {"index": 255, "contacts": 2, "replacements": 0},
            {"index": 254, "contacts": 1, "replacements": 1},
        ],
        "keys": 5,
        "values": 4,
        "bytes": 4096,
        "max_bytes": 2**30,
        "cached": 2,
        "publisher": "ab" * 32,
    }


async def test_the_node_lists_its_peers_with_ids_that_can_be_pinged(client: Client) -> None:
    response = await client.get("/-/peers")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert json.loads(await body_of(response)) == {
        "peers": [
            {
                "id": OTHER.hex(),
                "node_key": "02" * 32,
                "endpoint": "127.0.0.1:8119",
                "round_trip": 0.001235,
                "last_seen": 12.346,
                "answers": True,
                "network_key": None,
            },
            {
                "id": "ff" * 32,
                "node_key": "03" * 32,
                "endpoint": "[fd00::1]:8118",
                "round_trip": None,
                "last_seen": None,
                "answers": False,
                "network_key": None,
            },
        ]
    }


async def test_a_closed_network_shows_its_keys_by_their_fingerprints(client: Client, node: FakeNode) -> None:
    node.network_keys = (NetworkKeyStatus("11111111", 12), NetworkKeyStatus("22222222", 1))
    document = json.loads(await body_of(await client.get("/-/node")))
    assert document["closed"] is True
    assert document["network_keys"] == [
        {"fingerprint": "11111111", "sessions": 12},
        {"fingerprint": "22222222", "sessions": 1},
    ]
    near, far = json.loads(await body_of(await client.get("/-/peers")))["peers"]
    assert (near["network_key"], far["network_key"]) == ("11111111", None)


async def test_what_the_node_counts_is_exposed(client: Client, node: FakeNode) -> None:
    node.counted = Statistics(
        counters={
            ("rpc_requests_total", (("kind", "ping"), ("outcome", "ok"))): 7,
            ("rpc_requests_total", (("kind", "store"), ("outcome", "late"))): 2,
            ("dropped_packets_total", ()): 1,
        },
        gauges={("records", ()): 5, ("queue_length", (("queue", "inbox"),)): 3},
        meanings={
            "rpc_requests_total": "Requests to peers",
            "dropped_packets_total": "Packets that made no sense",
            "records": "Records stored",
            "queue_length": "What waits, by queue",
        },
    )
    samples = await scrape(client)
    assert samples['camomile_rpc_requests_total{kind="ping",outcome="ok"}'] == 7
    assert samples['camomile_rpc_requests_total{kind="store",outcome="late"}'] == 2
    assert samples["camomile_dropped_packets_total"] == 1
    assert samples["camomile_records"] == 5
    assert samples['camomile_queue_length{queue="inbox"}'] == 3


async def test_every_metric_comes_with_its_meaning(client: Client, node: FakeNode) -> None:
    node.counted = Statistics(
        counters={("dropped_packets_total", ()): 1},
        meanings={
            "dropped_packets_total": "Packets that made no sense",
            "store_refused_total": "Records refused",
            "key_sessions": "Sessions by key",
        },
    )
    lines = (await body_of(await client.get("/-/metrics"))).decode().splitlines()
    assert "# HELP camomile_dropped_packets_total Packets that made no sense" in lines
    # Of which nothing was counted yet: that there is such a metric is seen all the same.
    assert "# HELP camomile_store_refused_total Records refused" in lines
    assert "# TYPE camomile_store_refused_total counter" in lines
    assert "# TYPE camomile_key_sessions gauge" in lines


async def test_the_process_and_what_runs_in_it_are_told(client: Client) -> None:
    """What alerts are made of: memory, processor, descriptors, restarts, versions."""
    samples = await scrape(client)
    assert samples[f'camomile_build_info{{python="{platform.python_version()}",version="0.1.0"}}'] == 1
    assert 10e6 < samples["process_resident_memory_bytes"] <= samples["process_virtual_memory_bytes"]
    assert samples["process_cpu_seconds_total"] > 0
    assert 3 <= samples["process_open_fds"] <= samples["process_max_fds"]
    assert samples["process_start_time_seconds"] > 1e9


async def test_what_the_node_tells_is_measured(app: RestService, client: Client, node: FakeNode) -> None:
    with node.events.watch(app.metrics.observe):
        node.events.emit(OperationEnded("put", "ok", 0.003))
        node.events.emit(OperationEnded("put", "ok", 0.0051))
        node.events.emit(OperationEnded("put", "NoMajority", 15.0))
        node.events.emit(LookupEnded("value", hops=3, requests=12, seconds=0.02))
        node.events.emit(RoundTrip("find_node", 0.0001))
        node.events.emit(RoundTrip("find_node", 99.0))
        node.events.emit(ReadyChanged(True, ""))
    node.events.emit(RoundTrip("find_node", 0.1))  # nobody watches any more
    samples = await scrape(client)
    puts = 'camomile_operation_seconds_{}operation="put",outcome="ok"{}}}'
    assert samples[puts.format("bucket{le=" + '"0.0025",', "")] == 0
    assert samples[puts.format("bucket{le=" + '"0.005",', "")] == 1
    assert samples[puts.format("bucket{le=" + '"0.01",', "")] == 2
    assert samples[puts.format("count{", "")] == 2
    assert samples[puts.format("sum{", "")] == pytest.approx(0.0081)
    assert samples['camomile_operation_seconds_count{operation="put",outcome="NoMajority"}'] == 1
    assert samples['camomile_lookup_hops_bucket{kind="value",le="2.0"}'] == 0
    assert samples['camomile_lookup_hops_bucket{kind="value",le="3.0"}'] == 1
    assert samples['camomile_lookup_seconds_count{kind="value"}'] == 1
    assert samples['camomile_rpc_round_trip_seconds_bucket{kind="find_node",le="0.0005"}'] == 1
    assert samples['camomile_rpc_round_trip_seconds_bucket{kind="find_node",le="30.0"}'] == 1
    assert samples['camomile_rpc_round_trip_seconds_bucket{kind="find_node",le="+Inf"}'] == 2


async def test_requests_are_counted_by_method_route_and_status_and_nothing_that_a_client_makes_up(
    client: Client, node: FakeNode
) -> None:
    await client.get(f"/{node.holding(b'1')}")
    await client.get(f"/{SOME_KEY}")
    await client.get(f"/{'f' * 64}")
    await client.post("/", data=b"1", headers=RAW)
    await client.get("/-/ready")
    await client.get("/a/b/c")
    await client.open("/", method="BREW")
    samples = await scrape(client)
    prefix = "camomile_http_request_seconds_count"
    counted = {name.removeprefix(prefix): value for name, value in samples.items() if name.startswith(prefix)}
    assert counted == {
        '{method="GET",route="/{key}",status="200"}': 1,
        '{method="GET",route="/{key}",status="404"}': 2,
        '{method="POST",route="/",status="202"}': 1,
        '{method="GET",route="/-/ready",status="200"}': 1,
        '{method="GET",route="other",status="404"}': 1,
        '{method="other",route="/",status="405"}': 1,
    }


async def test_openmetrics_is_given_to_whom_asks_for_it(client: Client) -> None:
    response = await client.get("/-/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert (await body_of(response)).endswith(b"# EOF\n")


def test_two_nodes_in_one_process_count_apart() -> None:
    first, second = FakeNode(), FakeNode()
    one, other = make_app(first, HttpSettings()).metrics, make_app(second, HttpSettings()).metrics
    one.observe(RoundTrip("ping", 0.001))
    assert one.round_trips.count(("ping",)) == 1
    assert other.round_trips.count(("ping",)) == 0


class TestDescription:
    """The OpenAPI document against the application that it describes."""

    async def test_it_is_served(self, client: Client) -> None:
        response = await client.get("/-/openapi.json")
        document = json.loads(await body_of(response))
        assert document == openapi_document("0.1.0")
        assert document["openapi"] == "3.1.0"

    def test_it_has_every_route_and_method_and_no_other(self, app: RestService) -> None:
        described = {
            (path.replace("{", "<").replace("}", ">"), method.upper())
            for path, item in members(members(openapi_document("1"))["paths"]).items()
            for method in members(item)
            if method != "parameters"
        }
        served = {(rule.rule, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()}
        # What the framework adds by itself to every GET needs no words.
        said = {(path, "HEAD") for path, method in described if method == "GET"}
        assert described | said == {(path, method) for path, method in served if method != "OPTIONS"}

    def test_every_reference_leads_somewhere(self) -> None:
        document = openapi_document("1")
        references = list(found_under(document, "$ref"))
        assert references
        for reference in references:
            assert isinstance(reference, str)
            place: Json = document
            for step in reference.removeprefix("#/").split("/"):
                place = members(place)[step]

    def test_nothing_is_defined_in_vain(self) -> None:
        document = openapi_document("1")
        used = set(map(str, found_under(document, "$ref")))
        for kind in ("schemas", "parameters", "headers", "responses"):
            for name in members(members(document["components"])[kind]):
                assert f"#/components/{kind}/{name}" in used

    def test_every_operation_says_what_it_answers(self) -> None:
        names = list(found_under(openapi_document("1"), "operationId"))
        assert len(names) == len(set(map(str, names))) == 12
        for responses in found_under(openapi_document("1")["paths"], "responses"):
            statuses = members(responses)
            assert all(status.isdecimal() for status in statuses)
            assert any(status < "400" for status in statuses)

    async def test_the_node_fits_its_schema(self, client: Client) -> None:
        document = json.loads(await body_of(await client.get("/-/node")))
        schema = members(members(members(openapi_document("1")["components"])["schemas"])["Node"])
        assert list(members(schema["properties"])) == schema["required"]
        assert set(document) == set(members(schema["properties"]))

    async def test_the_peers_fit_their_schema(self, client: Client) -> None:
        document = json.loads(await body_of(await client.get("/-/peers")))
        schema = members(members(members(openapi_document("1")["components"])["schemas"])["Peers"])
        peer = members(members(members(schema["properties"])["peers"])["items"])
        assert set(document) == {"peers"}
        for each in document["peers"]:
            assert list(each) == ["id", "node_key", "endpoint", "round_trip", "last_seen", "answers", "network_key"]
            assert set(each) == set(members(peer["properties"]))


def members(document: Json) -> dict[str, Json]:
    assert isinstance(document, dict)
    return document


def found_under(document: Json, name: str) -> list[Json]:
    """Whatever stands under `name`, anywhere in the document."""
    if isinstance(document, list):
        return [found for each in document for found in found_under(each, name)]
    if not isinstance(document, dict):
        return []
    deeper = [found for each in document.values() for found in found_under(each, name)]
    return [document[name], *deeper] if name in document else deeper
