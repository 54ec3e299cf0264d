"""The defects that the simulation has to see, each with where it shows and what has to catch it.

Rules of this file: a table. Substitutions are short and hang on lines that say what the rule is. What catches a mutant
is named by the rule of a property or by the claim of a scenario; anything else that goes wrong in a run is no catch.
"""

from __future__ import annotations

import attrs

from tools.mutants.source import Edit

READABLE = "what is promised and held can be read"
LOST = "no promised value is lost without a reason"
FORGOTTEN = "what was forgotten stays away"
NOT_READ = "what was forgotten is read nowhere"
LEASE_ENDS = "nothing is served after its leases ended"
RIGHT_BYTES = "values have the right bytes"
AMPLIFICATION = "forged addresses get three times their bytes at most"
LEFT_BEHIND = "nothing is left behind"
NO_DEAD = "no table keeps the dead"
NOT_EVERYWHERE = "what is promised is read everywhere"


@attrs.frozen(kw_only=True)
class Mutant:
    """One defect. `seeds` of the scenario are tried, from `first_seed` on, until one catches it."""

    what: str  # what the code does
    edits: tuple[Edit, ...]
    caught_by: tuple[str, ...]
    scenario: str = "swarm"
    nodes: int = 0  # 0: as the scenario says
    first_seed: int = 1
    seeds: int = 6

    @property
    def where(self) -> str:
        nodes = f" with {self.nodes} nodes" if self.nodes else ""
        return f"{self.scenario}{nodes}, seeds {self.first_seed} to {self.first_seed + self.seeds - 1}"


