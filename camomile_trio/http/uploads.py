"""How the body of a request is received: bounded, whatever the client says and sends.

Rules of this file: the bound is fixed before the first byte is kept; what goes past it is dropped as it comes, never
collected, and what is kept is held of the bytes that all requests have together. What the bytes mean is for others.
"""

from __future__ import annotations

import io
from typing import cast

import trio
from hypercorn.typing import ASGIReceiveCallable
from quart import Quart, request
from quart_trio.wrappers.request import TrioBody, TrioRequest

from camomile_trio.errors import CamomileError, Overloaded, ValueTooLarge
from camomile_trio.http.budget import SHARE, Share
from camomile_trio.http.refusals import SlowBody

# By how much a share grows for a body that came without its length.
_STEP = 64 * 1024


class Upload:
    """What a client has sent of a body, up to `bound` bytes."""

    def __init__(self, bound: int, share: Share) -> None:
        # Not a list of what came: a client that sends byte for byte would have each of them kept as an object.
        self._kept = io.BytesIO()
        self._bound = bound
        self._share = share
        self._size = 0

    def append(self, data: bytes) -> None:
        """Keeps a piece. ValueTooLarge or Overloaded if there is no room for it; nothing is kept then."""
        self._size += len(data)
        try:
            if self._size > self._bound:
                raise ValueTooLarge("the body is larger than any value that this node takes; nothing was stored")
            if self._size > self._share.held:
                self._share.hold(min(self._size + _STEP, self._bound))
        except (ValueTooLarge, Overloaded):
            self._kept = io.BytesIO()
            raise
        self._kept.write(data)

    def take(self) -> bytes:
        """All that was kept, once."""
        body = self._kept.getvalue()  # itself, not a copy
        self._kept = io.BytesIO()
        return body


class ClientGone(Exception):
    """The client has left before the end of its body."""


async def receive_upload(receive: ASGIReceiveCallable, upload: Upload, timeout: float) -> bytes:
    """The whole body of a request. ValueTooLarge, Overloaded, ClientGone, or SlowBody after `timeout` seconds."""
    with trio.move_on_after(timeout):
        while True:
            event = await receive()
            if event["type"] != "http.request":
                raise ClientGone
            upload.append(event["body"])
            if not event["more_body"]:
                return upload.take()
    raise SlowBody.after(timeout)


class QuartBody(TrioBody):
    """The same for Quart, which feeds it: what is not wanted is dropped."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(None, None)
        self._upload: Upload | None = None
        self._refusal: CamomileError | None = None
        self._known = trio.Event()  # what will come of it is known: all is here, or it is too much
        self._ended = False

    def want(self, upload: Upload) -> None:
        """To be called once, before anything was received."""
        self._upload = upload

    def append(self, data: bytes) -> None:
        if self._upload is None or self._refusal is not None:
            return
        try:
            self._upload.append(data)
        except (ValueTooLarge, Overloaded) as refusal:
            self._refusal = refusal
            self._known.set()

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
        return b"" if self._upload is None else self._upload.take()


class UploadRequest(TrioRequest):
    """A request of Quart's whose body is kept only where one is wanted: a POST's, up to MAX_CONTENT_LENGTH bytes."""

    body_class = QuartBody
    body: QuartBody

    def __init__(self, *args: object, max_content_length: int | None = None, **named: object) -> None:
        super().__init__(*args, max_content_length=max_content_length, **named)  # type: ignore[arg-type]
        if self.method == "POST" and max_content_length is not None:
            share: Share = self.scope["extensions"][SHARE]  # type: ignore[assignment]
            self.body.want(Upload(max_content_length, share))


def current_request() -> UploadRequest:
    """The request that this task serves, with our class's own words."""
    return cast("UploadRequest", request)


def receive_bounded_bodies(app: Quart, *, largest_body: int) -> None:
    """Makes `app` receive bodies as this file says."""
    app.request_class = UploadRequest
    app.config["MAX_CONTENT_LENGTH"] = largest_body
