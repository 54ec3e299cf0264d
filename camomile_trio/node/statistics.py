"""Every counter and gauge of a node under its public name, with what it means.

Rules of this file: it reads and counts nothing itself. Names and labels follow the conventions of Prometheus; they
are part of the public interface, and docs/operating.md lists them.
"""

from __future__ import annotations

from collections import Counter

from camomile_trio.errors import StorageError
from camomile_trio.node.core import Core
from camomile_trio.node.maintenance import Maintenance
from camomile_trio.node.operations import Operations
from camomile_trio.node.reloading import key_statuses
from camomile_trio.operations.results import Statistics
from camomile_trio.storage.accounts import Sort


def collect(core: Core, operations: Operations, maintenance: Maintenance) -> Statistics:
    """What the node has counted so far."""
    result = Statistics()
    requests, sessions = core.requests.statistics, core.requests.sessions
    moved, stored, holdings = core.transport.statistics, core.storage.statistics, core.holdings

    def by(name: str, label: str, counts: Counter[str], meaning: str) -> None:
        result.meanings[name] = meaning
        for value, count in sorted(counts.items()):
            result.counters[name, ((label, value),)] = count

    def outcomes(outcome: str, counts: Counter[str]) -> None:
        for kind, count in sorted(counts.items()):
            result.counters["rpc_outcomes_total", (("kind", kind), ("outcome", outcome))] = count

    def largest(sort: Sort) -> int:
        try:
            return core.storage.largest(sort)
        except StorageError:
            return 0  # the disk cannot be read, which other figures say

    by(
        "rpc_requests_total",
        "kind",
        requests.requests,
        "Requests to peers, by kind, each once however often it was sent",
    )
    by("rpc_received_total", "kind", requests.received, "Well-formed messages from peers of this network, by kind")
    by(
        "rpc_dropped_total",
        "reason",
        requests.dropped + sessions.dropped + core.streams.dropped,
        "What came from peers, or would have gone to them, and was dropped",
    )
    by("store_refused_total", "reason", holdings.refused, "Records that peers offered and this node refused")
    result.meanings["rpc_outcomes_total"] = "Requests to peers that were answered, and that failed at their deadline"
    outcomes("answered", requests.answered)
    outcomes("failed", requests.failed)
    for name, total, meaning in (
        ("rpc_retransmissions_total", requests.retransmitted, "Requests sent again because their answer was late"),
        ("datagrams_received_total", moved.datagrams_in, "UDP datagrams received"),
        ("datagrams_sent_total", moved.datagrams_out, "UDP datagrams sent"),
        ("datagrams_dropped_total", moved.dropped_out, "Datagrams not sent: a full socket or a refused address"),
        ("datagrams_unseen_total", moved.dropped_in, "Datagrams received from sources that flood, dropped unread"),
        ("datagram_errors_total", moved.send_errors, "Errors of the system when a datagram was sent"),
        ("transport_received_bytes_total", moved.bytes_in, "Bytes received from peers, over UDP and TCP"),
        ("transport_sent_bytes_total", moved.bytes_out, "Bytes sent to peers, over UDP and TCP"),
        ("streams_accepted_total", moved.streams_in, "TCP connections from peers that were accepted"),
        ("streams_opened_total", moved.streams_out, "TCP connections to peers that were opened"),
        ("streams_refused_total", moved.streams_refused, "TCP connections from peers closed at a bound or for a lie"),
        ("storage_commits_total", stored.commits, "Commits of the storage, each of one write or more"),
        ("storage_writes_total", stored.committed_writes, "Writes that were committed"),
        ("storage_refused_total", stored.refused, "Writes refused because the storage was full"),
        ("storage_busy_total", stored.busy, "Writes refused because too many waited for their commit"),
        ("storage_slow_total", stored.slow, "Commits that held up the event loop for more than 20 ms"),
        ("storage_failures_total", stored.failures, "Commits and syncs that the disk failed"),
        ("storage_damaged_values_total", holdings.damaged, "Stored values that did not hash to their key when read"),
        ("cache_evictions_total", holdings.cache.evicted, "Cached copies that made room for others"),
        ("spare_copies_given_up_total", holdings.spares.given_up, "Spare copies that made room for others"),
        ("repair_records_sent_total", maintenance.repair.sent, "Records that this node brought to other holders"),
        ("repair_records_adopted_total", maintenance.repair.adopted, "Newer records taken over from other holders"),
        ("maintenance_failures_total", maintenance.failures, "Rounds of maintenance that the disk broke off"),
        (
            "newcomers_left_to_replication_total",
            maintenance.newcomers_left,
            "New contacts not handed their records at once, because too many came together",
        ),
        ("puts_refused_total", operations.puts.refused, "Puts answered 503 because no place got free in time"),
        ("reminders_told_total", core.reminders.told, "Keys that a holder had missed and was told of later"),
        ("reminders_dropped_total", core.reminders.dropped, "Keys that a holder missed, left to replication"),
        ("clock_jumps_total", core.clocks.jumps, "Times that the wall clock was set, or the machine slept"),
        (
            "clock_disagreements_total",
            core.clocks.disagreements,
            "Times that a peer showed a clock more than 10 minutes from this one",
        ),
        ("leases_woken_total", maintenance.renewing.woken, "Leases that had ended unrenewed and were brought back"),
        ("peers_forgotten_total", core.requests.paths.forgotten, "Paths forgotten because too many were remembered"),
        ("handshakes_begun_total", requests.initiated, "Handshakes that this node began, renewals included"),
        ("handshakes_renewed_total", requests.renewed, "Of these, those for a session that was due for a new one"),
        ("sessions_forgotten_total", sessions.table.forgotten, "Strangers whose sessions made room for others"),
        (
            "silence_dropped_total",
            core.contacts.silence.dropped,
            "Silent contacts kept, since too many waited for a sign of life",
        ),
    ):
        result.meanings[name] = meaning
        result.counters[name, ()] = total
    for name, amount, meaning in (
        ("contacts", len(core.table), "Nodes in the routing table, whether or not they answer now"),
        (
            "peers_answering",
            sum(map(core.contacts.is_answering, core.table)),
            "Nodes in the routing table whose last request was answered; 0 for one that is cut off, or the first",
        ),
        (
            "source_networks",
            core.table.networks,
            "Source networks of its contacts with public, untrusted addresses; with 1 to 4 all nodes count",
        ),
        ("peers_remembered", len(core.requests.paths), "Contacts whose round trips are remembered"),
        ("requests_pending", core.requests.pending, "Requests to peers that wait for their answer"),
        ("deadlines_pending", len(core.requests.deadlines), "Timers of requests that have not run out"),
        ("operations_under_way", operations.under_way, "Puts, gets, forgets and pings of users under way"),
        ("puts_waiting", operations.puts.waiting, "Puts that wait for a place"),
        ("stream_connections", moved.stream_connections, "TCP connections with peers that are open"),
        ("stored_keys", stored.keys, "Keys of which a record or a value is stored"),
        ("stored_values", stored.values, "Values kept beside their records; cached copies are not among them"),
        ("stored_bytes", stored.bytes, "Bytes stored, as they count against max_stored_bytes"),
        ("max_stored_bytes", stored.max_bytes, "Bytes that may be stored (--max-storage)"),
        ("largest_publisher_bytes", largest(Sort.PUBLISHER), "Bytes stored of the publisher that has most here"),
        ("largest_network_bytes", largest(Sort.NETWORK), "Bytes stored of the source network that put most"),
        ("largest_carrier_bytes", largest(Sort.CARRIER), "Bytes stored of the source network that replicated most"),
        ("spare_copies", len(holdings.spares), "Stored values of keys whose holder this node is not; they go first"),
        ("spare_bytes", holdings.spares.bytes, "Bytes of these values"),
        ("strangers_bytes", largest(Sort.STRANGERS), "Bytes stored that source networks have put"),
        ("unseen_tombstones_bytes", largest(Sort.UNSEEN), "Bytes stored of tombstones whose lease was never here"),
        ("storage_writes_pending", stored.pending, "Writes that wait for their commit"),
        ("storage_keys_journalled", stored.journalled, "Keys whose last write is in the journal, not in the tables"),
        ("reminders_waiting", core.reminders.keys, "Keys that silent holders are still to be told of"),
        ("cached_values", len(holdings.cache), "Cached copies in memory"),
        ("cached_bytes", holdings.cache.bytes, "Bytes of cached copies in memory"),
        ("clock_ahead", int(core.clocks.is_ahead()), "1 while most peers call this node's wall clock ahead"),
        (
            "ready",
            int(not core.readiness.reason),
            "1 when the node has joined, another node answers unless it stands alone, and its storage works",
        ),
    ):
        result.meanings[name] = meaning
        result.gauges[name, ()] = amount
    for table, amount in sessions.counts().items():
        result.gauges["session_tables", (("table", table),)] = amount
    result.meanings["session_tables"] = "How full the tables of sessions and handshakes are, by table; all have a bound"
    keys = key_statuses(core)
    result.gauges["network_closed", ()] = int(bool(keys))
    result.meanings["network_closed"] = "1 if only nodes with a network key enter this network"
    for key in keys:
        result.gauges["network_key_sessions", (("key", key.fingerprint),)] = key.sessions
    result.meanings["network_key_sessions"] = (
        "Peers heard from within the hour, by the fingerprint of the network key that their session is under"
    )
    by("cache_hints_total", "outcome", holdings.cache.hints, "Copies that peers pushed, and what a holder said of them")
    by("handshake_replies_total", "kind", sessions.replied, "Answers to handshakes that need no state, by kind")
    if core.classic is not None:
        by(
            "classic_dropped_total",
            "reason",
            core.classic.statistics.dropped,
            "What came from classic nodes and was dropped",
        )
        by("classic_received_total", "kind", core.classic.statistics.received, "Messages of classic nodes, by kind")
        result.gauges["classic_contacts", ()] = len(core.classic.table)
        result.meanings["classic_contacts"] = "Classic nodes in their routing table"
    return result
