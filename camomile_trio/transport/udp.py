"""The real network: datagrams over UDP, and streams over TCP on the same ip and port number.

Rules of this file: the socket is drained with plain non-blocking calls and each datagram goes straight into the node,
since an awaited call, a queue or a task per datagram would cost more than all the rest. A turn of draining is bounded,
so that the other tasks get theirs, and so is what one source may cost (`shares.py`), so that a flood leaves time for
them and for everybody else's datagrams. What the network reports about a datagram (ICMP) never ends the loop and is
never raised at a sender. Bound to the wildcard, what answers a datagram leaves from the address that the datagram was
sent to (`packet_info.py`), and all else that goes to a peer from where its latest expected datagram was sent to: others
may be forged. What cannot be bound is a TransportError of one line, with its remedy.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

import trio

from camomile_trio.errors import TransportError
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.transport import packet_info
from camomile_trio.transport.base import Caller, Inbound, TransportStatistics
from camomile_trio.transport.packet_info import Ancillary, Departure
from camomile_trio.transport.pool import StreamPool
from camomile_trio.transport.shares import Moment, Share, Shares
from camomile_trio.transport.sieve import hold_back
from camomile_trio.transport.sockaddr import SocketAddress, from_sockaddr, keep_segments_small, to_sockaddr
from camomile_trio.transport.stream import DEFAULT_LIMITS, StreamLimits, StreamServer

# Datagrams handled before the other tasks have their turn, and seconds: some datagrams cost a hundred times as much as
# others. The clock is read once for every few.
_TURN = 64
_TURN_SECONDS = 0.005
_TIMED = 8
# Datagrams read in a turn: a flood that is dropped unseen must not fill the socket's buffer, where it would displace
# what others send.
_READ_IN_TURN = 1024
# A turn of as many datagrams is charged even if the socket was empty after it: what is handled as fast as it comes can
# take nearly all of the time as well. What a node has under way to one other is less: `max_puts` requests of a kind.
_CHARGED = 32
_LARGEST = 65_536  # above MAX_DATAGRAM: nothing is cut short, and what is too large is the decoder's to see
_MAX_ADDRESSES = 4096  # kept in each direction; a cleared cache costs a microsecond per address
_MAX_DEPARTURES = 8192  # as many peers as a node remembers by default; the others get the system's choice
_RECEIVE_BUFFER = 4 * 2**20  # a burst of all that k nodes answer at once; the system may allow less
_SEND_BUFFER = 2**20
_BACKLOG = 128
_WILDCARDS = (bytes(4), bytes(16))

# What an ICMP message about something that we sent, or a network that is down for a while, makes of a receive.
_REPORTED_BY_NETWORK = frozenset(
    {
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EMSGSIZE,
        errno.ENOPROTOOPT,
        errno.EPROTO,
        errno.EACCES,
        errno.EPERM,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EINTR,
    }
)


class UdpTransport:
    """A bound UDP socket and its TCP listener. Made by `open_udp`."""

    def __init__(self, udp: socket.socket, listener: socket.socket, limits: StreamLimits) -> None:
        self._udp = udp
        self._listener = trio.socket.from_stdlib_socket(listener)
        self._endpoint = from_sockaddr(udp.getsockname())
        self._statistics = TransportStatistics()
        bound_ip = self._endpoint.ip
        self._server = StreamServer(self._listener, limits, self._statistics)
        is_wildcard = bound_ip in _WILDCARDS
        self._pool = StreamPool(self._source_ip if is_wildcard else lambda to: bound_ip, limits, self._statistics)
        # Whether each datagram tells which address of ours it was sent to. A socket with one address need not ask.
        self._is_told = is_wildcard and packet_info.ask_for(udp)
        self._departures: OrderedDict[Endpoint, Departure] = OrderedDict()  # the earliest noted first
        # Where the datagram that is being handled came from and to, if its sender may not be who it says.
        self._arriving: tuple[Endpoint, Ancillary] | None = None
        self._sockaddrs: dict[Endpoint, tuple[str, int] | None] = {}
        self._sources: dict[SocketAddress, tuple[Endpoint, Share]] = {}
        self._shares = Shares(_MAX_ADDRESSES)

    @property
    def endpoint(self) -> Endpoint:
        """Where it is bound: the real port, even when port 0 was asked for."""
        return self._endpoint

    @property
    def statistics(self) -> TransportStatistics:
        """`dropped_out` counts all that was not sent; `send_errors` those for which the system gave an error.

        Bytes are those of datagrams and of messages over streams, without their lengths.
        """
        return self._statistics

    def send(self, datagram: bytes, to: Endpoint) -> bool:
        """Sends now or not at all, and never waits. False: dropped, and counted."""
        try:
            address = self._sockaddrs[to]
        except KeyError:
            address = self._remember(to)
        if address is None:
            self._statistics.dropped_out += 1
            return False
        departures = self._departures
        departure = departures.get(to) if departures else None
        if self._arriving is not None and self._arriving[0] == to:
            departure = packet_info.departure(self._arriving[1])
        try:
            if departure is None:
                self._udp.sendto(datagram, address)
            else:
                self._udp.sendmsg((datagram,), departure.ancillary, 0, address)
        except BlockingIOError:
            self._statistics.dropped_out += 1
            return False
        except OSError:
            if departure is not None:
                # The address may be ours no longer. The system chooses, until the peer speaks to another one.
                departures.pop(to, None)
                self._arriving = None
                return self.send(datagram, to)
            self._statistics.dropped_out += 1
            self._statistics.send_errors += 1
            return False
        self._statistics.datagrams_out += 1
        self._statistics.bytes_out += len(datagram)
        return True

    async def exchange(self, message: bytes, to: Endpoint, *, peer: bytes, caller: Callable[[], Caller]) -> bytes:
        """Sends `message` over TCP to `to` and returns the answer; else TransportError.

        A kept connection that turns out closed is replaced by a fresh one, once: the peer may see a message twice.
        """
        return await self._pool.exchange(message, to, peer=peer, caller=caller)

    def close_ended(self) -> None:
        """Closes all connections whose caller or conversation is over."""
        self._pool.close_ended()
        self._server.close_ended()

    async def serve(self, inbound: Inbound, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receives until it is cancelled. Calls `task_status.started()` once both ways in are open."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._server.serve, inbound)
            nursery.start_soon(self._pool.close_idle)
            task_status.started()
            await self._receive(inbound)

    async def _receive(self, inbound: Inbound) -> None:
        while True:
            if self._shares.any_spent:
                # A held-back source is let go by time: the kernel drops its datagrams, and no other may ever come.
                with trio.move_on_at(self._shares.due):
                    await trio.lowlevel.wait_readable(self._udp)
            else:
                await trio.lowlevel.wait_readable(self._udp)
            is_empty = False
            while not is_empty:
                inbound.on_turn_begin()
                try:
                    is_empty = self._drain(inbound)
                finally:
                    inbound.on_turn_end()
                if not is_empty:
                    await trio.lowlevel.checkpoint()

    def _drain(self, inbound: Inbound) -> bool:
        """One turn. True when the socket is empty, False when the turn was over first."""
        udp, is_told, on_datagram, sources = self._udp, self._is_told, inbound.on_datagram, self._sources
        departures = self._departures
        arrived: Ancillary = []
        statistics, shares, unexpected = self._statistics, self._shares, self._shares.unexpected
        taken: list[tuple[Share, bytes, Endpoint]] = []
        # Reading the processor's clock costs as much as some datagrams: a turn of a few is not measured.
        began = ended = 0.0
        is_empty = False
        if shares.any_spent and shares.refill(Moment(trio.current_time(), time.thread_time())):
            hold_back(self._udp, shares.held_back)
        for _ in range(_READ_IN_TURN):
            try:
                if is_told:
                    datagram, arrived, _, address = udp.recvmsg(_LARGEST, packet_info.SPACE)
                else:
                    datagram, address = udp.recvfrom(_LARGEST)
            except BlockingIOError:
                is_empty = True
                break
            except OSError as error:
                if error.errno not in _REPORTED_BY_NETWORK:
                    raise
                statistics.send_errors += 1
                continue
            source = sources.get(address)
            if source is None:
                if unexpected.is_spent and not inbound.is_expected(datagram, from_sockaddr(address)):
                    statistics.dropped_in += 1  # before it costs a place among the sources
                    continue
                if len(sources) >= _MAX_ADDRESSES:
                    sources.clear()
                source = sources[address] = from_sockaddr(address), shares.of(address)
            endpoint, share = source
            if share.is_spent or unexpected.is_spent:
                share = share.of_expected if share.is_spent else share
                if share.is_spent or not inbound.is_expected(datagram, endpoint):
                    statistics.dropped_in += 1
                    continue
            if is_told and ((known := departures.get(endpoint)) is None or known.arrived != arrived):
                if inbound.is_expected(datagram, endpoint):
                    self._note_departure(endpoint, arrived)
                else:
                    self._arriving = endpoint, arrived
            taken.append((share, datagram, endpoint))
            statistics.datagrams_in += 1
            statistics.bytes_in += len(datagram)
            on_datagram(datagram, endpoint)
            self._arriving = None
            if len(taken) % _TIMED == 0:
                ended = time.thread_time()
                if len(taken) == _TIMED:
                    began = ended
                elif len(taken) == _TURN or ended - began > _TURN_SECONDS:
                    break
        if len(taken) >= _CHARGED or (len(taken) >= 2 * _TIMED and not is_empty):
            measured = (len(taken) // _TIMED - 1) * _TIMED
            cost = (ended - began) / measured * len(taken)
            strange = sum(not inbound.is_expected(each, source) for _, each, source in taken)
            now = Moment(trio.current_time(), ended)
            if shares.charge([each for each, _, _ in taken], strange, cost, now, inbound.has_session_at):
                hold_back(self._udp, shares.held_back)
        return is_empty

    def _remember(self, to: Endpoint) -> tuple[str, int] | None:
        if len(self._sockaddrs) >= _MAX_ADDRESSES:
            self._sockaddrs.clear()
        address = self._sockaddrs[to] = to_sockaddr(to, self._udp.family)
        return address

    def _note_departure(self, to: Endpoint, arrived: Ancillary) -> None:
        departure = packet_info.departure(arrived)
        if departure is None:
            return
        if to not in self._departures and len(self._departures) >= _MAX_DEPARTURES:
            self._departures.popitem(last=False)
        self._departures[to] = departure

    def _source_ip(self, to: Endpoint) -> bytes | None:
        departure = self._departures.get(to)
        return None if departure is None else departure.ip

    def close(self) -> None:
        """Closes all sockets; what still waits on one of them fails. `open_udp` calls it."""
        self._pool.close()
        self._listener.close()
        trio.lowlevel.notify_closing(self._udp)
        self._udp.close()


@contextlib.asynccontextmanager
async def open_udp(
    listen: Endpoint, *, limits: StreamLimits = DEFAULT_LIMITS, port_retries: int = 16
) -> AsyncIterator[UdpTransport]:
    """Binds UDP and TCP on `listen`, for the length of the block; TransportError if that cannot be.

    Port 0 takes a port that is free for both; after `port_retries` ports that were free for one only it gives up.
    `[::]` is open to IPv4 as well.
    """
    udp, listener = _bind(listen, port_retries)
    transport = UdpTransport(udp, listener, limits)
    try:
        yield transport
    finally:
        transport.close()


def _bind(listen: Endpoint, port_retries: int) -> tuple[socket.socket, socket.socket]:
    for _ in range(port_retries if listen.port == 0 else 1):
        try:
            udp = _bound(socket.SOCK_DGRAM, listen)
        except OSError as error:
            raise _cannot_listen(listen, "UDP", error) from error
        taken = Endpoint.of(listen.ip, udp.getsockname()[1])
        try:
            return udp, _bound(socket.SOCK_STREAM, taken)
        except OSError as error:
            udp.close()
            if listen.port != 0 or error.errno != errno.EADDRINUSE:
                raise _cannot_listen(taken, "TCP", error) from error
    raise TransportError(
        f"found no port of {listen.host} that is free for both UDP and TCP in {port_retries} tries",
        remedy="choose a port with --listen HOST:PORT",
    )


def _bound(kind: socket.SocketKind, listen: Endpoint) -> socket.socket:
    family = socket.AF_INET if listen.is_ipv4 else socket.AF_INET6
    opened = socket.socket(family, kind)
    try:
        opened.setblocking(False)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, listen.ip not in _WILDCARDS)
        if kind == socket.SOCK_STREAM:
            # A restart must not wait for the connections of the run before. For UDP it would share the port instead.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keep_segments_small(opened)
        else:
            for option, size in ((socket.SO_RCVBUF, _RECEIVE_BUFFER), (socket.SO_SNDBUF, _SEND_BUFFER)):
                with contextlib.suppress(OSError):
                    opened.setsockopt(socket.SOL_SOCKET, option, size)
        opened.bind((listen.host, listen.port))
        if kind == socket.SOCK_STREAM:
            opened.listen(_BACKLOG)
    except OSError:
        opened.close()
        raise
    return opened


_REMEDIES = {
    errno.EADDRINUSE: "stop the process that has it, or choose another port with --listen HOST:PORT",
    errno.EADDRNOTAVAIL: "choose an address of this machine with --listen HOST:PORT",
    errno.EACCES: "choose a port above 1023 with --listen HOST:PORT",
    errno.EINVAL: "a link-local address of IPv6 is no place for a node: choose a global or unique local one, or [::]",
    errno.EAFNOSUPPORT: "this machine lacks IPv6: listen on 0.0.0.0 instead of [::]",
}


def _cannot_listen(listen: Endpoint, protocol: str, error: OSError) -> TransportError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    remedy = _REMEDIES.get(error.errno or 0, "choose another address or port with --listen HOST:PORT")
    return TransportError(f"cannot listen on {protocol} {listen}: {reason}", remedy=remedy)
