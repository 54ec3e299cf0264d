"""The one check before all handlers: what is refused by its head alone, before any of its body is asked for.

Rules of this file: it reads headers and counts bytes, and awaits nothing. Whichever way a request goes afterwards, it
came through here first, and it goes on with its share of the bytes that all requests have together.
"""

from __future__ import annotations

import hmac

import attrs
from hypercorn.typing import HTTPScope

from camomile_trio.errors import Overloaded, ValueTooLarge
from camomile_trio.http.budget import ByteBudget, Share
from camomile_trio.http.problems import Problem, problem_of
from camomile_trio.http.refusals import Unauthorized
from camomile_trio.http.values import Encoding, body_bound
from camomile_trio.http.web_pages import WebPages

_MOST_DIGITS = 18  # of a length that is worth being made a number
_CLOSE = ("Connection", "close")

_TWO_LENGTHS = Problem(
    400, "Bad request", "the request has both Content-Length and Transfer-Encoding", "send one of them", (_CLOSE,)
)
_BAD_LENGTH = Problem(400, "Bad request", "Content-Length is no number", "send the number of bytes", (_CLOSE,))
_ENCODED = Problem(
    415,
    "Encoded body",
    "the body has a Content-Encoding, and a value is stored as the bytes that it is",
    "send it decoded, or without the header to store the encoded bytes",
    (("Accept-Encoding", "identity"),),
)


@attrs.frozen
class BearerToken:
    """The token that a server asks for; without one it asks for none, and no request has a valid one."""

    _token: bytes | None = attrs.field(repr=False)

    @property
    def is_asked_for(self) -> bool:
        return self._token is not None

    def is_shown_by(self, authorization: bytes) -> bool:
        """Whether an Authorization header shows it. Compared in constant time."""
        scheme, _, sent = authorization.partition(b" ")
        # The scheme's name may be written in any case (RFC 9110 §11.1).
        return self._token is not None and hmac.compare_digest(
            scheme.title() + b" " + sent.strip(), b"Bearer " + self._token
        )

    def require(self, authorization: str) -> None:
        """Unauthorized unless an Authorization header shows it."""
        if not self.is_shown_by(authorization.encode("latin-1")):
            raise Unauthorized("the bearer token is missing or wrong")


@attrs.frozen
class Admission:
    """The check. Without `web_pages` it is not asked who sent a request: nobody's web page reaches this server."""

    budget: ByteBudget
    largest_value: int
    token: BearerToken = BearerToken(None)
    web_pages: WebPages | None = None

    def refusal(self, scope: HTTPScope, share: Share) -> Problem | None:
        """Why a request is refused, or None: then `share` holds the bytes of the body that it announces."""
        lengths = []
        encoding = Encoding.RAW
        is_chunked = is_encoded = has_token = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                lengths.append(value)
            elif name == b"transfer-encoding":
                is_chunked = True
            elif name == b"content-type":
                encoding = Encoding.of(value.decode("latin-1"))
            elif name == b"content-encoding":
                is_encoded = is_encoded or value.strip().lower() not in {b"", b"identity"}
            elif name == b"authorization":
                has_token = has_token or self.token.is_shown_by(value)
        if lengths and is_chunked:
            # They may disagree about where the request ends, and its body would be read as the next (RFC 9112 §6.1).
            return _TWO_LENGTHS
        if self.web_pages is not None and not has_token:
            refusal = self.web_pages.refusal(scope["method"], scope["headers"])
            if refusal is not None:
                return refusal
        if scope["method"] != "POST":
            return None  # a body that nobody wants is dropped as it comes
        if is_encoded:
            return _ENCODED
        return self._refusal_of_body(lengths, body_bound(encoding, self.largest_value), share)

    def _refusal_of_body(self, lengths: list[bytes], bound: int, share: Share) -> Problem | None:
        if not all(length.isdigit() for length in lengths):
            return _BAD_LENGTH
        digits = max((length.lstrip(b"0") for length in lengths), key=len, default=b"")
        try:
            if len(digits) > _MOST_DIGITS or int(digits or b"0") > bound:
                raise ValueTooLarge(
                    f"the body is larger than the {bound} bytes that this node takes; nothing was stored"
                )
            share.hold(int(digits or b"0"))
        except (ValueTooLarge, Overloaded) as error:
            problem = problem_of(error)
            return attrs.evolve(problem, headers=(*problem.headers, _CLOSE))
        return None
