"""Drops the rules of records one by one and shows that some test notices each (`make test-mutants`).

Rules of this file: a mutant is one edit (`tools/mutants/source.py`), made in a temporary copy of the package, and the
pure tests of records run against that copy. Exit code 0 when every mutant was noticed by a failing test.
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

from tools.mutants.source import ROOT, Edit, StaleEdit

PURE = Path("camomile_trio", "kademlia")
TESTS = Path("tests", "kademlia")
# The tests to run for a mutant of each file, the likeliest to notice first.
TESTS_OF = {
    "records.py": ("test_records.py",),
    "admission.py": ("test_admission.py", "test_admission_classic.py", "test_admission_laws.py"),
    "registers.py": ("test_registers.py", "test_admission.py", "test_admission_classic.py"),
    "leases.py": ("test_leases.py",),
    "acknowledgement.py": ("test_acknowledgement.py",),
}
# The same examples at each run, and no time spent on making a failing one smaller.
CONFTEST = """
from hypothesis import Phase, settings
settings.register_profile("mutants", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
settings.load_profile("mutants")
"""
PATIENCE = 120  # seconds for one run of the tests; they take about two


class Mutant(NamedTuple):
    rule: str
    what: str  # what the code does once the rule is dropped
    file: str
    source: str
    replacement: str

    @property
    def edit(self) -> Edit:
        return Edit(f"kademlia/{self.file}", self.source, self.replacement)


MUTANTS = (
    Mutant("1", "the network is not signed", "records.py", "                network,\n", ""),
    Mutant("1", "the key is not signed", "records.py", "                self.key,\n", ""),
    Mutant("1", "unknown flags pass", "records.py", "if flags & ~RENEWABLE:", "if False:"),
    Mutant("1", "unknown formats pass", "records.py", "if form != FORMAT:", "if False:"),
    Mutant("2", "a lease beats a tombstone", "records.py",
           "(self.seq, self.kind, self.expires, self.body,", "(self.seq, -self.kind, self.expires, self.body,"),
    Mutant("2", "expiry comes before seq", "records.py",
           "(self.seq, self.kind, self.expires, self.body,", "(self.expires, self.kind, self.seq, self.body,"),
    Mutant("2", "the signed bytes do not decide", "records.py",
           "self.expires, self.body, self.signature)", "self.expires, b'', self.signature)"),
    Mutant("2", "the order is not total", "records.py",
           "self.expires, self.body, self.signature)", "self.expires, self.body, b'')"),
    Mutant("2", "the latest to come wins", "admission.py",
           "record.rank < old.record.rank and record.stamp", "False and record.stamp"),
    Mutant("2", "the first of one stamp wins", "admission.py",
           "record.rank <= old.record.rank", "record.stamp <= old.record.stamp"),
    Mutant("3", "a seq may be far ahead", "admission.py", " or record.seq > now + 2 * rules.max_skew", ""),
    Mutant("3", "a seq may be one skew ahead only", "admission.py", "now + 2 * rules.max_skew", "now + rules.max_skew"),
    Mutant("3", "a stale offer learns nothing", "admission.py", "changed=False, winner=old.record)", "changed=False)"),
    Mutant("3", "a put does not go above what was seen", "leases.py",
           "seq=max(seen + 1, now), issued", "seq=now, issued"),
    Mutant("3", "a put takes a seq of its own count", "leases.py",
           "seq=max(seen + 1, now), issued", "seq=seen + 1, issued"),
    Mutant("3", "a forget goes ahead by no skew", "leases.py",
           "max(seen + 1, now + rules.max_skew)", "max(seen + 1, now)"),
    Mutant("3", "a forget does not go above what was seen", "leases.py",
           "max(seen + 1, now + rules.max_skew)", "now + rules.max_skew"),
    Mutant("3", "a renewal raises seq", "leases.py",
           "return None\n    return attrs.evolve(record, issued=now,",
           "return None\n    return attrs.evolve(record, seq=now, issued=now,"),
    Mutant("4", "any forgetting takes the value", "registers.py",
           "state.classic_until > now or is_live(state, now) else None",
           "state.classic_until > now or not has_tombstone(state, now) else None"),
    Mutant("4", "publishers are not bounded", "admission.py", "else rules.max_publishers)", "else 10**9)"),
    Mutant("4", "tombstones of strangers are not bounded", "admission.py",
           "(rules.max_unseen_tombstones if", "(10**9 if"),
    Mutant("4", "tombstones of strangers count as publishers", "admission.py",
           "if each.had_lease != record.is_tombstone]", "if not record.is_tombstone or not each.had_lease]"),
    Mutant("4", "who has forgotten counts no more", "admission.py",
           "not record.is_tombstone or (old is not None and old.had_lease)", "not record.is_tombstone"),
    Mutant("4", "an answer has no bound", "registers.py", "else min(limit, rules.max_answer_records)", "else limit"),
    Mutant("4", "the asked publisher comes anywhere", "registers.py",
           "return (record.publisher != publisher, ", "return (False, "),
    Mutant("4", "tombstones come before live leases", "registers.py",
           "record.expires <= now, record.is_tombstone, -record.expires)",
           "record.expires <= now, not record.is_tombstone, -record.expires)"),
    Mutant("5", "replicating a lease prolongs it", "admission.py",
           "    if old is not None and record.rank <= old.record.rank:\n",
           "    if old is not None and record == old.record:\n"
           "        record = attrs.evolve(record, issued=now, expires=now + rules.max_lease)\n"
           "    if old is not None and record.rank <= old.record.rank:\n"),
    Mutant("5", "an ended lease that comes again is stored", "admission.py",
           "    if record.expires <= now:\n        return Admission(Verdict.EXPIRED, state, changed=False)\n", ""),
    Mutant("6", "issued may be in the future", "admission.py", "record.issued > now + rules.max_skew or ", ""),
    Mutant("6", "a lease may last for ever", "admission.py", "<= life <= rules.max_lease", "<= life"),
    Mutant("6", "a lease may last a moment", "admission.py", "rules.least_lease <= life", "life"),
    Mutant("6", "a tombstone may last as it likes", "admission.py",
           "record.is_tombstone and life != rules.tombstone_life", "False"),
    Mutant("6", "the memory is that of the latest record", "admission.py",
           "max(record.expires, old.remembered_until if old is not None else 0)", "record.expires"),
    Mutant("6", "what was beaten is not remembered", "admission.py",
           "if now < record.expires and old.remembered_until < record.expires:", "if False:"),
    Mutant("6", "a register ends with its lease", "registers.py",
           "if r.remembered_until > now or _kept_for", "if r.record.expires > now or _kept_for"),
    Mutant("6", "a tombstone for what is here needs room", "admission.py",
           "(record.is_tombstone or old.had_lease)", "(not record.is_tombstone and old.had_lease)"),
    Mutant("6", "a tombstone in its life is evicted", "registers.py",
           "all(register.remembered_until <= now for",
           "all(register.record.is_tombstone or register.remembered_until <= now for"),
    Mutant("6", "a remembered register is evicted", "registers.py",
           "all(register.remembered_until <= now for", "all(register.record.expires <= now for"),
    Mutant("7", "kept records end by wall time", "registers.py",
           "evolve(register, ended_at=uptime)", "evolve(register, ended_at=now)"),
    Mutant("8", "a stale lease is acknowledged", "admission.py",
           "Admission(Verdict.STALE, state, changed=False, winner",
           "Admission(Verdict.SAME, state, changed=False, winner"),
    Mutant("8", "a tombstone needs the value", "admission.py",
           "if not record.is_tombstone and state.size is None and value_size is None:",
           "if state.size is None and value_size is None:"),
    Mutant("8", "an adopted tombstone leaves the value", "admission.py",
           "Admission(Verdict.STORED, settled(merged, now), changed=True)",
           "Admission(Verdict.STORED, merged, changed=True)"),
    Mutant("9", "a lease without its value is accepted", "admission.py",
           "if not record.is_tombstone and state.size is None and value_size is None:", "if False:"),
    Mutant("9", "holders renew all at once", "leases.py", " + life * rank // (4 * k)", ""),
    Mutant("9", "who is no holder renews too", "leases.py", "if published_here else 0", ""),
    Mutant("9", "renewed at the end only", "leases.py", "record.issued + life // 2 +", "record.issued + life +"),
    Mutant("9", "who has seen a record is not known", "records.py",
           "return (self.seq, self.kind, self.expires)\n", "return (self.seq, self.kind, 0)\n"),
    Mutant("9", "a publication ends with its lease", "registers.py",
           "published = state.published and (", "published = state.published and is_live(state, now) and ("),
    Mutant("9", "a forgotten publication goes on", "admission.py",
           "state.published and not (record.is_tombstone and record.publisher == own)", "state.published"),
    Mutant("9", "anybody ends a publication", "admission.py",
           "state.published and not (record.is_tombstone and record.publisher == own)",
           "state.published and not record.is_tombstone"),
    Mutant("10", "a repeat prolongs a classic copy", "admission.py",
           "    if state.classic_until > now:\n        if state.size is not None:\n",
           "    if state.classic_until > now:\n"
           "        state = attrs.evolve(state, classic_until=now + rules.classic_life)\n"
           "        if state.size is not None:\n"),
    Mutant("10", "replication brings an ended copy back", "admission.py",
           "if state.classic_until and not publish:", "if False:"),
    Mutant("10", "the end of a copy is forgotten", "registers.py",
           "now < state.classic_until + rules.classic_life", "now < state.classic_until"),
    Mutant("10", "a copy far away lives as long", "admission.py",
           "rules.classic_life >> max(0, closer - k)", "rules.classic_life"),
    Mutant("10", "replication ignores registers", "admission.py", "if state.registers and not publish:", "if False:"),
    Mutant("10", "a put is refused where there are registers", "admission.py",
           "if state.registers and not publish:", "if state.registers:"),
    Mutant("10", "forgetting takes a classic copy", "registers.py",
           "if published or state.classic_until > now or is_live", "if published or is_live"),
    Mutant("11", "who asks for ended registers gets none", "registers.py",
           "if ended or r.record.expires > now", "if r.record.expires > now"),
    Mutant("12", "an ended lease goes at once", "registers.py",
           "not (record.is_renewable or record.is_tombstone)", "not record.is_tombstone"),
    Mutant("12", "an ended tombstone goes at once", "registers.py",
           "not (record.is_renewable or record.is_tombstone)", "not record.is_renewable"),
    Mutant("12", "a lease that nobody may renew is kept", "registers.py",
           "or not (record.is_renewable or record.is_tombstone)", ""),
    Mutant("12", "ended records are served", "registers.py",
           "if ended or r.record.expires > now", "if True or r.record.expires > now"),
    Mutant("12", "an ended lease is renewed", "leases.py", " or record.expires <= now or ", " or "),
    Mutant("12", "a lease is revived without a majority", "leases.py",
           "return holders > group // 2", "return holders > 0"),
    Mutant("12", "half of the group is a majority", "leases.py",
           "return holders > group // 2", "return holders >= group / 2"),
    Mutant("12", "a tombstone over it does not forbid revival", "leases.py",
           "if record.is_tombstone and record.rank > ended.rank:", "if False:"),
    Mutant("12", "any word of the publisher supports revival", "leases.py",
           "holders += record.stamp == ended.stamp", "holders += 1"),
    Mutant("12", "what is only kept leaves no room", "admission.py", "if not ended:\n", "if True:\n"),
    Mutant("12", "what may wake a publication makes room", "admission.py", " and not state.published]", "]"),
    Mutant("13", "a lease lasts a week", "registers.py",
           "max_lease: int = 24 * _HOUR", "max_lease: int = 7 * 24 * _HOUR"),
    Mutant("ack", "half is a majority", "acknowledgement.py",
           "needed = max(len(members), self._least) // 2 + 1", "needed = (max(len(members), self._least) + 1) // 2"),
    Mutant("ack", "all must acknowledge", "acknowledgement.py",
           "needed = max(len(members), self._least) // 2 + 1", "needed = max(len(members), self._least)"),
    Mutant("ack", "those that are expected are not counted", "acknowledgement.py",
           "needed = max(len(members), self._least) // 2 + 1", "needed = len(members) // 2 + 1"),
    Mutant("ack", "classic nodes are counted", "acknowledgement.py",
           "frozenset(self._nearest(answered) & self._ours)", "frozenset(self._nearest(answered))"),
    Mutant("ack", "holders beyond the closest count", "acknowledgement.py",
           "sum(node in self._acknowledged for node in members)", "len(self._acknowledged)"),
    Mutant("ack", "before the end farther nodes count", "acknowledgement.py",
           "for node in nearest)", "for node in distances)"),
    Mutant("ack", "before the end a majority of few is enough", "acknowledgement.py",
           "needed = self._k // 2 + 1", "needed = min(self._k, len(self._answered)) // 2 + 1"),
    Mutant("ack", "before the end nothing succeeds", "acknowledgement.py",
           "return Success() if counted >= needed else None", "return None"),
    Mutant("ack", "an isolated node counts alone", "acknowledgement.py",
           "return not self._alone and", "return False and"),
    Mutant("ack", "the first node of a network never succeeds", "acknowledgement.py",
           "return not self._alone and", "return"),
    Mutant("ack", "among classic nodes nothing succeeds", "acknowledgement.py",
           "members = counted or {self._own}", "members = counted"),
    Mutant("ack", "any refusal is the reason", "acknowledgement.py", "if refusals >= needed:", "if refusals:"),
    Mutant("ack", "a reason is not waited for", "acknowledgement.py",
           "return None if refusals and refusals + still_open >= needed else Failed(", "return Failed("),
    Mutant("ack", "failure waits for the last answer", "acknowledgement.py",
           "if acknowledged + still_open >= needed:", "if still_open:"),
    Mutant("ack", "memory counts as durable", "acknowledgement.py",
           "durability >= Durability.SYSTEM", "durability >= Durability.MEMORY"),
    Mutant("ack", "a late failure takes an acknowledgement back", "acknowledgement.py",
           "        if node not in self._acknowledged:\n",
           "        self._acknowledged.pop(node, None)\n        if True:\n"),
    Mutant("ack", "the outcome changes its mind", "acknowledgement.py", "if self._outcome is None:", "if True:"),
)  # fmt: skip


def copy_checkout(to: Path) -> None:
    """The pure part of the package and the tests of records, under a pytest configuration of their own."""
    (to / PURE).mkdir(parents=True)
    # The package's own __init__ imports the node; without any, Python would prefer an installed package to the copy.
    (to / "camomile_trio" / "__init__.py").touch()
    for source in [ROOT / "camomile_trio" / "errors.py", *(ROOT / PURE).glob("*.py")]:
        shutil.copy(source, to / source.relative_to(ROOT))
    (to / TESTS).mkdir(parents=True)
    for name in {"record_builders.py"}.union(*TESTS_OF.values()):
        shutil.copy(ROOT / TESTS / name, to / TESTS / name)
    (to / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\npythonpath = .\n")
    (to / "conftest.py").write_text(CONFTEST)


def run_tests(copy: Path, names: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
    command += [str(TESTS / name) for name in names]
    # Without plugins pytest starts in half the time, and these tests need none.
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def try_mutant(mutant: Mutant) -> tuple[bool, str]:
    """Whether a test noticed the mutant, and which one, or what went wrong instead."""
    try:
        mutated = mutant.edit.of((ROOT / PURE / mutant.file).read_text())
    except StaleEdit as error:
        return False, str(error)
    with tempfile.TemporaryDirectory(prefix="camomile-mutant-") as folder:
        copy = Path(folder)
        copy_checkout(copy)
        (copy / PURE / mutant.file).write_text(mutated)
        try:
            run = run_tests(copy, TESTS_OF[mutant.file])
        except subprocess.TimeoutExpired:
            return False, f"the tests did not end within {PATIENCE} s"
    failed = re.search(r"^FAILED \S+::(\w+)", run.stdout, re.MULTILINE)
    if run.returncode == 1 and failed is not None:
        return True, failed[1]
    if run.returncode == 0:
        return False, "SURVIVED: no test failed"
    return False, f"the tests did not run (exit code {run.returncode})"


def main() -> int:
    every_test = tuple(dict.fromkeys(name for names in TESTS_OF.values() for name in names))
    with tempfile.TemporaryDirectory(prefix="camomile-unmutated-") as folder:
        copy_checkout(Path(folder))
        unmutated = run_tests(Path(folder), every_test)
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
