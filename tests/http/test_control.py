"""The control socket: what the command line asks over it, and who may open it."""

from __future__ import annotations

import functools
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from camomile_trio.errors import ConfigError, StorageError, TransportError, Unreachable
from camomile_trio.http.control import LONGEST_PATH, MOST_ENTRIES, bind_control, serve_control
from camomile_trio.kademlia.ids import Key
from camomile_trio.operations.results import ExportPage, RecordPage, RecordStatus
from tests.http.fake_node import NODE, OTHER, FakeNode

pytestmark = pytest.mark.real_time

OTHER_KEY = Key(bytes(OTHER))


@asynccontextmanager
async def controlled(node: FakeNode, path: Path, stops: list[str] | None = None) -> AsyncIterator[httpx.AsyncClient]:
    async with trio.open_nursery() as nursery:
        told = await nursery.start(serve_control, node, path, lambda: None if stops is None else stops.append("stop"))
        assert told == path
        async with httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://node"
        ) as client:
            yield client
        nursery.cancel_scope.cancel()


async def test_a_node_is_pinged_through_it(node: FakeNode, tmp_path: Path) -> None:
    async with controlled(node, tmp_path / "socket") as client:
        response = await client.post(f"/ping/{OTHER.hex()}")
        assert response.status_code == 200
        assert response.json() == {"node": OTHER.hex(), "endpoint": "127.0.0.1:8118", "round_trip": 0.002}
        assert node.pings == [OTHER]


async def test_a_ping_without_an_answer_is_a_problem(node: FakeNode, tmp_path: Path) -> None:
    async with controlled(node, tmp_path / "socket") as client:
        response = await client.post("/ping/nonsense")
        assert (response.status_code, response.json()["type"]) == (400, "urn:camomile:problem:bad-request")
        node.failing = Unreachable("no answer")
        response = await client.post(f"/ping/{OTHER.hex()}")
        assert (response.status_code, response.json()["type"]) == (503, "urn:camomile:problem:no-node-answered")


async def test_the_node_describes_itself(node: FakeNode, tmp_path: Path) -> None:
    async with controlled(node, tmp_path / "socket") as client:
        assert (await client.get("/node")).json()["id"] == NODE.hex()
        assert [peer["id"] for peer in (await client.get("/peers")).json()["peers"]] == [OTHER.hex(), "ff" * 32]


async def test_records_and_exports_are_asked_for_page_by_page(node: FakeNode, tmp_path: Path) -> None:
    status = RecordStatus(
        key=Key(bytes(32)), publisher=b"p" * 32, kind="lease", renewable=True, seq=1, issued=2, expires=3, size=4,
        published_here=True, is_holder=False, heard_from_holder=1.23456, copies_known=2,
    )  # fmt: skip
    node.pages.append(RecordPage((status,), OTHER_KEY, 1))
    node.exports.append(ExportPage(b"{}\n", 1, OTHER_KEY, 2, 3))
    async with controlled(node, tmp_path / "socket") as client:
        page = (await client.get("/records")).json()
        assert page["records"][0]["publisher"] == "70" * 32
        assert (page["records"][0]["copies_known"], page["records"][0]["heard_from_holder"]) == (2, 1.235)
        assert (page["last"], page["unreadable"]) == (str(OTHER_KEY), 1)
        export = await client.get("/export", params={"after": str(OTHER_KEY)})
        assert export.content == b"{}\n"
        told = [export.headers[f"camomile-{name}"] for name in ("entries", "last", "unsigned", "unreadable")]
        assert told == ["1", str(OTHER_KEY), "2", "3"]
        assert "camomile-last" not in (await client.get("/export")).headers
        assert node.asked == [None, OTHER_KEY, None]
        assert (await client.get("/records", params={"after": "nonsense"})).status_code == 400
        node.failing = StorageError("the disk fails")
        assert (await client.get("/records")).status_code == 500


async def test_an_import_comes_in_batches_of_lines_and_no_larger(node: FakeNode, tmp_path: Path) -> None:
    async with controlled(node, tmp_path / "socket") as client:
        answer = await client.post("/import", content=b"one\ntwo\n")
        assert node.taken_in == [b"one", b"two"]
        assert answer.json()["entries"] == [{"key": None, "stored": 0, "refused": ["malformed"]}] * 2
        assert (await client.post("/import", content=b"x\n" * (MOST_ENTRIES + 1))).status_code == 400
        assert (await client.post("/import", content=bytes(4 * 2**20))).status_code == 413
        assert len(node.taken_in) == 2


async def test_who_breaks_an_import_off_ends_the_nodes_work_for_it(node: FakeNode, tmp_path: Path) -> None:
    node.stall = True
    async with controlled(node, tmp_path / "socket") as client, trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(client.post, "/import", content=b"one"))
        await node.begun.wait()
        nursery.cancel_scope.cancel()
    with trio.fail_after(5):
        await node.cancelled.wait()


async def test_stop_is_heard_and_answered(node: FakeNode, tmp_path: Path) -> None:
    stops: list[str] = []
    async with controlled(node, tmp_path / "socket", stops) as client:
        assert (await client.get("/stop")).status_code == 405
        assert stops == []
        assert (await client.post("/stop")).status_code == 202
    assert stops == ["stop"]


async def test_the_answer_arrives_although_the_stop_ends_its_server(node: FakeNode, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    statuses: list[int] = []

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
            statuses.append((await client.post("http://node/stop")).status_code)

    async with trio.open_nursery() as clients, trio.open_nursery() as server:
        await server.start(serve_control, node, path, server.cancel_scope.cancel)
        clients.start_soon(ask)
    assert statuses == [202]


async def test_only_the_owner_may_open_it_and_it_goes_with_its_node(node: FakeNode, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with controlled(node, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_a_socket_that_a_crash_left_behind_is_replaced(node: FakeNode, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    bind_control(path).close()
    assert path.exists()
    async with controlled(node, path) as client:
        assert (await client.get("/node")).status_code == 200


async def test_a_socket_that_somebody_listens_on_is_left_alone(node: FakeNode, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with controlled(node, path) as client:
        with pytest.raises(TransportError, match="another process listens"):
            await serve_control(FakeNode(), path, lambda: None)
        assert (await client.get("/node")).status_code == 200


async def test_a_socket_that_another_node_put_in_its_place_is_left_alone(node: FakeNode, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with controlled(node, path):
        path.unlink()
        others = bind_control(path)
    assert path.exists()
    others.close()


async def test_a_file_of_another_kind_is_left_alone(node: FakeNode, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        await serve_control(node, path, lambda: None)
    assert path.read_text() == "precious"


async def test_a_directory_that_is_not_there_is_a_clear_error(node: FakeNode, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or directory"):
        await serve_control(node, tmp_path / "nowhere" / "socket", lambda: None)


def test_a_path_is_counted_in_bytes_and_one_too_long_is_a_clear_error(tmp_path: Path) -> None:
    room = LONGEST_PATH - len(str(tmp_path).encode()) - 1
    assert room > 8, "the temporary directory is too deep for this test"
    longest = tmp_path / ("ä" * (room // 2) + "x" * (room % 2))
    bind_control(longest).close()
    with pytest.raises(ConfigError, match="more than 107 bytes"):
        bind_control(Path(f"{longest}x"))


def test_a_full_backlog_means_that_somebody_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(str(path))
        with pytest.raises(TransportError, match="another process listens"):
            bind_control(path)
        for each in waiting:
            each.close()
