"""Every counter and gauge of a node under its public name.

Rules of this file: it reads and counts nothing itself. Names and labels follow the conventions of Prometheus; they
are part of the public interface.
"""

from __future__ import annotations

from collections import Counter

from camomile_trio.errors import StorageError
from camomile_trio.node.core import Core
from camomile_trio.node.maintenance import Maintenance
from camomile_trio.node.operations import Operations
from camomile_trio.node.results import Statistics
from camomile_trio.storage.accounts import Sort


def collect(core: Core, operations: Operations, maintenance: Maintenance) -> Statistics:
    """What the node has counted so far."""
    result = Statistics()
    rpc, moved, stored, holdings = (
        core.rpc.statistics,
        core.rpc.transport.statistics,
        core.storage.statistics,
        core.holdings,
    )

    def by(name: str, label: str, counts: Counter[str]) -> None:
        for value, count in sorted(counts.items()):
            result.counters[name, ((label, value),)] = count

    def outcome(kind: str, name: str, count: int) -> None:
        result.counters["rpc_outcomes_total", (("kind", kind), ("outcome", name))] = count

    def largest(sort: Sort) -> int:
        try:
            return core.storage.largest(sort)
        except StorageError:
            return 0  # the disk cannot be read, which other figures say

    by("rpc_requests_total", "kind", rpc.requests)
    by("rpc_received_total", "kind", rpc.received)
    by("rpc_dropped_total", "reason", rpc.dropped)
    by("store_refused_total", "reason", holdings.refused)
    for kind, count in sorted(rpc.answered.items()):
        outcome(kind, "answered", count)
    for kind, count in sorted(rpc.failed.items()):
        outcome(kind, "failed", count)
    for name, total in (
        ("rpc_retransmissions_total", rpc.retransmitted),
        ("datagrams_received_total", moved.datagrams_in),
        ("datagrams_sent_total", moved.datagrams_out),
        ("datagrams_dropped_total", moved.dropped_out),
        ("datagrams_unseen_total", moved.dropped_in),
        ("datagram_errors_total", moved.send_errors),
        ("transport_received_bytes_total", moved.bytes_in),
        ("transport_sent_bytes_total", moved.bytes_out),
        ("streams_accepted_total", moved.streams_in),
        ("streams_opened_total", moved.streams_out),
        ("streams_refused_total", moved.streams_refused),
        ("storage_commits_total", stored.commits),
        ("storage_writes_total", stored.committed_writes),
        ("storage_refused_total", stored.refused),
        ("storage_busy_total", stored.busy),
        ("storage_failures_total", stored.failures),
        ("storage_damaged_values_total", holdings.damaged),
        ("cache_evictions_total", holdings.cache.evicted),
        ("repair_records_sent_total", maintenance.repair.sent),
        ("repair_records_adopted_total", maintenance.repair.adopted),
        ("maintenance_failures_total", maintenance.failures),
        ("newcomers_left_to_replication_total", maintenance.newcomers_left),
        ("puts_refused_total", operations.turns.refused),
        ("reminders_told_total", core.reminders.told),
        ("reminders_dropped_total", core.reminders.dropped),
        ("clock_jumps_total", core.clocks.jumps),
        ("clock_disagreements_total", core.clocks.disagreements),
        ("leases_woken_total", maintenance.renewing.woken),
        ("peers_forgotten_total", core.rpc.peers.forgotten),
        ("verdicts_dropped_total", core.rpc.verdicts.dropped),
    ):
        result.counters[name, ()] = total
    for name, amount in (
        ("contacts", len(core.table)),
        ("peers_answering", sum(map(core.is_answering, core.table))),
        ("peers_remembered", len(core.rpc.peers)),
        ("requests_pending", core.rpc.pending),
        ("deadlines_pending", len(core.rpc.deadlines)),
        ("operations_under_way", operations.under_way),
        ("puts_waiting", operations.turns.waiting),
        ("stream_connections", moved.stream_connections),
        ("stored_keys", stored.keys),
        ("stored_values", stored.values),
        ("stored_bytes", stored.bytes),
        ("max_stored_bytes", stored.max_bytes),
        ("largest_publisher_bytes", largest(Sort.PUBLISHER)),
        ("largest_network_bytes", largest(Sort.NETWORK)),
        ("largest_carrier_bytes", largest(Sort.CARRIER)),
        ("storage_writes_pending", stored.pending),
        ("reminders_waiting", core.reminders.keys),
        ("cached_values", len(holdings.cache)),
        ("cached_bytes", holdings.cache.bytes),
        ("clock_ahead", int(core.clocks.is_ahead())),
        ("ready", int(not core.readiness.reason)),
    ):
        result.gauges[name, ()] = amount
    return result
