"""A disk that is full for real: every node keeps its data in a file system of a few mebibytes, made for it.

Rules of this file: the file systems are in memory, inside the driver's own mounts. The limit that nodes know of
(--max-storage) is far above, so it is the kernel that says no.
"""

from __future__ import annotations

import time

from tools.cluster.client import Request
from tools.faults.figures import Figures
from tools.faults.network import Network, key_of, reason, wait_until
from tools.faults.stories import Setting
from tools.faults.truth import Truth
from tools.hosts.command import run

NODES = 4
SMALL, LARGE = "4m", "64m"
VALUE = 100_000  # bytes
MOST_PUTS = 200  # far more than fits
REFUSALS = 4  # in a row: the disk is full
REASONS = (507, 503)
SHOWN_WITHIN = 15.0  # seconds until a node with a full disk says that it is not ready
RECOVERED_WITHIN = 60.0


def full_disk(setting: Setting) -> Figures:
    """Writes are refused with the reason, reads go on, the nodes show it, and recover when there is space."""
    nodes = min(NODES, setting.nodes)
    figures = Figures("full disk", nodes)
    with Network.made(nodes, seed=setting.seed, keep_logs_in=setting.logs("full-disk")) as network:
        for member in network.members:
            run(["mount", "-t", "tmpfs", "-o", f"size={SMALL},mode=0700", "tmpfs", str(member.directory)])
        try:
            network.start_all()
            truth = Truth(network, figures)
            first = truth.put("before the disk was full", 10, network.members)
            said = _fill(truth, network)
            figures.notes.append(f"refused with {', '.join(sorted(said)) or 'nothing'}")
            if not said:
                figures.wrong.append("the disk did not get full")
            figures.wrong += [f"refused without a reason: {text}" for text in said if not _is_reason(text)]
            figures.lost |= set(truth.read_everywhere(list(truth.values), network.members))
            if not wait_until(lambda: any(_readiness(network)), within=SHOWN_WITHIN):
                figures.wrong.append("no node with a full disk shows it: all say that they are ready")
            figures.wrong += [f"{one.host.name} has ended" for one in network.members if not one.runs]

            for member in network.members:
                run(["mount", "-o", f"remount,size={LARGE}", str(member.directory)])
            began = time.monotonic()
            if not wait_until(lambda: _puts(truth, network), within=RECOVERED_WITHIN):
                figures.wrong.append(f"still refuses writes after {RECOVERED_WITHIN:g} s with space")
            figures.notes.append(f"writes again {time.monotonic() - began:.1f} s after there was space")
            if not wait_until(lambda: not any(_readiness(network)), within=RECOVERED_WITHIN):
                figures.wrong.append(f"not ready with space: {next(filter(None, _readiness(network)), '')}")
            truth.forget(first[:2], network.members)
            figures.resurrected |= truth.still_served(network.members)
            figures.lost |= set(truth.read_everywhere(list(truth.values), network.members))
        finally:
            network.kill(*(member for member in network.members if member.runs))
            for member in network.members:
                run(["umount", str(member.directory)])
    return figures


def _fill(truth: Truth, network: Network) -> set[str]:
    """Puts until `REFUSALS` in a row were refused; what was said."""
    said: set[str] = set()
    in_a_row = 0
    for number in range(MOST_PUTS):
        value = f"fills the disk {number} ".encode().ljust(VALUE, b".")
        answer = network.put([(network.members[number % len(network)], value)])[0]
        if answer.status == 202:
            truth.values[key_of(answer)] = value
            truth.figures.keys += 1
            in_a_row = 0
            continue
        said.add(reason(answer))
        in_a_row += 1
        if in_a_row == REFUSALS:
            break
    return said


def _is_reason(text: str) -> bool:
    status, _, why = text.partition(" ")
    return status in map(str, REASONS) and any(word in why.lower() for word in ("full", "disk", "storage", "database"))


def _puts(truth: Truth, network: Network) -> bool:
    """Whether every node accepts a write."""
    values = [f"after there was space {member.number} {time.monotonic()}".encode() for member in network.members]
    answers = network.put(zip(network.members, values, strict=True))
    for value, answer in zip(values, answers, strict=True):
        if answer.status == 202:
            truth.values[key_of(answer)] = value
            truth.figures.keys += 1
    return all(answer.status == 202 for answer in answers)


def _readiness(network: Network) -> list[str]:
    """Why each node is not ready; empty for one that is."""
    answers = network.ask([Request(one.host.control, "GET", "/-/ready") for one in network.members], timeout=5.0)
    return ["" if answer.status == 200 else reason(answer) for answer in answers]
