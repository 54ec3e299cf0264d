"""Finding the network: bootstrap, the lookup of ourselves, readiness, and coming back after everybody was lost.

Rules of this file: it never gives up. Names are resolved again at every try, each address of a name is a node to try,
and a try asks a bounded sample of them. A node that knows nobody and is told of nobody is the first of its network.
Source: Kademlia (2002), §2.3.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Awaitable, Callable, Iterable

import trio

from camomile_trio.errors import ConfigError, StorageError
from camomile_trio.kademlia.contacts import Contact, Endpoint, is_sensible
from camomile_trio.kademlia.ids import NodeId, distance
from camomile_trio.kademlia.messages import FindNode, NodeList, Packet
from camomile_trio.node.core import Core
from camomile_trio.node.logs import log
from camomile_trio.node.lookup import Lookup
from camomile_trio.node.neighbours import meet_named

# From a name and a port to its addresses; OSError when it has none.
Resolver = Callable[[str, int], Awaitable[list[Endpoint]]]

ASKED_AT_ONCE = 16
LEAST_BACKOFF, MOST_BACKOFF = 0.5, 30.0
# Seconds between the looks at our neighbourhood that go before readiness, and those after it.
SETTLING = (0.1, 0.3, 1.0, 2.0)
SETTLED = (5.0, 15.0, 40.0)
# Once joined, how often the names are looked at again: two networks that were started apart find each other.
LOOK_AGAIN = 60.0


async def resolve(host: str, port: int) -> list[Endpoint]:
    """Every IPv4 and IPv6 address of a name, by the system's resolver."""
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    return list(dict.fromkeys(Endpoint.from_host(str(address[0]), port) for *_, address in found))


class Join:
    """The one task that makes a node a member of its network, and keeps it one."""

    def __init__(self, core: Core, resolver: Resolver) -> None:
        self._core = core
        self._resolver = resolver
        self._unresolved: set[str] = set()
        self._named: set[NodeId] = set()  # by others, while we settle, as nodes of our neighbourhood
        self._saved = self._load_saved()
        self.attempts = 0

    @property
    def is_first(self) -> bool:
        """Nobody to join: no names, nobody remembered from an earlier run."""
        return not self._core.config.join and not self._saved

    def stand_alone_if_first(self) -> None:
        """Before `run`: the first node of a network has nobody to wait for, and is ready at once."""
        if self.is_first:
            self._core.stands_alone = True
            self._core.readiness.set("")

    async def run(self) -> None:
        """Until cancelled."""
        core = self._core
        began = core.clock()
        backoff = LEAST_BACKOFF
        while True:
            await self._attempt()
            if len(core.table):
                if not core.readiness.is_joined:
                    await self._settle()
                backoff = LEAST_BACKOFF
                await trio.sleep(core.jittered(LOOK_AGAIN))
                continue
            if core.config.first and core.clock() - began >= core.config.first_patience and not core.stands_alone:
                core.stands_alone = True
                core.readiness.set("")
                log.info("stands alone", patience=core.config.first_patience)
            if self.is_first:
                # Whoever joins through us asks first; there is nobody to look for.
                await trio.sleep(core.jittered(LOOK_AGAIN))
                continue
            pause = core.jittered(backoff)
            if core.config.first and not core.stands_alone:
                pause = min(pause, max(began + core.config.first_patience - core.clock(), 0.01))
            await trio.sleep(pause)
            backoff = min(backoff * 2, MOST_BACKOFF)

    async def _settle(self) -> None:
        """Looks ourselves up, and again while the neighbourhood changes; then we are ready, and watch it for a while.

        When many nodes start at once the first lookup of each finds little: a node that served users then would not
        find what is there. Of two that look at the same time neither may find the other.
        """
        core = self._core
        found = await self._look()
        for pause in SETTLING:
            await trio.sleep(core.jittered(pause))
            before, found = found, await self._look_again(found)
            if found == before:
                break
        core.readiness.set("")
        for pause in SETTLED:
            await trio.sleep(core.jittered(pause))
            found = await self._look_again(found)
        self._named.clear()

    async def _look(self) -> tuple[Contact, ...]:
        return (await self._core.find_node(self._core.id)).contacts

    async def _look_again(self, found: tuple[Contact, ...]) -> tuple[Contact, ...]:
        """The nodes closest to us, where a former lookup found these. A whole lookup only if it may find others."""
        if len(found) < self._core.config.kademlia.k or await self._is_told_of_others(found):
            return await self._look()
        return found

    async def _is_told_of_others(self, found: tuple[Contact, ...]) -> bool:
        """Whether the few nodes closest to us name somebody who belongs to the neighbourhood that was `found`.

        Whoever has asked us since is in our table already, and nobody who was named before is looked for twice.
        """
        core = self._core
        radius = distance(core.id, found[-1].id)
        is_told = False

        def on_answer(contact: Contact, packet: Packet) -> bool:
            nonlocal is_told
            if isinstance(packet.message, NodeList):
                for named in packet.message.contacts:
                    if distance(core.id, named.id) < radius and named.id not in self._named:
                        self._named.add(named.id)
                        is_told |= named.id not in core.table and named not in found and named.id != core.id
            return False

        few = core.config.kademlia.alpha
        await Lookup(core.rpc, FindNode(core.id), k=few, alpha=few, on_answer=on_answer).run()
        return is_told

    async def _attempt(self) -> None:
        """Asks a sample of all known addresses for the nodes closest to us, and waits for the first that answers."""
        core = self._core
        self.attempts += 1
        named = [each for name in core.config.join for each in await self._addresses(name)]
        known = {contact.endpoint for contact in core.table}
        own = {core.rpc.transport.endpoint, core.config.advertise, core.rpc.observed}
        candidates = [each for each in named if each not in known and each not in own and is_sensible(each)]
        wanted = self._sample(candidates)
        if not known:
            wanted += [each.endpoint for each in self._saved if each.endpoint not in wanted][:ASKED_AT_ONCE]
        if wanted:
            await self._ask(wanted)

    def _sample(self, candidates: list[Endpoint]) -> list[Endpoint]:
        if len(candidates) <= ASKED_AT_ONCE:
            return candidates
        return self._core.rng.sample(candidates, ASKED_AT_ONCE)

    async def _ask(self, endpoints: Iterable[Endpoint]) -> None:
        core = self._core
        settled = trio.Event()
        open_requests = 0

        def on_reply(teller: Endpoint, packet: Packet) -> None:
            if core.readiness.is_joined:
                meet_named(core, teller, packet)
            settled.set()

        def on_failed() -> None:
            nonlocal open_requests
            open_requests -= 1
            if not open_requests:
                settled.set()

        for endpoint in endpoints:
            sent = core.rpc.request(
                endpoint,
                FindNode(NodeId(core.id)),
                node=None,
                on_reply=functools.partial(on_reply, endpoint),
                on_failed=on_failed,
                named=True,
            )
            open_requests += sent is not None
        if open_requests:
            await settled.wait()

    async def _addresses(self, name: str) -> list[Endpoint]:
        try:
            return [Endpoint.parse(name)]
        except ConfigError:
            pass
        host, _, port = name.rpartition(":")
        try:
            addresses = await self._resolver(host, int(port))
        except (OSError, UnicodeError) as error:  # a name that no resolver can take raises the latter
            if name not in self._unresolved:
                log.warning("cannot resolve a name to join, will go on trying", name=name, reason=str(error))
                self._unresolved.add(name)
            return []
        self._unresolved.discard(name)
        return addresses

    def _load_saved(self) -> list[Contact]:
        try:
            return self._core.storage.contacts()
        except StorageError:
            return []
