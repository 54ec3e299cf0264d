"""How the body of a request is received: bounded, whatever the client says and sends.

Rules of this file: the bound is fixed before the first byte is kept; what goes past it is dropped as it comes, never
collected. No answer leaves before the body has ended or the client had its time to end it: a connection closed on
unread bytes is reset, and the client may lose the answer that says why. What the bytes mean is for `values`.
"""

from __future__ import annotations

from typing import cast

import trio
from quart import Quart, request
from quart.wrappers import Response
from quart_trio.wrappers.request import TrioBody, TrioRequest

from camomile_trio.errors import ValueTooLarge
from camomile_trio.http.refusals import SlowBody
from camomile_trio.http.short_way import DRAIN_SECONDS
from camomile_trio.http.values import Encoding, body_bound


class BoundedBody(TrioBody):
    """What a client sends, up to `bound` bytes. Fed by Quart, read by one handler."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        # Quart's own limit answers at once and forgets the rest of the body; ours waits for its end.
        super().__init__(None, None)
        self.bound = 0
        self.expected = expected_content_length
        self._size = 0
        self._overflowed = False
        self._known = trio.Event()  # what will come of it is known: all is here, or it is too much
        self._ended = trio.Event()

    def limit(self, bound: int) -> None:
        """To be called once, before anything was received."""
        self.bound = bound
        if self.expected is not None and self.expected > bound:
            self._overflow()

    def append(self, data: bytes) -> None:
        if self._overflowed or not data:
            return
        self._size += len(data)
        if self._size > self.bound:
            self._overflow()
        else:
            super().append(data)

    def set_complete(self) -> None:
        super().set_complete()
        self._known.set()
        self._ended.set()

    def _overflow(self) -> None:
        self._overflowed = True
        self.clear()
        self._known.set()

    @property
    def ended(self) -> bool:
        """Whether the client has sent all of it."""
        return self._ended.is_set()

    async def wait_ended(self) -> None:
        await self._ended.wait()

    async def read(self, timeout: float) -> bytes:
        """The whole body. ValueTooLarge as soon as it is known to pass the bound; SlowBody after `timeout` seconds."""
        with trio.move_on_after(timeout):
            await self._known.wait()
        if self._overflowed:
            raise ValueTooLarge("the body is larger than any value that this node takes; nothing was stored")
        if not self._ended.is_set():
            raise SlowBody.after(timeout)
        body: bytes = await self
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
            self.body.limit(body_bound(Encoding.of(self.headers.get("Content-Type", "")), max_content_length))


def current_request() -> UploadRequest:
    """The request that this task serves, with our class's own words."""
    return cast("UploadRequest", request)


def answer_after_the_body(app: Quart, *, largest_value: int) -> None:
    """Makes `app` receive bodies as this file says."""
    app.request_class = UploadRequest
    app.config["MAX_CONTENT_LENGTH"] = largest_value

    async def let_it_end(response: Response) -> Response:
        served = current_request()
        if not served.body.ended:
            with trio.move_on_after(DRAIN_SECONDS) as patience:
                await served.body.wait_ended()
            # HTTP/2 has no such header, and needs none: the other streams go on.
            if patience.cancelled_caught and served.http_version.startswith("1"):
                response.headers["Connection"] = "close"
        return response

    app.after_request(let_it_end)
