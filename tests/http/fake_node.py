"""A node that does what a test tells it, and ways to reach it over HTTP.

Rules of this file: the fake has the surface of a node and keeps values in a dictionary; what a test programs as an
outcome is raised instead. Real sockets are on loopback, at a port that the system chose.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import httpx
import trio
from quart.wrappers import Response
from quart_trio import QuartTrio
from quart_trio.testing import TrioClient

from camomile_trio.config import Config, Records
from camomile_trio.errors import Forgotten, NotFound
from camomile_trio.http.serve import serve
from camomile_trio.http.settings import HttpSettings
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.operations.events import Events
from camomile_trio.operations.results import (
    BucketStatus,
    ExportPage,
    ForgetResult,
    Found,
    Imported,
    NetworkKeyStatus,
    NodeStatus,
    PeerStatus,
    Pinged,
    RecordPage,
    Reloaded,
    Statistics,
    Stored,
)

NODE = NodeId(bytes(range(32)))
OTHER = NodeId(bytes(31) + b"\x07")
ANY_PORT = Endpoint.parse("127.0.0.1:0")


@attrs.define
class FakeNode:
    """Keeps values by itself; `failing` is raised by the next calls instead; `stall` makes them wait for ever."""

    id: NodeId = NODE
    config: Config = attrs.field(factory=Config)
    events: Events = attrs.field(factory=Events)
    ready: bool = True
    not_ready_because: str = ""
    failing: BaseException | None = None
    stall: bool = False
    live: bool = True
    other_publishers: int = 0
    expires: int | None = None  # of what is put
    values: dict[Key, bytes] = attrs.field(factory=dict)
    forgotten: set[Key] = attrs.field(factory=set)
    ttls: list[float | None] = attrs.field(factory=list)
    pages: list[RecordPage] = attrs.field(factory=list)
    exports: list[ExportPage] = attrs.field(factory=list)
    asked: list[Key | None] = attrs.field(factory=list)
    taken_in: list[bytes] = attrs.field(factory=list)
    pings: list[NodeId] = attrs.field(factory=list)
    network_keys: tuple[NetworkKeyStatus, ...] = ()
    expects: int | None = None
    reloads: int = 0
    counted: Statistics = attrs.field(factory=Statistics)
    begun: trio.Event = attrs.field(factory=trio.Event)
    cancelled: trio.Event = attrs.field(factory=trio.Event)

    async def _work(self) -> None:
        self.begun.set()
        if self.failing is not None:
            raise self.failing
        if self.stall:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                self.cancelled.set()
                raise
        await trio.lowlevel.checkpoint()

    async def put(self, value: bytes, *, ttl: float | None = None) -> Stored:
        await self._work()
        key = Key.of(value)
        self.values[key] = value
        self.ttls.append(ttl)
        return Stored(key, replicas=20, durable=11, expires=self.expires)

    async def get(self, key: Key) -> Found:
        await self._work()
        if key in self.forgotten:
            raise Forgotten("its publisher forgot it")
        if key not in self.values:
            raise NotFound("no node that was asked has it")
        return Found(key, self.values[key], OTHER, self.live)

    async def forget(self, key: Key) -> ForgetResult:
        await self._work()
        if key not in self.values:
            raise NotFound("no node that was asked has it")
        self.forgotten.add(key)
        return ForgetResult(key, 20, self.other_publishers)

    async def ping(self, node: NodeId) -> Pinged:
        await self._work()
        self.pings.append(node)
        return Pinged(node, Endpoint.parse("127.0.0.1:8118"), 0.002)

    def records(self, after: Key | None = None) -> RecordPage:
        self.asked.append(after)
        if self.failing is not None:
            raise self.failing
        return self.pages.pop(0) if self.pages else RecordPage((), None, 0)

    def export(self, after: Key | None = None) -> ExportPage:
        self.asked.append(after)
        if self.failing is not None:
            raise self.failing
        return self.exports.pop(0) if self.exports else ExportPage(b"", 0, None, 0, 0)

    async def take_in(self, lines_untrusted: Sequence[bytes]) -> list[Imported]:
        await self._work()
        self.taken_in += lines_untrusted
        return [Imported(None, 0, ("malformed",)) for _ in lines_untrusted]

    def reload(self, *, expect: int | None = None) -> Reloaded:
        if self.failing is not None:
            raise self.failing
        self.reloads += 1
        before = self.expects
        self.expects = before if expect is None else expect
        return Reloaded(
            added=("11111111",),
            promoted="22222222",
            removed=("33333333",),
            sessions_ended=4,
            expect_before=before,
            expect=self.expects,
        )

    def status(self) -> NodeStatus:
        return NodeStatus(
            id=self.id,
            node_key=b"\xcd" * 32,
            endpoint=Endpoint.parse("127.0.0.1:8118"),
            advertised=Endpoint.parse("[::1]:9"),
            network="camomile",
            classic=False,
            version="0.1.0",
            ready=self.ready,
            not_ready_because=self.not_ready_because,
            uptime=12.3456,
            contacts=3,
            classic_contacts=1,
            buckets=(BucketStatus(255, 2, 0), BucketStatus(254, 1, 1)),
            keys=5,
            values=4,
            bytes=4096,
            max_bytes=2**30,
            cached=2,
            publisher=b"\xab" * 32,
            source_networks=6,
            network_keys=self.network_keys,
        )

    def peers(self) -> list[PeerStatus]:
        near = PeerStatus(
            id=OTHER,
            public=b"\x02" * 32,
            endpoint=Endpoint.parse("127.0.0.1:8119"),
            answers=True,
            round_trip=0.00123456,
            last_seen=12.3456,
            network_key=self.network_keys[0].fingerprint if self.network_keys else None,
        )
        far = PeerStatus(
            id=NodeId(b"\xff" * 32), public=b"\x03" * 32, endpoint=Endpoint.parse("[fd00::1]:8118"), answers=False
        )
        return [near, far]

    def statistics(self) -> Statistics:
        return self.counted

    def holding(self, value: bytes) -> Key:
        """Gives the node a value, and tells its key."""
        key = Key.of(value)
        self.values[key] = value
        return key


def small_config(max_value_size: int) -> Config:
    return Config(records=Records(max_value_size=max_value_size))


def client_for(app: QuartTrio) -> TrioClient:
    """A client that calls the application without a server."""
    return TrioClient(app)


async def body_of(response: Response) -> bytes:
    return await response.get_data(as_text=False)


@asynccontextmanager
async def served(node: FakeNode, settings: HttpSettings | None = None) -> AsyncIterator[Endpoint]:
    """Serves `node` on a real socket for the length of the block."""
    async with trio.open_nursery() as nursery:
        (endpoint,) = await nursery.start(serve, node, settings or HttpSettings(listen=ANY_PORT))
        yield endpoint
        nursery.cancel_scope.cancel()


def client_of(endpoint: Endpoint) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://{endpoint}", timeout=10, trust_env=False)


async def raw_exchange(endpoint: Endpoint, request: bytes, *, patience: float = 5) -> bytes:
    """Sends bytes and returns what comes back until the server closes, or for as long as patience lasts (seconds)."""
    stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    answer = b""
    async with stream:
        await stream.send_all(request)
        with trio.move_on_after(patience):
            while chunk := await stream.receive_some():
                answer += chunk
    return answer
