"""open_node: one node, its parts and its tasks, for the length of a block.

Rules of this file: parts are made before any task starts and are given what they need; constructors start nothing.
Leaving the block stops everything within a bounded time, in the reverse order. Transport, storage, clocks and
randomness are arguments with real defaults, so that a simulation runs this very code.
"""

from __future__ import annotations

import functools
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path

import attrs
import trio

from camomile_trio.alarm import Clock, WallClock
from camomile_trio.classic.network import ClassicNetwork
from camomile_trio.config import Config, require_type
from camomile_trio.errors import ConfigError, StorageError
from camomile_trio.holding.anti_entropy import AntiEntropy
from camomile_trio.holding.holdings import Holdings
from camomile_trio.identity import KeyFileMissing, KeyPair, load_or_create_key
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.kademlia.ids import Key, NodeId
from camomile_trio.kademlia.messages import Message, StoreKind, StoreResult
from camomile_trio.kademlia.routing import CHECK_AFTER, RoutingTable
from camomile_trio.logs import log
from camomile_trio.node.arguments import as_key, as_lines, as_node_id, as_seconds, as_value
from camomile_trio.node.core import Core, Readiness
from camomile_trio.node.handlers import Handlers
from camomile_trio.node.inventory import Inventory
from camomile_trio.node.join import Join
from camomile_trio.node.keyring import Keyring
from camomile_trio.node.liveness import Liveness
from camomile_trio.node.maintenance import Maintenance
from camomile_trio.node.membership import Membership
from camomile_trio.node.names import Resolver, resolve
from camomile_trio.node.operations import Operations
from camomile_trio.node.reloading import key_statuses, reload
from camomile_trio.node.statistics import collect
from camomile_trio.node.tasks import beside_the_block
from camomile_trio.operations.events import Events, RoundTrip
from camomile_trio.operations.results import (
    BucketStatus,
    ExportPage,
    ForgetResult,
    Found,
    Imported,
    NodeStatus,
    PeerStatus,
    Pinged,
    RecordPage,
    Reloaded,
    Statistics,
    Stored,
)
from camomile_trio.peer.contacts import Contacts
from camomile_trio.peer.inbox import Inbox
from camomile_trio.peer.local import Local, StaticKey
from camomile_trio.peer.requests import Requests
from camomile_trio.peer.sessions import Sessions
from camomile_trio.peer.streams import Streams
from camomile_trio.peer.suite import CipherSuite, NaclSuite
from camomile_trio.storage.base import Storage
from camomile_trio.storage.memory import MemoryStorage
from camomile_trio.storage.sqlite import open_sqlite
from camomile_trio.transport.base import Conversation, Transport
from camomile_trio.transport.stream import StreamLimits
from camomile_trio.transport.udp import open_udp
from camomile_trio.wire.codec import Codec

# How long a node waits for a key file that somebody else has to make, and how often it looks.
KEY_PATIENCE, KEY_PAUSE = 60.0, 1.0
# A message over a stream is a value and what surrounds it: records and a few bytes.
STREAM_OVERHEAD = 4096


@functools.cache
def _package_version() -> str:
    return version("camomile")


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


