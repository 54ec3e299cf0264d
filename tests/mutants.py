"""Drops the rules of records one by one and shows that some test notices each (`make test-mutants`).

Rules of this file: a mutant is one edit (`tools/mutants/source.py`), made in a temporary copy of the package, and the
pure tests run against that copy: first those that mirror the edited file, then the others. Exit code 0 when every
mutant was noticed by a failing test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tools.mutants.source import PACKAGE, ROOT, Edit, StaleEdit, mutated

PURE = Path(PACKAGE, "kademlia")
TESTS = Path("tests", "kademlia")
# The same examples at each run, and no time spent on making a failing one smaller.
CONFTEST = """
from hypothesis import Phase, settings
settings.register_profile("mutants", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutants")
"""
PATIENCE = 120  # seconds for one run of the tests; they take a few


class Mutant(NamedTuple):
    """A rule of docs/protocol.md, what the code does once the rule is dropped, and the edit that drops it."""

    rule: str
    what: str
    where: str
    piece: str
    replacement: str

    @property
    def edit(self) -> Edit:
        return Edit(self.where, self.piece, self.replacement)


MUTANTS = (
    Mutant("count", "Any number of one source network count.", "Networks.has_room",
           "self._counts[network] < PER_NETWORK", "True"),
    Mutant("count", "Any number of one wide network count.", "Networks.has_room",
           "self._wide[wide_network(network)] < PER_WIDE_NETWORK", "True"),
    Mutant("count", "Trusted networks are no exception.", "Diversity.trusts",
           "any(len(ip) == size and number & mask == network for size, mask, network in self._trusted)", "False"),
    Mutant("count", "Any number of ids at one spot count.", "Counting.cover", "len(counted) < there_can_be", "True"),
    Mutant("count", "The cover ends with k that count, however many claim to be there.", "Counting.cover",
           "diverse <= there_can_be", "True"),
    Mutant("count", "The cover has no end.", "Counting.cover", "contacts[: most(k)]", "contacts"),
    Mutant("count", "Those that are surplus for their network make a cover longer.", "Counting.cover",
           "diverse += 1", "diverse += 1\nif networks is not None: diverse = width"),
    Mutant("count", "The short way does not look at networks.", "is_plain", "len(names) == len(set(names))", "True"),
    Mutant("count", "Ids beside a target make room for themselves.", "density", "not low <= each < 2 * low", "True"),
    Mutant("count", "Buckets that are not filled yet are looked at.", "density",
           "max(neighbours[k - 1], outside[min((k + 1) // 2, len(outside)) - 1])", "neighbours[-1]"),
    Mutant("count", "A single source network is enough for diversity.", "RoutingTable._note_change",
           "self._networks.size >= LEAST_NETWORKS", "self._networks.size >= 1"),
    Mutant("count", "No seat is given up.", "RoutingTable._displaces", "networks.is_crowded(seen.contact.endpoint.ip)",
           "False"),
    Mutant("count", "The closest alone are named.", "RoutingTable.named", "k // 2", "k"),
    Mutant("count", "A node behind ids at one spot is no holder.", "RoutingTable._rank_counted",
           "closer if cover.is_whole else min(len(cover.counted), k - 1)", "closer"),
    Mutant("count", "A lookup ends with the k closest.", "Shortlist._renew_width",
           "cover.width if cover.is_whole else most(self.k)", "self.k"),
    Mutant("count", "Silent ids make a lookup inconclusive, however many there are.", "Shortlist.is_inconclusive",
           "self._cover_of(nearest).counted", "nearest[: self.k]"),
    Mutant("count", "A majority is one of k, however many count.", "Acknowledgements._judge_early",
           "max(needed, len(counted) // 2 + 1)", "needed"),
    Mutant("1", "The signature leaves out the network.", "Record.signed_bytes", "network", 'b""'),
    Mutant("1", "The signature leaves out the key.", "Record.signed_bytes", "self.key", 'b""'),
    Mutant("1", "A record with an unknown flag passes.", "Record.from_row", "flags & ~RENEWABLE", "False"),
    Mutant("1", "A record of an unknown format passes.", "Record.from_row", "form != FORMAT", "False"),
    Mutant("2", "A lease beats a tombstone of the same seq.", "Record.rank", "self.kind", "-self.kind"),
    Mutant("2", "The expiry is compared before the seq.", "Record.rank",
           "(self.seq, self.kind, self.expires, self.body, self.signature)",
           "(self.expires, self.kind, self.seq, self.body, self.signature)"),
    Mutant("2", "The signed bytes do not decide between two records.", "Record.rank", "self.body", 'b""'),
    Mutant("2", "Two signatures of the same words have no order.", "Record.rank", "self.signature", 'b""'),
    Mutant("2", "The latest record to arrive wins.", "admit", "record.rank < old.record.rank", "False"),
    Mutant("2", "The first record of a stamp wins.", "admit",
           "record.rank <= old.record.rank", "record.stamp <= old.record.stamp"),
    Mutant("3", "A seq may be as far ahead as it likes.", "_refuse_terms",
           "record.seq > now + 2 * RULES.max_skew", "False"),
    Mutant("3", "A seq may be only one skew ahead.", "_refuse_terms", "2 * RULES.max_skew", "RULES.max_skew"),
    Mutant("3", "A stale offer does not bring the winner back.", "_refuse_stale",
           "Admission(Verdict.STALE, state, changed=False, winner=old.record)",
           "Admission(Verdict.STALE, state, changed=False)"),
    Mutant("3", "A put does not sign above the seq that it has seen.", "new_lease", "max(seen + 1, now)", "now"),
    Mutant("3", "A put counts its seq from what it has seen, not from the time.", "new_lease",
           "max(seen + 1, now)", "seen + 1"),
    Mutant("3", "A forget takes no skew ahead for its seq.", "new_tombstone",
           "max(seen + 1, now + RULES.max_skew)", "max(seen + 1, now)"),
    Mutant("3", "A forget does not sign above the seq that it has seen.", "new_tombstone",
           "max(seen + 1, now + RULES.max_skew)", "now + RULES.max_skew"),
    Mutant("3", "A renewal raises seq.", "renewal",
           'attrs.evolve(record, issued=now, expires=now + life_ms, signature=b"")',
           'attrs.evolve(record, seq=now, issued=now, expires=now + life_ms, signature=b"")'),
    Mutant("3", "A lease that may be renewed counts to its expiry only.", "kept_until",
           "lease.is_renewable", "False"),
    Mutant("3", "A put succeeds with a tombstone.", "stands_for", "not standing.is_tombstone", "True"),
    Mutant("3", "A put succeeds with a lease that has ended.", "stands_for", "standing.expires > now", "True"),
    Mutant("3", "A put succeeds with a lease that ends too early.", "stands_for",
           "kept_until(standing) >= kept_until(asked)", "True"),
    Mutant("3", "A put does not succeed with a lease that lasts as long as was asked.", "stands_for",
           "kept_until(standing) >= kept_until(asked)", "kept_until(standing) > kept_until(asked)"),
    Mutant("3", "A renewal counts as another put.", "is_replaced", "old.seq < new.seq", "True"),
    Mutant("3", "A put replaces a lease that has ended.", "is_replaced", "old.expires > now", "True"),
    Mutant("3", "A put replaces a tombstone.", "is_replaced", "not old.is_tombstone", "True"),
    Mutant("3", "A forget replaces a lease.", "is_replaced", "not new.is_tombstone", "True"),
    Mutant("3", "A forget may not end a life.", "is_shortened_by", "not new.is_tombstone", "True"),
    Mutant("3", "A put may not replace a lease that has ended.", "is_shortened_by",
           "stands_for(old, new, now=now)", "True"),
    Mutant("3", "A put may not replace a lease of the same life.", "is_shortened_by",
           "kept_until(old) > kept_until(new)", "True"),
    Mutant("4", "A forgetting takes a value on which others have leases.", "settled",
           "is_live(state, now)", "is_live(state, now) and not has_tombstone(state, now)"),
    Mutant("4", "A key takes any number of publishers.", "_make_room", "RULES.max_publishers", "10**9"),
    Mutant("4", "A key takes any number of tombstones of strangers.", "_make_room",
           "RULES.max_unseen_tombstones", "10**9"),
    Mutant("4", "Tombstones of strangers count as publishers.", "_surplus", "not register.had_lease", "False"),
    Mutant("4", "A key remembers any number of publishers.", "_make_room", "len(rivals) > most", "False"),
    Mutant("4", "A tombstone of a publisher that was here counts as a stranger's.", "admit",
           "not record.is_tombstone or (old is not None and old.had_lease)", "not record.is_tombstone"),
    Mutant("4", "A publisher that has forgotten keeps its place.", "_make_room",
           "sum(each.is_live(now) for each in registers)", "sum(each.had_lease for each in registers)"),
    Mutant("4", "A publisher that has forgotten comes back without a place.", "admit",
           "old is not None and (record.is_tombstone or old.is_live(now))", "old is not None"),
    Mutant("4", "Nobody yields a place.", "_make_room", "is_surplus or not yielding", "True"),
    Mutant("4", "Who is surplus makes others yield.", "_make_room", "is_surplus or not yielding", "not yielding"),
    Mutant("4", "The oldest yields first.", "_make_room",
           "_replaced(registers, yielding[-1], attrs.evolve(yielding[-1], has_yielded=True))",
           "_replaced(registers, yielding[0], attrs.evolve(yielding[0], has_yielded=True))"),
    Mutant("4", "What has yielded is forgotten.", "_make_room",
           "_replaced(registers, yielding[-1], attrs.evolve(yielding[-1], has_yielded=True))",
           "tuple(each for each in registers if each is not yielding[-1])"),
    Mutant("4", "What has yielded stands for the value.", "Register.stands", "not self.has_yielded", "True"),
    Mutant("4", "What has yielded is acknowledged as the same.", "admit", "not old.has_yielded", "True"),
    Mutant("4", "Any number of publishers of one network is entitled to places.", "_surplus",
           "of_network[register.brought_by] <= RULES.max_of_network", "True"),
    Mutant("4", "What is replicated is entitled to places.", "_surplus",
           "register.brought_by.startswith(PUBLISHED)", "register.brought_by"),
    Mutant("4", "What came without a source network is entitled to places.", "_surplus",
           "register.brought_by.startswith(PUBLISHED)",
           "not register.brought_by or register.brought_by.startswith(PUBLISHED)"),
    Mutant("4", "Our own publisher yields its place.", "_surplus", "register.record.publisher == own", "False"),
    Mutant("4", "The first node that brought a publisher decides for good.", "admit",
           "old.brought_by if old is not None and has_place else brought_by",
           "old.brought_by if old is not None else brought_by"),
    Mutant("4", "A publisher that comes by another network keeps its precedence.", "admit",
           "register.brought_by == old.brought_by", "True"),
    Mutant("4", "A renewal counts for the node that brings it.", "admit",
           "old.brought_by if old is not None and has_place else brought_by", "brought_by"),
    Mutant("4", "An answer has any number of records.", "answer", "RULES.max_answer_records", "None"),
    Mutant("4", "The register of the publisher that was asked for has no place of its own.", "answer",
           "record.publisher != publisher", "False"),
    Mutant("4", "Tombstones come before live leases in an answer.", "answer",
           "record.is_tombstone", "not record.is_tombstone"),
    Mutant("5", "Replicating a lease prolongs it.", "admit",
           "old = state.register(record.publisher) if state.registers else None",
           "old = state.register(record.publisher) if state.registers else None\n"
           "if old is not None and record == old.record:\n"
           "    record = attrs.evolve(record, issued=now, expires=now + RULES.max_lease)"),
    Mutant("5", "A lease that has ended is stored when it comes again.", "admit", "record.expires <= now", "False"),
    Mutant("6", "A record may be issued in the future.", "_refuse_terms",
           "record.issued > now + RULES.max_skew", "False"),
    Mutant("6", "A lease may last for ever.", "_refuse_terms",
           "RULES.least_lease <= life <= RULES.max_lease", "RULES.least_lease <= life"),
    Mutant("6", "A lease may last a moment.", "_refuse_terms",
           "RULES.least_lease <= life <= RULES.max_lease", "life <= RULES.max_lease"),
    Mutant("6", "A tombstone may have any life.", "_refuse_terms",
           "record.is_tombstone and life != RULES.tombstone_life", "False"),
    Mutant("6", "A register remembers to the expiry of its latest record only.", "admit",
           "max(record.expires, old.remembered_until if old is not None else 0)", "record.expires"),
    Mutant("6", "A register does not remember what it has beaten.", "_refuse_stale",
           "now < record.expires and old.remembered_until < record.expires", "False"),
    Mutant("6", "A register goes when its lease ends.", "expire",
           "r.remembered_until > now", "r.record.expires > now"),
    Mutant("6", "A tombstone counts for the node that brings it.", "admit",
           "record.is_tombstone or old.is_live(now)", "old.is_live(now)"),
    Mutant("6", "A tombstone in its life is evicted.", "is_evictable",
           "register.remembered_until <= now", "register.record.is_tombstone or register.remembered_until <= now"),
    Mutant("6", "A register that has to be remembered is evicted.", "is_evictable",
           "register.remembered_until <= now", "register.record.expires <= now"),
    Mutant("7", "Ended records are kept by wall time.", "_seen_ending", "uptime", "now"),
    Mutant("7", "A record of the future is no evidence against the clock.", "is_against_clock",
           "refusal is Verdict.NOT_YET", "False"),
    Mutant("7", "A record of bad terms is evidence against the clock.", "is_against_clock", "refusal is None", "True"),
    Mutant("7", "A record that ended long ago is no evidence against the clock.", "is_against_clock",
           "record.expires + RULES.max_skew < now", "False"),
    Mutant("7", "A record that ended within a skew is evidence against the clock.", "is_against_clock",
           "record.expires + RULES.max_skew < now", "record.expires < now"),
    Mutant("7", "A refused record stays where it was signed.", "taken_back",
           "settled(attrs.evolve(state, registers=kept), now)", "state"),
    Mutant("7", "The record before a refused one does not come back.", "taken_back",
           "former if each is register else each", "None if each is register else each"),
    Mutant("7", "A refused put takes back a later record of its publisher.", "taken_back",
           "register.record != record", "False"),
    Mutant("7", "A refused put takes back the records of other publishers.", "taken_back",
           "former if each is register else each", "former if each is register else None"),
    Mutant("7", "A refused put leaves its value.", "taken_back",
           "settled(attrs.evolve(state, registers=kept), now)", "attrs.evolve(state, registers=kept)"),
    Mutant("8", "A stale lease is acknowledged.", "_refuse_stale",
           "Admission(Verdict.STALE, state, changed=False, winner=old.record)",
           "Admission(Verdict.SAME, state, changed=False, winner=old.record)"),
    Mutant("8", "A tombstone needs the value.", "admit",
           "not record.is_tombstone and state.size is None and value_size is None",
           "state.size is None and value_size is None"),
    Mutant("8", "A tombstone that was adopted leaves the value.", "admit", "settled(merged, now)", "merged"),
    Mutant("9", "A lease is accepted without its value.", "admit",
           "not record.is_tombstone and state.size is None and value_size is None", "False"),
    Mutant("9", "All holders renew at once.", "renewal_due", "life * rank // (4 * k)", "0"),
    Mutant("9", "A node that is neither holder nor publisher renews.", "renewal_due", "published_here", "True"),
    Mutant("9", "A lease is renewed at its end only.", "renewal_due", "life // 2", "life"),
    Mutant("9", "A stamp does not show which renewal a node has seen.", "Record.stamp", "self.expires", "0"),
    Mutant("9", "A publication ends with its lease.", "settled",
           "any(register.record.is_renewable for register in state.registers)", "False"),
    Mutant("9", "A publication goes on after its publisher's forget.", "admit",
           "record.is_tombstone and record.publisher == own", "False"),
    Mutant("9", "Any publisher's tombstone ends a publication.", "admit", "record.publisher == own", "True"),
    Mutant("10", "A classic copy is prolonged when it comes again.", "admit_classic",
           "Admission(Verdict.SAME, state, changed=False)",
           "Admission(Verdict.SAME, attrs.evolve(state, classic_until=now + RULES.classic_life), changed=True)"),
    Mutant("10", "Replication brings back a classic copy that has ended.", "admit_classic",
           "state.classic_until and not publish", "False"),
    Mutant("10", "The end of a classic copy is not remembered.", "expire",
           "now < state.classic_until + RULES.classic_life", "now < state.classic_until"),
    Mutant("10", "A classic copy far from the key lives as long as one near it.", "admit_classic",
           "RULES.classic_life >> max(0, closer - k)", "RULES.classic_life"),
    Mutant("10", "Classic replication stores a value that has registers.", "admit_classic",
           "state.registers or closer >= k", "closer >= k"),
    Mutant("10", "Classic replication stores a value where a forget need not have come.", "admit_classic",
           "state.registers or closer >= k", "state.registers"),
    Mutant("10", "A classic put is refused where there are registers.", "admit_classic",
           "not publish and (state.registers or closer >= k)", "state.registers or (not publish and closer >= k)"),
    Mutant("10", "A forgetting takes a classic copy.", "settled", "state.classic_until > now", "False"),
    Mutant("11", "Ended registers are not told to a node that asks for them.", "answer", "ended", "False"),
    Mutant("12", "A lease that has ended goes at once.", "_kept_for",
           "record.is_renewable or record.is_tombstone", "record.is_tombstone"),
    Mutant("12", "A tombstone that has ended goes at once.", "_kept_for",
           "record.is_renewable or record.is_tombstone", "record.is_renewable"),
    Mutant("12", "A lease that nobody may renew is kept after its end.", "_kept_for",
           "record.is_renewable or record.is_tombstone", "True"),
    Mutant("12", "Ended records are served.", "answer", "ended", "True"),
    Mutant("12", "A lease that has ended is renewed.", "renewal", "record.expires <= now", "False"),
    Mutant("12", "A lease is revived without a majority.", "revival", "holders > group // 2", "holders > 0"),
    Mutant("12", "Half of the group is a majority.", "revival", "holders > group // 2", "holders >= group / 2"),
    Mutant("12", "A tombstone over a lease does not forbid its revival.", "revival",
           "record.is_tombstone and record.rank > ended.rank", "False"),
    Mutant("12", "Any record of the publisher supports a revival.", "revival", "record.stamp == ended.stamp", "True"),
    Mutant("12", "A register that is only kept leaves no room.", "_make_room", "not ended", "True"),
    Mutant("12", "A lease that may wake a publication makes room.", "_make_room", "not published", "True"),
    Mutant("13", "A lease may last a week.", "NetworkRules.max_lease", "24 * _HOUR", "7 * 24 * _HOUR"),
    Mutant("ack", "Half of the members are a majority.", "Acknowledgements._judge_counted",
           "max(len(members), self._least) // 2 + 1", "(max(len(members), self._least) + 1) // 2"),
    Mutant("ack", "All members must acknowledge.", "Acknowledgements._judge_counted",
           "max(len(members), self._least) // 2 + 1", "max(len(members), self._least)"),
    Mutant("ack", "Expected nodes that do not answer are not counted.", "Acknowledgements._judge_counted",
           "max(len(members), self._least)", "len(members)"),
    Mutant("ack", "Of those that count only k do.", "Acknowledgements.on_lookup_end",
           "tuple(dict.fromkeys(counted))", "tuple(dict.fromkeys(counted))[: self._k]"),
    Mutant("ack", "Holders beyond the closest count.", "Acknowledgements._judge_counted",
           "sum(node in self._acknowledged for node in members)", "len(self._acknowledged)"),
    Mutant("ack", "Before the lookup's end farther nodes count.", "Acknowledgements._closest_answered",
           "sorted(self._answered, key=self._answered.__getitem__)[: self._k]",
           "sorted(self._answered, key=self._answered.__getitem__)"),
    Mutant("ack", "Before the lookup's end a majority of few is enough.", "Acknowledgements._judge_early",
           "self._k // 2 + 1", "min(self._k, len(self._answered)) // 2 + 1"),
    Mutant("ack", "Before the lookup's end nothing succeeds.", "Acknowledgements._judge_early",
           "Success() if acknowledged >= max(needed, len(counted) // 2 + 1) else None", "None"),
    Mutant("ack", "An isolated node counts alone.", "Acknowledgements._is_cut_off", "not self._alone", "False"),
    Mutant("ack", "The first node of a network never succeeds.", "Acknowledgements._is_cut_off",
           "not self._alone", "True"),
    Mutant("ack", "A node that may count alone does not where no other answers.", "Acknowledgements._judge_counted",
           "counted or (self._own,)", "counted"),
    Mutant("ack", "A single refusal is the reason.", "Acknowledgements._judge_counted",
           "refusals >= needed", "refusals"),
    Mutant("ack", "A full disk and a full storage are two reasons.", "Acknowledgements._judge_counted",
           "_ALIKE.get(status, status)", "status"),
    Mutant("ack", "The outcome does not wait for a reason.", "Acknowledgements._judge_counted",
           "refusals and refusals + still_open >= needed", "False"),
    Mutant("ack", "A failure does not say that too few nodes answered.", "Acknowledgements._judge_counted",
           "len(members) < needed", "False"),
    Mutant("ack", "A failure waits for the last answer.", "Acknowledgements._judge_counted",
           "acknowledged + still_open >= needed", "still_open"),
    Mutant("ack", "A copy in memory counts as durable.", "Acknowledgements.durable",
           "Durability.SYSTEM", "Durability.MEMORY"),
    Mutant("ack", "A late failure takes an acknowledgement back.", "Acknowledgements._decline",
           "if node not in self._acknowledged: self._declined[node] = status",
           "self._acknowledged.pop(node, None)\nself._declined[node] = status"),
    Mutant("ack", "The outcome changes.", "Acknowledgements._judge", "self._outcome is None", "True"),
    Mutant("tellers", "A silence leaves a party's window as it is.", "Asked.on_silence",
           "max(1, party.window // 2)", "party.window"),
    Mutant("tellers", "A party's window closes.", "Asked.on_silence", "max(1, party.window // 2)", "party.window // 2"),
    Mutant("tellers", "An answer widens no window.", "Asked._widen",
           "min(self.party.alpha, self.party.window + 1)", "self.party.window"),
    Mutant("tellers", "A silence ends no round.", "Asked.on_silence", "self._round == party.rounds", "False"),
    Mutant("tellers", "Each silence ends a round.", "Asked.on_silence", "self._round == party.rounds", "True"),
    Mutant("tellers", "A late answer takes nothing back.", "Asked.on_late_answer", "self._has_cost", "False"),
    Mutant("tellers", "A party may have as many names under way as it likes.", "Party.has_room",
           "self.under_way < self.window", "True"),
    Mutant("tellers", "A party is never over.", "Party.is_over", "self.rounds >= MOST_ROUNDS", "False"),
    Mutant("tellers", "One that was silent shortly before costs its party a round.", "Shortlist.on_overdue",
           "is_suspect", "False"),
    Mutant("tellers", "Those of one source network are parties of their own.", "Shortlist._teller",
           "self._party_of(source)", "source.id"),
    Mutant("tellers", "What is known is bounded as what was told.", "Shortlist.on_reply",
           "knows is not None and knows(contact)", "False"),
    Mutant("tellers", "A candidate that another party names stays set aside.", "Shortlist._corroborate",
           "self._hope_again(candidate)", "pass"),
    Mutant("tellers", "A name of one party counts as silent.", "Shortlist.silent", "not each.is_doubtful", "True"),
    Mutant("tellers", "A name of two parties does not count as silent.", "Shortlist._corroborate",
           "each.party is teller.party", "True"),
    Mutant("tellers", "One that nobody can pay for holds the lookup up.", "Shortlist.next_queries",
           "self._set_unpaid_aside()", "pass"),
    Mutant("tellers", "One that nobody can pay for is given up.", "Shortlist.on_reply",
           "self._hope_for_unpaid()", "pass"),
    Mutant("tellers", "A node waits where a liar has named it.", "Shortlist.on_overdue",
           "candidate.elsewhere is not None", "False"),
    Mutant("tellers", "Names that were set aside take the places of others.", "Shortlist._make_room",
           "self._counts[PeerState.SET_ASIDE]", "False"),
)  # fmt: skip


def copy_checkout(to: Path) -> None:
    """The pure part of the package and its tests, under a pytest configuration of their own."""
    (to / PURE).mkdir(parents=True)
    # The package's own __init__ imports the node; without any, Python would prefer an installed package to the copy.
    (to / PACKAGE / "__init__.py").touch()
    (to / TESTS).mkdir(parents=True)
    for source in [ROOT / PACKAGE / "errors.py", *(ROOT / PURE).glob("*.py"), *(ROOT / TESTS).glob("*.py")]:
        shutil.copy(source, to / source.relative_to(ROOT))
    (to / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\npythonpath = .\n")
    (to / "conftest.py").write_text(CONFTEST)


def run_tests(copy: Path, files: list[Path]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
    command += map(str, files)
    # Without plugins pytest starts in half the time, and these tests need none.
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def try_mutant(mutant: Mutant) -> tuple[bool, str]:
    """Whether a test noticed the mutant, and which one, or what went wrong instead."""
    with tempfile.TemporaryDirectory(prefix="camomile-mutant-") as folder:
        copy = Path(folder)
        copy_checkout(copy)
        try:
            ((edited, text),) = mutated([mutant.edit], copy / PURE).items()
        except StaleEdit as error:
            return False, str(error)
        edited.write_text(text)
        mirror = sorted((copy / TESTS).glob(f"test_{edited.stem}*.py"))
        others = sorted({*(copy / TESTS).glob("test_*.py")} - {*mirror})
        # In two steps, since collecting the other tests takes longer than running the mirror, which notices nearly all.
        for files in filter(None, (mirror, others)):
            try:
                run = run_tests(copy, files)
            except subprocess.TimeoutExpired:
                return False, f"the tests did not end within {PATIENCE} s"
            failed = re.search(r"^FAILED \S+::(\w+)", run.stdout, re.MULTILINE)
            if run.returncode == 1 and failed is not None:
                return True, failed[1]
            if run.returncode != 0:
                return False, f"the tests did not run (exit code {run.returncode})"
    return False, "SURVIVED: no test failed"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="camomile-unmutated-") as folder:
        copy_checkout(Path(folder))
        unmutated = run_tests(Path(folder), [Path(folder) / TESTS])
    if unmutated.returncode != 0:
        print(unmutated.stdout, unmutated.stderr, sep="\n")
        print("the tests fail without any mutant: mend that first")
        return 1
    width = max(len(mutant.what) for mutant in MUTANTS)
    print(f"{'rule':<5} {'mutant':<{width}} killed by")
    noticed = 0
    # Each run is a process of its own, so threads that wait for them are enough.
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for mutant, (killed, by) in zip(MUTANTS, pool.map(try_mutant, MUTANTS), strict=True):
            noticed += killed
            print(f"{mutant.rule:<5} {mutant.what:<{width}} {by}", flush=True)
    print(f"{noticed} of {len(MUTANTS)} mutants were noticed")
    return 0 if noticed == len(MUTANTS) else 1


if __name__ == "__main__":
    sys.exit(main())
