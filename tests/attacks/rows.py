"""The rows of the table of attacks: what the attacker does, what is asked for, and what was found.

Rules of this file: a row is a function of the network. What users see beside an attack stands beside the same under the
control: the same sender, which aims at a node of another network or at a sink. Each row leaves a network behind that
the next one can use.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager

import attrs

from benchmarks.hosts import Host, received, sent
from benchmarks.overload import flooding, until_killed
from benchmarks.processes import ask
from camomile_trio.kademlia.ids import as_int
from tests.attacks.network import (
    ATTACKERS,
    DEAD,
    PRIVATE,
    REPLICATE_EVERY,
    VICTIMS_IP,
    Network,
    Node,
    Said,
    Traffic,
    attacking,
    key_of,
    say,
    say_all,
)

SECONDS = 4  # of each measurement of puts, and of gets
PER_SECOND = 10.0  # requests at each node
ONE_IP = [f"{ATTACKERS}.0.0.1"]
IPS = [f"{ATTACKERS}.{number}.0.1" for number in range(12)]
PRIVATE_IP = [f"{PRIVATE}.77.1"]
NEAR = 10  # leading bits that ground ids share with a key: nearer than any of fifty nodes
COPIES = 20
MAJORITY = 11
FLOODS = ("unknown index", "unsealed", "initiations")
FLOOD_RATE = 20_000
FLOOD_SECONDS = 8  # of puts: under a flood there are few
LARGE = 5000
SPREAD = 5.0  # s
CACHED_FOR = 62.0  # s; what was read before may be served for a minute
MEETING = 60.0  # s for 300 ids to meet fifty nodes, each of which rations their handshakes
REFLECTED_FOR = 30.0  # s
TOMBSTONES = 1 / 16  # of a store, those of leases never seen


@attrs.define
class Line:
    """One attack of a row. Texts are empty where there is nothing to say."""

    row: int
    attack: str
    puts: str = ""
    gets: str = ""
    p50: str = ""
    to_victim: str = ""
    seats: str = ""
    copies: str = ""
    found: str = ""
    asked: str = ""
    is_reached: bool | None = None


@attrs.frozen
class Beside:
    """What users saw under the control, and beside the attack."""

    control_puts: Traffic
    control_gets: Traffic
    puts: Traffic
    gets: Traffic

    def on(self, line: Line) -> Line:
        line.puts = f"{self.puts.done}/{self.puts.asked}"
        line.gets = f"{self.gets.done}/{self.gets.asked}"
        line.p50 = (
            f"{_ms(self.control_puts.p50)}->{_ms(self.puts.p50)}, {_ms(self.control_gets.p50)}->{_ms(self.gets.p50)}"
        )
        return line

    @property
    def is_whole(self) -> bool:
        """Nothing failed that a user asked for."""
        return self.puts.done == self.puts.asked and self.gets.done == self.gets.asked

    @property
    def slower(self) -> float:
        """How many times as long a put takes."""
        one, two = self.control_puts.p50, self.puts.p50
        return two / one if one and two else float("inf")


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.0f}"


def _traffic(network: Network, at: Sequence[Node], values: Sequence[str]) -> tuple[Traffic, Traffic]:
    return network.puts(at, SECONDS, PER_SECOND), network.gets(at, values, SECONDS, PER_SECOND)


def _users(network: Network) -> list[Node]:
    """Four nodes whose users are watched."""
    return network.nodes[1 :: max(1, len(network.nodes) // 4)][:4]


def statuses(said: Iterable[Said]) -> str:
    """How many of each; of 503 with what they say."""
    counted = Counter(f"{each.status}{_problem(each)}" for each in said)
    return ", ".join(f"{number} x {status}" for status, number in sorted(counted.items()))


def _problem(said: Said) -> str:
    if said.status != 503:
        return ""
    return f" {json.loads(said.body)['type'].rpartition(':')[2]}"


def _took(said: Sequence[Said]) -> str:
    times = sorted(each.seconds for each in said)
    return f"p50 {times[len(times) // 2]:.2f} s, at most {times[-1]:.2f} s"


def _seats(network: Network) -> str:
    theirs, all_seats = network.seats()
    return f"{theirs}/{all_seats} ({theirs / max(1, all_seats):.0%})"


def _ids(found: Mapping[str, object]) -> list[bytes]:
    ids = found["ids"]
    assert isinstance(ids, list)
    return [bytes.fromhex(each) for each in ids]


def _rank(network: Network, node: bytes, key: bytes) -> int:
    """How many honest nodes are closer to the key."""
    number = as_int(key)
    mine = as_int(node) ^ number
    return sum(as_int(each.id) ^ number < mine for each in network.honest)


# Row by row ---------------------------------------------------------------------------------------------------------


def clocks(network: Network) -> list[Line]:
    at = network.nodes[2:12]
    missing = os.urandom(32).hex()
    forgotten, *values = network.prepared(1 + len(at))
    say(at[0].host, "DELETE", f"/{key_of(forgotten)}")
    rest: dict[str, list[Said]] = {}

    def attack(nodes: Sequence[Node]) -> AbstractContextManager[object]:
        return attacking(network, "clocks", nodes, ONE_IP, ids=60, key=missing)

    both = network.prepared(int(2 * len(at) * SECONDS * PER_SECOND))
    with attack([network.decoy]):
        control = _traffic(network, at, both[: len(both) // 2])
    with attack(network.nodes[2:12]) as found:
        seats = _seats(network)
        done = _traffic(network, at, both[len(both) // 2 :])
        rest["DELETE"] = say_all(at, "DELETE", [f"/{key_of(each)}" for each in values])
        rest["missing"] = say_all(at, "GET", f"/{missing}")
        rest["forgotten"] = say_all(at, "GET", f"/{key_of(forgotten)}")
    seen = Beside(*control, *done)
    wanted = {"DELETE": {200, 202, 204}, "missing": {404}, "forgotten": {410}}
    line = Line(1, "60 ids of one ip, clocks an hour behind", seats=seats, asked="no effect")
    line.found = "; ".join(f"{name}: {statuses(said)}" for name, said in rest.items()) + f"; {_met(found)}"
    line.is_reached = seen.is_whole and all(each.status in wanted[name] for name in rest for each in rest[name])
    return [seen.on(line)]


def _met(found: object) -> str:
    assert isinstance(found, Mapping)
    return f"{found['met']} sessions"


def forged_sources(network: Network) -> list[Line]:
    lines = []
    victim = network.nodes[5]
    others = [each.host for each in network.honest if each is not victim]
    for kind in FLOODS:
        lines.append(_flooded(network, victim, kind, FLOOD_RATE, others))
    few, *two = network.closed
    for rate in (600, FLOOD_RATE):
        line = _flooded(network, few, "unknown index", rate, [each.host for each in two])
        line.attack += ", its only two peers"
        again = network.puts([few], SECONDS, PER_SECOND)
        line.found += f"; afterwards {again.done}/{again.asked} puts"
        line.is_reached = line.is_reached and again.done == again.asked
        lines.append(line)
    return lines


def _flooded(network: Network, victim: Node, kind: str, rate: int, sources: Sequence[Host]) -> Line:
    is_closed = victim in network.closed
    results: list[Traffic] = []
    rates: list[float] = []
    for at in (network.sink, None):
        values = [] if is_closed else network.prepared(int(SECONDS * PER_SECOND) + 10)
        with flooding(network.hostile, victim.host, kind, at, rate=rate, sources=sources) as speed:
            puts = network.puts([victim], FLOOD_SECONDS, 2 * PER_SECOND, concurrent=4)
            gets = network.gets([victim], values, SECONDS, PER_SECOND) if values else Traffic([])
        results += [puts, gets]
        rates.append(speed[0])
    seen = Beside(*results)
    line = seen.on(Line(2, f"{kind}, sources of {len(sources)} peers", asked="<= 2 x the control's p50"))
    line.found = f"{rates[-1]:.0f} a second sent; p50 {seen.slower:.2f} x"
    line.is_reached = seen.is_whole and seen.slower <= 2
    return line


def sybils(network: Network) -> list[Line]:
    at = _users(network)
    line = Line(3, "300 random ids on one ip", asked=f"two count: >= {MAJORITY - 2} honest copies of each 202")

    def attack(nodes: Sequence[Node]) -> AbstractContextManager[Mapping[str, object]]:
        return attacking(network, "sybils", nodes, ONE_IP, ids=300, patience=MEETING)

    values = network.prepared(int(2 * len(at) * SECONDS * PER_SECOND))
    with attack([network.decoy]):
        control = _traffic(network, at, values[: len(values) // 2])
    with attack(network.honest) as found:
        line.seats = _seats(network)
        done = _traffic(network, at, values[len(values) // 2 :])
        fresh = network.prepared(24, at=3)
        copies = [len(network.copies(key_of(each))) for each in fresh]
        read = [say(node.host, "GET", f"/{key_of(each)}").status for each, node in zip(fresh, 24 * at, strict=False)]
        line.found = f"{read.count(200)}/{len(read)} of what was put meanwhile are read, {_met(found)}"
    seen = Beside(*control, *done)
    seen.on(line)
    if copies:
        line.copies = f"{min(copies)} to {max(copies)}, median {statistics.median(copies):.0f} of {len(copies)}"
    line.is_reached = seen.is_whole and read.count(200) == len(read) and min(copies, default=0) >= MAJORITY - 2
    closed = Line(3, "30 ids at a closed network", asked="none gets in", found="no session")
    with attacking(network, "sybils", network.closed, ONE_IP, ids=30, patience=8.0) as found:
        peers = [each for node in network.closed for each in json.loads(ask(node.host, "/-/peers")[1])["peers"]]
        strange = [each for each in peers if each["endpoint"].startswith(f"{ATTACKERS}.")]
        closed.seats, closed.found = f"{len(strange)}/{len(peers)}", _met(found)
        puts = network.puts(network.closed[:1], SECONDS, PER_SECOND)
    closed.puts = f"{puts.done}/{puts.asked}"
    closed.is_reached = not strange and not found["met"] and puts.done == puts.asked
    return [line, closed]


def ground_ids(network: Network) -> list[Line]:
    return [_ground_beside_old(network, 10), _ground_beside_new(network, 10)]


def _ground_beside_old(network: Network, ips: int) -> Line:
    value, other = network.prepared(2)
    key, same_time = key_of(value), key_of(other)
    before = network.copies(key)
    order = {"ids": 20, "shared": NEAR, "key": key.hex()}
    line = Line(4, f"20 ids beside a key that is there, {ips} networks", asked=">= 99 % of gets, no copy dropped")
    with attacking(network, "sybils", [network.decoy], IPS[:ips], **order):
        control = say_all(network.honest, "GET", f"/{same_time}")
    with attacking(network, "sybils", network.honest, IPS[:ips], **order):
        line.seats = _seats(network)
        early = say_all(network.honest, "GET", f"/{key}")
        time.sleep(2.5 * REPLICATE_EVERY)  # rounds go by, and cached copies end
        late = say_all(network.honest, "GET", f"/{key}")
        after = network.copies(key)
        deleted = say(network.nodes[7].host, "DELETE", f"/{key}")
        tombstones = network.copies(key, "tombstone")
        time.sleep(CACHED_FOR)
        served = say_all(network.honest, "GET", f"/{key}")
    ok = [each for each in (*early, *late) if each.status == 200]
    line.gets = f"{len(ok)}/{len(early) + len(late)}"
    line.p50 = f"-, {_ms(_median(control))}->{_ms(_median(early))}"
    line.copies = f"{len(before)} -> {len(after)}"
    line.found = f"DELETE {deleted.status}, {len(tombstones)} honest tombstones, a minute later {statuses(served)}"
    kept = {each.host.number for each in before} <= {each.host.number for each in after}
    acknowledged = deleted.status in {200, 202, 204}
    is_forgotten = bool(tombstones) and not any(each.status == 200 for each in served)
    line.is_reached = len(ok) >= 0.99 * (len(early) + len(late)) and kept and (not acknowledged or is_forgotten)
    return line


def _median(said: Sequence[Said]) -> float:
    return statistics.median(each.seconds for each in said)


def _ground_beside_new(network: Network, ips: int) -> Line:
    value = f"beside this value twenty ids are ground {os.urandom(8).hex()}"
    key = key_of(value)
    line = Line(4, f"20 ids beside a key that is put, {ips} networks", asked="no 202 without an honest copy")
    with attacking(network, "sybils", network.honest, IPS[:ips], ids=20, shared=NEAR, key=key.hex()) as found:
        line.seats = _seats(network)
        said = []
        for node in _users(network):
            said.append(say(node.host, "POST", "/", value.encode()))
            if said[-1].status == 202:
                break
        copies = network.copies(key)
        read = say_all(network.honest, "GET", f"/{key}")
    ok = sum(each.status == 202 for each in said)
    line.puts = f"{ok}/{len(said)}"
    line.copies = str(len(copies))
    line.gets = f"{sum(each.status == 200 for each in read)}/{len(read)}"
    line.found = f"puts: {statuses(said)}; {_met(found)}"
    line.is_reached = not ok or (bool(copies) and sum(each.status == 200 for each in read) >= 0.99 * len(read))
    return line


def slow_streams(network: Network) -> list[Line]:
    victim = network.nodes[5]

    def attack(node: Node) -> AbstractContextManager[None]:
        command = [*network.hostile.prefix, sys.executable, "-m", "tests.networks.slow_streams"]
        return until_killed([*command, node.named, *IPS[:8]])

    results = []
    for node in (network.decoy, victim):
        with attack(node):
            time.sleep(3.0)
            results.append(network.puts([victim], 2 * SECONDS, PER_SECOND, size=LARGE))
    seen = Beside(results[0], Traffic([]), results[1], Traffic([]))
    line = seen.on(Line(5, f"64 slow streams of 8 ips, puts of {LARGE} bytes", asked=">= 95 % of puts"))
    line.gets = ""
    line.is_reached = seen.puts.share >= 0.95
    return [line]


def dead_names(network: Network) -> list[Line]:
    return [
        _slowed(network, "dead names", "a member names 20 dead contacts", at=[f"{DEAD}.0.0.1", f"{DEAD}.1.0.1"]),
        _slowed(network, "too large", "a member says too_large and hangs"),
    ]


def _slowed(network: Network, attack: str, words: str, **order: object) -> Line:
    values = network.prepared(200)
    results: list[list[list[Said]]] = []
    seats = ""
    for nodes in ([network.decoy], network.honest):
        with attacking(network, attack, nodes, ONE_IP, **order) as found:
            (member,) = _ids(found)
            if nodes != [network.decoy]:
                seats = _seats(network)
            missing = _near(network, member, iter(lambda: os.urandom(32), b""), 24)
            deleted = _near(network, member, map(key_of, values), 12)
            values = [each for each in values if key_of(each) not in deleted]
            at = 3 * network.nodes[3:15]
            misses = say_all(at, "GET", [f"/{key.hex()}" for key in missing])
            gone = say_all(at, "DELETE", [f"/{key.hex()}" for key in deleted])
            results.append([misses, gone])
    (first_misses, first_gone), (misses, gone) = results
    line = Line(6, words, seats=seats, asked="<= 0.5 s more, no DELETE fails")
    line.found = (
        f"misses {_took(first_misses)} -> {_took(misses)} ({statuses(misses)}); "
        f"DELETEs {_took(first_gone)} -> {_took(gone)} ({statuses(gone)})"
    )
    most = max(each.seconds for each in (*first_misses, *first_gone)) + 0.5
    line.is_reached = (
        max(each.seconds for each in (*misses, *gone)) <= most
        and all(each.status == 404 for each in misses)
        and all(each.status in {200, 202, 204} for each in gone)
    )
    return line


def _near(network: Network, member: bytes, keys: Iterable[bytes], number: int) -> list[bytes]:
    """The first so many of which the member would be a holder."""
    found: list[bytes] = []
    for key in keys:
        if _rank(network, member, key) < COPIES // 2:
            found.append(key)
            if len(found) == number:
                break
    return found


def reflection(network: Network) -> list[Line]:
    lines = []
    for attack, words in (
        ("dead names", "10 members name a third party"),
        ("advertising", "new nodes advertise a third party"),
    ):
        bytes_at = [_sent_and_reflected(network)]
        with attacking(network, attack, network.honest, IPS[:5], ids=10, at=[VICTIMS_IP]):
            bytes_at.append(_sent_and_reflected(network))
            until = time.monotonic() + REFLECTED_FOR
            misses = 0
            while time.monotonic() < until:
                misses += len(say_all(network.nodes, "GET", [f"/{os.urandom(32).hex()}" for _ in range(16)]))
            bytes_at.append(_sent_and_reflected(network))
        began, met, ended = bytes_at
        theirs, to_victim = ended[0] - began[0], ended[1] - began[1]
        lately = (ended[1] - met[1]) / max(1, ended[0] - met[0])
        line = Line(7, words, asked="<= 1 x", to_victim=f"{to_victim} ({to_victim / max(1, theirs):.2f} x)")
        line.found = f"{theirs} bytes sent; {lately:.2f} x since the members are known; {misses} misses of users"
        line.is_reached = to_victim <= theirs
        lines.append(line)
    return lines


def _sent_and_reflected(network: Network) -> tuple[int, int]:
    """Bytes that left the attacker's host so far, and that came to the third party."""
    return sent(network.hostile).bytes, received(network.sink).bytes


