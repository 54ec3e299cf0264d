"""POST /: forms of both kinds and raw bodies, what they are answered, and what they are refused for."""

from __future__ import annotations

import json
import threading

import pytest
import trio
from quart.wrappers import Response
from quart_trio.testing import TrioClient as Client

from camomile_trio.http import value_handlers
from camomile_trio.http.app import make_app
from camomile_trio.http.settings import HttpSettings
from camomile_trio.http.values import value_of
from camomile_trio.kademlia.ids import Key
from tests.http.fake_node import FakeNode, body_of, client_for, small_config

RAW = {"Content-Type": "application/octet-stream"}
URLENCODED = {"Content-Type": "application/x-www-form-urlencoded"}
CLASSIC_KEY = "bde0e9f6e9d3fabd5bf6849e179f0aee485630f6d5c1c4398517cc1543fb9386"
# As curl -iF 'value=ABC, du är mina tankar' sends it.
CURL_FORM = (
    "--------------------------d74496d66958873e\r\n"
    'Content-Disposition: form-data; name="value"\r\n\r\n'
    "ABC, du är mina tankar\r\n"
    "--------------------------d74496d66958873e--\r\n"
).encode()
CURL_HEADERS = {"Content-Type": "multipart/form-data; boundary=------------------------d74496d66958873e"}
EVERY_BYTE = bytes(range(256))


def multipart(value: bytes, *, file: bool = False, name: str = "value") -> tuple[bytes, dict[str, str]]:
    filename = '; filename="a.bin"\r\nContent-Type: application/octet-stream' if file else ""
    head = f'--fence\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode()
    return head + value + b"\r\n--fence--\r\n", {"Content-Type": "multipart/form-data; boundary=fence"}


def escaped(value: bytes) -> bytes:
    return b"value=" + b"".join(b"%%%02X" % byte for byte in value)


async def problem(response: Response) -> dict[str, object]:
    assert response.headers["Content-Type"] == "application/problem+json"
    document = json.loads(await body_of(response))
    assert document["status"] == response.status_code
    assert document["detail"]
    assert document["remedy"]
    assert "\n" not in document["detail"] + document["remedy"]
    assert isinstance(document, dict)
    return document


async def test_the_readme_of_classic_camomile_works_verbatim(client: Client, node: FakeNode) -> None:
    response = await client.post("/", data=CURL_FORM, headers=CURL_HEADERS)
    assert response.status_code == 202
    assert response.headers["Location"] == f"/{CLASSIC_KEY}"
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Camomile-Replicas"] == "20"
    assert response.headers["Camomile-Durable"] == "11"
    assert await body_of(response) == "ABC, du är mina tankar".encode()
    assert list(node.values) == [Key.parse(CLASSIC_KEY)]


async def test_a_urlencoded_form_means_the_same_as_a_multipart_one(client: Client) -> None:
    response = await client.post("/", data=b"value=ABC%2C+du+%C3%A4r+mina+tankar", headers=URLENCODED)
    assert (response.status_code, response.headers["Location"]) == (202, f"/{CLASSIC_KEY}")
    assert await body_of(response) == "ABC, du är mina tankar".encode()


@pytest.mark.parametrize("content_type", [None, "application/octet-stream", "text/plain", "image/png", "nonsense"])
async def test_any_other_body_is_the_value_itself(client: Client, node: FakeNode, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await client.post("/", data=EVERY_BYTE, headers=headers)
    assert (response.status_code, response.headers["Location"]) == (202, f"/{Key.of(EVERY_BYTE)}")
    assert await body_of(response) == b""
    assert node.values[Key.of(EVERY_BYTE)] == EVERY_BYTE


@pytest.mark.parametrize("value", [b"\xff", b"\xff\xfe\x00", EVERY_BYTE, b"\r\n", b"a=b&c", b"%41+", b"\n--fenc"])
async def test_a_form_is_hashed_as_the_bytes_that_were_sent(client: Client, node: FakeNode, value: bytes) -> None:
    field, field_headers = multipart(value)
    file, file_headers = multipart(value, file=True)
    for body, headers in ((field, field_headers), (file, file_headers), (escaped(value), URLENCODED)):
        response = await client.post("/", data=body, headers=headers)
        assert (response.status_code, response.headers["Location"]) == (202, f"/{Key.of(value)}")
        assert await body_of(response) == value
    assert node.values == {Key.of(value): value}


async def test_what_is_not_text_is_not_echoed_as_text(client: Client) -> None:
    response = await client.post("/", data=escaped(b"\xff"), headers=URLENCODED)
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "sandbox"


async def test_a_mebibyte_passes_in_every_encoding_and_one_byte_more_in_none(client: Client, node: FakeNode) -> None:
    largest = EVERY_BYTE * 4096
    for value, status in ((largest, 202), (largest + b"x", 413)):
        node.values.clear()
        bodies = [(value, RAW), multipart(value), multipart(value, file=True), (escaped(value), URLENCODED)]
        for body, headers in bodies:
            response = await client.post("/", data=body, headers=headers)
            assert response.status_code == status
        assert list(node.values) == ([Key.of(value)] if status == 202 else [])


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"other=1", URLENCODED),
        (b"", URLENCODED),
        (b"\x89PNG binary & bytes", URLENCODED),
        (b"Value=1", URLENCODED),
        (b"&" * 5000, URLENCODED),
        (*multipart(b"1", name="other"),),
        (b"", {"Content-Type": "multipart/form-data"}),
        (b"", {"Content-Type": "multipart/form-data; boundary=" + "x" * 200}),
        (b"no parts at all", {"Content-Type": "multipart/form-data; boundary=fence"}),
        (multipart(b"1")[0][:-9], {"Content-Type": "multipart/form-data; boundary=fence"}),
        (b"--fence\r\nnonsense\r\n\r\n1\r\n--fence--", {"Content-Type": "multipart/form-data; boundary=fence"}),
        (b"--fence\r\n" + b"a: b\r\n" * 9000, {"Content-Type": "multipart/form-data; boundary=fence"}),
        (
            b'--fence\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 200 + b"--fence--",
            {"Content-Type": "multipart/form-data; boundary=fence"},
        ),
    ],
)
async def test_a_form_without_a_value_is_told_how_to_send_raw_bytes(
    client: Client, node: FakeNode, body: bytes, headers: dict[str, str]
) -> None:
    response = await client.post("/", data=body, headers=headers)
    assert response.status_code == 400
    assert "-H 'Content-Type: application/octet-stream'" in str((await problem(response))["remedy"])
    assert node.values == {}


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"value=1&value=2", URLENCODED),
        (b"value=1&other=3&%76alue=1", URLENCODED),
        (multipart(b"1")[0].replace(b"--fence--\r\n", b"") + multipart(b"2", file=True)[0], multipart(b"")[1]),
    ],
)
async def test_two_values_in_a_form_are_none(
    client: Client, node: FakeNode, body: bytes, headers: dict[str, str]
) -> None:
    response = await client.post("/", data=body, headers=headers)
    assert response.status_code == 400
    assert "more than one field `value`" in str((await problem(response))["detail"])
    assert node.values == {}


