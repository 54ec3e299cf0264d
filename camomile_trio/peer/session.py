"""One session: two keys, a counter for what is sent, and a window for what has been received.

Rules of this file: one session between one pair of nodes at one address. It knows no handshake, no table and no other
session. Source: Noise specification rev 34, section 11.4 (the nonce goes with the packet); RFC 6479 (the window).
"""

from __future__ import annotations

from typing import Final

import attrs

from camomile_trio.errors import MalformedPacket
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.packets import COUNTER_BYTES, INDEX_BYTES, SEALED, About, frame
from camomile_trio.peer.suite import TAG_BYTES, CipherSuite

WINDOW: Final = 256  # how far behind the newest packet one may arrive
REKEY_AFTER_PACKETS: Final = 2**60
MOST_PACKETS: Final = 2**64 - 2**13 - 1  # then this session seals no more


@attrs.define(eq=False)
class ReplayWindow:
    """Which counters have been received: the newest one and a bit for each of the 256 up to it."""

    newest: int = -1
    _seen: int = 0  # bit i: newest - i

    def is_new(self, counter: int) -> bool:
        behind = self.newest - counter
        return behind < 0 or (behind < WINDOW and not self._seen >> behind & 1)

    def receive(self, counter: int) -> None:
        """Of a packet whose tag was right; `is_new` has been asked."""
        ahead = counter - self.newest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & (1 << WINDOW) - 1 if ahead < WINDOW else 1
            self.newest = counter
        else:
            self._seen |= 1 << -ahead


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
    window: ReplayWindow = attrs.field(factory=ReplayWindow)
    contact: Contact = attrs.field(init=False)  # of the peer, at this address

    def __attrs_post_init__(self) -> None:
        self.contact = Contact.of(self.peer, self.endpoint)

    def seal(self, suite: CipherSuite, inner: bytes) -> bytes | None:
        """The datagram; None once the counter has run out."""
        counter = self.sent
        if counter >= MOST_PACKETS:
            return None
        self.sent = counter + 1
        sealed = suite.seal(self.send_key, counter, b"", inner)
        return frame(SEALED, self.peer_index + counter.to_bytes(COUNTER_BYTES, "big") + sealed)

    def open_untrusted(self, suite: CipherSuite, body_untrusted: bytes) -> bytes:
        """The inner packet, of the body of a `sealed`; MalformedPacket if it was received before, or its tag is wrong.

        The counter is authenticated as the nonce: a changed one fails the tag, and moves no window.
        """
        start = INDEX_BYTES + COUNTER_BYTES
        if len(body_untrusted) < start + TAG_BYTES:
            raise MalformedPacket("too_short")
        counter = int.from_bytes(body_untrusted[INDEX_BYTES:start], "big")
        if counter >= MOST_PACKETS:
            raise MalformedPacket("wrong_counter")
        if not self.window.is_new(counter):
            raise MalformedPacket("replayed")
        inner = suite.open_untrusted(self.receive_key, counter, b"", body_untrusted[start:])
        self.window.receive(counter)
        return inner

    def __repr__(self) -> str:
        return f"Session({self.own_index.hex()} with {self.peer.hex()[:8]} at {self.endpoint})"
