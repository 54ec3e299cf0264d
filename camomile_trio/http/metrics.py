"""What a node and its HTTP server did so far, for Prometheus.

Rules of this file: counting costs a fraction of a microsecond and never waits, since a put alone makes some thirty
round trips; the exposition's shape is made only when somebody asks for it. Every label has few values, none of them
chosen by a client. Nothing is registered globally: a process may hold many nodes, and what each of them tells of the
process is the same. docs/operating.md lists every metric.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterator

import attrs
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from camomile_trio.http.budget import ByteBudget
from camomile_trio.http.request_queue import RequestQueue
from camomile_trio.http.served import ServedNode
from camomile_trio.operations.events import Event, LookupEnded, OperationEnded, RoundTrip
from camomile_trio.operations.results import Statistics

PREFIX = "camomile_"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_HOPS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)

Labels = tuple[str, ...]
# What the process around the node counts.
ProcessStatistics = Callable[[], Statistics]


@attrs.define
class _Series:
    counts: list[int]
    total: float = 0.0


@attrs.define
class Histogram:
    """How often what took how long, for each set of label values. prometheus_client's own takes ten times as long."""

    name: str
    documentation: str
    label_names: Labels
    bounds: tuple[float, ...] = _SECONDS
    _series: dict[Labels, _Series] = attrs.field(factory=dict, init=False)

    def observe(self, labels: Labels, amount: float) -> None:
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series([0] * (len(self.bounds) + 1))
        series.counts[bisect_left(self.bounds, amount)] += 1
        series.total += amount

    def count(self, labels: Labels) -> int:
        """How many were observed with these labels."""
        series = self._series.get(labels)
        return 0 if series is None else sum(series.counts)

    def family(self) -> HistogramMetricFamily:
        """The cumulative form that Prometheus reads."""
        family = HistogramMetricFamily(PREFIX + self.name, self.documentation, labels=self.label_names)
        edges = [*(str(bound) for bound in self.bounds), "+Inf"]
        for labels, series in self._series.items():
            so_far = 0
            buckets = []
            for edge, count in zip(edges, series.counts, strict=True):
                so_far += count
                buckets.append((edge, float(so_far)))
            family.add_metric(labels, buckets, series.total)
        return family


class Metrics(Collector):
    """All metrics of one served node: what it counts itself, what its events say, and what its HTTP server does."""

    def __init__(self, node: ServedNode, process: ProcessStatistics = Statistics) -> None:
        self._node = node
        self._process = process
        self._registry = CollectorRegistry()
        self.open_connections = 0
        self.refused_connections = 0
        self.broken_connections = 0
        self.http_bytes = ByteBudget(0)
        self.http_requests = RequestQueue(1)
        self.requests = Histogram(
            "http_request_seconds",
            "Seconds from an HTTP request's head to the end of its answer",
            ("method", "route", "status"),
        )
        self.operations = Histogram(
            "operation_seconds",
            "Seconds that puts, gets, forgets and pings of users took; outcome is ok, or the error's name",
            ("operation", "outcome"),
        )
        self.lookup_hops = Histogram(
            "lookup_hops", "Longest chain of answers that led to one of the closest nodes", ("kind",), _HOPS
        )
        self.lookups = Histogram("lookup_seconds", "Seconds that iterative lookups took", ("kind",))
        self.round_trips = Histogram(
            "rpc_round_trip_seconds", "Seconds until a peer answered a request that was sent once", ("kind",)
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def observe(self, event: Event) -> None:
        """An observer of the node's events."""
        if isinstance(event, RoundTrip):
            self.round_trips.observe((event.kind,), event.seconds)
        elif isinstance(event, LookupEnded):
            self.lookup_hops.observe((event.kind,), event.hops)
            self.lookups.observe((event.kind,), event.seconds)
        elif isinstance(event, OperationEnded):
            self.operations.observe((event.operation, event.outcome), event.seconds)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text that Prometheus reads, and its content type, in the version that `accept` asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type

    def describe(self) -> list[Metric]:
        """Nothing: the node's names are known only once it counted something."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families. Called by the registry."""
        yield from _families(self._node.statistics())
        yield from _families(self._process())
        for histogram in (self.operations, self.lookup_hops, self.lookups, self.round_trips, self.requests):
            yield histogram.family()
        yield GaugeMetricFamily(
            PREFIX + "http_connections", "HTTP connections that are open", value=self.open_connections
        )
        yield CounterMetricFamily(
            PREFIX + "http_connections_refused",
            "HTTP connections turned away: beyond the limit, or beyond the descriptors",
            value=self.refused_connections,
        )
        yield GaugeMetricFamily(
            PREFIX + "http_requests_waiting",
            "HTTP requests that were read and have not begun",
            value=self.http_requests.waiting,
        )
        yield CounterMetricFamily(
            PREFIX + "http_requests_refused",
            "HTTP requests that waited for too long to begin: those answered 503 for it are in no other figure",
            value=self.http_requests.refused,
        )
        yield GaugeMetricFamily(
            PREFIX + "http_bytes", "Bytes of bodies and answers under way", value=self.http_bytes.used
        )
        yield CounterMetricFamily(
            PREFIX + "http_bytes_refused", "Bodies and answers beyond the bytes for all", value=self.http_bytes.refused
        )
        yield CounterMetricFamily(
            PREFIX + "http_connections_broken",
            "HTTP connections that ended because the server's library stumbled over what the client sent",
            value=self.broken_connections,
        )
        yield InfoMetricFamily(
            PREFIX + "build",
            "The version of Camomile that runs, and of Python under it; always 1",
            value={"version": self._node.status().version, "python": platform.python_version()},
        )


def _families(statistics: Statistics) -> Iterator[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for values, kind in ((statistics.counters, CounterMetricFamily), (statistics.gauges, GaugeMetricFamily)):
        for (name, labels), value in values.items():
            family = families.get(name)
            if family is None:
                names = [label for label, _ in labels]
                family = families[name] = kind(PREFIX + name, statistics.meanings[name], labels=names)
            family.add_metric([text for _, text in labels], value)
    for name, meaning in statistics.meanings.items():
        # Of a metric by label there may be nothing yet: its name and meaning tell that it exists.
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        yield families.get(name) or kind(PREFIX + name, meaning)
