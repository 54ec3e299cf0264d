"""Damage done to datagrams, for hypothesis: near enough to a real packet to get past the first checks."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """A datagram with a few bytes changed, left out, added, or taken from another one."""
    datagram = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        # Most of a datagram is content; tags and lengths stand near the start and, for the envelope, at the end.
        at = draw(st.integers(0, len(datagram)) | st.integers(0, min(90, len(datagram))))
        at = draw(st.sampled_from([at, len(datagram) - at]))
        match draw(st.sampled_from(["change", "flip", "cut", "leave out", "insert", "double"])):
            case "change" if at < len(datagram):
                datagram[at] = draw(st.integers(0, 255))
            case "flip" if at < len(datagram):
                datagram[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del datagram[at:]
            case "leave out":
                del datagram[at : at + draw(st.integers(1, 40))]
            case "insert":
                datagram[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                datagram += datagram[at:]
    return bytes(datagram)
