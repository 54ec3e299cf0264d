"""What a caller may pass to a Node, turned into what the node works with.

Rules of this file: a value of a wrong type is a TypeError that says what to pass; a key or an id of the right type that
is none is an error of Camomile. What may change later in the caller's hands is copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from camomile_trio.config import require_type
from camomile_trio.errors import BadKey, BadNodeId
from camomile_trio.kademlia.ids import ID_BYTES, Key, NodeId


def as_value(given: bytes | bytearray | memoryview) -> bytes:
    """The bytes of a value."""
    require_type(
        "the value", given, bytes | bytearray | memoryview, "bytes", remedy='encode text first, as in "text".encode()'
    )
    return bytes(given)


def as_key(given: Key | bytes | str) -> Key:
    """A key from its 32 bytes or 64 hexadecimal digits. BadKey."""
    if isinstance(given, Key):
        return given
    require_type("the key", given, bytes | str, "the `key` that a put returned, or its 64 hexadecimal digits as text")
    if isinstance(given, str):
        return Key.parse(given)
    if len(given) != ID_BYTES:
        raise BadKey(f"a key has {ID_BYTES} bytes, not {len(given)}")
    return Key(given)


def as_node_id(given: NodeId | bytes | str) -> NodeId:
    """A node's id from its 32 bytes or 64 hexadecimal digits. BadNodeId."""
    if isinstance(given, NodeId):
        return given
    require_type("the node", given, bytes | str, "the `id` of a node, or its 64 hexadecimal digits as text")
    if isinstance(given, str):
        return NodeId.parse(given)
    if len(given) != ID_BYTES:
        raise BadNodeId(f"a node id has {ID_BYTES} bytes, not {len(given)}")
    return NodeId(given)


def as_seconds(given: float | None) -> float | None:
    """A lifetime; whether it is possible is for others to say."""
    require_type("ttl", given, int | float | None, "a number of seconds")
    return given


def as_lines(given: Sequence[bytes]) -> Sequence[bytes]:
    """The lines of an export. One line alone is no list of lines, though Python could go through it."""
    require_type("lines_untrusted", given, list | tuple, "a list of lines, each of which is bytes")
    for line in given:
        require_type("a line", line, bytes, "bytes")
    return given
