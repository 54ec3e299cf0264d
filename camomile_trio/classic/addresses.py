"""What is remembered of the addresses of classic nodes: whether they have answered, and how fast.

Rules of this file: plain state without I/O; the caller tells the time. A classic node proves nothing but that it
receives at its address. Bounded: the address that was used least recently is forgotten first, and those that never
answered are bounded apart, so that a flood from forged addresses pushes out none that answered.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

import attrs

from camomile_trio.config import Requests as Settings
from camomile_trio.kademlia.contacts import Endpoint
from camomile_trio.peer.paths import Path

FIRST_REQUESTS_WITHIN: Final = 60.0  # seconds in which two requests at most go to an address that never answered


@attrs.define(eq=False)
class Address:
    """Times are seconds of the caller's clock."""

    path: Path
    first_requests_at: tuple[float, float] = (-math.inf, -math.inf)
    pinged_at: float = -math.inf
    is_pinged: bool = False  # a ping is under way

    @property
    def has_answered(self) -> bool:
        """Whether a request of ours was ever answered from here."""
        return self.path.answered_at > -math.inf

    def may_ask_first(self, now: float) -> bool:
        """Whether one more request may go here before any was answered; counts it if so."""
        older, newer = self.first_requests_at
        if now - older < FIRST_REQUESTS_WITHIN:
            return False
        self.first_requests_at = (newer, now)
        return True


class Addresses:
    """The addresses of one node's classic peers, by use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._answered: OrderedDict[Endpoint, Address] = OrderedDict()
        self._silent: OrderedDict[Endpoint, Address] = OrderedDict()  # never answered

    def __len__(self) -> int:
        return len(self._answered) + len(self._silent)

    def has_answered(self, endpoint: Endpoint) -> bool:
        return endpoint in self._answered

    def is_answering(self, endpoint: Endpoint) -> bool:
        """Whether the last request to it that was answered or given up was answered."""
        address = self._answered.get(endpoint)
        return address is not None and address.path.is_answering

    def get(self, endpoint: Endpoint) -> Address:
        """What is remembered of an address; a new memory if nothing is."""
        for among in (self._answered, self._silent):
            if endpoint in among:
                among.move_to_end(endpoint)
                return among[endpoint]
        address = Address(Path(self._settings, rto=self._settings.first_rto))
        self._keep(self._silent, endpoint, address)
        return address

    def on_answer(self, endpoint: Endpoint, now: float, round_trip: float | None) -> None:
        """A matched answer came. `round_trip` is None where it is not known (Karn)."""
        address = self.get(endpoint)
        if self._silent.pop(endpoint, None) is not None:
            self._keep(self._answered, endpoint, address)
        address.path.on_answer(now, round_trip)

    def forget(self, endpoint: Endpoint) -> None:
        self._answered.pop(endpoint, None)
        self._silent.pop(endpoint, None)

    def _keep(self, among: OrderedDict[Endpoint, Address], endpoint: Endpoint, address: Address) -> None:
        if len(among) >= self._settings.max_peers:
            among.popitem(last=False)
        among[endpoint] = address
