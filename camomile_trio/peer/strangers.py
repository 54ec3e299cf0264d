"""Which strangers are remembered: the least recently used goes, and one source network has a share only.

Rules of this file: names (public keys) and their order, nothing of what is remembered about them. The share keeps one
party, however many keys it makes, from pushing out all others. Loopback, whose source network is empty, has no share of
its own.
"""

from __future__ import annotations

from collections import OrderedDict


class Strangers:
    """A bounded set of public keys in the order of their last use."""

    def __init__(self, most: int, most_of_one_network: int) -> None:
        self._most = most
        self._most_of_one = most_of_one_network
        self._order: OrderedDict[bytes, bytes] = OrderedDict()  # public key -> source network
        self._by_network: dict[bytes, OrderedDict[bytes, None]] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, public: bytes) -> bool:
        return public in self._order

    def add(self, public: bytes, network: bytes) -> bytes | None:
        """Remember it as the one used last. The public key that had to go for it, if one had to."""
        self.discard(public)
        same = self._by_network.get(network)
        gone: bytes | None = None
        if network and same is not None and len(same) >= self._most_of_one:
            gone = next(iter(same))
        elif len(self._order) >= self._most:
            gone = next(iter(self._order))
        if gone is not None:
            self.discard(gone)
        self._order[public] = network
        self._by_network.setdefault(network, OrderedDict())[public] = None
        return gone

    def use(self, public: bytes) -> None:
        """It was used just now, if it is here."""
        network = self._order.get(public)
        if network is not None:
            self._order.move_to_end(public)
            self._by_network[network].move_to_end(public)

    def discard(self, public: bytes) -> None:
        network = self._order.pop(public, None)
        if network is not None:
            same = self._by_network[network]
            del same[public]
            if not same:
                del self._by_network[network]