class Node:
    """A running node. Made by `open_node`, and closed once its block has ended: then its calls raise NodeClosed.

    Keys and ids may be given as such, as their 32 bytes, or as 64 hexadecimal digits. What is of another type is a
    TypeError.
    """

    def __init__(self, core: Core, operations: Operations, maintenance: Maintenance) -> None:
        self._core = core
        self._operations = operations
        self._maintenance = maintenance
        self._inventory = Inventory(core)
        self._began = core.clock()

    @property
    def id(self) -> NodeId:
        return self._core.id

    @property
    def endpoint(self) -> Endpoint:
        """Where it is bound: the real port, even when port 0 was asked for."""
        return self._core.transport.endpoint

    @property
    def config(self) -> Config:
        return self._core.config

    @property
    def events(self) -> Events:
        return self._core.events

    @property
    def ready(self) -> bool:
        """It has joined, its clock and its storage are well, and its block has not ended. Unless it stands alone,
        another node answers, too."""
        return not self._core.readiness.reason

    @property
    def not_ready_because(self) -> str:
        """Empty when it is ready."""
        return self._core.readiness.reason

    async def wait_ready(self) -> None:
        """Waits until it has joined its network, or stands alone. NodeClosed if its block ends first."""
        await self._core.readiness.wait_for_user()

    def __repr__(self) -> str:
        return f"Node({self.id} at {self.endpoint})"

    async def put(self, value: bytes | bytearray | memoryview, *, ttl: float | None = None) -> Stored:
        """Stores `value` (1 byte up to max_value_size) at the k nodes closest to its key; returns at a majority.

        `ttl` (seconds, 60 to 86 400) gives a lease that is not renewed; without it the value stays until it is
        forgotten. EmptyValue, ValueTooLarge, ConfigError, StorageFull, TooManyPublishers; Unavailable when too few
        acknowledged, after which the same put is safe to repeat.
        """
        self._require_open()
        return await self._operations.put(as_value(value), as_seconds(ttl))

    async def get(self, key: Key | bytes | str) -> Found:
        """The value with this key, from wherever it is. BadKey, NotFound, Forgotten, Unavailable."""
        self._require_open()
        return await self._operations.get(as_key(key))

    async def forget(self, key: Key | bytes | str) -> ForgetResult:
        """Ends our publisher's lease on the key, everywhere; returns at a majority. Repeating it is fine.

        BadKey, NotFound if nobody knows the key, NotPublisher if only others published it, Unavailable as for put.
        """
        self._require_open()
        return await self._operations.forget(as_key(key))

    async def ping(self, node: NodeId | bytes | str) -> Pinged:
        """Finds the node with this id and measures one round trip. BadNodeId, NotFound, Unavailable."""
        self._require_open()
        return await self._operations.ping(as_node_id(node))

    def records(self, after: Key | bytes | str | None = None) -> RecordPage:
        """The records of the next few keys after `after`, in the order of keys. BadKey, StorageError."""
        self._require_open()
        return self._inventory.records(None if after is None else as_key(after))

    def export(self, after: Key | bytes | str | None = None) -> ExportPage:
        """The next lines of an export: signed records that have not ended, with their values. BadKey, StorageError."""
        self._require_open()
        return self._inventory.export(None if after is None else as_key(after))

    async def take_in(self, lines_untrusted: Sequence[bytes]) -> list[Imported]:
        """Checks entries of an export, offers them to the nodes that should hold them, and says what became of each.

        Nothing of it extends a life. NotJoined.
        """
        self._require_open()
        return await self._inventory.take_in(as_lines(lines_untrusted))

    def reload(self, *, expect: int | None = None) -> Reloaded:
        """Reads the network key file again, and takes over `expect` if it is given, without a restart.

        Sessions go on; those under a former key are renewed within a minute, and those under a removed one end. A key
        is to be added at all nodes before it is promoted at any, and promoted at all before the old one is removed.
        ConfigError, and then nothing has changed.
        """
        self._require_open()
        return reload(self._core, expect)

    def contacts(self) -> list[Contact]:
        """All contacts in the routing table."""
        self._require_open()
        return list(self._core.table)

    def peers(self) -> list[PeerStatus]:
        """What this node knows of each contact in its routing table, the nearest bucket first."""
        self._require_open()
        return [_peer_status(self._core, contact) for contact in self._core.table]

    def status(self) -> NodeStatus:
        """The node at this moment."""
        self._require_open()
        core = self._core
        stored = core.storage.statistics
        buckets = core.table.buckets()
        return NodeStatus(
            id=core.id,
            endpoint=self.endpoint,
            advertised=core.config.advertise,
            network=core.config.network,
            classic=core.config.classic,
            version=_package_version(),
            ready=self.ready,
            not_ready_because=self.not_ready_because,
            uptime=core.clock() - self._began,
            contacts=len(core.table),
            buckets=tuple(BucketStatus(b.index, len(b.contacts), len(b.replacements)) for b in buckets),
            keys=stored.keys,
            values=stored.values,
            bytes=stored.bytes,
            max_bytes=stored.max_bytes,
            cached=len(core.holdings.cache),
            publisher=core.publisher.public,
            observed=core.contacts.observed,
            node_key=core.local.static.public,
            classic_contacts=len(core.classic.table) if core.classic is not None else 0,
            source_networks=core.table.networks,
            network_keys=key_statuses(core),
        )

    def statistics(self) -> Statistics:
        """Counters and gauges since the start, for metrics."""
        self._require_open()
        return collect(self._core, self._operations, self._maintenance)

    def _require_open(self) -> None:
        self._core.readiness.require_open()


