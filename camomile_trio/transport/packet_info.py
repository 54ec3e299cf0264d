"""Which address of ours a datagram was sent to, and sending from that address: the packet information of RFC 3542, §6.

A socket bound to the wildcard leaves the source address of each datagram to the system, which takes that of the route.
On a host with several addresses this can be another one than the peer wrote to, and then the peer drops the answer.

Rules of this file: ancillary data of sockets in and out, nothing is kept here. Linux tells of both families; a socket
that is open to both shows IPv4 addresses as `::ffff:a.b.c.d`. Where a system has nothing of the kind for IPv4, it goes
on choosing the source. The interface is never part of what is sent: the route decides on that.
"""

from __future__ import annotations

import socket
import struct
import sys

import attrs

# (level, type, bytes) of each piece of it: what `recvmsg` gives and `sendmsg` takes.
Ancillary = list[tuple[int, int, bytes]]

# The socket module of Python 3.11 does not name it. Receiving is switched on by the option of the same number.
_IP_PKTINFO = 8 if sys.platform == "linux" else None
# Absent in a Python that was built without IPv6.
_IPV6_PKTINFO: int | None = getattr(socket, "IPV6_PKTINFO", None)
_IPV6_RECEIVE: int | None = getattr(socket, "IPV6_RECVPKTINFO", None)
_IPV4_INFO = struct.Struct("=I4s4s")  # struct in_pktinfo: interface, our address, the destination in the header
_IPV6_INFO = struct.Struct("=16sI")  # struct in6_pktinfo: our address, interface
SPACE = socket.CMSG_SPACE(_IPV6_INFO.size)  # the most that one datagram brings
_MAPPED = bytes(10) + b"\xff\xff"


@attrs.frozen
class Departure:
    """How datagrams leave from the address that a datagram came to."""

    arrived: Ancillary  # as it came, to be compared with that of the next datagram
    ip: bytes  # packed, 4 or 16 bytes
    ancillary: Ancillary  # for `sendmsg`


def ask_for(opened: socket.socket) -> bool:
    """From now on `recvmsg` gives packet information. False where the system does not do that."""
    level, option = (
        (socket.IPPROTO_IP, _IP_PKTINFO) if opened.family == socket.AF_INET else (socket.IPPROTO_IPV6, _IPV6_RECEIVE)
    )
    if option is None:
        return False
    try:
        opened.setsockopt(level, option, 1)
    except OSError:
        return False
    return True


def departure(arrived: Ancillary) -> Departure | None:
    """None where the system has told nothing of the address."""
    for level, kind, data in arrived:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO) and len(data) == _IPV4_INFO.size:
            _, ip, _ = _IPV4_INFO.unpack(data)
            return Departure(arrived, ip, [(level, kind, _IPV4_INFO.pack(0, ip, bytes(4)))])
        if (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO) and len(data) == _IPV6_INFO.size:
            ip, _ = _IPV6_INFO.unpack(data)
            return Departure(arrived, ip.removeprefix(_MAPPED), [(level, kind, _IPV6_INFO.pack(ip, 0))])
    return None
