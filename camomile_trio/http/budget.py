"""The bytes that bodies of requests and values in answers may take in memory, for all clients of a server together.

Rules of this file: counting only, and no I/O. A request holds its share from before its first byte is read until its
answer has left; a share that does not fit is refused at once, never waited for, so that nothing can get stuck here.
"""

from __future__ import annotations

from types import TracebackType

import attrs

from camomile_trio.errors import Overloaded

# Where the share of a request stands in the extensions of its ASGI scope.
SHARE = "camomile.share"


@attrs.define(eq=False)
class ByteBudget:
    """At most `most` bytes at once."""

    most: int
    used: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)

    def share(self) -> Share:
        """One request's part of it, which holds nothing yet. To be entered, so that it is given back."""
        return Share(self)


@attrs.define(eq=False)
class Share:
    """What one request holds."""

    _budget: ByteBudget
    held: int = attrs.field(default=0, init=False)

    def hold(self, size: int) -> None:
        """From now on it holds `size` bytes, more or fewer than before; Overloaded and no change if they do not fit."""
        budget = self._budget
        used = budget.used - self.held + size
        if used > budget.most and size > self.held:
            budget.refused += 1
            raise Overloaded(
                f"bodies and answers under way take {budget.used} of the {budget.most} bytes that this node gives them"
            )
        budget.used = used
        self.held = size

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._budget.used -= self.held
        self.held = 0
