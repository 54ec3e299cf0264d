"""One session: two keys, a counter for what is sent, and a window for what has been received.

Rules of this file: one session between one pair of nodes at one address. It knows no handshake, no table and no other
session. Source: Noise specification rev 34, section 11.4 (the nonce goes with the packet); RFC 6479 (the window).
"""

from __future__ import annotations

import math
from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.packets import COUNTER_BYTES, INDEX_BYTES, MOST_INNER, SEALED_HEADS, SEALED_OVERHEAD, About
from camomile_trio.peer.paths import Path
from camomile_trio.peer.suite import TAG_BYTES, CipherSuite

WINDOW: Final = 256  # how far behind the newest packet one may arrive
REKEY_AFTER_PACKETS: Final = 2**60
MOST_PACKETS: Final = 2**64 - 2**13 - 1  # then this session seals no more


_SEEN: Final = (1 << WINDOW) - 1
_START: Final = INDEX_BYTES + COUNTER_BYTES  # of what is sealed, in the body


@attrs.define(eq=False, repr=False)
class Session:
    """One side's end of a session. The text form shows no key."""

    peer: bytes  # public key
    endpoint: Endpoint  # the only address that it is good for
    is_initiator: bool  # whether this node began the handshake
    own_index: bytes
    peer_index: bytes
    send_key: bytes
    receive_key: bytes
    network_psk: bytes  # under which network key it was made
    begun_at: float  # when the handshake began here, in seconds
    handshake_bytes: int  # how many the peer has sent for it
    about: About | None  # what the peer told of itself; None once the session is confirmed, since there are thousands
    confirmed_at: float | None = None  # by the peer; None: not yet
    sent: int = 0
    renew_at: float = math.inf  # from when on a new one is due; inf while it is not confirmed
    path: Path | None = None  # what is remembered of the way to the peer; it may have been forgotten (`Path.is_kept`)
    newest: int = -1  # the greatest counter that was received
    _seen: int = 0  # bit i: newest - i was received
    contact: Contact = attrs.field(init=False)  # of the peer, at this address

    def __attrs_post_init__(self) -> None:
        self.contact = Contact.of(self.peer, self.endpoint)

    def seal(self, suite: CipherSuite, inner: bytes) -> bytes | None:
        """The datagram; None once the counter has run out, long after a new session was due."""
        body = SEALED_OVERHEAD + len(inner)
        if body > SEALED_OVERHEAD + MOST_INNER:
            raise ValueError(f"an inner packet has at most {MOST_INNER} bytes, not {len(inner)}")
        counter = self.sent
        if counter >= REKEY_AFTER_PACKETS - 1:
            self.renew_at = -math.inf
            if counter >= MOST_PACKETS:
                return None
        self.sent = counter + 1
        head = SEALED_HEADS[body + 3 if body < 0x80 else body + 4]
        sealed = suite.seal(self.send_key, counter, b"", inner)
        return head + self.peer_index + counter.to_bytes(COUNTER_BYTES, "big") + sealed

    def open_untrusted(self, suite: CipherSuite, body_untrusted: bytes) -> bytes:
        """The inner packet, of the body of a `sealed`; MalformedPacket if it was received before, or its tag is wrong.

        The counter is authenticated as the nonce: a changed one fails the tag, and moves no window.
        """
        if len(body_untrusted) < _START + TAG_BYTES:
            raise MalformedPacket("too_short")
        counter = int.from_bytes(body_untrusted[INDEX_BYTES:_START], "big")
        if counter >= MOST_PACKETS:
            raise MalformedPacket("wrong_counter")
        ahead = counter - self.newest
        if ahead <= 0 and (ahead <= -WINDOW or self._seen >> -ahead & 1):
            raise MalformedPacket("replayed")
        inner = suite.open_untrusted(self.receive_key, counter, b"", body_untrusted[_START:])
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _SEEN if ahead < WINDOW else 1
            self.newest = counter
        else:
            self._seen |= 1 << -ahead
        return inner

    def __repr__(self) -> str:
        return f"Session({self.own_index.hex()} with {self.peer.hex()[:8]} at {self.endpoint})"
