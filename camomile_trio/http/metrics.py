"""What a node and its HTTP server did so far, for Prometheus.

Rules of this file: counting costs a fraction of a microsecond and never waits, since a put alone makes some thirty
round trips; the exposition's shape is made only when somebody asks for it. Every label has few values, none of them
chosen by a client. Nothing is registered globally: a process may hold many nodes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from camomile_trio.http.budget import ByteBudget
from camomile_trio.http.served import ServedNode
from camomile_trio.node.events import Event, LookupEnded, OperationEnded, RoundTrip

PREFIX = "camomile_"

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_HOPS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0)

Labels = tuple[str, ...]
# What the process around the node counts, by names that end in _total.
ProcessCounters = Callable[[], Mapping[str, float]]


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

    def __init__(self, node: ServedNode, process: ProcessCounters = dict) -> None:
        self._node = node
        self._process = process
        self._registry = CollectorRegistry()
        self.open_connections = 0
        self.refused_connections = 0
        self.broken_connections = 0
        self.http_bytes = ByteBudget(0)
        self.requests = Histogram(
            "http_request_seconds", "Time to answer an HTTP request", ("method", "route", "status")
        )
        self.operations = Histogram("operation_seconds", "Time of puts, gets and forgets", ("operation", "outcome"))
        self.lookup_hops = Histogram("lookup_hops", "Hops of iterative lookups", ("kind",), _HOPS)
        self.lookups = Histogram("lookup_seconds", "Time of iterative lookups", ("kind",))
        self.round_trips = Histogram("rpc_round_trip_seconds", "Round trips to peers, first tries only", ("kind",))
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
        statistics = self._node.statistics()
        yield from _families(statistics.counters, CounterMetricFamily)
        yield from _families(statistics.gauges, GaugeMetricFamily)
        yield from _families({(name, ()): count for name, count in self._process().items()}, CounterMetricFamily)
        for histogram in (self.operations, self.lookup_hops, self.lookups, self.round_trips, self.requests):
            yield histogram.family()
        yield GaugeMetricFamily(
            PREFIX + "http_connections", "Open connections of HTTP clients", value=self.open_connections
        )
        yield CounterMetricFamily(
            PREFIX + "http_connections_refused",
            "Connections beyond the limit, or beyond the descriptors",
            value=self.refused_connections,
        )
        yield GaugeMetricFamily(
            PREFIX + "http_bytes", "Bytes of bodies and answers under way", value=self.http_bytes.used
        )
        yield CounterMetricFamily(
            PREFIX + "http_bytes_refused", "Bodies and answers beyond the bytes for all", value=self.http_bytes.refused
        )
        yield CounterMetricFamily(
            PREFIX + "http_connections_broken", "Connections lost to a bug of the server", value=self.broken_connections
        )


def _families(
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float],
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
) -> Iterator[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for (name, labels), value in values.items():
        family = families.get(name)
        if family is None:
            words = name.removesuffix("_total").replace("_", " ").capitalize()
            family = families[name] = kind(PREFIX + name, words, labels=[label for label, _ in labels])
        family.add_metric([text for _, text in labels], value)
    yield from families.values()
