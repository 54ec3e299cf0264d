"""Every error has its status, its cause and its remedy, and bugs give nothing away."""

from __future__ import annotations

import json

import pytest
import trio
from quart_trio.testing import TrioClient as Client
from structlog.testing import capture_logs

from camomile_trio import errors
from camomile_trio.http.app import make_app
from camomile_trio.http.settings import HttpSettings
from tests.http.fake_node import FakeNode, body_of, client_for
from tests.http.test_get_and_forget import SOME_KEY
from tests.http.test_put import RAW, problem

CALLS = (("POST", "/"), ("GET", f"/{SOME_KEY}"), ("DELETE", f"/{SOME_KEY}"))


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (errors.ConfigError("the lease is too long"), 400, "out-of-range"),
        (errors.NotPublisher("others published it"), 403, "published-by-others-only"),
        (errors.NotFound("nobody has it"), 404, "not-found"),
        (errors.TooManyPublishers("32 publish it"), 409, "too-many-publishers"),
        (errors.Forgotten("forgotten"), 410, "forgotten"),
        (errors.ValueTooLarge("a majority refuses it"), 413, "value-too-large"),
        (errors.NotJoined("joining"), 503, "not-joined-yet"),
        (errors.NoMajority("3 of 11"), 503, "no-majority"),
        (errors.Unreachable("no answer"), 503, "no-node-answered"),
        (errors.Overloaded("256 puts"), 503, "overloaded"),
        (errors.Unavailable("not now"), 503, "unavailable"),
        (errors.StorageFull("1 GiB"), 507, "storage-full"),
        (errors.StorageError("the disk fails"), 500, "node-in-trouble"),
        (errors.EmptyValue("empty"), 400, "empty-value"),
    ],
)
@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_an_error_of_the_node_becomes_its_problem_document(
    client: Client, node: FakeNode, error: errors.CamomileError, status: int, kind: str, method: str, path: str
) -> None:
    error.remedy = error.remedy or "do something"
    node.failing = error
    response = await client.open(path, method=method, data=b"1" if method == "POST" else None, headers=RAW)
    assert response.status_code == status
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers.get("Retry-After") == ("2" if status == 503 else None)
    document = await problem(response)
    assert document["type"] == f"urn:camomile:problem:{kind}"
    assert (document["detail"], document["remedy"]) == (str(error), error.remedy)


