"""Damage done to packets, for hypothesis: near enough to a real packet to get past the first checks."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """A packet with a few bytes changed, left out, added, or taken from another one."""
    packet = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        # Most of a packet is content; tags and lengths stand near the start and, for records and flags, at the end.
        at = draw(st.integers(0, len(packet)) | st.integers(0, min(90, len(packet))))
        at = draw(st.sampled_from([at, len(packet) - at]))
        match draw(st.sampled_from(["change", "flip", "cut", "leave out", "insert", "double"])):
            case "change" if at < len(packet):
                packet[at] = draw(st.integers(0, 255))
            case "flip" if at < len(packet):
                packet[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del packet[at:]
            case "leave out":
                del packet[at : at + draw(st.integers(1, 40))]
            case "insert":
                packet[at:at] = draw(st.binary(min_size=1, max_size=8))
            case _:
                packet += packet[at:]
    return bytes(packet)