def old_lease(network: Network) -> list[Line]:
    (value,) = network.prepared(1)
    key = key_of(value)
    with attacking(network, "look up", network.honest, ONE_IP, key=key.hex()) as shown:
        pass
    deleted = say(network.nodes[4].host, "DELETE", f"/{key}")
    time.sleep(CACHED_FOR)
    clean = say_all(network.honest, "GET", f"/{key}")
    order = {"value": shown["value"], "rows": shown["rows"]}
    with attacking(network, "push copies", network.honest, ONE_IP, **order) as found:
        early = say_all(network.honest, "GET", f"/{key}")
        time.sleep(50.0)
        late = say_all(network.honest, "GET", f"/{key}")
    line = Line(8, "an old lease is pushed as a copy after a DELETE", asked="no effect")
    line.found = (
        f"DELETE {deleted.status}; before {statuses(clean)}; then {statuses(early)}; 50 s later {statuses(late)}; "
        f"pushes: {_counted(found)}"
    )
    line.is_reached = all(each.status == 410 for each in (*early, *late))
    return [line]


def _counted(found: Mapping[str, object]) -> str:
    stored = found["stored"]
    assert isinstance(stored, Mapping)
    return ", ".join(f"{number} x {status}" for status, number in stored.items())


def quotas(network: Network) -> list[Line]:
    """One after the other, so that what the attacks before hold is there, too."""
    network.wipe(network.vault)
    time.sleep(1.2 * REPLICATE_EVERY)  # the others bring it what it should hold
    empty = _fullness(network.vault)
    shares, tombstones = "users' copies find room", "all of them 1/16 of the store"
    lines = []
    for words, attack, ips, ids, asked in (
        ("tombstones of ids on six /24", "fill with tombstones", IPS[:6], 12, tombstones),
        ("then of 20 ids on one private address", "fill with tombstones", PRIVATE_IP, 20, tombstones),
        ("values of ids on six /24", "fill", IPS[:6], 12, shares),
        ("then of 20 ids on one private address", "fill", PRIVATE_IP, 20, shares),
    ):
        before = _fullness(network.vault)
        with attacking(network, attack, [network.vault], ips, ids=ids, size=1000, seconds=25.0) as found:
            after = _fullness(network.vault)
            mine = [each for each in network.prepared(60) if network.vault in network.holders(key_of(each))[:5]]
            kept = sum(network.vault in network.copies(key_of(each)) for each in mine)
        line = Line(9, words, asked=asked, found=f"{before:.1%} -> {after:.1%} of the store; {_counted(found)}")
        line.copies = f"{kept}/{len(mine)} of users' are kept there"
        line.is_reached = kept == len(mine) and (asked == shares or after - empty <= 1.1 * TOMBSTONES)
        lines.append(line)
    return lines


