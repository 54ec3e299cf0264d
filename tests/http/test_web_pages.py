"""Web pages of other sites: what browsers send for them is refused, whatever it asks for; people and programs are not.

Rules of this file: requests as browsers send them, written by hand. What a real browser does is in
tests/browser/test_pages.py.
"""

from __future__ import annotations

import socket

import pytest

from camomile_trio.errors import ConfigError
from camomile_trio.http.app import make_app
from camomile_trio.http.settings import HttpSettings
from camomile_trio.http.web_pages import WebPages, names_of_this_node
from camomile_trio.kademlia.ids import Key
from tests.http.fake_node import ANY_PORT, FakeNode, served
from tests.http.test_http1 import Heard, ask
from tests.http.test_value_handlers import PresentClient, scope_of
from tests.http.test_value_handlers import ask as ask_app

PAGES = WebPages(names_of_this_node(["Node", "other.example."]))
Headers = list[tuple[bytes, bytes]]

HERE = (b"host", b"127.0.0.1:8080")
CROSS_SITE = (b"sec-fetch-site", b"cross-site")
# A person who follows a link from a page of another site, and a page that shows one of ours in a frame.
FOLLOWED: Headers = [HERE, CROSS_SITE, (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")]
FRAMED: Headers = [HERE, CROSS_SITE, (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"iframe")]


def refusal(method: str, headers: Headers) -> str:
    problem = PAGES.refusal(method, headers)
    if problem is None:
        return ""
    assert problem.status == 403
    return problem.type.removeprefix("urn:camomile:problem:")


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "localhost:8080", "LOCALHOST", "localhost.", "node", "node:8080", "other.example:1"),
        *("127.0.0.1", "127.0.0.1:8080", "192.168.7.7:80", "[::1]", "[::1]:8080", "[fe80::1%eth0]:8080", ""),
        *(socket.gethostname(), f"{socket.gethostname()}:8080"),
    ],
)
def test_this_node_is_asked_by_its_names_and_by_any_address(host: str) -> None:
    assert refusal("DELETE", [(b"host", host.encode())]) == ""


