"""The settings of a node, each with a default, a reason, and what goes wrong at its extremes.

Rules of this file: frozen values that validate themselves (ConfigError, one line with a remedy). No I/O, no reading
of environments: `cli/` does that. Times are in seconds unless a name says otherwise.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import UnionType
from typing import Any, Literal

import attrs

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint, is_sensible
from camomile_trio.kademlia.counting import Diversity, IpNetwork

SyncMode = Literal["os", "full"]

DEFAULT_NETWORK = "camomile"
MAX_LEASE = 24 * 3600  # a constant of the network (docs/protocol.md)
LEAST_LEASE = 60
MOST_EXPECTED = 1000  # others, and more of them than a node meets within its first minutes
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40

_Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def require_type(name: str, given: object, kinds: type | UnionType, wanted: str, *, remedy: str = "") -> None:
    """TypeError with what to pass, unless `given` is of one of these kinds."""
    if not isinstance(given, kinds):
        raise TypeError(f"{name} has to be {wanted}, not {type(given).__name__}{remedy and f'; {remedy}'}")


def _is(kind: type, wanted: str) -> _Validator:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        require_type(attribute.name, value, kind, wanted)

    return check


def number_text(number: float) -> str:
    """A number as people write it: 86400, 0.25, never 8.64e+04."""
    is_whole = isinstance(number, int) or (number.is_integer() and abs(number) < 10**18)
    return str(int(number)) if is_whole else f"{number:.12g}"


def size_text(size: float) -> str:
    """A number of bytes in the largest binary unit that divides it, as the options take it: 1MiB, 1536B."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size > 0 and size % factor == 0:
            return f"{number_text(size // factor)}{unit}"
    return f"{number_text(size)}B"


def _between(low: float, high: float, unit: str = "") -> _Validator:
    in_words = size_text if unit.startswith("bytes") else number_text
    of_what = {"": "", "bytes": "", "bytes/s": " a second"}.get(unit, f" {unit}")

    def check(instance: object, attribute: attrs.Attribute[Any], value: float) -> None:
        require_type(attribute.name, value, int | float, "a number")
        if not low <= value <= high:
            raise ConfigError(
                f"{attribute.name} is {in_words(value)}, outside {in_words(low)} to {in_words(high)}{of_what}",
                remedy=f"choose a {attribute.name.replace('_', ' ')} between {in_words(low)} and {in_words(high)}",
            )
        if isinstance(attribute.default, int):
            require_type(attribute.name, value, int, "a whole number")

    return check


