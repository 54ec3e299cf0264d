"""Which strangers are remembered: the least recently used goes, and one source network has a share only.

Rules of this file: names (public keys) and their order, nothing of what is remembered about them. The share keeps one
party, however many keys it makes, from pushing out all others. Loopback, whose source network is empty, has no share of
its own.
"""

from __future__ import annotations

from collections import Counter, OrderedDict


class Strangers:
    """A bounded set of public keys in the order of their last use."""

    def __init__(self, most: int, most_of_one_network: int) -> None:
        self._most = most
        self._most_of_one = most_of_one_network
        self._order: OrderedDict[bytes, bytes] = OrderedDict()  # public key -> source network
        self._of_network: Counter[bytes] = Counter()

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, public: bytes) -> bool:
        return public in self._order

    def add(self, public: bytes, network: bytes) -> bytes | None:
        """Remember it as the one used last. The public key that had to go for it, if one had to."""
        self.discard(public)
        gone: bytes | None = None
        if network and self._of_network[network] >= self._most_of_one:
            gone = next(each for each, its in self._order.items() if its == network)
        elif len(self._order) >= self._most:
            gone = next(iter(self._order))
        if gone is not None:
            self.discard(gone)
        self._order[public] = network
        self._of_network[network] += 1
        return gone

    def use(self, public: bytes) -> None:
        """It was used just now, if it is here."""
        if public in self._order:
            self._order.move_to_end(public)

    def discard(self, public: bytes) -> None:
        network = self._order.pop(public, None)
        if network is not None:
            self._of_network[network] -= 1
            if not self._of_network[network]:
                del self._of_network[network]
