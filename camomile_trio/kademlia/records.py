"""Records: a publisher's signed word about a key, and the total order between two of them.

Rules of this file: values and their order only. A RecordRow is untrusted; a Record that anybody acts on came from
`identity.verify`, from a key of our own, or from our own storage. Nothing here tells the time. All times are wall-clock
milliseconds since the epoch. Source: docs/protocol.md, Records, rules 1 and 2.
"""

from __future__ import annotations

import enum
import struct
from typing import NewType

import attrs

from camomile_trio.kademlia.ids import Key

# The public half of an Ed25519 key, 32 bytes: who signs.
PublisherKey = NewType("PublisherKey", bytes)

# A record as it travels and is stored: 123 bytes of the right form, whose signature nobody here has checked.
RecordRow = NewType("RecordRow", bytes)

FORMAT = 1
ROW_BYTES = 123
SIGNATURE_BYTES = 64
_CONTEXT = b"camomile record\0"
_HEAD = struct.Struct(">BBB")  # format, kind, flags
_TERMS = struct.Struct(">QQQ")  # seq, issued, expires
_ROW = struct.Struct(">BBB32sQQQ64s")


class Kind(enum.IntEnum):
    """What a record says. A tombstone beats a lease of the same seq, so the order of the numbers matters."""

    LEASE = 1
    TOMBSTONE = 2


_KINDS = {int(kind): kind for kind in Kind}

# Flag bit 0: whoever has the publisher's key may renew this lease.
RENEWABLE = 1


# Who has seen a record is compared by this much of it (rule 9).
Stamp = tuple[int, int, int]


@attrs.frozen
class Record:
    """One signed statement of one publisher about one key.

    `seq` counts the publisher's words about the key (only a user's put or forget raises it); `issued` and `expires`
    bound its validity, in wall-clock milliseconds. For a tombstone, `expires` is issued + tombstone_life.
    """

    key: Key
    kind: Kind
    flags: int
    publisher: PublisherKey
    seq: int
    issued: int
    expires: int
    signature: bytes = b""
    # A plain field, since it is asked for some ten times on the way of each record.
    is_tombstone: bool = attrs.field(init=False, eq=False, repr=False)

    @is_tombstone.default
    def _says_forgotten(self) -> bool:
        return self.kind is Kind.TOMBSTONE

    @property
    def is_renewable(self) -> bool:
        return self.kind is Kind.LEASE and bool(self.flags & RENEWABLE)

    @property
    def stamp(self) -> Stamp:
        return (self.seq, self.kind, self.expires)

    @property
    def rank(self) -> tuple[int, int, int, bytes, bytes]:
        """The total order of the records of one (key, publisher): the greater one wins (rule 2).

        The signature comes last, because one publisher can sign the same words in more than one way.
        """
        return (self.seq, self.kind, self.expires, self.body, self.signature)

    @property
    def body(self) -> bytes:
        """Format, kind, flags, publisher, seq, issued, expires: what of the signed bytes differs within a register."""
        head = _HEAD.pack(FORMAT, self.kind, self.flags)
        return head + self.publisher + _TERMS.pack(self.seq, self.issued, self.expires)

    def signed_bytes(self, network: bytes) -> bytes:
        """The bytes under the signature, in the network with the 32-byte id `network`."""
        return b"".join(
            (
                _CONTEXT,
                _HEAD.pack(FORMAT, self.kind, self.flags),
                network,
                self.key,
                self.publisher,
                _TERMS.pack(self.seq, self.issued, self.expires),
            )
        )

    def row(self) -> RecordRow:
        """The 123 bytes in which a record travels and is stored: its body and signature, without key and network."""
        kind, flags, publisher, signature = self.kind, self.flags, self.publisher, self.signature
        return RecordRow(_ROW.pack(FORMAT, kind, flags, publisher, self.seq, self.issued, self.expires, signature))

    @classmethod
    def from_row(cls, row_untrusted: bytes, key: Key) -> Record:
        """The record of a row. ValueError for a wrong length, format, kind or an unknown flag; the signature is *not*
        checked here."""
        if len(row_untrusted) != ROW_BYTES:
            raise ValueError(f"a record has {ROW_BYTES} bytes, not {len(row_untrusted)}")
        form, kind, flags, publisher, seq, issued, expires, signature = _ROW.unpack(row_untrusted)
        if form != FORMAT:
            raise ValueError(f"record format {form} is unknown")
        if flags & ~RENEWABLE:
            raise ValueError(f"record flags {flags:#x} are unknown")
        if kind not in _KINDS:
            raise ValueError(f"record kind {kind} is unknown")
        return cls(key, _KINDS[kind], flags, publisher, seq, issued, expires, signature)
