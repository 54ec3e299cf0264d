"""What became of one datagram: each value says all that the shell has to do about it.

Rules of this file: frozen values only, and NotForUs, which never leaves this room: `Sessions` makes Dropped of it. The
way of sealed packets through a node, `Inbox.on_datagram` and `Requests.send_sealed`, makes none of these.
"""

from __future__ import annotations

import attrs

from camomile_trio.errors import PeerError
from camomile_trio.kademlia.contacts import Contact, Endpoint
from camomile_trio.peer.handshake import NetworkKey
from camomile_trio.peer.noise import HandshakeState
from camomile_trio.peer.packets import About


@attrs.frozen
class Opened:
    """A sealed packet of a peer whose session is confirmed, by this packet at the latest. Handle `inner`."""

    contact: Contact  # at the session's address, where it came from
    inner: bytes  # empty where the packet had only to confirm
    about: About | None = None  # what the peer told of itself in the handshake; only where this packet confirmed it
    is_copied: bool = False  # two runs of this key alternate: a copied data directory


@attrs.frozen
class Initiated:
    """A peer began a handshake. Handle `request` as an unconfirmed peer's; `Responder.respond` takes the answer."""

    contact: Contact  # at the address where it came from
    about: About
    request: bytes
    room: int  # how many bytes the answer may have
    handshake: Handshake


@attrs.frozen(repr=False)
class Handshake:
    """What `Responder.respond` needs, and nothing else does."""

    network: NetworkKey
    noise: HandshakeState
    receiver: bytes  # the initiator's index
    answered: tuple[Endpoint, bytes]  # where the response is kept for a repeated initiation
    begun_at: float  # when the initiation came
    size: int  # bytes of the initiation


@attrs.frozen
class Responded:
    """A peer answered an initiation of ours: the session is confirmed here, and there by the next sealed packet.

    Handle `answer`. If no request to this peer leaves at once, an empty sealed packet must.
    """

    contact: Contact
    about: About
    answer: bytes
    is_copied: bool = False


@attrs.frozen
class Reply:
    """Send these bytes to where the datagram came from; there is nothing else to do."""

    datagram: bytes
    why: str  # cookie, repeated, hello, with_cookie: a constant, made to be counted


@attrs.frozen
class Introduced:
    """An address that was asked `hello` named its public key. Only a handshake with that key proves it."""

    peer: bytes
    endpoint: Endpoint


@attrs.frozen
class OwnHello:
    """A hello of ours came back to us, so the address that it asked is one of this node's own. It has been dropped."""

    endpoint: Endpoint  # the one that was asked


@attrs.frozen
class Sealed:
    """A datagram for the peer's address. `rekey_due`: initiate a new session soon; this one works until then."""

    datagram: bytes
    endpoint: Endpoint
    rekey_due: bool


@attrs.frozen
class Dropped:
    """Nothing is to be done. `reason` is a constant, and has been counted."""

    reason: str


class NotForUs(PeerError):
    """A datagram of the right form that is answered by nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


Decision = Opened | Initiated | Responded | Reply | Introduced | OwnHello | Dropped