MUTANTS = (
    Mutant(
        what="a read extends a life",
        edits=(
            Edit(
                "node/holdings.py",
                "        return Served(value, tuple(registers.answer(state, now)), False,",
                "        longer = attrs.evolve(state, classic_until=now + 600_000)\n"
                "        self.writes.hand_over(longer, None, None, even_if_full=True)\n"
                "        return Served(value, tuple(registers.answer(state, now)), False,",
            ),
        ),
        caught_by=(LEASE_ENDS, FORGOTTEN, NOT_READ),
    ),
    Mutant(
        what="a tombstone is dropped when the lease ends that it beat",
        edits=(
            Edit(
                "kademlia/admission.py",
                "remembered_until=max(record.expires, old.remembered_until if old is not None else 0)",
                "remembered_until=old.remembered_until if old is not None and record.is_tombstone else "
                "max(record.expires, old.remembered_until if old is not None else 0)",
            ),
            Edit(
                "kademlia/registers.py",
                "        if register.record.expires > now:\n            times.append(register.record.expires)\n",
                "        if register.remembered_until > now:\n            times.append(register.remembered_until)\n",
            ),
            Edit(
                "kademlia/registers.py",
                "_kept_for(state, r, uptime, rules) != 0)",
                "(not r.record.is_tombstone and _kept_for(state, r, uptime, rules) != 0))",
            ),
        ),
        caught_by=(FORGOTTEN, NOT_READ),
        scenario="parted-leases",
        seeds=3,
    ),
    Mutant(
        what="records are merged by arrival, not by rank",
        edits=(
            Edit("kademlia/admission.py", "record.rank < old.record.rank and record.stamp", "False and record.stamp"),
            Edit("kademlia/admission.py", "record.rank <= old.record.rank", "record == old.record"),
        ),
        caught_by=("an old word that is sent again brings nothing back",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="a lookup stops at the first k answers",
        edits=(
            Edit(
                "kademlia/shortlist.py",
                "        for _, candidate in self._hopeful[: self.k]:  # noqa: SIM110",
                "        if self._counts[PeerState.ANSWERED] >= self.k:\n"
                "            return True\n"
                "        for _, candidate in self._hopeful[: self.k]:  # noqa: SIM110",
            ),
        ),
        caught_by=("lookups find exactly the closest",),
        scenario="true-lookups",
        seeds=2,
    ),
    Mutant(
        what="a newcomer replaces a live contact of a full bucket",
        edits=(
            Edit(
                "kademlia/routing.py",
                "            seating.wait(number, _Seen(contact, now), self._most_replacements)\n"
                "            oldest = next(iter(members.values()))\n",
                "            oldest = next(iter(members.values()))\n"
                "            del members[next(iter(members))]\n"
                "            members[number] = _Seen(contact, now)\n",
            ),
        ),
        caught_by=("no table drops the living",),
    ),
    Mutant(
        what="a reply is accepted from another endpoint",
        edits=(Edit("node/rpc.py", "elif source != pending.endpoint:", "elif False:"),),
        caught_by=("nobody believes", AMPLIFICATION),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="a write is acknowledged before its commit",
        edits=(
            Edit(
                "node/writes.py",
                "committed, even_if_full=even_if_full)\n",
                "None, even_if_full=even_if_full)\n            committed(self._storage.durability)\n",
            ),
        ),
        caught_by=("with all disks full no put was acknowledged",),
        scenario="disks-full",
        nodes=5,
        seeds=2,
    ),
    Mutant(
        what="replication leaves tombstones out",
        edits=(
            Edit(
                "node/repair.py",
                "offered = registers.offered(state, now)\n",
                "offered = [each for each in registers.offered(state, now) if not each.is_tombstone]\n",
            ),
            Edit(
                "node/repair.py",
                "            if known is None or record.rank > known.record.rank:",
                "            if not record.is_tombstone and (known is None or record.rank > known.record.rank):",
            ),
        ),
        caught_by=(FORGOTTEN, NOT_READ, "read nowhere"),
    ),
    Mutant(
        what="no refresh",
        edits=(Edit("node/maintenance.py", "                self.refreshing.run,\n", ""),),
        caught_by=("no table has a dead node", NO_DEAD),
        scenario="quiet-deaths",
        seeds=2,
    ),
    Mutant(
        what="who misses a deadline keeps its seat",
        edits=(
            Edit(
                "kademlia/routing.py", "if self._failed(seating.members.get(number), endpoint, asked_at):", "if False:"
            ),
        ),
        caught_by=(NO_DEAD,),
    ),
    Mutant(
        what="no replication",
        edits=(
            Edit(
                "node/maintenance.py",
                "await self._guard(self.rounds.next_part)",
                "pass",
            ),
        ),
        caught_by=(READABLE, NOT_EVERYWHERE),
        first_seed=3,
    ),
    Mutant(
        what="a renewal raises seq",
        edits=(
            Edit(
                "kademlia/leases.py",
                "return None\n    return attrs.evolve(record, issued=now,",
                "return None\n    return attrs.evolve(record, seq=now, issued=now,",
            ),
        ),
        caught_by=(FORGOTTEN, NOT_READ),
        scenario="parted-leases",
        seeds=3,
    ),
    Mutant(
        what="a cached copy is kept past its life",
        edits=(Edit("node/holdings.py", "life = min(self.settings.cache_life, (", "life = max(86400.0, ("),),
        caught_by=(FORGOTTEN, NOT_READ, LEASE_ENDS),
    ),
    Mutant(
        what="who leaves hands nothing over",
        edits=(Edit("node/node.py", "    if deadline and core", "    if False and core"),),
        caught_by=("every value is read", LOST),
        scenario="shrinking",
        seeds=2,
    ),
    Mutant(
        what="a disk's bytes are served without a look at their hash",
        edits=(Edit("node/holdings.py", "if value is None or Key.of(value) == key:", "if True:"),),
        caught_by=(RIGHT_BYTES,),
        scenario="disks-failing",
        nodes=10,
        seeds=2,
    ),
    Mutant(
        what="a get believes whatever bytes come",
        edits=(
            Edit("node/retrieval.py", "message.value is not None and Key.of(message.value) != self._key:", "False:"),
        ),
        caught_by=(RIGHT_BYTES,),
        scenario="damaged-links",
        seeds=2,
    ),
    Mutant(
        what="strangers are answered with thirty times their bytes",
        edits=(Edit("node/inbox.py", "AMPLIFICATION = 3\n", "AMPLIFICATION = 30\n"),),
        caught_by=(AMPLIFICATION,),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="a value is served after its lease",
        edits=(
            Edit(
                "kademlia/registers.py",
                "any(not r.record.is_tombstone and r.record.expires > now for",
                "any(not r.record.is_tombstone and r.record.expires > now - 600_000 for",
            ),
        ),
        caught_by=(LEASE_ENDS,),
    ),
    Mutant(
        what="a node that is offline evicts its contacts",
        edits=(
            Edit(
                "kademlia/routing.py",
                "if self.last_answer is None or self.last_answer <= asked_at:",
                "if self.last_answer is None:",
            ),
        ),
        caught_by=("no table drops the living",),
    ),
    Mutant(
        what="a request never ends",
        edits=(
            Edit(
                "node/rpc.py",
                "self._call_again(pending, pending.sent_at + self.settings.deadline)",
                "self._call_again(pending, pending.sent_at + 1e6)",
            ),
        ),
        caught_by=(LEFT_BEHIND,),
    ),
    Mutant(
        what="one acknowledgement is a majority",
        edits=(Edit("kademlia/acknowledgement.py", "needed = max(len(members), self._least) // 2 + 1", "needed = 1"),),
        caught_by=("what was acknowledged is stored by a majority",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="stores are taken from addresses that nobody has proven",
        edits=(
            Edit("node/handlers.py", "if not request.is_proven and not self._tokens", "if False and not self._tokens"),
        ),
        caught_by=("nobody stores",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="signatures are not checked",
        edits=(
            Edit(
                "identity.py",
                "        _check_signature(record.publisher, record.signed_bytes(network), record.signature)\n",
                "",
            ),
        ),
        caught_by=("nobody forgets",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="a put waits for a STORE that it has not sent",
        edits=(
            Edit(
                "node/spread.py", "return told is not None and told.endpoint == contact.endpoint", "return bool(told)"
            ),
            Edit(
                "node/placing.py",
                "                if not (is_certain and spread.store_at(contact, asking=self)):\n",
                "                if is_certain:\n"
                "                    spread.store_at(contact, asking=self)\n"
                "                else:\n",
            ),
        ),
        caught_by=("every put succeeded",),
        scenario="changing-places",
        seeds=2,
        nodes=8,
    ),
)
