"""What the tests of sessions share: an empty line.

Rules of this file: fixtures only.
"""

from __future__ import annotations

import pytest

from tests.peer.nodes import Line


@pytest.fixture
def line() -> Line:
    return Line()
