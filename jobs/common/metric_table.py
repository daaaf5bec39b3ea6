"""The table of all that our programs measure; docs/operations.md says what each is good for.

No metric is labelled by supplier: there may be thousands of them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Counters begin at 0 with each start of the job and only rise; gauges say how it is now."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """A metric as Prometheus shows it; `buckets`, of histograms only: upper bounds in the metric's unit, rising."""

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_SECONDS = (0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
_LAG = (1, 2.5, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800)
_ANSWER = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TIME = "seconds since 1970, UTC"

METRICS = (
    Metric("reco_start_timestamp_seconds", Kind.GAUGE, _TIME, "When the job was started last"),
    Metric("reco_query_running", Kind.GAUGE, "0 or 1", "Whether the query runs", ("query",)),
    Metric("reco_query_batches_total", Kind.COUNTER, "micro-batches", "Micro-batches done", ("query",)),
    Metric(
        "reco_query_input_rows_total",
        Kind.COUNTER,
        "rows",
        "Rows that Spark read for the query",
        ("query",),
    ),
    Metric(
        "reco_query_batch_duration_seconds",
        Kind.HISTOGRAM,
        "seconds",
        "How long a micro-batch took, all its writes included",
        ("query",),
        _SECONDS,
    ),
    Metric("reco_query_last_batch_timestamp_seconds", Kind.GAUGE, _TIME, "When the last micro-batch ended", ("query",)),
    Metric(
        "reco_state_rows", Kind.GAUGE, "rows", "Rows in the join's state, matched ones too; heartbeats take no room"
    ),
    Metric("reco_state_memory_bytes", Kind.GAUGE, "bytes", "Memory that the state stores say they use"),
    Metric("reco_state_disk_bytes", Kind.GAUGE, "bytes", "RocksDB's files of the state; 0 with the store in memory"),
    Metric(
        "reco_rows_dropped_by_watermark_total",
        Kind.COUNTER,
        "rows",
        "Rows that came too late for the join, and were judged by silver alone, and messages on the `.nrt` topics that "
        "are not of this job; must be 0",
    ),
    Metric("reco_watermark_timestamp_seconds", Kind.GAUGE, _TIME, "All that was published up to it has been read"),
    Metric(
        "reco_watermark_lag_seconds",
        Kind.GAUGE,
        "seconds",
        "From the watermark to the newest heartbeat of either side; at least 0",
    ),
    Metric(
        "reco_newest_published_timestamp_seconds",
        Kind.GAUGE,
        _TIME,
        "Publish time of the newest record normalised; kind is EVENT or HEARTBEAT",
        ("side", "kind"),
    ),
    Metric(
        "reco_records_total",
        Kind.COUNTER,
        "records",
        "Raw records normalised; kind is EVENT, HEARTBEAT or QUARANTINE",
        ("side", "kind"),
    ),
    Metric(
        "reco_quarantined_total",
        Kind.COUNTER,
        "records",
        "Records quarantined, under each of their reasons",
        ("reason",),
    ),
    Metric("reco_verdicts_total", Kind.COUNTER, "verdicts", "Verdicts written", ("outcome",)),
    Metric(
        "reco_anomalies_total",
        Kind.COUNTER,
        "anomalies",
        "Anomalies in the verdicts written, again with each new verdict on a key",
        ("anomaly_type",),
    ),
    Metric(
        "reco_reconciliation_lag_seconds",
        Kind.HISTOGRAM,
        "seconds",
        "From the publication of the newest event that a verdict knows until the verdict was written and told",
        ("outcome",),
        _LAG,
    ),
    Metric(
        "reco_unresolved_exceptions",
        Kind.GAUGE,
        "exceptions",
        "The stream's exceptions that are OPEN or PENDING, counted every stream.sweep_minutes",
        ("anomaly_type", "state"),
    ),
    Metric(
        "reco_match_group_told_timestamp_seconds",
        Kind.GAUGE,
        _TIME,
        "When the application that matches this group of suppliers last told of itself; 0 where it never did",
        ("group",),
    ),
    Metric(
        "reco_poll_suppliers",
        Kind.GAUGE,
        "suppliers",
        "Suppliers polled by this process; circuit is CLOSED, OPEN or HALF_OPEN",
        ("circuit",),
    ),
    Metric(
        "reco_poll_records_total",
        Kind.COUNTER,
        "records",
        "Records read by the poller; kind is PUBLISHED, UNCHANGED (sent before, left out) or REFUSED (kept in files)",
        ("kind",),
    ),
    Metric(
        "reco_poll_oldest_success_timestamp_seconds",
        Kind.GAUGE,
        _TIME,
        "When the supplier that was read to its end longest ago was, or the start of the poller",
    ),
    Metric("reco_relay_published_total", Kind.COUNTER, "rows", "Outbox rows that the broker has confirmed", ("side",)),
    Metric(
        "reco_relay_parked_total",
        Kind.COUNTER,
        "rows",
        "Outbox rows moved to the dead letters; reason is AGGREGATE_TYPE or TOO_LARGE",
        ("reason",),
    ),
    Metric("reco_relay_backlog_rows", Kind.GAUGE, "rows", "Outbox rows still to be published, counted up to a million"),
    Metric(
        "reco_relay_backlog_age_seconds", Kind.GAUGE, "seconds", "Age of the oldest outbox row still to be published"
    ),
    Metric(
        "reco_relay_heartbeat_timestamp_seconds",
        Kind.GAUGE,
        _TIME,
        "Up to when this relay, as the one that speaks for the side, said last that everything is published",
        ("side",),
    ),
    Metric("reco_relay_waiting", Kind.GAUGE, "0 or 1", "Whether the relay waits for what does not answer", ("what",)),
    Metric("reco_alerts_leader", Kind.GAUGE, "0 or 1", "Whether this instance of the alerting service leads"),
    Metric("reco_alerts_incidents", Kind.GAUGE, "incidents", "Incidents that are not over"),
    Metric("reco_alerts_breaks", Kind.GAUGE, "breaks", "Open breaks that may alert"),
    Metric(
        "reco_alerts_messages_total",
        Kind.COUNTER,
        "messages",
        "Messages given to a sink; outcome is SENT or FAILED, each try counted",
        ("sink", "outcome"),
    ),
    Metric("reco_alerts_sink_failing", Kind.GAUGE, "0 or 1", "Whether it refused the last message", ("sink",)),
    Metric(
        "reco_alerts_unreadable_total",
        Kind.COUNTER,
        "messages",
        "Messages on the topics of results and of the state that could not be read, and were passed over",
    ),
    Metric(
        "reco_alerts_lake_failing",
        Kind.GAUGE,
        "0 or 1",
        "Whether closes, people's actions or both sides of breaks could not be read in the lake",
    ),
    Metric(
        "reco_console_requests_total",
        Kind.COUNTER,
        "requests",
        "Requests that the console answered; page is the route's pattern, or none where there is no such page",
        ("page", "status"),
    ),
    Metric(
        "reco_console_request_duration_seconds",
        Kind.HISTOGRAM,
        "seconds",
        "From a request to the end of its answer, exports included",
        ("page",),
        _ANSWER,
    ),
    Metric(
        "reco_console_sign_ins_refused_total",
        Kind.COUNTER,
        "sign-ins",
        "Sign-ins refused; why is WRONG (name, password or token), TOO_MANY or FORM (too old, or not ours)",
        ("why",),
    ),
)