def _peer_status(core: Core, contact: Contact) -> PeerStatus:
    path = core.requests.path(contact)
    has_answered = path is not None and path.answered_at > -math.inf
    session = core.requests.sessions.table.current(contact.public)
    return PeerStatus(
        id=contact.id,
        endpoint=contact.endpoint,
        public=contact.public,
        answers=core.contacts.is_answering(contact),
        round_trip=(path.smoothed or None) if path is not None else None,
        last_seen=core.clock() - path.answered_at if path is not None and has_answered else None,
        network_key=core.keyring.fingerprint_of(session.network_psk) if session is not None else None,
    )


@asynccontextmanager
async def open_node(
    config: Config | None = None,
    *,
    transport: AbstractAsyncContextManager[Transport] | None = None,
    storage: Storage | None = None,
    wall_clock: WallClock | None = None,
    rng: random.Random | None = None,
    identity: KeyPair | None = None,
    publisher: KeyPair | None = None,
    resolver: Resolver = resolve,
    table: RoutingTable | None = None,
    suite: CipherSuite | None = None,
) -> AsyncIterator[Node]:
    """Opens a node for the length of the block. However the block is left, the node hands its records over, within
    `hand_over_deadline`, and stops. What the block raises leaves as itself.

    The first node of a network, which has nobody to join, is ready at once; for others see `Node.wait_ready`.

    The arguments after `config` replace what the config would make: a simulated transport, a storage of one's own, the
    wall clock (ms since the epoch), the source of randomness, the keys, the name service, a routing table that may have
    contacts already, the cipher suite of a simulation. ConfigError, TransportError (an address is taken), StorageError
    (the data directory is in use, damaged, not writable). A wrong network key file is found before anything is bound.
    """
    require_type("config", config, Config | None, "a Config", remedy="write open_node(Config(...))")
    config = config or Config()
    rng = rng or random.SystemRandom()
    keyring = Keyring.load(config)
    async with AsyncExitStack() as stack:
        kept = storage or _open_storage(config)
        stack.callback(kept.close)
        identity = identity or _node_key(config, rng)
        publisher = publisher or await _publisher_key(config, identity, rng)
        bound = await stack.enter_async_context(transport or open_udp(config.listen, limits=_stream_limits(config)))
        suite = suite or NaclSuite()
        static = StaticKey.from_seed(suite, identity.seed)
        table = _table(config, static.node_id, table)
        core, inbound = _wire(
            config, static, keyring, suite, publisher, bound, kept, table, wall_clock or _wall_clock, rng
        )
        operations = Operations(core)
        maintenance = Maintenance(core)
        core.contacts.on_new_contact = maintenance.on_new_contact
        join = Join(core, resolver)

        async def start(nursery: trio.Nursery) -> None:
            core.nursery = nursery
            await nursery.start(kept.run)
            await nursery.start(core.requests.run)
            await nursery.start(bound.serve, inbound)
            if core.classic is not None:
                nursery.start_soon(core.classic.run)
            join.stand_alone_if_first()
            nursery.start_soon(join.run)
            nursery.start_soon(Liveness(core).run)
            nursery.start_soon(maintenance.run)

        async with beside_the_block(start, functools.partial(_leave, core, maintenance), core.close):
            yield Node(core, operations, maintenance)


