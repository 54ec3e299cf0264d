"""What speaks against this node's wall clock: a time that it has seen before, jumps, and what clocks peers show.

Rules of this file: plain state without I/O; the caller asks the peers and writes the log. Only own evidence stops a
node from signing: a clock that is behind a time which was kept over starts. Peers may lie, so their clocks warn, and
hold up what ends: nothing is let go of while most of them call this clock ahead, for a day at most. They also take back
evidence, and what they do not confirm never becomes any: a clock that was ahead for a while must not speak against the
right one. Of one source network the two heard of last have a say, so that many ids of one host outvote nobody. Bounded:
the peer heard of longest ago is forgotten first. Source: docs/protocol.md, Clocks.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.counting import PER_NETWORK
from camomile_trio.kademlia.ids import NodeId
from camomile_trio.kademlia.networks import source_network
from camomile_trio.kademlia.registers import RULES

# Milliseconds by which the wall clock has to part from the steady one to be noticed: daylight for adjusting it slowly.
NOTICED = 10_000
# Milliseconds that clocks may be apart as a pong or a handshake shows it, under way for up to a request's deadline.
MOST = RULES.max_skew + 2_000
# Seconds in which peers have to answer after a jump, or after a start with records; then the clock is believed.
PATIENCE = 180.0
# A lease lasts no longer: whatever a day of Trio's clock has not confirmed has ended.
LONGEST_HOLD = 24 * 3600.0
# Handshakes show clocks, and nodes that have sessions make few: one of these nodes is asked so often, in seconds.
ASK_EVERY = 3600.0
# For the first time so long after the start, when there are neighbours.
FIRST_ASKED = 60.0
MAX_PEERS = 256
# ms by which the kept time may be older than the last one that peers confirmed: each time that it is kept is a commit.
KEPT_EVERY = 600_000
# At most one warning in so many seconds, that names so many peers.
WARN_EVERY = 600.0
NAMED = 5


class Clocks:
    """Of one node. `clock` is Trio's, in seconds; wall clocks are in milliseconds since the epoch.

    `kept` is the time that was kept over starts, 0 for none. `network` says to which source network an address belongs,
    empty for one of which any number have a say.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        wall_clock: Callable[[], int],
        *,
        has_records: bool,
        kept: int = 0,
        network: Callable[[bytes], bytes] = source_network,
    ) -> None:
        self._kept = kept
        self.jumps = 0
        self.disagreements = 0  # times that peers showed clocks which are further from ours than they may be
        self._clock = clock
        self._wall_clock = wall_clock
        self._skews: OrderedDict[NodeId, int] = OrderedDict()  # ms by which each peer's clock is ahead of ours
        self._network = network
        self._voices: dict[bytes, list[NodeId]] = {}  # of each source network, the one heard of longest ago first
        self._looked_at = clock(), wall_clock()
        # Until when nothing is believed before a peer has spoken; old records may meet a machine without a clock.
        self._in_doubt_until = clock() + PATIENCE if has_records else -math.inf
        self._has_leapt = False  # it was set ahead by more than max_skew, and nobody has spoken since
        self._heard_at = clock() + FIRST_ASKED - ASK_EVERY
        self._ahead_since: float | None = None
        self._wrong: dict[NodeId, int] = {}  # those of them to be named in the next warning
        self._warned_at = -math.inf

    def __len__(self) -> int:
        return len(self._skews)

    @property
    def networks(self) -> int:
        """Of how many source networks it is known which peers speak for them."""
        return len(self._voices)

    def on_peer_clock(self, contact: Contact, wall: int) -> None:
        """A peer has said what its clock shows."""
        skew, peer = wall - self._wall_clock(), contact.id
        self._skews[peer] = skew
        self._skews.move_to_end(peer)
        self._give_voice(peer, self._network(contact.endpoint[:-2]))
        if len(self._skews) > MAX_PEERS:
            self._skews.popitem(last=False)
        if abs(skew) > MOST:
            self.disagreements += 1
            if len(self._wrong) < MAX_PEERS:
                self._wrong[peer] = skew
        self._has_leapt = False
        self._heard_at = self._clock()

    def _give_voice(self, peer: NodeId, network: bytes) -> None:
        """The peer has spoken from this source network: of the others there only the one that spoke last counts."""
        if not network:
            return
        if network not in self._voices and len(self._voices) >= 2 * MAX_PEERS:
            kept = {name: [each for each in peers if each in self._skews] for name, peers in self._voices.items()}
            self._voices = {name: peers for name, peers in kept.items() if peers}
        voices = [each for each in self._voices.get(network, ()) if each != peer] + [peer]
        self._voices[network] = voices
        if len(voices) > PER_NETWORK:
            self._skews.pop(voices.pop(0), None)

    def look(self) -> int:
        """By how many ms the wall clock was set since the last look, or 0. What peers said before is void then.

        A machine that slept looks the same: its wall clock went on without it.
        """
        now, wall = self._clock(), self._wall_clock()
        then, wall_then = self._looked_at
        self._looked_at = now, wall
        moved = wall - wall_then - round((now - then) * 1000)
        if abs(moved) <= NOTICED:
            return 0
        self.jumps += 1
        self._skews.clear()
        self._wrong.clear()
        self._in_doubt_until = now + PATIENCE
        self._has_leapt = moved > RULES.max_skew
        return moved

    @property
    def asks(self) -> bool:
        """Whether peers should be asked for their clocks: nobody has said anything that counts, or not for long."""
        return self.is_in_doubt or self._clock() - self._heard_at > ASK_EVERY

    @property
    def is_in_doubt(self) -> bool:
        """Whether peers are waited for before anything is let go of."""
        return self._clock() < self._in_doubt_until and not self._skews

    def is_ahead(self) -> bool:
        """Whether most peers say that this clock is ahead of theirs by more than max_skew, or it leapt a moment ago."""
        if not self._skews:
            return self._has_leapt and self._clock() < self._in_doubt_until
        behind_us = sum(skew < -MOST for skew in self._skews.values())
        return 2 * behind_us > len(self._skews)

    @property
    def behind_by(self) -> int:
        """By how many ms the wall clock is behind a time that this node has seen, and peers confirmed; else 0.

        0 also within what clocks may be apart, and where most of the peers heard confirm the clock as it is now.
        """
        behind = self._kept - self._wall_clock()
        return behind if behind > RULES.max_skew and not self.is_confirmed else 0

    def time_to_keep(self) -> int | None:
        """The wall time that is to be kept over starts now, if any: only one that most of the peers heard confirm."""
        wall = self._wall_clock()
        if abs(wall - self._kept) < KEPT_EVERY or not self.is_confirmed:
            return None
        self._kept = wall
        return wall

    @property
    def is_confirmed(self) -> bool:
        """Whether most clocks, those of the peers heard and this one, show this time, within what they may be apart.

        Not before a peer was heard.
        """
        alike = sum(abs(skew) <= MOST for skew in self._skews.values())
        return 2 * alike >= len(self._skews) > 0

    def may_end(self) -> bool:
        """Whether what has ended by this clock may be let go of."""
        now = self._clock()
        if not self.is_ahead():
            self._ahead_since = None
            return not self.is_in_doubt
        if self._ahead_since is None:
            self._ahead_since = now
        return now - self._ahead_since > LONGEST_HOLD

    def to_warn_of(self) -> list[tuple[NodeId, int]]:
        """The peers to be named in a warning now, with the ms by which they are ahead; those who differ most first.

        Each call that names any is the warning: they are named again when they have said it again, and not soon.
        """
        now = self._clock()
        if now - self._warned_at < WARN_EVERY:
            return []
        wrong, self._wrong = self._wrong, {}
        if wrong:
            self._warned_at = now
        return sorted(wrong.items(), key=lambda each: -abs(each[1]))[:NAMED]