def test_every_error_of_the_caller_and_of_the_network_has_a_status_of_its_own() -> None:
    from camomile_trio.http.problems import problem_of

    for kind in (*errors.CallerError.__subclasses__(), *errors.Unavailable.__subclasses__(), errors.NotFound):
        assert problem_of(kind("cause")).status < 500 or issubclass(kind, errors.Unavailable), kind


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("DELETE", "/", {"GET", "HEAD", "POST", "OPTIONS"}),
        ("POST", f"/{SOME_KEY}", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("PUT", f"/{SOME_KEY}", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("POST", "/-/healthy", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/-/node", {"GET", "HEAD", "OPTIONS"}),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(client: Client, method: str, path: str, allowed: set[str]) -> None:
    response = await client.open(path, method=method)
    assert response.status_code == 405
    assert {name.strip() for name in response.headers["Allow"].split(",")} == allowed
    assert (await problem(response))["type"] == "urn:camomile:problem:method-not-allowed"


@pytest.mark.parametrize("path", ["/-/nothing", "/a/b", f"/{SOME_KEY}/", "/-/", "/-/healthy/"])
async def test_an_unknown_path_is_not_found(client: Client, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert (await problem(response))["type"] == "urn:camomile:problem:no-such-path"


async def test_a_bug_is_logged_and_gives_nothing_away(client: Client, node: FakeNode) -> None:
    node.failing = RuntimeError("the secret inside")
    with capture_logs() as logged:
        response = await client.get(f"/{SOME_KEY}")
    assert response.status_code == 500
    text = (await body_of(response)).decode()
    assert "secret" not in text
    assert "Traceback" not in text
    assert json.loads(text)["type"] == "urn:camomile:problem:bug"
    [entry] = logged
    assert (entry["event"], entry["log_level"], entry["method"]) == ("bug in an HTTP handler", "error", "GET")
    assert entry["exc_info"] is node.failing


async def test_what_a_client_can_cause_is_not_logged(client: Client, node: FakeNode) -> None:
    with capture_logs() as logged:
        await client.get("/nonsense")
        await client.post("/", data=b"", headers=RAW)
        await client.put("/")
        node.failing = errors.NoMajority("3 of 11")
        await client.post("/", data=b"1", headers=RAW)
    assert logged == []


class TestToken:
    """With a token, POST and DELETE want it; reading and operating do not."""

    @pytest.fixture
    def client(self, node: FakeNode) -> Client:
        return client_for(make_app(node, HttpSettings(token=b"s3cret-and-random=")))

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            "Basic s3cret-and-random=",
            "s3cret-and-random=",
            "Bearer \xff",
        ],
    )
    async def test_without_it_nothing_is_written_or_deleted(
        self, client: Client, node: FakeNode, header: str | None
    ) -> None:
        key = node.holding(b"value")
        headers = RAW if header is None else RAW | {"Authorization": header}
        for method, path in (("POST", "/"), ("DELETE", f"/{key}")):
            response = await client.open(path, method=method, data=b"1", headers=headers)
            assert response.status_code == 401
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
            assert (await problem(response))["type"] == "urn:camomile:problem:token-required"
        assert not node.begun.is_set()

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
    async def test_with_it_everything_works(self, client: Client, node: FakeNode, scheme: str) -> None:
        headers = RAW | {"Authorization": f"{scheme} s3cret-and-random="}
        response = await client.post("/", data=b"1", headers=headers)
        assert response.status_code == 202
        assert (await client.delete(response.headers["Location"], headers=headers)).status_code == 204

    async def test_reading_needs_none(self, client: Client, node: FakeNode) -> None:
        assert (await client.get(f"/{node.holding(b'value')}")).status_code == 200
        assert (await client.get("/-/metrics")).status_code == 200


@pytest.mark.parametrize("token", [b"", b"two words", b"line\n", b"\xff", "tök".encode()])
def test_a_token_that_no_header_can_carry_is_a_clear_error(token: bytes) -> None:
    with pytest.raises(errors.ConfigError, match="HTTP token"):
        HttpSettings(token=token)


def test_a_token_that_can_be_guessed_is_refused_with_a_way_to_a_better_one() -> None:
    for short in (b"a", b"fifteen-letters"):
        with pytest.raises(errors.ConfigError, match="fewer than 16 characters") as refused:
            HttpSettings(token=short)
        assert "/dev/urandom" in refused.value.remedy
    HttpSettings(token=b"sixteen-letters-")


def test_a_token_is_not_shown_by_accident() -> None:
    assert "s3cret" not in repr(HttpSettings(token=b"s3cret-and-random"))


def test_a_bound_of_nothing_is_refused() -> None:
    with pytest.raises(errors.ConfigError, match="max_requests is 0"):
        HttpSettings(max_requests=0)
    with pytest.raises(errors.ConfigError, match="max_connections is -1"):
        HttpSettings(max_connections=-1)
    with pytest.raises(errors.ConfigError, match="body_timeout is nan"):
        HttpSettings(body_timeout=float("nan"))


async def test_past_the_limit_a_client_hears_overloaded_and_health_still_answers(node: FakeNode) -> None:
    app = make_app(node, HttpSettings(max_requests=1))
    client = client_for(app)
    node.stall = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.get, f"/{SOME_KEY}")
        await node.begun.wait()
        response = await client.get(f"/{SOME_KEY}")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
        assert (await problem(response))["type"] == "urn:camomile:problem:overloaded"
        assert (await client.get("/-/healthy")).status_code == 200
        nursery.cancel_scope.cancel()
    node.stall = False
    assert (await client.get(f"/{SOME_KEY}")).status_code == 404  # the place was given back
