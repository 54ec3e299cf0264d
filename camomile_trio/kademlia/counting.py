"""Whose word counts about a target, and how many nodes around it are asked and stored at.

Rules of this file: pure. It decides whose word counts, never who may be asked or stored at. Given the contacts around a
target, closest first, each counts or is surplus:

- *Diversity.* Of one source network two count, the closest, and of a network of networks (/16, IPv6 /32) eight. Exempt
  are private and loopback addresses and those that the operator trusts. With fewer than five source networks known all
  count, since one honest network could be all that there is; the caller says so to the operator.
- *As many as there should be, not as many as claim.* A contact is surplus if as many count already, closer than it, as
  there can be by the density of ids (`Density`): so of ids made beside a target a few count.

The cover is what a lookup asks and a put stores at: the shortest run of the closest in which k count and, diversity
apart, no more *are* than there can be; never more than `most`. It is the k closest nearly always. Ids that are spread
so evenly that none of them is surplus make it longer, until honest nodes outnumber them. All that count in the cover
are the base of a majority. Ids are hashes, so the honest ones are spread evenly. Source: docs/protocol.md, Counting.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Final, NamedTuple, Protocol

from camomile_trio.kademlia.contacts import Contact
from camomile_trio.kademlia.ids import as_int
from camomile_trio.kademlia.networks import public_network, wide_network

IpNetwork = IPv4Network | IPv6Network

PER_NETWORK: Final = 2
PER_WIDE_NETWORK: Final = 8
LEAST_NETWORKS: Final = 5
"""So many source networks have to be known before any contact is surplus for its own."""

TOO_FEW_NETWORKS: Final = "an attacker in four other networks could stop this network"
TOO_FEW_NETWORKS_REMEDY: Final = "name your own networks with --trust, or close the network with a network key"
"""What an operator is told while fewer are known."""


def most(k: int) -> int:
    """The longest cover. With a small k still more than twenty ids that someone has made beside a key."""
    return max(3 * k, 60)


def are_few(networks: int) -> bool:
    """Whether so many known source networks of public addresses are too few for diversity: there are some, and all
    nodes there count."""
    return 0 < networks < LEAST_NETWORKS


class Diversity:
    """The source networks of an open network's nodes. `trusted`: the operator's own, of which any number count."""

    def __init__(self, trusted: Iterable[IpNetwork] = ()) -> None:
        self._trusted = [
            (len(each.network_address.packed), int(each.netmask), int(each.network_address)) for each in trusted
        ]
        # The same few addresses are asked about again and again.
        self.network: Callable[[bytes], bytes] = functools.lru_cache(maxsize=4096)(self._network)
        """The source network that an ip is counted under; empty for an exempt one."""

    def trusts(self, ip: bytes) -> bool:
        """Whether the address is the operator's own."""
        number = as_int(ip)
        return any(len(ip) == size and number & mask == network for size, mask, network in self._trusted)

    def _network(self, ip: bytes) -> bytes:
        # A node's own word needs no address.
        return b"" if not ip or self.trusts(ip) else public_network(ip)


class Networks:
    """How many of each source network there are among some contacts."""

    def __init__(self, diversity: Diversity) -> None:
        self.size = 0  # how many different source networks
        self.crowded = 0  # of how many of these, or networks of them, there are more than count; 0: all count
        self._network = diversity.network
        self._counts: Counter[bytes] = Counter()
        self._wide: Counter[bytes] = Counter()

    def add(self, ip: bytes) -> None:
        """One more contact, at this address."""
        if network := self._network(ip):
            wide = wide_network(network)
            self._counts[network] += 1
            self._wide[wide] += 1
            self.crowded += self._counts[network] == PER_NETWORK + 1
            self.crowded += self._wide[wide] == PER_WIDE_NETWORK + 1
            self.size = len(self._counts)

    def remove(self, ip: bytes) -> None:
        """One of those that were added is gone."""
        if network := self._network(ip):
            wide = wide_network(network)
            self.crowded -= self._counts[network] == PER_NETWORK + 1
            self.crowded -= self._wide[wide] == PER_WIDE_NETWORK + 1
            for counts, name in ((self._counts, network), (self._wide, wide)):
                counts[name] -= 1
                if not counts[name]:
                    del counts[name]
            self.size = len(self._counts)

    def has_room(self, ip: bytes) -> bool:
        """Whether one more contact, at this address, would count."""
        network = self._network(ip)
        return not network or (
            self._counts[network] < PER_NETWORK and self._wide[wide_network(network)] < PER_WIDE_NETWORK
        )

    def is_crowded(self, ip: bytes) -> bool:
        """Whether of the networks of this address, which was added, there are more than count."""
        network = self._network(ip)
        return bool(network) and (
            self._counts[network] > PER_NETWORK or self._wide[wide_network(network)] > PER_WIDE_NETWORK
        )

    def take(self, ip: bytes) -> bool:
        """Adds the contact at this address if it counts; whether it does."""
        if not self.has_room(ip):
            return False
        self.add(ip)
        return True


