"""What others have published about the things that we measure, each with its source.

Rules of this file: nothing from hearsay. A number is here only if its source gives it; where all that is known is a
statement, the statement stands for itself and no curve is drawn.
"""

from __future__ import annotations

import math

import attrs


@attrs.frozen
class Source:
    """A publication, and what it says on one of our pictures."""

    topic: str  # the picture that it belongs to
    authors: str
    year: int
    title: str
    where: str
    says: str
    is_quoted: bool  # `says` is the source's own words


HOPS, LATENCY, CHURN = "hops", "latency", "churn"

SOURCES = (
    Source(
        HOPS,
        "P. Maymounkov, D. Mazières",
        2002,
        "Kademlia: A Peer-to-peer Information System Based on the XOR Metric",
        "IPTPS 2002, LNCS 2429, pp. 53-65, doi:10.1007/3-540-45748-8_5",
        "A lookup takes ⌈log n⌉ + c steps for a small constant c; with buckets for b bits at a time the expected "
        "number of hops falls to log n to the base 2^b.",
        is_quoted=False,
    ),
    Source(
        HOPS,
        "X. S. Cai, L. Devroye",
        2013,
        "A Probabilistic Analysis of Kademlia Networks",
        "ISAAC 2013, arXiv:1309.5866",
        "the routing time is about c*log(n), where n is the number of nodes in the network and c is an explicitly "
        "described constant",
        is_quoted=True,
    ),
    Source(
        LATENCY,
        "R. Jimenez, F. Osmani, B. Knutsson",
        2011,
        "Sub-Second Lookups on a Large-Scale Kademlia-Based Overlay",
        "IEEE P2P 2011, pp. 82-91, doi:10.1109/P2P.2011.6038665",
        "not only can we reduce median latencies to between 100 and 200 ms, but also consistently achieve sub-second "
        "lookups",
        is_quoted=True,
    ),
    Source(
        CHURN,
        "D. Stutzbach, R. Rejaie",
        2006,
        "Understanding Churn in Peer-to-Peer Networks",
        "ACM IMC 2006, pp. 189-202",
        "(ii) session lengths are not exponential, (iii) a large portion of active peers are highly stable while the "
        "remaining peers turn over quickly",
        is_quoted=True,
    ),
)

# Jimenez et al. (2011): median lookup latency in the Mainline DHT with their modified clients, in seconds.
MAINLINE_MEDIAN_S = (0.1, 0.2)


def sources_on(topic: str) -> list[Source]:
    return [each for each in SOURCES if each.topic == topic]


def most_hops(nodes: int) -> int:
    """⌈log2 n⌉: what a lookup that comes one bit nearer with each hop needs (Maymounkov and Mazières, 2002)."""
    return math.ceil(math.log2(nodes)) if nodes > 1 else 0
