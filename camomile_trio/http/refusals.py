"""Why a request is refused before the node hears of it.

Rules of this file: errors only, all of them the caller's fault but for what a reload finds on the node's disk; the
node's own errors are in `camomile_trio.errors`.
"""

from __future__ import annotations

from camomile_trio.config import number_text
from camomile_trio.errors import CallerError, CamomileError


class BadRequest(CallerError):
    """The request is not one that this service understands."""


class Unauthorized(CallerError):
    """The bearer token is missing or wrong."""

    default_remedy = "send the header Authorization: Bearer TOKEN with the token of this node's --http-token"


class NoToken(CallerError):
    """The request needs the token of a node that has none."""

    default_remedy = "run `camomile reload` on the node's machine, or start the node with --http-token FILE"


class NotReloaded(CamomileError):
    """What the node was to read again is broken, so that it goes on with what it had."""


class SlowBody(CallerError):
    """The client took too long to send its body."""

    default_remedy = "send the body faster, or in a smaller value"

    @classmethod
    def after(cls, seconds: float) -> SlowBody:
        return cls(f"the body had not come to its end after {number_text(seconds)} s")
