"""Where a simulated network is cut: single links, and partitions.

Rules of this file: pure, and about what passes at all; what happens to what passes is the business of `links.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint


@attrs.define(eq=False)
class Severance:
    """Cuts and at most one partition. A set and dicts that are only looked into, so their order tells nobody."""

    _cuts: set[tuple[Endpoint, Endpoint]] = attrs.field(init=False, factory=set)
    _group_of: dict[Endpoint, int] = attrs.field(init=False, factory=dict)
    # The group of those who are in none.
    _rest: int = attrs.field(init=False, default=0)
    _one_way: bool = attrs.field(init=False, default=False)

    def __bool__(self) -> bool:
        return bool(self._cuts or self._group_of)

    def cut(self, source: Endpoint, destination: Endpoint) -> None:
        """This way only."""
        self._cuts.add((source, destination))

    def heal(self, source: Endpoint, destination: Endpoint) -> None:
        """Takes a cut back, this way only."""
        self._cuts.discard((source, destination))

    def partition(self, groups: Iterable[Iterable[Endpoint]], *, one_way: bool = False) -> None:
        """From now on only members of one group reach each other. Who is in no group is in one more, the last.

        `one_way`: each group still hears the groups after it, and is not heard by them. A former partition ends; cuts
        of single links stay. ConfigError when somebody is in two groups: nothing has changed then.
        """
        group_of: dict[Endpoint, int] = {}
        count = 0
        for group in groups:
            for endpoint in group:
                if group_of.setdefault(endpoint, count) != count:
                    raise ConfigError(f"{endpoint} is in two groups of a partition", remedy="name it in one of them")
            count += 1
        self._group_of, self._rest, self._one_way = group_of, count, one_way

    def heal_all(self) -> None:
        """Ends the partition and all cuts."""
        self._cuts.clear()
        self._group_of = {}

    def severs(self, source: Endpoint, destination: Endpoint) -> bool:
        """Whether nothing passes from one to the other."""
        if self._cuts and (source, destination) in self._cuts:
            return True
        if not self._group_of:
            return False
        speaks, hears = self._group_of.get(source, self._rest), self._group_of.get(destination, self._rest)
        return speaks < hears if self._one_way else speaks != hears