class Density:
    """How many ids there can be within a distance, by a sample of `ids` that were found in `volume` of the id space.

    An upper estimate: one standard deviation of a count above what was found, and `slack`, since a few nodes may well
    be closer together than they should be.
    """

    __slots__ = ("per_unit", "slack")

    def __init__(self, ids: int, volume: int, slack: int) -> None:
        self.per_unit = (ids + math.sqrt(ids) + 1) / volume
        self.slack = slack

    def allowance(self, distance: int) -> float:
        """How many there can be within `distance` of any id."""
        return self.per_unit * distance + self.slack


def slack(k: int) -> int:
    """With a quarter of k one honest lookup in twenty finds its neighbourhood too dense, and asks farther."""
    return max(1, k // 4)


def density(neighbours: Sequence[int], apart: int, k: int) -> Density | None:
    """By the distances of a node's 2k closest neighbours from it, closest first; None where they say too little.

    `apart` is the distance of the target. Its bucket is left out, since ids made beside the target are in there. Up to
    the bucket in which its k closest end a node knows all nodes, since it has looked for them, or k of a bucket. The
    buckets beyond that are looked at only where the nearer ones have fewer than half of k. With fewer than k neighbours
    these are all that there are, and none is too many.
    """
    if len(neighbours) < k:
        return None
    low = 1 << (apart.bit_length() - 1) if apart else 0
    outside = [each for each in neighbours if not low <= each < 2 * low]
    if not outside:
        return None
    edge = max(neighbours[k - 1], outside[min((k + 1) // 2, len(outside)) - 1])
    volume = 1 << edge.bit_length()
    found = [each for each in outside if each < volume][:k]
    if len(found) == k:
        volume = found[-1] + 1
    if low < volume:
        volume -= min(2 * low, volume) - low
    # The node itself is one of those that were found.
    return Density(len(found) + 1, volume, slack(k))


class Cover(NamedTuple):
    """The closest contacts that matter for a target."""

    width: int  # so many of the closest
    counted: list[Contact]  # those of them that count
    is_whole: bool  # no farther contact belongs to it, whatever else becomes known


class Known(Protocol):
    """What a routing table knows of its network."""

    @property
    def version(self) -> int:
        """Another one whenever something of it may have changed."""

    @property
    def diversity(self) -> Diversity | None:
        """None while all count."""

    def density_at(self, target: int) -> Density | None:
        """None while nothing can be said."""


def is_plain(
    contacts: Sequence[Contact], k: int, target: int, density: Density | None, diversity: Diversity | None
) -> bool:
    """Whether the k closest, of at least k, all count and are no more than there can be: nearly always, and a few looks
    tell."""
    if density is not None and k:
        # Of the closest so many count however close they are, and farther out there can be no fewer: the next place
        # that matters is the first one that is not below that.
        per_unit, slack = density.per_unit, density.slack
        place, there_can_be = slack, 0.0
        while place < k:
            there_can_be = per_unit * (int.from_bytes(contacts[place][0], "big") ^ target) + slack
            if place >= there_can_be:
                return False
            place = -int(-there_can_be // 1)
        if k > there_can_be and k > density.allowance(int.from_bytes(contacts[k - 1][0], "big") ^ target):
            return False
    if diversity is None:
        return True
    network = diversity.network
    names = [name for contact in contacts[:k] if (name := network(contact[1][:-2]))]
    if len(names) == len(set(names)) and len(names) - len(set(map(wide_network, names))) < PER_WIDE_NETWORK:
        return True
    networks = Networks(diversity)
    return all(networks.take(contact[1][:-2]) for contact in contacts[:k])


class Counting:
    """The rule of counting for one target, by what a routing table knows at the moment of each call."""

    def __init__(self, target: bytes, known: Known) -> None:
        self._number = as_int(target)
        self.known = known

    def cover(self, contacts: Sequence[Contact], k: int) -> Cover:
        """That of these contacts, which are given closest first."""
        known = self.known
        density, diversity = known.density_at(self._number), known.diversity
        enough = min(k, len(contacts))
        if is_plain(contacts, enough, self._number, density, diversity):
            return Cover(enough, list(contacts[:enough]), enough == k)
        networks = Networks(diversity) if diversity is not None else None
        width = diverse = 0
        counted: list[Contact] = []
        per_unit, slack = (density.per_unit, density.slack) if density is not None else (0, math.inf)
        for contact in contacts[: most(k)]:
            width += 1
            there_can_be = per_unit * (int.from_bytes(contact[0], "big") ^ self._number) + slack
            if networks is None or networks.take(contact[1][:-2]):
                diverse += 1
                if len(counted) < there_can_be:
                    counted.append(contact)
            if len(counted) >= k and diverse <= there_can_be:
                return Cover(width, counted, True)
        return Cover(width, counted, width >= most(k))
