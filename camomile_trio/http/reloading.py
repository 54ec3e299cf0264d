"""POST reload: the node reads its network key file again, and may be told anew how many nodes there are.

Rules of this file: one handler for both servers, the public one and the control socket; who may call it is theirs to
decide. A body that could be read in two ways is refused. What the node cannot read is the node's trouble and not the
caller's: it goes on with what it has.
"""

from __future__ import annotations

import json

from quart import Response

from camomile_trio.config import MOST_EXPECTED
from camomile_trio.errors import ConfigError
from camomile_trio.http.documents import json_response, reloaded_document
from camomile_trio.http.refusals import BadRequest, NotReloaded
from camomile_trio.http.served import ServedNode
from camomile_trio.http.uploads import current_request

_BODY_SECONDS = 10.0
_MOST_BYTES = 1024
_REMEDY = f'send no body, or {{"expect": N}} with N from 1 to {MOST_EXPECTED}'


async def reload_node(node: ServedNode) -> Response:
    """Carries out the request that this task serves. BadRequest, NotReloaded."""
    expect = _expect_in(await current_request().body.read(_BODY_SECONDS))
    try:
        reloaded = node.reload(expect=expect)
    except ConfigError as error:
        raise NotReloaded(f"not reloaded, what was before goes on: {error}", remedy=error.remedy) from None
    return json_response(reloaded_document(reloaded))


def _expect_in(body_untrusted: bytes) -> int | None:
    if not body_untrusted.strip():
        return None
    if len(body_untrusted) > _MOST_BYTES:
        raise BadRequest(f"the body has more than {_MOST_BYTES} bytes", remedy=_REMEDY)
    try:
        found = json.loads(body_untrusted, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        raise BadRequest("the body is no JSON object", remedy=_REMEDY) from None
    if not isinstance(found, dict) or found.keys() - {"expect"}:
        raise BadRequest("the body has something else than `expect`", remedy=_REMEDY)
    expect = found.get("expect")
    if expect is None:
        return None
    if not isinstance(expect, int) or isinstance(expect, bool) or not 1 <= expect <= MOST_EXPECTED:
        raise BadRequest("`expect` is no number of nodes", remedy=_REMEDY)
    return expect


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member is there twice")
    return members
