"""The kernel's table of neighbours, which all containers of a machine share.

Rules of this file: it changes the machine's settings only where they are too small for the run, only as root, and puts
them back. With more entries than gc_thresh3 the kernel drops packets at random, and every test fails for a reason that
no log names (docs/operating.md, Many nodes on one host).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SETTINGS = Path("/proc/sys/net/ipv4/neigh/default")
NAMES = ("gc_thresh1", "gc_thresh2", "gc_thresh3")


@contextmanager
def room_for_neighbours(nodes: int, settings: Path = SETTINGS) -> Iterator[None]:
    """Room for every container to know every other, for the length of the block; a word where that cannot be had."""
    wanted = 2 * nodes * nodes
    files = [settings / name for name in NAMES]
    try:
        before = [file.read_text("ascii") for file in files]
        if int(before[-1]) >= wanted:
            yield
            return
        # From the largest down: no threshold is ever above the next one.
        for file, size in zip(reversed(files), (4 * wanted, 2 * wanted, wanted), strict=True):
            file.write_text(str(size), "ascii")
    except (OSError, ValueError):
        print(
            f"cluster: {nodes} containers may need {wanted} entries in the kernel's neighbour table; "
            "docs/operating.md says how to make room",
            file=sys.stderr,
        )
        yield
        return
    try:
        yield
    finally:
        for file, text in zip(files, before, strict=True):
            file.write_text(text, "ascii")
