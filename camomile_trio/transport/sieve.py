"""A sieve in the kernel: datagrams from some sources are dropped before they cost this process anything.

Rules of this file: classic BPF on one UDP socket, which needs no privileges; Linux only. Elsewhere, and where the
system refuses, nothing happens and the caller drops what it reads. Source: bpf(4) of BSD, and Linux's
Documentation/networking/filter.rst for SO_ATTACH_FILTER and the offset of the network header.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Collection

# Sources that a sieve holds back at most; each takes up to four instructions.
MOST = 32

_ATTACH, _DETACH = 26, 27  # SO_ATTACH_FILTER and SO_DETACH_FILTER, which the socket module does not name
_NETWORK_HEADER = 0x100000000 - 0x100000  # SKF_NET_OFF: offsets from here are those in the header of IP
_LOAD_BYTE, _LOAD_WORD, _RIGHT, _EQUAL, _RETURN = 0x30, 0x20, 0x74, 0x15, 0x06
_SOURCE_4, _SOURCE_6 = 12, 8
_TAKE_ALL = 0xFFFFFFFF

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, number


def program(prefixes: Collection[bytes]) -> list[Instruction]:
    """Drops datagrams whose source is one of these IPv4 addresses (4 bytes) or in one of these IPv6 networks (8)."""
    fours = [each for each in prefixes if len(each) == 4]
    sixes = [each for each in prefixes if len(each) == 8]
    six: list[Instruction] = []
    for each in sixes:
        high, low = struct.unpack(">II", each)
        six += [
            (_LOAD_WORD, 0, 0, _NETWORK_HEADER + _SOURCE_6),
            (_EQUAL, 0, 3, high),
            (_LOAD_WORD, 0, 0, _NETWORK_HEADER + _SOURCE_6 + 4),
            (_EQUAL, 0, 1, low),
            (_RETURN, 0, 0, 0),
        ]
    six.append((_RETURN, 0, 0, _TAKE_ALL))
    four: list[Instruction] = [(_LOAD_WORD, 0, 0, _NETWORK_HEADER + _SOURCE_4)]
    for each in fours:
        four += [(_EQUAL, 0, 1, struct.unpack(">I", each)[0]), (_RETURN, 0, 0, 0)]
    four.append((_RETURN, 0, 0, _TAKE_ALL))
    head: list[Instruction] = [(_LOAD_BYTE, 0, 0, _NETWORK_HEADER), (_RIGHT, 0, 0, 4), (_EQUAL, 0, len(four), 4)]
    return [*head, *four, *six]


def hold_back(udp: socket.socket, prefixes: Collection[bytes]) -> None:
    """From now on datagrams from these sources are dropped, and none else; those that wait already are not."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        if not prefixes:
            udp.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
            return
        instructions = program([*prefixes][:MOST])
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in instructions))
        udp.setsockopt(socket.SOL_SOCKET, _ATTACH, struct.pack("@HP", len(instructions), ctypes.addressof(code)))