@pytest.mark.parametrize(
    "host",
    [
        *("page.example", "page.example:8080", "localhost.page.example", "127.0.0.1.page.example", "notlocalhost"),
        *(
            "2130706433",
            "0x7f.1",
            "127.1",
            "[::1",
            "[page.example]",
            "node:8080@page.example",
            "node,page.example",
            "é",
        ),
    ],
)
def test_any_other_name_may_have_been_made_to_point_here(host: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert refusal(method, [(b"host", host.encode())]) == "unknown-host-name"
    # Nor does following a link help: the page of that name would read what it gets.
    assert refusal("GET", [(b"host", host.encode()), *FOLLOWED[1:]]) == "unknown-host-name"


def test_of_two_hosts_both_must_be_right() -> None:
    assert refusal("GET", [HERE, (b"host", b"page.example")]) == "unknown-host-name"


@pytest.mark.parametrize(
    "sent",
    [
        [],  # no browser, or one of long ago
        [(b"sec-fetch-site", b"none")],  # typed into the address bar
        [(b"sec-fetch-site", b"same-origin"), (b"origin", b"http://127.0.0.1:8080")],
        [(b"origin", b"http://127.0.0.1:8080")],
        [(b"origin", b"https://127.0.0.1:8080")],  # a proxy ended its TLS
    ],
)
def test_pages_of_this_node_and_programs_may_do_all(sent: Headers) -> None:
    for method in ("GET", "POST", "DELETE"):
        assert refusal(method, [HERE, *sent]) == ""


@pytest.mark.parametrize(
    "sent",
    [
        [CROSS_SITE],
        [(b"sec-fetch-site", b"same-site")],  # another port of this machine
        [(b"sec-fetch-site", b"none"), CROSS_SITE],
        [(b"sec-fetch-site", b"what comes next year")],
        [(b"origin", b"http://page.example")],
        [(b"origin", b"http://127.0.0.1:3000")],
        [(b"origin", b"http://127.0.0.1")],
        [(b"origin", b"null")],  # a file, or a frame in a sandbox
        [(b"origin", b"")],
        [(b"origin", b"127.0.0.1:8080")],
        [(b"origin", b"ftp://127.0.0.1:8080")],
    ],
)
def test_pages_of_other_sites_may_do_nothing(sent: Headers) -> None:
    for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS"):
        assert refusal(method, [HERE, *sent]) == "cross-site-request"


def test_default_ports_need_not_be_named() -> None:
    assert refusal("POST", [(b"host", b"node"), (b"origin", b"http://node")]) == ""
    assert refusal("POST", [(b"host", b"node:80"), (b"origin", b"http://node")]) == ""
    assert refusal("POST", [(b"host", b"node"), (b"origin", b"https://node:443")]) == ""
    assert refusal("POST", [(b"host", b"node"), (b"origin", b"https://node:80")]) == "cross-site-request"


def test_people_follow_links() -> None:
    assert refusal("GET", FOLLOWED) == refusal("HEAD", FOLLOWED) == ""
    assert refusal("POST", FOLLOWED) == "cross-site-request"  # a form that sends itself
    assert refusal("GET", FRAMED) == "cross-site-request"
    assert refusal("GET", FOLLOWED[:-1]) == "cross-site-request"
    assert refusal("GET", [HERE, CROSS_SITE, (b"sec-fetch-mode", b"no-cors")]) == "cross-site-request"  # an image


@pytest.mark.parametrize("tells_client", [True, False])
async def test_whichever_way_a_request_comes_it_is_looked_at_first(node: FakeNode, tells_client: bool) -> None:
    app = make_app(node, HttpSettings())
    key = node.holding(b"a value")
    who = PresentClient() if tells_client else None
    form: Headers = [HERE, CROSS_SITE, (b"content-length", b"7")]
    assert (await ask_app(app, scope_of("POST", "/", form), who, (b"planted",))).status == 403
    rebound: Headers = [(b"host", b"page.example")]
    assert (await ask_app(app, scope_of("GET", f"/{key}", rebound), who)).status == 403
    assert (await ask_app(app, scope_of("GET", f"/{key}", [HERE]), who)).status == 200
    assert list(node.values) == [key]


@pytest.mark.real_time
class TestOverTheWire:
    async def ask(self, node: FakeNode, request_line: bytes, *headers: bytes, **settings: object) -> Heard:
        settings_of_test = HttpSettings(listen=ANY_PORT, **settings)  # type: ignore[arg-type]
        head = b"".join(line + b"\r\n" for line in (request_line + b" HTTP/1.1", *headers, b"Connection: close", b""))
        async with served(node, settings_of_test) as endpoint:
            return await ask(endpoint, head)

    async def test_nothing_is_planted_read_or_forgotten(self, node: FakeNode) -> None:
        key = node.holding(b"a value")
        form = (b"Sec-Fetch-Site: cross-site", b"Origin: http://page.example", b"Content-Length: 0")
        heard = await self.ask(node, b"POST /", b"Host: 127.0.0.1", *form)
        assert (heard.status, heard.problem) == (403, "cross-site-request")
        assert b"--http-token" in heard.raw
        for method in (b"GET", b"DELETE"):
            heard = await self.ask(node, method + b" /" + str(key).encode(), b"Host: page.example:8080")
            assert (heard.status, heard.problem) == (403, "unknown-host-name")
            assert b"--http-host" in heard.raw
        for path in (b"/", b"/-/node", b"/-/metrics", b"/nothing"):
            assert (await self.ask(node, b"GET " + path, b"Host: page.example")).status == 403
        assert list(node.values) == [key]
        assert node.forgotten == set()

    async def test_a_name_that_was_given_is_answered(self, node: FakeNode) -> None:
        heard = await self.ask(node, b"GET /-/ready", b"Host: node.example:1", host_names=("Node.Example",))
        assert heard.status == 200

    async def test_a_valid_token_is_enough(self, node: FakeNode) -> None:
        key = node.holding(b"a value")
        line = b"DELETE /" + str(key).encode()
        sent = (b"Host: page.example", b"Origin: http://page.example", b"Sec-Fetch-Site: cross-site")
        for token in (b"Bearer wrong", b"Basic s3cret-and-random", b"Bearer"):
            heard = await self.ask(node, line, *sent, b"Authorization: " + token, token=b"s3cret-and-random")
            assert heard.status == 403
        assert node.forgotten == set()
        heard = await self.ask(
            node, line, *sent, b"Authorization: Bearer s3cret-and-random", token=b"s3cret-and-random"
        )
        assert heard.status == 204
        assert node.forgotten == {Key.of(b"a value")}

    async def test_without_a_token_no_token_is_valid(self, node: FakeNode) -> None:
        for token in (b"Bearer ", b"Bearer None", b""):
            heard = await self.ask(node, b"GET /-/node", b"Host: page.example", b"Authorization: " + token)
            assert heard.status == 403


@pytest.mark.parametrize("name", ["", "http://node", "node:8080", "a b", "*", "-x", "x" * 300])
def test_what_is_no_name_of_a_host_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name of a host"):
        HttpSettings(host_names=(name,))