async def _leave(core: Core, maintenance: Maintenance) -> None:
    """Hands records over within its time, and remembers whom to ask at the next start."""
    deadline = core.config.records.hand_over_deadline
    if deadline and core.readiness.is_joined and len(core.table):
        hand_over = maintenance.new_hand_over()
        why = "nobody else took them"
        with trio.move_on_after(deadline) as scope:
            try:
                await hand_over.run()
            except StorageError as error:
                why = str(error)
        if scope.cancelled_caught:
            why = f"the time was up, {deadline:g} s"
        if hand_over.somebody_stays and (hand_over.unplaced or hand_over.unseen):
            log.warning(
                "left without handing all records over",
                because=why,
                unplaced=hand_over.unplaced,
                some=[key.hex() for key in hand_over.named],
                not_asked_about=hand_over.unseen,
            )
    try:
        core.storage.save_contacts(maintenance.lasting_contacts())
        core.holdings.save_uptime()
    except StorageError as error:
        log.warning("contacts were not saved", reason=str(error))


def _stream_limits(config: Config) -> StreamLimits:
    limits = StreamLimits.within(config.requests.max_streams)
    # On loopback all nodes are one peer to the transport.
    return attrs.evolve(limits, per_peer=limits.total) if ip_address(config.listen.ip).is_loopback else limits


def _open_storage(config: Config) -> Storage:
    settings = config.storage
    if settings.data_dir is None:
        return MemoryStorage(max_bytes=settings.max_storage)
    return open_sqlite(
        settings.data_dir,
        sync=settings.sync,
        max_bytes=settings.max_storage,
        on_set_aside=_tell_of_damage,
        on_failing=_tell_of_failing,
    )


def _tell_of_damage(aside: Path, what: str) -> None:
    log.error(
        "the database is damaged and was set aside",
        file=str(aside),
        because=what,
        meaning="the node starts empty and refills from its neighbours",
    )


def _tell_of_failing(reason: str) -> None:
    if reason:
        log.error("the storage fails", because=reason, meaning="this node is not ready; what can be read is read")
    else:
        log.info("the storage works again")


def _table(config: Config, own: NodeId, given: RoutingTable | None) -> RoutingTable:
    k = config.kademlia.k
    if given is None:
        return RoutingTable(own, k, check_after=CHECK_AFTER, diversity=config.diversity)
    if given.own != own or given.k != k:
        wrong = f"the routing table is of node {given.own} with k = {given.k}, and the node is {own} with k = {k}"
        raise ConfigError(wrong, remedy="make it with the id of the identity and the k of the config")
    return given


def _node_key(config: Config, rng: random.Random) -> KeyPair:
    if config.storage.data_dir is None:
        return KeyPair.new(rng)
    return load_or_create_key(config.storage.data_dir / "node.key", rng)


async def _publisher_key(config: Config, identity: KeyPair, rng: random.Random) -> KeyPair:
    if config.publisher_key is None:
        return identity
    waited = 0.0
    while True:
        try:
            return load_or_create_key(config.publisher_key, rng)
        except KeyFileMissing:
            if waited >= KEY_PATIENCE:
                raise
            if not waited:
                log.info("waiting for the publisher key", file=str(config.publisher_key))
        await trio.sleep(KEY_PAUSE)
        waited += KEY_PAUSE


@attrs.frozen
class _Inbound:
    """What a transport calls."""

    on_datagram: Callable[[bytes, Endpoint], None]
    is_expected: Callable[[bytes, Endpoint], bool]
    has_session_at: Callable[[bytes], bool]
    on_connection: Callable[[Endpoint], Conversation]


@attrs.frozen
class _Link:
    """The ways out."""

    send: Callable[[bytes, Endpoint], object]
    _streams: Streams

    async def exchange(self, contact: Contact, inner: bytes) -> bytes:
        return await self._streams.exchange(contact, inner)


@attrs.frozen
class _ClassicHoldings:
    """What a classic node may have of this one, and give it."""

    _holdings: Holdings

    def served(self, key: Key) -> bytes | None:
        try:
            served = self._holdings.served(key)
        except StorageError:
            return None
        return None if served is None else served.value

    def store(self, key: Key, value: bytes, kind: StoreKind) -> None:
        def done(result: StoreResult) -> None:
            pass  # nobody answers a classic STORE; what was refused is counted

        if not self._holdings.takes_nothing:
            self._holdings.store_classic(key, value, kind, done)


