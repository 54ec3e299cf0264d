"""What classic Camomile (Go, 2019) can be sent.

Rules of this file: facts about classic nodes, nothing else. They drop a whole packet whose value is not valid UTF-8,
and cut values at 1000 bytes.
"""

from __future__ import annotations

MAX_CLASSIC_VALUE = 1000


def is_for_classic(value: bytes) -> bool:
    """Whether a classic node would take the value as it is."""
    if not 0 < len(value) <= MAX_CLASSIC_VALUE:
        return False
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
