"""How Quart receives the body of a request: bounded, whatever the client says and sends.

Rules of this file: the bound is fixed before the first byte is kept; what goes past it is dropped as it comes, never
collected, and what is kept is held of the bytes that all requests have together. What the bytes mean is for `values`.
"""

from __future__ import annotations

import io
from typing import cast

import trio
from quart import Quart, request
from quart_trio.wrappers.request import TrioBody, TrioRequest

from camomile_trio.errors import CamomileError, Overloaded, ValueTooLarge
from camomile_trio.http.budget import SHARE, Share
from camomile_trio.http.refusals import SlowBody
from camomile_trio.http.values import Encoding, body_bound

# By how much a share grows for a body that came without its length.
_STEP = 64 * 1024


class BoundedBody(TrioBody):
    """What a client sends, up to `bound` bytes. Fed by Quart, read by one handler."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(None, None)
        self._kept = io.BytesIO()
        self._bound = 0
        self._share: Share | None = None
        self._size = 0
        self._refusal: CamomileError | None = None
        self._known = trio.Event()  # what will come of it is known: all is here, or it is too much
        self._ended = False

    def limit(self, bound: int, share: Share | None) -> None:
        """To be called once, before anything was received."""
        self._bound = bound
        self._share = share

    def append(self, data: bytes) -> None:
        if self._refusal is not None or not data:
            return
        self._size += len(data)
        try:
            if self._size > self._bound:
                raise ValueTooLarge("the body is larger than any value that this node takes; nothing was stored")
            if self._share is not None and self._size > self._share.held:
                self._share.hold(min(self._size + _STEP, self._bound))
        except (ValueTooLarge, Overloaded) as refusal:
            self._refusal = refusal
            self._kept = io.BytesIO()
            self._known.set()
        else:
            self._kept.write(data)

    def set_complete(self) -> None:
        super().set_complete()
        self._ended = True
        self._known.set()

    async def read(self, timeout: float) -> bytes:
        """The whole body, once. ValueTooLarge and Overloaded as soon as that is known, SlowBody after `timeout` s."""
        with trio.move_on_after(timeout):
            await self._known.wait()
        if self._refusal is not None:
            raise self._refusal
        if not self._ended:
            raise SlowBody.after(timeout)
        body = self._kept.getvalue()  # itself, not a copy
        self._kept = io.BytesIO()
        return body


class UploadRequest(TrioRequest):
    """A request whose body is kept only where one is wanted: a POST's, up to what its encoding may need.

    The application's MAX_CONTENT_LENGTH is the size of the largest value; what an encoding adds comes on top.
    """

    body_class = BoundedBody
    body: BoundedBody

    def __init__(self, *args: object, max_content_length: int | None = None, **named: object) -> None:
        super().__init__(*args, max_content_length=max_content_length, **named)  # type: ignore[arg-type]
        if self.method == "POST" and max_content_length is not None:
            encoding = Encoding.of(self.headers.get("Content-Type", ""))
            self.body.limit(body_bound(encoding, max_content_length), self.share)

    @property
    def share(self) -> Share:
        """What this request holds of the bytes that all have together."""
        share: Share = self.scope["extensions"][SHARE]  # type: ignore[assignment]
        return share


def current_request() -> UploadRequest:
    """The request that this task serves, with our class's own words."""
    return cast("UploadRequest", request)


def receive_bounded_bodies(app: Quart, *, largest_value: int) -> None:
    """Makes `app` receive bodies as this file says."""
    app.request_class = UploadRequest
    app.config["MAX_CONTENT_LENGTH"] = largest_value
