"""An attacker floods: what is dropped, and what is kept.

Of floods the simulation shows what nodes do with each datagram. What hold them back by source and cost, and what gives
way to what among TCP connections, are parts of the real transport: `tests/transport/` and `make test-attacks` show
these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import trio

from camomile_trio.simulation.crowd import places
from camomile_trio.simulation.machine import Machine
from camomile_trio.simulation.raw_packets import SENDER, SESSION, Kind, field
from camomile_trio.simulation.scenario import claim_share
from camomile_trio.simulation.scenarios.attack_stories import A_MOMENT, settle, told_twice
from camomile_trio.simulation.strangers import Overheard, Stranger, open_stranger, recorded
from camomile_trio.simulation.world import World

FLOODED_FOR = 60.0  # s
A_SECOND = 600  # datagrams, to each node
IN_A_BURST = 30
PUTS, GETS, FORGETS = 1.0, 4.0, 0.3  # a second
LISTED = 4  # contacts of a node list of 329 bytes or so


async def _forged_sources(world: World, nodes: int, *, is_public: bool) -> None:
    """Each of three nodes is flooded in the names of its only two peers: garbage, packets that these have sent before,
    whole and with a changed byte, and node lists of classic nodes that nobody has asked for."""
    with recorded(world.network) as recording:
        machines = await settle(world, nodes, is_public=is_public)
        keys = await world.users.put_many(20)
    await trio.sleep(A_MOMENT)
    begun, dropped = _counted(machines, "handshakes_begun_total"), _counted(machines, "rpc_dropped_total")
    before = len(world.ledger.operations)
    (at,) = places(1, networks=1, is_public=is_public)
    async with open_stranger(world.network, at, Stranger) as flooder, trio.open_nursery() as nursery:
        nursery.start_soon(_flood, world, flooder, machines, recording.datagrams)
        await world.users.keep_busy(FLOODED_FOR, puts=PUTS, gets=GETS, forgets=FORGETS)
        await world.users.get_many(keys, 2 * len(keys))
        nursery.cancel_scope.cancel()
    for kind in ("put", "get", "forget"):
        claim_share(world, f"every {kind} succeeds", kind, before, least=1.0)
    anew = _counted(machines, "handshakes_begun_total").total() - begun.total()
    world.claim("sessions are kept", not anew, f"{anew} handshakes begun meanwhile")
    now = _counted(machines, "rpc_dropped_total")
    now.subtract(dropped)
    what = {name: round(count) for name, count in now.items() if count}
    world.claim("what is forged is dropped, and counted", now.total() > A_SECOND, what)


async def _flood(world: World, flooder: Stranger, machines: Sequence[Machine], sent: Sequence[Overheard]) -> None:
    rng = world.generator("flood")
    of_each = {machine.number: [each for each in sent if each.destination == machine.endpoint] for machine in machines}
    while True:
        for machine in machines:
            for number in range(IN_A_BURST):
                old = rng.choice(of_each[machine.number])
                at = rng.randrange(len(old.payload))
                forged = (
                    rng.randbytes(rng.randrange(1, 400)),
                    old.payload,
                    old.payload[:at] + bytes([old.payload[at] ^ 1 << rng.randrange(8)]) + old.payload[at + 1 :],
                    _node_list(rng.randbytes(32 * (2 + LISTED))),
                )
                source = rng.choice([each for each in machines if each is not machine])
                flooder.transport.forge(forged[number % len(forged)], machine.endpoint, source=source.endpoint)
        await trio.sleep(IN_A_BURST / A_SECOND)


def _node_list(random_bytes: bytes) -> bytes:
    """As of a classic node: session, sender, and contacts."""
    session, sender, *ids = (random_bytes[place : place + 32] for place in range(0, len(random_bytes), 32))
    rows = b"".join(field(1, field(1, each) + field(2, each[:4]) + field(3, 8118)) for each in ids)
    return field(SESSION, session) + field(SENDER, sender) + field(Kind.NODE_LIST, rows)


def _counted(machines: Sequence[Machine], name: str) -> Counter[str]:
    """A counter of all nodes, by its label."""
    found: Counter[str] = Counter()
    for machine in machines:
        assert machine.node is not None
        for (counter, labels), count in machine.node.statistics().counters.items():
            if counter == name:
                found["/".join(value for _, value in labels)] += int(count)
    return found


SCENARIOS = told_twice(
    "attack-forged-sources",
    _forged_sources,
    nodes=3,
    summary="Nodes are flooded in their only peers' names with garbage, old packets and node lists.",
    passes="every put, get and forget succeeds; sessions are kept; what is forged is dropped, and counted",
)