def _one_of(*choices: str) -> _Validator:
    def check(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
        if value not in choices:
            raise ConfigError(f"{attribute.name} is {value!r}", remedy=f"choose {' or '.join(choices)}")

    return check


# An editor's typographic ones too.
QUOTES = frozenset(
    "\"'`\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}"
    "\N{RIGHT SINGLE QUOTATION MARK}"
)


def flaw_of_name(name: str) -> str:
    """What is wrong with a name that all who mean the same have to write the same way; empty if nothing is.

    A name that looks like another one comes from files: a line that ends in CR, a value that kept its quotes.
    """
    if not name.strip():
        return "it is empty"
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        return "it has bytes that are not UTF-8"
    if not name.isprintable():
        return "it has a character that cannot be seen"
    if name != name.strip():
        return "it begins or ends with a blank"
    if name[0] in QUOTES or name[-1] in QUOTES:
        return "it begins or ends with a quote"
    if not unicodedata.is_normalized("NFC", name):
        return "it has letters whose accents are characters of their own (Unicode, not in form NFC)"
    return ""


def _good_name(instance: object, attribute: attrs.Attribute[Any], value: str) -> None:
    require_type(attribute.name, value, str, "text")
    if flaw := flaw_of_name(value):
        raise ConfigError(f"{attribute.name} is {value[:80]!r}: {flaw}", remedy="write the plain name and nothing else")


def _number_of_nodes(instance: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        raise TypeError(f"{attribute.name} has to be a whole number or None, not bool")
    require_type(attribute.name, value, int, "a whole number or None")
    if not 1 <= value <= MOST_EXPECTED:
        raise ConfigError(
            f"{attribute.name} is {value}, outside 1 to {MOST_EXPECTED}",
            remedy=f"give a number of nodes from 1 to {MOST_EXPECTED}, this one included",
        )


def _endpoint(given: Endpoint | str) -> Endpoint:
    """From an address and a port as text. ConfigError if it is none."""
    require_type("an address", given, Endpoint | str, 'text like "127.0.0.1:8118", or an Endpoint')
    return Endpoint.parse(given) if isinstance(given, str) else given


def _path(given: str | os.PathLike[str]) -> Path:
    require_type("a path", given, str | os.PathLike, "text or a pathlib.Path")
    return Path(given)


def _names(given: str | Endpoint | Iterable[str | Endpoint]) -> tuple[str, ...]:
    """Names to join; one alone need not be in a list."""
    wanted = 'text like "node.example.org:8118", an Endpoint, or several of them'
    require_type("join", given, Iterable, wanted)
    names = (given,) if isinstance(given, str | bytes) else tuple(given)
    for name in names:
        require_type("join", name, str | Endpoint, wanted)
    return tuple(map(str, names))


def _networks(given: str | IpNetwork | Iterable[str | IpNetwork]) -> tuple[IpNetwork, ...]:
    """Networks in CIDR notation; one alone need not be in a list."""
    wanted = 'text like "203.0.113.0/24", or several of them'
    one = str | IPv4Network | IPv6Network
    # An ipaddress network is iterable, over all of its addresses.
    require_type("trust", given, one | Iterable, wanted)
    several = (given,) if isinstance(given, one) else tuple(given)
    for each in several:
        require_type("trust", each, one, wanted)
    return tuple(map(_ip_network, several))


def _ip_network(given: str | IpNetwork) -> IpNetwork:
    try:
        return ip_network(given)
    except ValueError as error:
        reason = "it has bits of a host" if "host bits" in str(error) else "that is no network"
        raise ConfigError(
            f"trust is {str(given)[:80]!r}: {reason}",
            remedy="write the first address of the network and its length: 203.0.113.0/24, 2001:db8::/48",
        ) from None


def _narrow_networks(instance: object, attribute: attrs.Attribute[Any], value: tuple[IpNetwork, ...]) -> None:
    for each in value:
        if each.prefixlen < (8 if each.version == 4 else 16):
            raise ConfigError(
                f"trust is {each}, which is nearly everybody's",
                remedy="name the networks in which all hosts are yours, an IPv4 one of /8 or longer, an IPv6 one of"
                " /16 or longer",
            )


def split_pin(entry: str) -> tuple[str, bytes | None]:
    """The HOST:PORT of an entry of `Config.join`, and the public key that its node must have; None: any key."""
    name, mark, digits = entry.partition("#")
    if not mark:
        return name, None
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", digits):
        raise ConfigError(
            f"what follows the # in {entry[:200]!r} is no key",
            remedy="write HOST:PORT#KEY, where KEY is the 64 hexadecimal digits of the node key that `camomile status`"
            " shows at that node",
        )
    return name, bytes.fromhex(digits)


def _check_name(name: str) -> None:
    """ConfigError unless this is HOST:PORT of a node that may be there."""
    host, _, port = name.rpartition(":")
    # Without brackets nobody knows where an IPv6 address ends.
    is_plain = bool(host) and (host.startswith("[") or ":" not in host)
    if not is_plain or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise ConfigError(
            f"{name!r} is not HOST:PORT", remedy="write node.example.org:8118, 10.0.0.1:8118 or [fd00::1]:8118"
        )
    try:
        endpoint = Endpoint.parse(name)
    except ConfigError:
        if host.startswith("["):
            raise
        return  # a name
    if not is_sensible(endpoint):
        raise ConfigError(f"no node can be reached at {name}", remedy="write an address that the node listens on")


@attrs.frozen(kw_only=True)
class Kademlia:
    """The constants of the algorithm. All nodes of a network should agree on k."""

    # Bucket size and number of replicas. Small: values die with few nodes. Large: every put costs k messages.
    k: int = attrs.field(default=20, validator=_between(1, 128))
    # Requests in flight per lookup. 1: every dead peer is waited for. Large: more messages for the same answer.
    alpha: int = attrs.field(default=3, validator=_between(1, 32))
    # A bucket that no lookup touched for so long is refreshed, a silent contact pinged. Short: traffic at rest. Long:
    # tables keep the dead.
    refresh_interval: float = attrs.field(default=3600.0, validator=_between(1, 7 * 86400, "s"))


@attrs.frozen(kw_only=True)
class Requests:
    """Deadlines and bounds of requests to peers (docs/protocol.md, Requests)."""

    # Retransmission timeout before a first sample, and the bounds of the measured one. The least is also the least
    # slack over the smoothed round trip. Short: who is a little late counts as overdue. Long: the dead are waited for.
    first_rto: float = attrs.field(default=0.25, validator=_between(0.001, 10, "s"))
    least_rto: float = attrs.field(default=0.05, validator=_between(0.001, 10, "s"))
    most_rto: float = attrs.field(default=1.0, validator=_between(0.001, 60, "s"))
    # After this long without an answer a request has failed. Short: slow peers count as dead. Long: memory and waiting.
    deadline: float = attrs.field(default=2.0, validator=_between(0.01, 60, "s"))
    # The same for a message over a stream, whole value included.
    stream_deadline: float = attrs.field(default=10.0, validator=_between(0.1, 600, "s"))
    # How long a put, get or forget tries before it says 503.
    operation_deadline: float = attrs.field(default=15.0, validator=_between(0.1, 600, "s"))
    # Requests in flight over all lookups; past that a caller waits or hears Overloaded.
    max_pending: int = attrs.field(default=4096, validator=_between(16, 1_000_000))
    # Puts, gets and forgets under way at once in one node. More only lengthens the tail.
    max_operations: int = attrs.field(default=256, validator=_between(1, 100_000))
    # Puts under way at once in one node; others wait for a place, and hear Overloaded if none gets free in time. Few: a
    # network far away is not kept busy, at most max_puts / (seconds of a put alone) a second. Many: they begin together
    # and hold up the event loop, health and peers included, and once they share the processor no more are done.
    max_puts: int = attrs.field(default=4, validator=_between(1, 100_000))
    # Bytes a second sent to unproven classic endpoints beyond the three-times rule, for all of them together.
    classic_budget: int = attrs.field(default=64 * KIB, validator=_between(0, GIB, "bytes/s"))
    # TCP connections with peers, inbound, outbound and idle ones together; more than the default are not made. Few:
    # large values wait for each other. Many: descriptors.
    max_streams: int = attrs.field(default=160, validator=_between(8, 160))
    # Of how many peers round trips and failures are remembered, and of how many endpoints whether a node was met there.
    max_peers: int = attrs.field(default=4096, validator=_between(64, 1_000_000))


@attrs.frozen(kw_only=True)
class Records:
    """Lives of values on this node."""

    # How long a lease lasts that this node publishes. Short: renewals cost traffic. Long: a lost publisher's values
    # stay.
    lease: float = attrs.field(default=float(MAX_LEASE), validator=_between(LEAST_LEASE, MAX_LEASE, "s"))
    # How often a holder offers its records to the others. Short: traffic. Long: lost copies are missed for longer.
    replicate_interval: float = attrs.field(default=3600.0, validator=_between(1, 7 * 86400, "s"))
    # How long a copy of somebody else's record may be served without asking. 0: every read looks up. Long: what was
    # forgotten is read for that long.
    cache_life: float = attrs.field(default=60.0, validator=_between(0, 60, "s"))
    # Bytes of cached copies, in memory.
    max_cache: int = attrs.field(default=64 * MIB, validator=_between(0, 64 * GIB, "bytes"))
    # The largest value that this node accepts, from clients and from peers.
    max_value_size: int = attrs.field(default=MIB, validator=_between(1, 64 * MIB, "bytes"))
    # Bytes a second spent on bringing copies back (replication and hand-over).
    repair_rate: int = attrs.field(default=MIB, validator=_between(KIB, 100 * GIB, "bytes/s"))
    # How long a node that stops spends on handing its records over.
    hand_over_deadline: float = attrs.field(default=5.0, validator=_between(0, 300, "s"))


@attrs.frozen(kw_only=True)
class StorageConfig:
    """Where records are kept. `data_dir` None: in memory, gone at the end (an ephemeral node)."""

    data_dir: Path | None = attrs.field(default=None, converter=attrs.converters.optional(_path))
    # "os": acknowledged when the operating system has it, on disk within a second. "full": on disk first, slower.
    sync: SyncMode = attrs.field(default="os", validator=_one_of("os", "full"))
    max_storage: int = attrs.field(default=GIB, validator=_between(64 * KIB, 2**50, "bytes"))


@attrs.frozen(kw_only=True)
class Config:
    """Everything that `open_node` needs to know. `Config()` is a node on a free loopback port, alone, in memory.

    Addresses and paths may be given as text.
    """

    listen: Endpoint = attrs.field(default=Endpoint.parse("127.0.0.1:0"), converter=_endpoint)
    # Told to peers instead of the source of our packets, for nodes behind a fixed port mapping.
    advertise: Endpoint | None = attrs.field(default=None, converter=attrs.converters.optional(_endpoint))
    # HOST:PORT of nodes to join through, names or addresses, resolved again at every try. HOST:PORT#KEY, with the 64
    # hexadecimal digits of a node key: only the node with this key is joined through there. Without a key the path to
    # the address is trusted: in an open network another node in between could answer in its place.
    join: tuple[str, ...] = attrs.field(default=(), converter=_names)
    # Stand alone, and be ready, if no name or saved contact answers within `first_patience`. Only a node that never had
    # a contact does: its data directory notes the first one.
    first: bool = attrs.field(default=False, validator=_is(bool, "True or False"))
    first_patience: float = attrs.field(default=10.0, validator=_between(0, 3600, "s"))
    # How many nodes the deployment has at least, this one included (an autoscaler's minimum): the node is not ready for
    # the first time before it has met all others, and a majority is that of so many nodes, or of k, at least. 1: the
    # node counts alone when no other answers, even one that it has met; of two that cannot reach each other both go on.
    # More than there are: it is never ready, or takes no puts. None: it waits for nobody, and counts alone until its
    # first contact, so the first puts of a deployment may have one copy.
    expect: int | None = attrs.field(default=None, validator=_number_of_nodes)
    network: str = attrs.field(default=DEFAULT_NETWORK, validator=_good_name)
    # Speak with classic nodes (Go, 2019), which are in the default network only. False: their packets are dropped
    # unread. True: they have a table of their own, though they prove nothing, serve what was forgotten, and store
    # values that nobody can forget. Where some nodes of a network say True and others False, only the former read
    # these values.
    classic: bool = attrs.field(default=False, validator=_is(bool, "True or False"))
    # A file with the key of a closed network, or with two while it changes (network_keys.py). A node that has none of
    # them gets no answer here. The file has to be there: a node never makes one. None: an open network.
    network_key: Path | None = attrs.field(default=None, converter=attrs.converters.optional(_path))
    # Networks that are the operator's own (CIDR). In an open network any number of nodes there count; of any other
    # source network two do (docs/operating.md). One in which strangers have addresses, too: they can outvote the
    # operator's nodes. None although all nodes are in a few source networks: strangers in as many others can.
    trust: tuple[IpNetwork, ...] = attrs.field(default=(), converter=_networks, validator=_narrow_networks)
    # A file with an Ed25519 seed that signs what this node publishes; None: the node's own key.
    publisher_key: Path | None = attrs.field(default=None, converter=attrs.converters.optional(_path))
    kademlia: Kademlia = attrs.field(default=Kademlia(), validator=_is(Kademlia, "a Kademlia"))
    requests: Requests = attrs.field(default=Requests(), validator=_is(Requests, "a Requests"))
    records: Records = attrs.field(default=Records(), validator=_is(Records, "a Records"))
    storage: StorageConfig = attrs.field(default=StorageConfig(), validator=_is(StorageConfig, "a StorageConfig"))

    def __attrs_post_init__(self) -> None:
        if self.classic and self.network != DEFAULT_NETWORK:
            raise ConfigError(
                f"classic nodes know no networks by name, and this one is {self.network!r}",
                remedy="give the node --classic or a --network, not both",
            )
        if self.classic and self.network_key is not None:
            raise ConfigError(
                "classic nodes have no network keys, and this node has a network key file",
                remedy="give the node --classic or a --network-key, not both",
            )
        for entry in self.join:
            _check_name(split_pin(entry)[0])

    @property
    def diversity(self) -> Diversity | None:
        """By which nodes count here; None in a closed network, where all do."""
        return Diversity(self.trust) if self.network_key is None else None


def local_cluster(config: Config) -> Config:
    """A preset for nodes that share one machine: patience for a busy processor, less for names."""
    return attrs.evolve(config, requests=attrs.evolve(config.requests, first_rto=0.5, deadline=3.0))
