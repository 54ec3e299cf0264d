"""The node's logger.

Rules of this file: what a peer or a client can cause is counted, not logged; a log line is news for the operator.
How lines look, and where they go, is for the program around the node to say.
"""

from __future__ import annotations

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger("camomile.node")