def _wire(
    config: Config,
    static: StaticKey,
    keyring: Keyring,
    suite: CipherSuite,
    publisher: KeyPair,
    transport: Transport,
    storage: Storage,
    table: RoutingTable,
    wall_clock: WallClock,
    rng: random.Random,
) -> tuple[Core, _Inbound]:
    # What `trio.current_time` asks, without the way through two wrappers: it is asked for every packet.
    clock = trio.lowlevel.current_clock().current_time
    events = Events()
    network = keyring.keys[0].network_id
    local = Local.start(static, keyring.keys, suite, rng)
    local.advertised = config.advertise or b""
    holdings = Holdings(
        own=static.node_id,
        network=network,
        publisher=publisher.public,
        storage=storage,
        table=table,
        settings=config.records,
        clock=clock,
        wall_clock=wall_clock,
    )
    anti_entropy = AntiEntropy(holdings)
    contacts = Contacts(table, bound=transport.endpoint, advertise=config.advertise, rng=rng)
    handlers = Handlers(
        contacts=contacts,
        holdings=holdings,
        anti_entropy=anti_entropy,
        max_value_size=config.records.max_value_size,
    )
    classic = _classic(config, static.node_id, transport, contacts, holdings, rng, clock) if config.classic else None
    if classic is not None:
        contacts.on_session = classic.forget
    on_classic = classic.on_datagram if classic is not None else None
    requests, inbox, streams = _speak(config, local, transport, contacts, handlers, on_classic, wall_clock, clock)

    def on_round_trip(kind: str, seconds: float) -> None:
        if events.watched:
            events.emit(RoundTrip(kind, seconds))

    contacts.on_round_trip = on_round_trip
    membership = Membership(storage, expect=config.expect, k=config.kademlia.k)
    core = Core(
        config=config,
        local=local,
        keyring=keyring,
        publisher=publisher,
        network=network,
        table=table,
        transport=transport,
        contacts=contacts,
        requests=requests,
        streams=streams,
        classic=classic,
        holdings=holdings,
        storage=storage,
        membership=membership,
        readiness=Readiness(events, storage, membership),
        events=events,
        clock=clock,
        wall_clock=wall_clock,
        rng=rng,
        anti_entropy=anti_entropy,
    )
    sessions = requests.sessions
    inbound = _Inbound(inbox.on_datagram, sessions.is_expected, sessions.table.has_session_at, streams.on_connection)
    return core, inbound


def _speak(
    config: Config,
    local: Local,
    transport: Transport,
    contacts: Contacts,
    handlers: Handlers,
    on_classic: Callable[[bytes, Endpoint], None] | None,
    wall_clock: WallClock,
    clock: Clock,
) -> tuple[Requests[Message], Inbox[Message], Streams]:
    """What speaks with peers: requests, what comes in, and streams."""
    sessions = Sessions(local, clock())

    async def handle(contact: Contact, inner_untrusted: bytes) -> bytes | None:
        return await inbox.on_stream_message(contact, inner_untrusted)

    streams = Streams(
        transport=transport,
        local=local,
        wall_ms=wall_clock,
        max_message=config.records.max_value_size + STREAM_OVERHEAD,
        handle=handle,
        is_member=sessions.table.is_member,
        has_member_at=sessions.table.has_member_at,
        afford=lambda source: sessions.responder.afford_stream(source.ip, clock()),
    )
    requests = Requests(
        sessions=sessions,
        codec=Codec(),
        link=_Link(transport.send, streams),
        hooks=contacts,
        settings=config.requests,
        wall_ms=wall_clock,
        clock=clock,
    )
    contacts.begin(requests)
    inbox = Inbox(requests, handlers.handle, on_classic=on_classic)
    return requests, inbox, streams


def _classic(
    config: Config,
    own: NodeId,
    transport: Transport,
    contacts: Contacts,
    holdings: Holdings,
    rng: random.Random,
    clock: Clock,
) -> ClassicNetwork:
    return ClassicNetwork(
        own=own,
        send=transport.send,
        requests=config.requests,
        kademlia=config.kademlia,
        rng=rng,
        clock=clock,
        holdings=_ClassicHoldings(holdings),
        is_ours=contacts.has_met,
        own_endpoints=lambda: contacts.own_endpoints,
    )