def _fullness(node: Node) -> float:
    status = json.loads(ask(node.host, "/-/node")[1])
    return float(status["bytes"] / status["max_bytes"])


def publishers(network: Network) -> list[Line]:
    lines = []
    for ids, ips in ((16, 1), (64, 4)):
        value = f"many publish this value {os.urandom(8).hex()}"
        key = key_of(value)
        order = {"ids": ids, "value": value.encode().hex()}
        with attacking(network, "publishers", network.holders(key)[: 2 * COPIES], IPS[:ips], **order) as found:
            put = say(network.nodes[6].host, "POST", "/", value.encode())
            time.sleep(SPREAD)  # the last holders are told after the answer
            copies = network.copies(key)
            read = say_all(network.honest, "GET", f"/{key}")
        line = Line(10, f"{ids} keys of {ips} networks publish and forget", asked="no effect")
        line.puts, line.gets = f"{int(put.status == 202)}/1", f"{sum(each.status == 200 for each in read)}/{len(read)}"
        line.copies = str(len(copies))
        line.found = f"the owner's put: {put.status}; {_counted(found)}"
        line.is_reached = put.status == 202 and len(copies) >= COPIES and all(each.status == 200 for each in read)
        lines.append(line)
    return lines


def replicates(network: Network) -> list[Line]:
    """Four holders of two keys lose what they kept, and start again under their ids: a round brings it back."""
    values, lost = _with_holders_in_common(network, network.prepared(60))
    keys = [key_of(each) for each in values]
    order = {"key": keys[0].hex(), "seconds": REPLICATE_EVERY / 4}
    with attacking(network, "repeat replicate", network.honest, ONE_IP, **order):
        time.sleep(1.5 * REPLICATE_EVERY)
        began = time.monotonic()
        network.wipe(*lost)
        places = {each.host.number for each in lost}
        back: list[float | None] = [None, None]
        while None in back and time.monotonic() < began + 6 * REPLICATE_EVERY:
            for number, key in enumerate(keys):
                if back[number] is None and places <= {each.host.number for each in network.copies(key)}:
                    back[number] = time.monotonic() - began
            time.sleep(1.0)
    line = Line(11, "REPLICATE of a key, again and again", asked="a round more at most")
    line.copies = f"{len(lost)} copies that were lost are back after {_s(back[0])}, another key's after {_s(back[1])}"
    line.is_reached = back[0] is not None and back[0] <= (back[1] or 0.0) + 1.25 * REPLICATE_EVERY
    return [line]


