"""Packages that libraries import where they are installed, and that a long-lived process has no use for.

Rules of this file: it changes what the whole process can import, so only a command calls it, never a program that
embeds a node.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def leaving_out(*packages: str) -> Iterator[None]:
    """For the block, packages that were not imported before it are as if they were not installed."""
    left_out = [name for name in packages if name not in sys.modules]
    for name in left_out:
        sys.modules[name] = None  # type: ignore[assignment]  # as the import statement's reference documents it
    try:
        yield
    finally:
        for name in left_out:
            del sys.modules[name]
