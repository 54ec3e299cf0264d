"""How the garbage collector of a long-lived process is set: `camomile node` alone, never a program that embeds a node.

Rules of this file: it changes the whole process, so only a command calls it. Reference counts free what a node drops;
the collector is for the few cycles, such as exceptions with their frames. What the imports have made lives as long as
the process, and looking through its 66 000 objects again and again finds nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# More young collections than there are in any process: what is older is left alone.
_NEVER = 2**30
# New containers, less those freed, before the young ones are looked through (Python: 700). What may wait unfreed
# because of it is some megabytes at the most.
YOUNG = 10_000


@contextmanager
def imports_for_good() -> Iterator[None]:
    """For the block that imports what a process runs: what it made is looked through once at most, and never again.

    Once, since classes and patterns leave cycles behind while they are made: 2 MB, if nothing were freed until the end.
    """
    older = gc.get_threshold()[1:]
    gc.set_threshold(YOUNG, _NEVER, _NEVER)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(YOUNG, *older)
