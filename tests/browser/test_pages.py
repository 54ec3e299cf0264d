"""What a real browser can be made to do to a node by the pages of others, and what people can do with it.

Rules of this file: a headless Chromium, where one is installed (`make test-browser` says so where none is). All is on
loopback: names of other sites are made to point there for this browser alone. What happened is asked of the node, and
waits are for the browser to report, bounded.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key
from camomile_trio.operations.results import Found
from tests.http.fake_node import FakeNode, client_of, served

pytestmark = pytest.mark.real_time

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WORST_START = 60.0

# Everything that a page can send without being asked for leave first, and the two that need it.
ATTACK = """<!doctype html><title>page</title><iframe name="out"></iframe>
<form method="post" action="{node}/" target="out"><input name="value" value="planted"></form>
<form method="post" action="{node}/" target="out" enctype="multipart/form-data">
<input name="value" value="planted too"></form>
<script>
const tries = [...document.forms].map(form => () => new Promise(done => {{
  document.querySelector("iframe").onload = done; form.submit();
}}));
for (const options of [
  {{method: "POST", mode: "no-cors", body: new URLSearchParams("value=planted")}},
  {{method: "POST", mode: "no-cors", body: "planted as text"}},
  {{method: "POST", body: "planted by CORS"}},
  {{method: "GET", mode: "no-cors"}},
]) tries.push(() => fetch(options.method == "GET" ? "{node}/{key}" : "{node}/", options));
tries.push(() => fetch("{node}/{key}", {{method: "DELETE"}}));
tries.push(() => new Promise(done => {{ const image = new Image(); image.onerror = image.onload = done;
  image.src = "{node}/{key}"; }}));
tries.push(() => new Promise(done => {{
  navigator.sendBeacon("{node}/", "planted by beacon"); setTimeout(done, 300);
}}));
(async () => {{
  for (const attempt of tries) try {{ await attempt(); }} catch (error) {{}}
  await fetch("/done");
}})();
</script>"""

LINK = """<!doctype html><a href="{node}/{key}">a value</a><script>document.links[0].click()</script>"""


@attrs.define
class AskedNode(FakeNode):
    """Knows whether somebody got a value."""

    was_read: trio.Event = attrs.field(factory=trio.Event)

    async def get(self, key: Key) -> Found:
        found = await super().get(key)
        self.was_read.set()
        return found


@attrs.define
class Site:
    """A web server that has one page. `reported` is set once the page has done all that it tries."""

    page: str
    reported: trio.Event = attrs.field(factory=trio.Event)

    async def answer(self, stream: trio.SocketStream) -> None:
        request = await stream.receive_some()
        if request.startswith(b"GET /done "):
            self.reported.set()
        body = self.page.encode() if request.startswith(b"GET / ") else b""
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode() + body)
        await stream.aclose()


def command(url: str, profile: Path, *more: str) -> list[str]:
    assert CHROMIUM is not None
    return [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"),
        *(f"--user-data-dir={profile}", "--host-resolver-rules=MAP *.example 127.0.0.1", "--no-proxy-server"),
        *("--disable-background-networking", "--disable-dev-shm-usage", *more, url),
    ]


@asynccontextmanager
async def browser(url: str, profile: Path) -> AsyncIterator[None]:
    """A browser that opens `url`; ended, with all its processes, with the block."""
    process = await trio.lowlevel.open_process(
        command(url, profile, "--remote-debugging-port=0"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with trio.fail_after(WORST_START):
            yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        with trio.move_on_after(5, shield=True):
            await process.wait()


async def seen_at(url: str, profile: Path) -> str:
    """The document that a browser shows for `url`."""
    with trio.fail_after(WORST_START):
        done = await trio.run_process(
            command(url, profile, "--dump-dom"), capture_stdout=True, stderr=subprocess.DEVNULL
        )
    return done.stdout.decode()


@asynccontextmanager
async def site(page: str) -> AsyncIterator[tuple[Site, int]]:
    """A site with this page, and its port on loopback."""
    made = Site(page)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, made.answer, [listener])
        yield made, listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def refusals(endpoint: Endpoint) -> float:
    """How many requests the node has answered with 403."""
    async with client_of(endpoint) as client:
        lines = (await client.get("/-/metrics")).text.splitlines()
    name = "camomile_http_request_seconds_count"
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and 'status="403"' in line)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
class TestInABrowser:
    @pytest.mark.parametrize("host", ["page.example", "127.0.0.1"])
    async def test_a_page_of_another_site_or_port_changes_nothing(self, tmp_path: Path, host: str) -> None:
        node = AskedNode()
        key = node.holding(b"a value")
        async with served(node) as endpoint, site(ATTACK.format(node=f"http://{endpoint}", key=key)) as (page, port):
            async with browser(f"http://{host}:{port}/", tmp_path):
                await page.reported.wait()
            # Its forms, fetches, beacon and image were sent; what needs leave first was asked for by OPTIONS.
            assert await refusals(endpoint) >= 6
        assert list(node.values.values()) == [b"a value"]
        assert node.forgotten == set()
        assert not node.was_read.is_set()

    async def test_a_name_that_was_made_to_point_here_reads_nothing(self, tmp_path: Path) -> None:
        node = AskedNode()
        key = node.holding(b"a value")
        async with served(node) as endpoint:
            assert "a value" in await seen_at(f"http://{endpoint}/{key}", tmp_path)
            refused = await seen_at(f"http://rebound.example:{endpoint.port}/{key}", tmp_path)
        assert "unknown-host-name" in refused
        assert "a value" not in refused

    async def test_people_follow_links_to_values(self, tmp_path: Path) -> None:
        node = AskedNode()
        key = node.holding(b"a value")
        async with served(node) as endpoint, site(LINK.format(node=f"http://{endpoint}", key=key)) as (_, port):
            async with browser(f"http://page.example:{port}/", tmp_path):
                await node.was_read.wait()
            assert await refusals(endpoint) == 0
