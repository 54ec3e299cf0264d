"""How far from a key a candidate may be and still be as good as certain to be one of the k closest to it.

Rules of this file: pure. It judges answers by what they name, no more of them than it takes, and remembers two
distances and the answers that it has not judged. What is told is untrusted, so two nodes have to vouch. If they lie we
store at up to k candidates that turn out not to be the closest: copies too many, while the lookup goes on and finds the
right ones. Where more nodes claim to be near than there can be, an honest answer leaves some out (`counting.py`), and
reach may be too far: the lookup stores at all of its cover then, which goes beyond the k closest. Source: Kademlia
(2002), §2.3; docs/protocol.md, "Lookups".

What a node is sure to know are the k nodes closest to itself: it looked for them when it joined. Let the target and
the node differ in their last b bits only. Cut the id space into blocks of 2^b ids: a block is as far from the target as
it is from the node. So its k closest fill the same blocks as the target's, but for the last one, and whoever is in a
block nearer than that of the k-th contact that it names has been named. Of a shortened answer, which names the nearest,
the last contact takes the place of the k-th.

Before anybody has answered there is the density of ids around ourselves. Ids are hashes, so about k nodes are as close
to the target as our k-th neighbour is to us, and within half of that distance nearly all are among the k closest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import ID_BITS, NodeId, as_int

NOBODY: Final = -1
EVERYBODY: Final = 1 << ID_BITS


class Reach:
    """What one lookup of `target` by the node `own` knows of the `k` closest."""

    def __init__(self, target: bytes, *, k: int, own: NodeId) -> None:
        self._number = as_int(target)
        self._k = k
        self._own = own
        self._widest = NOBODY  # what one node vouches for
        # Answers not judged yet: most never are, since the first few tell enough. No more than a lookup can ask.
        self._unjudged: deque[tuple[NodeId, Sequence[Contact]]] = deque()
        self.distance = NOBODY  # whoever is no farther from the target is among the k closest, as good as certainly

    def on_neighbours(self, contacts: Sequence[Contact]) -> None:
        """These are the k closest to ourselves that we know. Fewer than k are all that there is, for all we know."""
        if len(contacts) < self._k:
            self.distance = EVERYBODY
        else:
            self.distance = max(as_int(contact.id) ^ as_int(self._own) for contact in contacts) // 2

    def holds(self, node: NodeId) -> bool:
        """Whether `node` is within reach."""
        return as_int(node) ^ self._number <= self.distance

    def on_answer(self, node: NodeId, contacts: Sequence[Contact], *, is_shortened: bool = False) -> None:
        """`node` has named these contacts as the closest that it knows. `is_shortened`: of the k closest only so many.

        To be called once for each node.
        """
        if len(contacts) >= self._k or (is_shortened and contacts):
            self._unjudged.append((node, contacts))

    def up_to(self, wanted: int) -> int:
        """`distance`, after as many answers were judged as it takes to hold what is `wanted`, or all."""
        while self.distance < wanted and self._unjudged:
            self._judge(*self._unjudged.popleft())
        return self.distance

    def _judge(self, node: NodeId, contacts: Sequence[Contact]) -> None:
        distances = [as_int(contact.id) ^ self._number for contact in contacts]
        if len(contacts) >= self._k:
            # It knows us too, for all that we know, and does not name us to ourselves.
            distances.append(as_int(self._own) ^ self._number)
        bits = (as_int(node) ^ self._number).bit_length()
        block = sorted(distances)[: self._k][-1] >> bits
        reach = (block << bits) - 1
        self.distance = max(self.distance, min(reach, self._widest))
        self._widest = max(self._widest, reach)