@pytest.mark.parametrize(
    ("body", "headers"), [(b"", RAW), (b"value=", URLENCODED), (b"value", URLENCODED), multipart(b"")]
)
async def test_an_empty_value_is_refused(client: Client, node: FakeNode, body: bytes, headers: dict[str, str]) -> None:
    response = await client.post("/", data=body, headers=headers)
    assert response.status_code == 400
    assert (await problem(response))["type"] == "urn:camomile:problem:empty-value"
    assert node.values == {}


async def test_a_lifetime_is_handed_to_the_node(client: Client, node: FakeNode) -> None:
    for header in ({}, {"Camomile-TTL": "90"}, {"Camomile-TTL": "0.5"}):
        assert (await client.post("/", data=b"1", headers=RAW | header)).status_code == 202
    assert node.ttls == [None, 90.0, 0.5]


async def test_the_answer_says_when_the_lease_that_stands_ends(client: Client, node: FakeNode) -> None:
    response = await client.post("/", data=b"1", headers=RAW | {"Camomile-TTL": "90"})
    assert "Camomile-Expires" not in response.headers  # it is kept until it is forgotten
    node.expires = 1_800_000_000_999
    response = await client.post("/", data=b"1", headers=RAW | {"Camomile-TTL": "90"})
    assert response.headers["Camomile-Expires"] == "Fri, 15 Jan 2027 08:00:00 GMT"


@pytest.mark.parametrize("ttl", ["soon", "", "0", "-1", "nan", "inf", "1e3", "1_0", "+1", "0.0", "9" * 13, "٣"])
async def test_a_senseless_lifetime_is_refused(client: Client, node: FakeNode, ttl: str) -> None:
    response = await client.post("/", data=b"1", headers=RAW | {"Camomile-TTL": ttl.encode().decode("latin-1")})
    assert response.status_code == 400
    told = await problem(response)
    assert "Camomile-TTL" in str(told["detail"])
    assert "60 to 86400" in str(told["remedy"])
    assert node.values == {}


async def test_two_clients_may_put_the_same_value_at_once(client: Client, node: FakeNode) -> None:
    statuses: list[int] = []

    async def put() -> None:
        statuses.append((await client.post("/", data=b"same", headers=RAW)).status_code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put)
        nursery.start_soon(put)
    assert statuses == [202, 202]
    assert node.values == {Key.of(b"same"): b"same"}


async def test_a_large_form_is_read_beside_the_event_loop(
    client: Client, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []

    def noted(body: bytes, content_type: str, *, largest_value: int) -> bytes:
        threads.append(threading.get_ident())
        return value_of(body, content_type, largest_value=largest_value)

    monkeypatch.setattr(value_handlers, "value_of", noted)
    for value in (b"small", EVERY_BYTE * 4096):
        response = await client.post("/", data=escaped(value), headers=URLENCODED)
        assert (response.status_code, response.headers["Location"]) == (202, f"/{Key.of(value)}")
    small, large = threads
    assert small == threading.get_ident() != large


async def test_a_chunked_body_past_the_limit_is_dropped_as_it_comes() -> None:
    node = FakeNode(config=small_config(1000))
    app = make_app(node, HttpSettings())
    # Quart's client cannot leave the length out, so the application is spoken to directly.
    async with client_for(app).request("/", method="POST", headers=RAW) as connection:
        # Nobody receives what comes after the answer: here that is the server's affair.
        for _ in range(12):
            await connection.send(b"x" * 100)
        await connection.send_complete()
    response = await connection.as_response()
    assert response.status_code == 413
    assert (await problem(response))["type"] == "urn:camomile:problem:value-too-large"
    assert node.values == {}


async def test_a_body_that_never_ends_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeNode()
    app = make_app(node, HttpSettings(body_timeout=60))
    headers = RAW | {"Content-Length": "10"}
    started = trio.current_time()
    async with client_for(app).request("/", method="POST", headers=headers) as connection:
        await connection.send(b"half")
    response = await connection.as_response()
    assert response.status_code == 408
    assert trio.current_time() - started == pytest.approx(60)
    assert node.values == {}
