"""The experiment: a network of real nodes, writers, one SIGKILL for all, a new start, and a look for every value.

Rules of this file: a key counts as soon as its 202 has arrived, and is lost if no node gives it back within PATIENCE
seconds of the start. What was on its way when the kill came counts for nothing. Every wait has a bound.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import attrs
import httpx
import trio

PATIENCE = 30.0  # seconds from a start until the last value must be read, and for each step of the start
SAMPLE = 20  # older keys that are looked for after each kill; at the end it is all of them


@attrs.define
class Figures:
    kills: int = 0
    acknowledged: int = 0
    looked_for: int = 0
    worst_read: float = 0.0  # seconds from the request that found it at last
    lost: list[str] = attrs.field(factory=list)


@attrs.define(eq=False)
class Trial(AbstractContextManager["Trial"]):
    """A network of `nodes` nodes below `directory`, started and killed by `round`."""

    directory: Path
    nodes: int
    seed: int
    figures: Figures = attrs.field(factory=Figures)
    _forge: subprocess.Popen[str] = attrs.field(init=False)
    _peers: list[int] = attrs.field(init=False)
    _http: list[int] = attrs.field(init=False)
    _rng: random.Random = attrs.field(init=False)
    _known: list[str] = attrs.field(factory=list, init=False)  # keys that were acknowledged
    _group: int = attrs.field(default=0, init=False)
    _acknowledged: trio.Event = attrs.field(factory=trio.Event, init=False)  # something, since the last start

    def __enter__(self) -> Trial:
        self._rng = random.Random(self.seed)
        ports = _free_ports(2 * self.nodes, random.SystemRandom())
        self._peers, self._http = ports[: self.nodes], ports[self.nodes :]
        environment = {name: text for name, text in os.environ.items() if not name.startswith("CAMOMILE_")}
        self._forge = subprocess.Popen(
            [sys.executable, "-m", "tools.kills.forge"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self._forge.stdin is not None
        assert self._forge.stdout is not None
        self._forge.stdin.close()
        try:
            self._forge.wait(10)
        except subprocess.TimeoutExpired:
            self._forge.kill()
            self._forge.wait(10)
        self._forge.stdout.close()

    def start(self, sync: str) -> None:
        """Starts all nodes; each is told of all others."""
        for number in range(self.nodes):
            home = self.directory / f"node-{number}"
            home.mkdir(0o700, parents=True, exist_ok=True)
            options = ["--listen", f"127.0.0.1:{self._peers[number]}", "--http", f"127.0.0.1:{self._http[number]}"]
            options += ["--data-dir", str(home), "--sync", sync, "--log-level", "warning"]
            options += ["--publisher-key", str(self.directory / "publisher.key")]
            for peer in self._peers:
                if peer != self._peers[number]:
                    options += ["--join", f"127.0.0.1:{peer}"]
            order = {"options": options, "log": str(home / "log"), "begins_group": number == 0}
            assert self._forge.stdin is not None
            assert self._forge.stdout is not None
            self._forge.stdin.write(json.dumps(order) + "\n")
            self._forge.stdin.flush()
            told = self._forge.stdout.readline().split()
            self._group = int(told[1])

    def kill(self) -> None:
        """All nodes, in one system call."""
        if self._group:
            try:
                os.killpg(self._group, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._group = 0

    async def round(self, sync: str, seconds: float) -> None:
        """Starts the network, looks for what it had acknowledged, kills it under writes `seconds` after a 202."""
        self.start(sync)
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            await self._ready(client)
            older = self._known[: -10 * SAMPLE] if len(self._known) > 10 * SAMPLE else []
            await self.look_for(client, self._known[-10 * SAMPLE :] + self._rng.sample(older, min(SAMPLE, len(older))))
            self._acknowledged = trio.Event()
            with trio.move_on_after(PATIENCE):
                async with trio.open_nursery() as writers:
                    for number in range(self.nodes):
                        writers.start_soon(self._write, client, number)
                    await self._acknowledged.wait()
                    await trio.sleep(seconds)
                    # In the middle of what they do. Who writes to them ends when nobody answers any more.
                    self.kill()
            self.kill()
        self.figures.kills += 1

    async def finish(self, sync: str) -> None:
        """Starts the network once more and looks for everything."""
        self.start(sync)
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            await self._ready(client)
            await self.look_for(client, self._known)
        self.kill()

    async def look_for(self, client: httpx.AsyncClient, keys: list[str]) -> None:
        places = trio.CapacityLimiter(8)

        async def one(key: str) -> None:
            async with places:
                await self._read(client, key)

        async with trio.open_nursery() as readers:
            for key in keys:
                readers.start_soon(one, key)

    async def _read(self, client: httpx.AsyncClient, key: str) -> None:
        began = trio.current_time()
        self.figures.looked_for += 1
        while trio.current_time() < began + PATIENCE:
            url = self._url(self._rng.randrange(self.nodes)) + key
            answer = await ask(client, "GET", url)
            if answer is not None and answer.status_code == 200:
                self.figures.worst_read = max(self.figures.worst_read, trio.current_time() - began)
                return
            await trio.sleep(0.1)
        self.figures.lost.append(key)

    async def _write(self, client: httpx.AsyncClient, number: int) -> None:
        while self._group:
            value = self._rng.randbytes(self._rng.choice((20, 200, 2000, 20_000)))
            answer = await ask(client, "POST", self._url(number), value)
            if answer is not None and answer.status_code == 202:
                # In the order of their arrival; nothing is between the answer and this line that could be cut off.
                self._known.append(answer.headers["location"].removeprefix("/"))
                self.figures.acknowledged += 1
                self._acknowledged.set()

    async def _ready(self, client: httpx.AsyncClient) -> None:
        with trio.move_on_after(PATIENCE) as patience:
            for number in range(self.nodes):
                while True:
                    answer = await ask(client, "GET", self._url(number) + "-/ready")
                    if answer is not None and answer.status_code == 200:
                        break
                    await trio.sleep(0.05)
        if patience.cancelled_caught:
            logs = [
                (self.directory / f"node-{number}" / "log").read_text("utf-8")[-800:] for number in range(self.nodes)
            ]
            raise TimeoutError("not all nodes were ready in time; what they said last:\n" + "\n".join(logs))

    def _url(self, number: int) -> str:
        return f"http://127.0.0.1:{self._http[number]}/"


async def ask(client: httpx.AsyncClient, method: str, url: str, body: bytes | None = None) -> httpx.Response | None:
    """The answer; None if the node is not there, or broke off."""
    headers = {} if body is None else {"Content-Type": "application/octet-stream"}
    request = client.build_request(method, url, content=body, headers=headers)
    request.stream = _Body([body] if body else [])
    try:
        return await client.send(request)
    except httpx.TransportError:
        await trio.sleep(0.02)
        return None


class _Body(httpx.AsyncByteStream):
    """httpx's own is an asynchronous generator. Where a node is killed before it has read all of a body, that one is
    left to the garbage collector, which Trio complains about."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


def _free_ports(count: int, rng: random.Random) -> list[int]:
    """Ports of loopback that are free for TCP and UDP now, and that the system gives to nobody who does not ask.

    While the nodes are down, a client's own connection must not take the place of one of them.
    """
    found: list[int] = []
    held: list[socket.socket] = []
    while len(found) < count:
        port = rng.randrange(20_000, 32_000)
        tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
        held += [tcp, udp]
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            continue
        found.append(port)
    for each in held:
        each.close()
    return found
