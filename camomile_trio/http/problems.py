"""What a client is told when its request is not carried out: problem documents (RFC 9457).

Rules of this file: every error becomes one status, one line of cause (`detail`) and one line of remedy, by one table.
No traceback and nothing of the inside of the node goes out: what is not an error of Camomile's own is a bug, is called
one, and says no more.
"""

from __future__ import annotations

import json
from http import HTTPStatus

import attrs
from quart import Quart, Response
from werkzeug.exceptions import HTTPException

from camomile_trio.errors import (
    BadKey,
    CallerError,
    CamomileError,
    ConfigError,
    EmptyValue,
    Forgotten,
    NoMajority,
    NotFound,
    NotJoined,
    NotPublisher,
    Overloaded,
    StorageFull,
    TooManyPublishers,
    Unavailable,
    Unreachable,
    ValueTooLarge,
    WrongClock,
)
from camomile_trio.http.refusals import BadRequest, NoToken, NotReloaded, SlowBody, Unauthorized

PROBLEM_TYPE = "application/problem+json"
_TYPE_PREFIX = "urn:camomile:problem:"


# The first row that fits counts, so what is more special stands above what is more general.
_STATUSES: tuple[tuple[type[CamomileError], int, str], ...] = (
    (BadKey, 400, "Not a key"),
    (EmptyValue, 400, "Empty value"),
    (BadRequest, 400, "Bad request"),
    (ConfigError, 400, "Out of range"),
    (Unauthorized, 401, "Token required"),
    (NoToken, 403, "No token set"),
    (NotPublisher, 403, "Published by others only"),
    (Forgotten, 410, "Forgotten"),
    (NotFound, 404, "Not found"),
    (SlowBody, 408, "Body too slow"),
    (TooManyPublishers, 409, "Too many publishers"),
    (ValueTooLarge, 413, "Value too large"),
    (CallerError, 400, "Bad request"),
    (StorageFull, 507, "Storage full"),
    (NotJoined, 503, "Not joined yet"),
    (NoMajority, 503, "No majority"),
    (Unreachable, 503, "No node answered"),
    (WrongClock, 503, "Wrong clock"),
    (Overloaded, 503, "Overloaded"),
    (Unavailable, 503, "Unavailable"),
    (NotReloaded, 500, "Not reloaded"),
    (CamomileError, 500, "Node in trouble"),
)


@attrs.frozen
class Problem:
    """A refusal as it goes out: RFC 9457's members and `remedy`."""

    status: int
    title: str
    detail: str
    remedy: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def type(self) -> str:
        """A constant URI for programs to compare."""
        return _TYPE_PREFIX + self.title.lower().replace(" ", "-")

    def body(self) -> bytes:
        members = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "remedy": self.remedy,
        }
        return json.dumps(members, ensure_ascii=False).encode() + b"\n"

    def all_headers(self) -> dict[str, str]:
        """Every header but the length. What failed now may work later, so that nothing of it is kept by caches."""
        return {"Content-Type": PROBLEM_TYPE, "Cache-Control": "no-store", **dict(self.headers)}


BUG = Problem(500, "Bug", "the node made a mistake, and has logged it", "please report it")


SLOW_HEAD = Problem(408, "Request too slow", "the head of the request did not come to its end", "send it at one go")


def problem_of_protocol(status: int, cause: str) -> Problem:
    """The refusal of what is not HTTP, or too much of it: `status` and `cause` are h11's."""
    if status == 431:
        return Problem(
            431, "Head too large", "the head of the request has too many bytes", "send fewer or shorter headers"
        )
    title = {501: "Not implemented"}.get(status, "Bad request")
    return Problem(status, title, _one_line(cause), "send HTTP/1.1 as RFC 9112 describes it")


def problem_of(error: CamomileError) -> Problem:
    """The refusal that stands for one of Camomile's errors."""
    status, title = next((status, title) for kind, status, title in _STATUSES if isinstance(error, kind))
    headers: tuple[tuple[str, str], ...] = ()
    if isinstance(error, Unavailable):
        headers = (("Retry-After", str(error.retry_after)),)
    elif isinstance(error, Unauthorized):
        headers = (("WWW-Authenticate", 'Bearer realm="camomile"'),)
    return Problem(status, title, _one_line(str(error)), _one_line(error.remedy), headers)


def _problem_of_http(error: HTTPException) -> Problem:
    """The refusal for what the framework itself raised: an unknown path, a wrong method, a bug of ours."""
    status = error.code or 500
    if status == 404:
        return Problem(404, "No such path", "nothing is served under this path", "GET / says what there is")
    if status == 405:
        allowed = next((value for name, value in error.get_headers() if name.lower() == "allow"), "")
        return Problem(
            405,
            "Method not allowed",
            "this path does not take this method",
            f"use one of {allowed}",
            (("Allow", allowed),),
        )
    if status >= 500:
        return attrs.evolve(BUG, status=status)
    title = HTTPStatus(status).phrase.capitalize()
    return Problem(status, title, _one_line(error.description or title), "GET / says how requests look")


def response_of(problem: Problem) -> Response:
    return Response(problem.body(), status=problem.status, headers=problem.all_headers())


def answer_with_problems(app: Quart) -> None:
    """Turns every error that leaves a handler of `app` into its problem document."""

    async def of_camomile(error: CamomileError) -> Response:
        return response_of(problem_of(error))

    async def of_framework(error: HTTPException) -> Response:
        return response_of(_problem_of_http(error))

    app.register_error_handler(CamomileError, of_camomile)
    app.register_error_handler(HTTPException, of_framework)


def _one_line(text: str) -> str:
    return " ".join(text.split())
