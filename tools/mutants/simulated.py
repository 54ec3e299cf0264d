"""The defects that the simulation has to see, each with where it shows and what has to catch it.

Rules of this file: a table. Edits are short and hang on the expression that says what the rule is. What catches a
mutant is named by the rule of a property or by the claim of a scenario; anything else that goes wrong in a run is no
catch.
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

    what: str  # what the code does, in one sentence
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
        what="A read extends a life.",
        edits=(
            Edit(
                "Holdings.from_store",
                "now = self.wall_clock()",
                "now = self.wall_clock()\n"
                "longer = attrs.evolve(state, classic_until=now + 600_000)\n"
                "self.writes.hand_over(longer, None, None, even_if_full=True)",
            ),
        ),
        caught_by=(LEASE_ENDS, FORGOTTEN, NOT_READ),
    ),
    Mutant(
        what="A tombstone is dropped when the lease that it beat ends.",
        edits=(
            Edit(
                "admit",
                "max(record.expires, old.remembered_until if old is not None else 0)",
                "old.remembered_until if old is not None and record.is_tombstone "
                "else max(record.expires, old.remembered_until if old is not None else 0)",
            ),
            Edit("due", "register.record.expires > now", "register.remembered_until > now"),
            Edit("due", "times.append(register.record.expires)", "times.append(register.remembered_until)"),
            Edit(
                "expire",
                "_kept_for(state, r, uptime) != 0",
                "not r.record.is_tombstone and _kept_for(state, r, uptime) != 0",
            ),
        ),
        caught_by=(FORGOTTEN, NOT_READ),
        scenario="parted-leases",
        seeds=3,
    ),
    Mutant(
        what="The latest record to arrive wins.",
        edits=(
            Edit("admit", "record.rank < old.record.rank", "False"),
            Edit("admit", "record.rank <= old.record.rank", "record == old.record"),
        ),
        caught_by=("an old word that is sent again brings nothing back",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="A lookup stops at the first k answers.",
        edits=(
            Edit(
                "Shortlist.finished",
                "candidate.state is not PeerState.ANSWERED",
                "candidate.state is not PeerState.ANSWERED and self._counts[PeerState.ANSWERED] < self.k",
            ),
        ),
        caught_by=("lookups find exactly the closest",),
        scenario="true-lookups",
        seeds=2,
    ),
    Mutant(
        what="A newcomer replaces a live contact of a full bucket.",
        edits=(
            Edit(
                "RoutingTable.on_answer",
                "oldest = next(iter(members.values()))",
                "oldest = next(iter(members.values()))\n"
                "del members[next(iter(members))]\n"
                "members[number] = _Seen(contact, now)\n"
                "seating.replacements.pop(number, None)",
            ),
        ),
        caught_by=("no table drops the living",),
    ),
    Mutant(
        what="A session is taken from another address than its handshake's.",
        edits=(Edit("Sessions._on_sealed", "session.endpoint != source", "False"),),
        caught_by=("nobody believes",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="A holder acknowledges a write before its commit.",
        edits=(
            Edit(
                "Writes.write",
                "self.hand_over(state, value if is_new_value else None, committed, even_if_full=even_if_full)",
                "self.hand_over(state, value if is_new_value else None, None, even_if_full=even_if_full)\n"
                "committed(self._storage.durability)",
            ),
        ),
        caught_by=("with all disks full no put was acknowledged",),
        scenario="disks-full",
        nodes=5,
        seeds=2,
    ),
    Mutant(
        what="Replication leaves out tombstones.",
        edits=(
            Edit(
                "Repair.lack_of",
                "registers.offered(state, now)",
                "[each for each in registers.offered(state, now) if not each.is_tombstone]",
            ),
            Edit(
                "Repair.adopt",
                "known is None or record.rank > known.record.rank",
                "not record.is_tombstone and (known is None or record.rank > known.record.rank)",
            ),
        ),
        caught_by=(FORGOTTEN, NOT_READ, "read nowhere"),
    ),
    Mutant(
        what="A node that nobody uses asks none of its contacts whether they are there.",
        edits=(
            Edit("Maintenance.run", "self.refreshing.run", "trio.sleep_forever"),
            Edit("Liveness.run", "await self._until_quiet()", "await trio.sleep_forever()"),
        ),
        caught_by=("no table has a dead node", NO_DEAD),
        scenario="quiet-deaths",
        seeds=2,
    ),
    Mutant(
        what="A contact that misses a deadline keeps its seat.",
        edits=(
            Edit("RoutingTable.on_failure", "self._failed(seating.members.get(number), endpoint, asked_at)", "False"),
        ),
        caught_by=(NO_DEAD,),
    ),
    Mutant(
        what="A holder never replicates.",
        edits=(Edit("Maintenance._replicate", "await self._guard(self.rounds.next_part)", "pass"),),
        caught_by=(READABLE, NOT_EVERYWHERE),
        first_seed=3,
    ),
    Mutant(
        what="A renewal raises seq.",
        edits=(
            Edit(
                "renewal",
                'attrs.evolve(record, issued=now, expires=now + life_ms, signature=b"")',
                'attrs.evolve(record, seq=now, issued=now, expires=now + life_ms, signature=b"")',
            ),
        ),
        caught_by=(FORGOTTEN, NOT_READ),
        scenario="parted-leases",
        seeds=3,
    ),
    Mutant(
        what="A node keeps a cached copy past its life.",
        edits=(
            Edit(
                "Holdings.keep_cached",
                "min(self.settings.cache_life, (max(each.expires for each in live) - now) / 1000)",
                "86_400.0",
            ),
        ),
        caught_by=(FORGOTTEN, NOT_READ, LEASE_ENDS),
    ),
    Mutant(
        what="A node that leaves hands nothing over.",
        edits=(Edit("_leave", "deadline and core.readiness.is_joined", "False", room="node"),),
        caught_by=("every value is read", LOST),
        scenario="shrinking",
        seeds=2,
    ),
    Mutant(
        what="A holder serves a disk's bytes without a look at their hash.",
        edits=(Edit("Holdings.value", "value is None or Key.of(value) == key", "True"),),
        caught_by=(RIGHT_BYTES,),
        scenario="disks-failing",
        nodes=10,
        seeds=2,
    ),
    Mutant(
        what="A get takes any bytes that come for the value.",
        edits=(
            Edit("Retrieval._on_answer", "message.value is not None and Key.of(message.value) != self._key", "False"),
        ),
        caught_by=(RIGHT_BYTES, "a liar's bytes"),
        scenario="strangers",
        nodes=30,  # so that some hold no copy of their own
        seeds=2,
    ),
    Mutant(
        what="A node takes classic packets though it was not started with --classic.",
        edits=(Edit("_wire", "config.classic", "True"),),
        caught_by=("no classic node is spoken with",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="A first request is answered in full, though its address is not proven.",
        edits=(Edit("room_for_answer", "3 * initiation_bytes", "30 * initiation_bytes"),),
        caught_by=(AMPLIFICATION,),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="A holder serves a value after its lease.",
        edits=(Edit("Register.stands", "self.record.expires > now", "self.record.expires > now - 600_000"),),
        caught_by=(LEASE_ENDS,),
    ),
    Mutant(
        what="A node that is offline evicts its contacts.",
        edits=(Edit("RoutingTable.on_failure", "self.last_answer <= asked_at", "False"),),
        caught_by=("no table drops the living",),
    ),
    Mutant(
        what="A request never ends.",
        edits=(
            Edit(
                "Requests._new",
                "now + self.settings.deadline",
                "now + 1e6",
            ),
        ),
        caught_by=(LEFT_BEHIND,),
    ),
    Mutant(
        what="One acknowledgement is a majority.",
        edits=(Edit("Acknowledgements._judge_counted", "max(len(members), self._least) // 2 + 1", "1"),),
        caught_by=("what was acknowledged is stored by a majority",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="A holder takes a store in an initiation, from an address that nobody has proven.",
        edits=(Edit("Inbox._on_initiated", "not self._codec.may_begin(message)", "False"),),
        caught_by=("nobody stores",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="A node checks no signature.",
        edits=(
            Edit(
                "verify_record",
                "crypto_sign_open(record.signature + record.signed_bytes(network), record.publisher)",
                "pass",
            ),
        ),
        caught_by=("nobody forgets",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="A recorded initiation is believed again.",
        edits=(
            Edit("Responder.on_initiation", "answered is not None and now < answered.until", "False"),
            Edit("Responder._is_fresh", "payload.time > peer.last_time", "True"),
        ),
        caught_by=("recorded handshakes are answered by cookies",),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="A lookup takes an answer that was shortened for a full one.",
        edits=(Edit("learn_from", "bool(answer.flags & IS_SHORTENED)", "False"),),
        caught_by=("lookups find exactly the closest",),
        scenario="literature",
        nodes=300,
        seeds=2,
    ),
    Mutant(
        what="A node tries any number of keys at an address where it has met nobody.",
        edits=(Edit("Endpoints.try_key", "public not in tried and len(tried) >= MOST_KEYS", "False"),),
        caught_by=("many nodes are named", AMPLIFICATION),
        scenario="strangers",
        seeds=2,
    ),
    Mutant(
        what="A session goes on when its network key is removed.",
        edits=(Edit("Sessions.change_keys", "self.table.end_other_keys(accepted, now)", "None"),),
        caught_by=("it is out once that key is removed everywhere", "nobody answers the removed key"),
        scenario="closed-network",
        nodes=6,
        seeds=2,
    ),
    Mutant(
        what="A stream goes on when its network key is removed.",
        edits=(
            Edit(
                "Answering.is_over",
                "self._network is not None and self._network not in self._streams.local.network_keys",
                "False",
            ),
        ),
        caught_by=("it is out once that key is removed everywhere",),
        scenario="closed-network",
        nodes=6,
        seeds=2,
    ),
    Mutant(
        what="No session is renewed when another network key is promoted.",
        edits=(
            Edit(
                "Sessions._is_under_former_key",
                "session.network_psk != self.local.network_keys[0].psk",
                "False",
            ),
        ),
        caught_by=("a minute after the promotion all sessions are under the new key",),
        scenario="closed-network",
        nodes=6,
        seeds=2,
    ),
    Mutant(
        what="A node answers handshakes that were made without its network key.",
        edits=(Edit("Responder.on_initiation", "is_for(key, local.static.public, untrusted)", "True"),),
        caught_by=("strangers without the key get no byte back",),
        scenario="closed-network",
        nodes=6,
        seeds=2,
    ),
    Mutant(
        what="Most clocks that peers show stop a node from signing, however many of one host.",
        edits=(
            Edit("Clocks._give_voice", "not network", "True"),
            Edit(
                "Clocks.behind_by",
                "self._kept - self._wall_clock()",
                "sorted([0, *map(abs, self._skews.values())])[len(self._skews) // 2]",
            ),
        ),
        caught_by=("every node is ready while clocks are",),
        scenario="attack-clocks",
        seeds=1,
    ),
    Mutant(
        what="Any number of nodes of one source network count.",
        edits=(Edit("Diversity._network", 'b"" if not ip or self.trusts(ip) else public_network(ip)', 'b""'),),
        caught_by=(" of one /24 count", " honest copies of "),
        scenario="attack-sybils",
        seeds=1,
    ),
    Mutant(
        what="A node takes all ids beside a key for nodes that there can be.",
        edits=(Edit("RoutingTable.density_at", "self._open is None or self._size < self.k", "True"),),
        caught_by=(" of the gets succeed", " is acknowledged without an honest "),
        scenario="attack-ground-ids",
        seeds=2,
    ),
    Mutant(
        what="A holder gives up its copy when it is none of the closest and others say that they have it.",
        edits=(
            Edit(
                "Rounds._offer",
                "before = self._repair.said(list(offer.targets))",
                "before = self._repair.said(list(offer.targets))\n"
                "for key in offer.targets:\n"
                "    last = self._core.table._nearest(key, self._core.config.kademlia.k)[-1].id\n"
                "    if bytes(a ^ b for a, b in zip(last, key)) < bytes(a ^ b for a, b in zip(self._core.id, key)):\n"
                "        self._core.holdings.drop_copy(key)",
            ),
        ),
        caught_by=("no honest copy is dropped",),
        scenario="attack-ground-ids",
        seeds=1,
    ),
    Mutant(
        what="A lookup asks all dead nodes that one party names.",
        edits=(Edit("Party.is_over", "self.rounds >= MOST_ROUNDS", "False"),),
        caught_by=("a miss takes at most ",),
        scenario="attack-dead-names",
        seeds=1,
    ),
    Mutant(
        what="A lookup waits for a value that one node alone promises.",
        edits=(Edit("Lookup._on_late_promise", "self._is_agreed(promises)", "True"),),
        caught_by=("a miss takes at most ",),
        scenario="attack-false-too-large",
        seeds=1,
    ),
    Mutant(
        what="What goes to an address on a peer's word is paid by nobody.",
        edits=(
            Edit("Tellers.is_to_pay", "bool(tellers and not has_answered and public_network(endpoint.ip))", "False"),
        ),
        caught_by=("the victim is sent at most what the members sent",),
        scenario="attack-reflection",
        seeds=1,
    ),
    Mutant(
        what="A copy that was pushed is served before a holder has confirmed it.",
        edits=(Edit("Cache.get", "copy is None or copy.is_hint", "copy is None"),),
        caught_by=("what was forgotten is read nowhere",),
        scenario="attack-old-lease",
        seeds=1,
    ),
    Mutant(
        what="A node that is no holder keeps a holder from its rounds.",
        edits=(
            Edit(
                "Handlers.have", "message.is_round and self._table.counts(request.contact.id, key)", "message.is_round"
            ),
            Edit("Heard.from_holder", "self._table.counts(holder, key)", "True"),
            Edit(
                "Heard.from_holder",
                "any(taken.startswith(begin, at) for at in range(0, len(taken), _BEGIN_BYTES))",
                "False",
            ),
        ),
        caught_by=(" copies again, of ",),
        scenario="attack-replicate",
        seeds=2,
    ),
    Mutant(
        what="A source network may fill a store.",
        edits=(
            Edit("Quotas.refusal", "self._held(network, growth) > self._most_published(used)", "False"),
            Edit("Quotas.refusal", "self._held(publisher, growth) > most", "False"),
        ),
        caught_by=("they publish at most ",),
        scenario="attack-quotas",
        seeds=1,
    ),
    Mutant(
        what="Tombstones of leases never seen have no share of their own.",
        edits=(Edit("Quotas.refusal", "self._held(UNSEEN, growth) > self._whole // UNSEEN_SHARE", "False"),),
        caught_by=("tombstones of leases never seen fill one share of all",),
        scenario="attack-quotas",
        seeds=1,
    ),
    Mutant(
        what="A node that has a seat may carry as much as it likes.",
        edits=(Edit("Quotas.refusal", "self._may_carry(network, growth, used)", "True"),),
        caught_by=("with what they pretend to hold it is at most ",),
        scenario="attack-quotas",
        seeds=1,
    ),
    Mutant(
        what="No publisher yields its place to one that is entitled to it.",
        edits=(Edit("_make_room", "is_surplus or not yielding", "True"),),
        caught_by=("every put of the owner is acknowledged",),
        scenario="attack-publishers",
        seeds=1,
    ),
    Mutant(
        what="A datagram that cannot be opened ends the session that it names.",
        edits=(
            Edit(
                "Sessions._on_sealed",
                "inner = session.open_untrusted(self.local.suite, body_untrusted)",
                "try:\n"
                "    inner = session.open_untrusted(self.local.suite, body_untrusted)\n"
                "except Exception:\n"
                "    self.table._end(session, now)\n"
                "    self.table.peers[session.peer].current = None\n"
                "    raise",
            ),
        ),
        caught_by=("sessions are kept",),
        scenario="attack-forged-sources",
        seeds=1,
    ),
)
