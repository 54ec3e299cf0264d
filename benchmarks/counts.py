"""`make bench-check`: counts beside the committed ones. `make bench-check ACCEPT=1` commits to new ones.

Rules of this file: a count may shrink freely and grow by a tenth. Another Python calls otherwise: compared are only
counts of the version that they were accepted on, and on another it is said that nothing was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ACCEPTED = Path(__file__).with_suffix(".json")
MOST_GROWTH = 0.10
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def complaints(accepted: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    """What has grown by more than a tenth, or is on one side only."""
    said = []
    for name, count in found.items():
        before = accepted.get(name)
        if before is None:
            said.append(f"{name}: {count}, and no figure is accepted for it")
        elif count > before * (1 + MOST_GROWTH):
            grown = f"{count / before - 1:+.0%}" if before else "from nothing"
            said.append(f"{name}: {count}, accepted is {before} ({grown}, at most +{MOST_GROWTH:.0%})")
    return said + [f"{name}: no longer measured" for name in accepted if name not in found]


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.counts", description=__doc__)
    parser.add_argument("--accept", action="store_true", help="write the figures found as the accepted ones")
    parser.add_argument("--json", action="store_true", help="print the figures found, and compare nothing")
    chosen = parser.parse_args()
    accepted: dict[str, Any] = {"python": VERSION, "counts": {}}
    if ACCEPTED.exists():
        accepted = json.loads(ACCEPTED.read_text("utf-8"))
    if accepted["python"] != VERSION and not (chosen.accept or chosen.json):
        print(f"skipped: counts are accepted for Python {accepted['python']}, and this is {VERSION}")
        return 0
    from benchmarks.workloads import all_counts

    found = all_counts()
    if chosen.json:
        print(json.dumps(found))
        return 0
    if chosen.accept:
        ACCEPTED.write_text(json.dumps({"python": VERSION, "counts": found}, indent=1) + "\n", encoding="utf-8")
    before: Mapping[str, int] = accepted["counts"]
    for name, count in found.items():
        was = before.get(name)
        print(f"{name:55} {count:>9}" + (f" {count / was - 1:+8.1%}" if was else ""))
    if chosen.accept:
        print(f"accepted: {ACCEPTED.name} has these figures now; commit it with the reason")
        return 0
    said = complaints(before, found)
    for each in said:
        print(f"too much: {each}", file=sys.stderr)
    if said:
        print("If it is worth it: make bench-check ACCEPT=1, and say why in the commit.", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