def _s(seconds: float | None) -> str:
    return f"more than {6 * REPLICATE_EVERY} s" if seconds is None else f"{seconds:.0f} s"


def _with_holders_in_common(network: Network, values: Sequence[str]) -> tuple[list[str], list[Node]]:
    """Two of the values that have at least four holders in common, and four of these."""
    kept_out = (network.nodes[0], network.vault)  # the others join by the first
    for one, two in itertools.combinations(values, 2):
        near = network.holders(key_of(two))[:15]
        common = [each for each in network.holders(key_of(one))[:15] if each in near and each not in kept_out]
        if len(common) >= 4:
            return [one, two], common[:4]
    raise RuntimeError("no two values have four holders in common")


def node_lists(network: Network) -> list[Line]:
    lines = []
    for rate in (1000, FLOOD_RATE):
        line = _flooded(network, network.nodes[5], "unsolicited node lists", rate, [])
        line.row, line.attack = 12, f"unsolicited node lists, {rate} a second"
        lines.append(line)
    return lines


# In an order in which they leave the next ones a network that works: floods, which leave many keys, come last.
ROWS: dict[int, Callable[[Network], list[Line]]] = {
    4: ground_ids,
    11: replicates,
    8: old_lease,
    10: publishers,
    6: dead_names,
    7: reflection,
    9: quotas,
    3: sybils,
    1: clocks,
    5: slow_streams,
    12: node_lists,
    2: forged_sources,
}
