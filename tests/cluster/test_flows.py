"""Put, get and forget through every replica of a whole network in containers."""

from __future__ import annotations

import json

import httpx

from tests.cluster.network import CACHE_LIFE, FORGOTTEN_WITHIN, Network, wait_until
from tools.cluster.client import Request
from tools.cluster.engine import docker

SONG = "ABC, du är mina tankar".encode()
KEY_OF_SONG = "bde0e9f6e9d3fabd5bf6849e179f0aee485630f6d5c1c4398517cc1543fb9386"


def test_the_song_of_the_readme_through_the_published_port(network: Network) -> None:
    url = f"http://{network.deployment.published()}"
    with httpx.Client(base_url=url, timeout=20, trust_env=False) as browser:
        put = browser.post("/", files={"value": (None, SONG)})
        assert (put.status_code, put.headers["location"]) == (202, f"/{KEY_OF_SONG}")
        assert put.content == SONG
        assert put.headers["content-type"] == "text/plain; charset=utf-8"

        elsewhere = network.replicas()[1:]
        for replica, answer in zip(elsewhere, network.get_many([(one, KEY_OF_SONG) for one in elsewhere]), strict=True):
            assert (answer.status, answer.body) == (200, SONG), replica.name
            assert len(bytes.fromhex(answer.headers["origin"])) == 32

        forgotten = network.forget(elsewhere[-1], KEY_OF_SONG)
        assert (forgotten.status, forgotten.body) == (204, b"")
        assert wait_until(
            lambda: browser.get(f"/{KEY_OF_SONG}").status_code in {404, 410}, within=FORGOTTEN_WITHIN + CACHE_LIFE
        )


def test_services_ask_each_other_by_their_names_and_by_no_others(network: Network) -> None:
    network.put(network.replicas()[0], SONG)
    asked = [Request(name, "GET", f"/{KEY_OF_SONG}") for name in ("bootstrap", "node")]
    assert [answer.status for answer in network.client.ask(asked)] == [200, 200]
    rebound = Request("node", "GET", f"/{KEY_OF_SONG}", headers={"Host": "page.example:8080"})
    (refused,) = network.client.ask([rebound])
    assert (refused.status, b"--http-host" in refused.body) == (403, True)


def test_no_replica_can_take_the_machine_from_the_others(network: Network) -> None:
    containers = [replica.container for replica in network.replicas()]
    for about in json.loads(docker("container", "inspect", *containers)):
        bounds = about["HostConfig"]
        assert bounds["Memory"] == 2**30
        assert bounds["PidsLimit"] == 128
        assert [(each["Name"], each["Hard"]) for each in bounds["Ulimits"]] == [("nofile", 4096)]


def test_what_is_put_at_any_replica_is_got_at_every_other(network: Network) -> None:
    replicas = network.replicas()
    values = [f"put at {replica.name}".encode() for replica in replicas]
    keys = network.put_many(list(zip(replicas, values, strict=True)))
    for key, value in zip(keys, values, strict=True):
        assert network.missed([(replica, key, value) for replica in replicas]) == []


def test_any_replica_forgets_what_another_put_and_soon_nobody_has_it(network: Network) -> None:
    replicas = network.replicas()
    values = [f"to be forgotten, put at {replica.name}".encode() for replica in replicas]
    keys = network.put_many(list(zip(replicas, values, strict=True)))
    neighbours = [*replicas[1:], replicas[0]]
    for replica, key in zip(neighbours, keys, strict=True):
        answer = network.forget(replica, key)
        assert (answer.status, answer.body) == (204, b""), replica.name
    # Nobody has read these values, so no path cache holds one.
    wait_until(lambda: network.still_there(keys, replicas) == {}, within=FORGOTTEN_WITHIN)
    assert network.still_there(keys, replicas) == {}


def test_a_value_that_was_read_everywhere_is_forgotten_once_the_caches_have_ended(network: Network) -> None:
    replicas = network.replicas()
    value = b"read by everybody"
    key = network.put(replicas[1], value)
    assert network.missed([(replica, key, value) for replica in replicas]) == []
    assert network.forget(replicas[2], key).status == 204
    wait_until(lambda: network.still_there([key], replicas) == {}, within=FORGOTTEN_WITHIN + CACHE_LIFE)
    assert network.still_there([key], replicas) == {}


def test_a_value_of_a_mebibyte_goes_from_one_replica_to_the_others(network: Network) -> None:
    replicas = network.replicas()
    value = bytes(range(256)) * 4096
    key = network.put(replicas[0], value)
    assert network.missed([(replica, key, value) for replica in replicas[-3:]]) == []
    refused = network.client.ask([Request(replicas[0].address, "POST", "/", value + b"!")])[0]
    assert refused.status == 413


def test_replicas_run_without_privileges_on_a_read_only_root(network: Network) -> None:
    for replica in network.replicas():
        assert docker("exec", replica.container, "id", "-u").strip() != "0"
        assert (
            docker("exec", replica.container, "sh", "-c", "touch /opt/x 2>/dev/null || echo refused").strip()
            == "refused"
        )
        status = docker("exec", replica.container, "cat", "/proc/self/status")
        assert "CapEff:\t0000000000000000" in status
        assert "NoNewPrivs:\t1" in status


def test_all_replicas_publish_with_one_key_and_each_has_an_identity_of_its_own(network: Network) -> None:
    said = [network.node(replica) for replica in network.replicas()]
    assert len({node["publisher"] for node in said}) == 1
    assert len({node["id"] for node in said}) == network.deployment.nodes
