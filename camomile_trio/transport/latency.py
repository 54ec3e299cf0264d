"""How long packets of a simulated network take: the same for all, around a median with a long tail, or by place.

Rules of this file: values, without a clock. Times are in seconds and one way. What varies from packet to packet comes
from a number that is drawn elsewhere (`links.py`) and given in, so that a latency itself remembers and draws nothing.
A constant latency is a plain float, and one that is evenly spread is a float with jitter: neither needs a class.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from statistics import NormalDist
from typing import ClassVar, Protocol

import attrs

from camomile_trio.errors import ConfigError
from camomile_trio.kademlia.contacts import Endpoint

_deviation = NormalDist().inv_cdf
# Logarithms and exponentials differ between systems in their last bits: latencies keep none below about 1 ns.
_GRAIN = 2.0**30

_WAYS = {"one-way ms": 1.0, "round-trip ms": 0.5}
_SHAPE = "give a first row of names after 'one-way ms' or 'round-trip ms', then for each name a row: it, its times"


def require_seconds(name: str, seconds: float) -> None:
    """ConfigError unless it is a finite time of 0 s or more."""
    if not 0.0 <= seconds < math.inf:
        raise ConfigError(f"{name} is {seconds}", remedy=f"choose a {name} of 0 s or more")


class Latency(Protocol):
    """How long a packet takes on a link."""

    # Whether packets of one link differ. If not, nothing is drawn for them.
    varies: ClassVar[bool]

    def seconds(self, source: Endpoint, destination: Endpoint, draw: float) -> float:
        """That of one packet. `draw` is its chance, between 0 and 1 and neither of them."""


@attrs.frozen
class LogNormalLatency:
    """Half of the packets take less than `median`, a few take much longer: the tail grows with `sigma`, up to `most`.

    Of all packets 16 % take more than `median * exp(sigma)`, and 2 % more than `median * exp(2 * sigma)`.
    """

    varies: ClassVar[bool] = True

    median: float
    sigma: float = attrs.field(kw_only=True)
    most: float = attrs.field(default=5.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        for name in ("median", "sigma", "most"):
            require_seconds(name, getattr(self, name))
        if self.sigma > 10:
            raise ConfigError(
                f"sigma is {self.sigma}", remedy="choose a sigma of at most 10; the internet has about 0.5"
            )
        if self.most < self.median:
            raise ConfigError(
                f"half of all packets take more than {self.median} s, but none takes more than {self.most} s",
                remedy="choose a most above the median",
            )

    def seconds(self, source: Endpoint, destination: Endpoint, draw: float) -> float:
        exact = min(self.median * math.exp(self.sigma * _deviation(draw)), self.most)
        return round(exact * _GRAIN) / _GRAIN


@attrs.frozen
class LatencyMatrix:
    """Times between places (regions, data centres, hosts). `seconds[i][j]` is one way, from place i to place j."""

    places: tuple[str, ...]
    seconds: tuple[tuple[float, ...], ...]

    def __attrs_post_init__(self) -> None:
        if not self.places or len(set(self.places)) < len(self.places):
            raise ConfigError("a matrix of latencies needs places with different names", remedy=_SHAPE)
        if len(self.seconds) != len(self.places) or any(len(row) != len(self.places) for row in self.seconds):
            raise ConfigError(
                f"a matrix of {len(self.places)} places has {len(self.seconds)} rows"
                f" of {sorted({len(row) for row in self.seconds})} times",
                remedy="give each place one row, and in it one time for each place, itself included",
            )
        for place, row in zip(self.places, self.seconds, strict=True):
            for other, seconds in zip(self.places, row, strict=True):
                require_seconds(f"latency from {place} to {other}", seconds)

    @classmethod
    def read(cls, path: Path) -> LatencyMatrix:
        """From a file, by its suffix; ConfigError for what is not such a matrix.

        `.csv`: the first row has the unit, `one-way ms` or `round-trip ms`, and the names of the places; each further
        row a name, in the same order, and the times from there. `.json`: an object with `unit`, `places` (names) and
        `matrix` (rows of times). A round trip counts for half one way.
        """
        read = {".csv": _read_csv, ".json": _read_json}.get(path.suffix.lower())
        if read is None:
            raise ConfigError(f"{path} is neither a .csv nor a .json file", remedy="name it by what it is")
        try:
            unit, places, rows = read(path.read_text(encoding="utf-8"))
            share = _WAYS[unit.strip()]
            seconds = tuple(tuple(float(cell) * share / 1000 for cell in row) for row in rows)
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}", remedy="check the path") from None
        except KeyError as error:
            raise ConfigError(f"{path}: there is no {error}", remedy=_SHAPE) from None
        except (ValueError, csv.Error) as error:
            raise ConfigError(f"{path}: {error}", remedy=_SHAPE) from None
        return cls(tuple(places), seconds)


@attrs.frozen
class MatrixLatency:
    """What a matrix says. A node that has no place in `at` is put somewhere by chance, by `seed` and its endpoint."""

    varies: ClassVar[bool] = False

    matrix: LatencyMatrix
    seed: int = attrs.field(kw_only=True)
    at: Mapping[Endpoint, str] = attrs.field(factory=dict, kw_only=True)
    _rows: dict[Endpoint, int] = attrs.field(init=False, factory=dict, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        for endpoint, place in self.at.items():
            if place not in self.matrix.places:
                raise ConfigError(
                    f"{endpoint} is at {place!r}, which is no place of the matrix",
                    remedy=f"choose one of {', '.join(self.matrix.places[:10])}",
                )
            self._rows[endpoint] = self.matrix.places.index(place)

    def place(self, endpoint: Endpoint) -> str:
        """Where a node is."""
        return self.matrix.places[self._row(endpoint)]

    def seconds(self, source: Endpoint, destination: Endpoint, draw: float) -> float:
        return self.matrix.seconds[self._row(source)][self._row(destination)]

    def _row(self, endpoint: Endpoint) -> int:
        row = self._rows.get(endpoint)
        if row is None:
            digest = blake2b(endpoint, key=b"place %d" % self.seed, digest_size=8).digest()
            row = self._rows[endpoint] = int.from_bytes(digest, "big") % len(self.matrix.places)
        return row


def _read_csv(text: str) -> tuple[str, Sequence[str], Sequence[Sequence[str]]]:
    table = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), strict=True) if row]
    if not table:
        raise ValueError("it is empty")
    (unit, *places), *rows = table
    if [row[0] for row in rows] != places:
        raise ValueError("its rows are not named as its columns are")
    return unit, places, [row[1:] for row in rows]


def _read_json(text: str) -> tuple[str, Sequence[str], Sequence[Sequence[str]]]:
    found: object = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("it is not an object")
    places, rows = found["places"], found["matrix"]
    if not isinstance(places, list) or not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ValueError("its places or its matrix are not lists")
    # Names and times become text, as they are in a CSV file: one reading of numbers for both.
    return str(found["unit"]), [str(place) for place in places], [[str(cell) for cell in row] for row in rows]
