"""Metrics of a worker for Prometheus, and the heartbeat that distinguishes a busy loop from a stuck one.

Every worker has one `Metrics` with its own registry, so several can exist in one process. Labels have few values each: a topic,
a reason, an action. A client is never a label, since there may be millions and their ids are private.

Counters start at 0 with the process and count work: what is processed again after a fault counts again. Use them for rates;
exact numbers are in the topics.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from detector.distribution import VERSION
from detector.engine.findings import Outputs
from detector.sinks.entry import Sent
from detector.sinks.render import SEVERITIES, action_name

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

StageName = Literal["ingest", "detect", "link"]
SketchOutcome = Literal["ordered", "hurried", "late", "repeated", "foreign"]
Eviction = Literal["capacity", "handed_over"]
Place = tuple[str, int]


class LaggingConsumer(Protocol):
    """The part of a Kafka consumer that measuring needs."""

    def highwater(self, partition: Any) -> int | None:
        """Offset behind the last record, as far as is known."""


_DELAYS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
_LASTED = (0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 120, 300)
_BATCH = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)


class Metrics:
    """The metrics of one worker; the stages call its methods, the health server calls `text` in its own thread.

    >>> metrics = Metrics()
    >>> metrics.consumed("prediction-log", 3)
    >>> 'detector_events_consumed_total{topic="prediction-log"} 3.0' in metrics.text().decode()
    True
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start with every metric at zero and a heartbeat now."""
        own = self.registry = CollectorRegistry()
        self._monotonic = monotonic
        self._beat_s = monotonic()
        self._lagging: dict[StageName, set[Place]] = {}
        self._consumed = Counter(
            "detector_events_consumed_total", "Records read, by the topic they came from", ["topic"], registry=own
        )
        self._invalid = Counter(
            "detector_events_invalid_total", "Records sent to the dead letters, by reason", ["reason"], registry=own
        )
        self._taken_in = Counter(
            "detector_intake_requests_total", "Requests of the HTTP intake, by the status sent", ["status"], registry=own
        )
        self._halves = Counter(
            "detector_halves_given_up_total", "Requests and answers, logged apart, whose other half did not come", registry=own
        )
        self._too_large = Counter(
            "detector_results_too_large_total",
            "Records that Kafka called too large for their topic, and that were cut or sent to the dead letters instead",
            ["topic"],
            registry=own,
        )
        self._unsealed = Counter(
            "detector_state_records_refused_total",
            "Records found in the state topic that do not bear the service's seal, and were left out",
            registry=own,
        )
        self._repeated = Counter(
            "detector_events_repeated_total", "Deliveries of an event that had been counted before", registry=own
        )
        self._alerts = Counter(
            "detector_alerts_total",
            "Alerts sent, by kind of evidence (held_back: stops held back) and severity",
            ["detector", "severity"],
            registry=own,
        )
        self._alerts.labels("held_back", "high")  # at 0 from the start: else Prometheus sees no increase at the first
        self._decisions = Counter(
            "detector_decisions_total", "Decisions sent, by action and origin", ["action", "origin"], registry=own
        )
        self._delay = Histogram(
            "detector_decision_delay_seconds",
            "From the event time of the query that led to a decision until the decision was sent",
            registry=own,
            buckets=_DELAYS,
        )
        self._score = Histogram(
            "detector_score_duration_seconds", "Time the engine took for one batch", registry=own, buckets=_BATCH
        )
        self._lag = Gauge(
            "detector_consumer_lag_messages",
            "Records of a partition that wait to be processed, as of the last answer of its broker",
            ["topic", "partition"],
            registry=own,
        )
        self._tracked = Gauge("detector_clients_tracked", "Clients held in memory, once per model", registry=own)
        self._parked = Gauge(
            "detector_clients_parked",
            "Clients with evidence that were moved to disk to make room, until their next query",
            registry=own,
        )
        self._evicted = Counter(
            "detector_clients_evicted_total",
            "Clients no longer held: to make room, or because their partition is another worker's now",
            ["cause"],
            registry=own,
        )
        self._committed = Gauge(
            "detector_last_commit_timestamp_seconds",
            "When all that was processed was last known to be committed, in seconds since 1970",
            ["stage"],
            registry=own,
        )
        self._restore = Histogram(
            "detector_restore_seconds", "Time to restore the state of a partition", registry=own, buckets=_LASTED
        )
        self._setbacks = Counter(
            "detector_setbacks_total", "Times that a stage went back to its last commit after a fault", ["stage"], registry=own
        )
        self._held_up = Gauge(
            "detector_held_up",
            "1 while a stage has paused its partitions, since Kafka takes its results slowly",
            ["stage"],
            registry=own,
        )
        self._sink_documents = Counter(
            "detector_sink_documents_total",
            "Documents by receiver and outcome: delivered, there before (repeated), or refused for good",
            ["sink", "outcome"],
            registry=own,
        )
        self._sink_up = Gauge(
            "detector_sink_up", "1 while a receiver accepts documents, 0 while it does not", ["sink"], registry=own
        )
        self._sink_retries = Counter(
            "detector_sink_retries_total", "Attempts to deliver that failed and are repeated", ["sink"], registry=own
        )
        self._sink_lag = Gauge(
            "detector_sink_lag_messages",
            "Alerts and decisions that wait to be delivered to a receiver",
            ["sink"],
            registry=own,
        )
        self._sink_current = Gauge(
            "detector_sink_last_delivery_timestamp_seconds",
            "When a receiver last accepted a document, or last had all of them, in seconds since 1970",
            ["sink"],
            registry=own,
        )
        self._drift = Gauge(
            "detector_baseline_drift",
            "Evidence that clients differ from those the baseline was calibrated on, as a decimal logarithm; 3 is strong",
            ["model"],
            registry=own,
        )
        self._drift_distance = Gauge(
            "detector_baseline_drift_distance",
            "How far the feature with most evidence of drift has moved: 0 as in calibration, 1 nothing in common",
            ["model"],
            registry=own,
        )
        self._degraded = Gauge(
            "detector_degraded",
            "1 while much is refused and goes unwatched (all of a model, all of a partition, most of many clients), or another "
            "deployment has the groups",
            ["stage", "reason"],
            registry=own,
        )
        self._learning = Gauge(
            "detector_models_learning", "Models that are being learned, whose clients are not watched yet", registry=own
        )
        self._reloads = Counter(
            "detector_policy_reloads_total",
            "Times that SIGHUP led to a reading of the policy, by outcome",
            ["outcome"],
            registry=own,
        )
        for outcome in ("taken", "refused"):
            self._reloads.labels(outcome)  # from 0 on: a first one that appears as 1 is no increase to Prometheus
        self._sketches = Counter(
            "detector_link_sketches_total",
            "Sketches read by the search for links: in order, hurried on before all partitions had come as far, late for their "
            "place in the order, repeated, or foreign (of another baseline)",
            ["outcome"],
            registry=own,
        )
        self._sketches_held = Gauge(
            "detector_link_sketches_held", "Sketches that wait until all partitions have come as far", registry=own
        )
        self._passed_over = Gauge(
            "detector_link_partitions_passed_over",
            "Partitions of the queries that the search for links no longer waits for, since nothing is heard of them",
            registry=own,
        )
        self._holders = Gauge(
            "detector_odometer_clients",
            "Clients in memory that hold at least this lead of a model; 0 is the best guess, 1 the model itself",
            ["lead"],
            registry=own,
        )
        self._organizations = Gauge(
            "detector_odometer_organizations",
            "Organisations whose accounts hold at least this lead of a model together; 0 is the best guess, 1 the model itself",
            ["lead"],
            registry=own,
        )
        self._readings = Counter(
            "detector_odometer_readings_total", "Times that a copy was learned from what a client was told", registry=own
        )
        build = Gauge("detector_build_info", "1, with the version as a label", ["version"], registry=own)
        build.labels(VERSION).set(1)
        ProcessCollector(registry=own)

    def beat(self) -> None:
        """Note that the loop, or a long step in it, has made progress."""
        self._beat_s = self._monotonic()

    @property
    def beat_s(self) -> float:
        """When the loop last made progress, in monotonic seconds."""
        return self._beat_s

    def still_s(self) -> float:
        """Seconds since the loop last made progress."""
        return self._monotonic() - self._beat_s

    def consumed(self, topic: str, records: int) -> None:
        """Count records read from a topic."""
        self._consumed.labels(topic).inc(records)

    def taken_in(self, status: int) -> None:
        """Count a request of the HTTP intake."""
        self._taken_in.labels(str(int(status))).inc()

    def invalid(self, reason: str) -> None:
        """Count a dead letter; `reason` is one of the fixed codes."""
        self._invalid.labels(reason).inc()

    def given_up(self, halves: int) -> None:
        """Count halves of calls whose other half did not come in time."""
        self._halves.inc(halves)

    def too_large(self, topic: str) -> None:
        """Count a record that was too large for its topic."""
        self._too_large.labels(topic).inc()

    def unsealed(self, records: int) -> None:
        """Count records of the state topic without a valid seal."""
        self._unsealed.inc(records)

    def published(self, outputs: Outputs, now_ms: int) -> None:
        """Count alerts, decisions, repeats and evictions of one batch; `now_ms` is the wall clock's time."""
        self._repeated.inc(outputs.repeated)
        self._readings.inc(outputs.readings)
        self._evicted.labels("capacity").inc(len(outputs.departed))
        for finding in outputs.findings:
            self._alerts.labels(finding.evidence, SEVERITIES[finding.action]).inc()
        self._alerts.labels("held_back", "high").inc(len(outputs.held_back))
        for pending in outputs.pending_decisions:
            self._decisions.labels(action_name(pending.action), "detector").inc()
            self._delay.observe(max(now_ms - pending.issued_ms, 0) / 1000)

    def reloaded(self, outcome: str) -> None:
        """Count a reading of the policy: taken, or refused."""
        self._reloads.labels(outcome).inc()

    def scored(self, seconds: float) -> None:
        """Note how long the engine took for a batch."""
        self._score.observe(seconds)

    def lag(self, stage: StageName, waiting: Mapping[Place, int]) -> None:
        """Set the waiting records by topic and partition; partitions that the stage has lost are removed."""
        for topic, partition in self._lagging.get(stage, set()) - waiting.keys():
            self._lag.remove(topic, str(partition))
        for (topic, partition), records in waiting.items():
            self._lag.labels(topic, str(partition)).set(records)
        self._lagging[stage] = set(waiting)

    def held_up(self, stage: StageName, held_up: bool) -> None:
        """Set whether a stage is paused until Kafka has taken its results."""
        self._held_up.labels(stage).set(held_up)

    def degraded(self, stage: StageName, reasons: Mapping[str, bool]) -> None:
        """Set for each of the fixed `reasons` whether it makes a stage degraded."""
        for reason, holds in reasons.items():
            self._degraded.labels(stage, reason).set(holds)

    def sketched(self, outcome: SketchOutcome, sketches: int) -> None:
        """Count sketches that the search for links has read."""
        self._sketches.labels(outcome).inc(sketches)

    def ordering(self, held: int, passed_over: int) -> None:
        """Set how many sketches wait for their turn, and how many partitions are not waited for."""
        self._sketches_held.set(held)
        self._passed_over.set(passed_over)

    def learning(self, models: int) -> None:
        """Set how many models are being learned."""
        self._learning.set(models)

    def tracked(self, clients: int, parked: int) -> None:
        """Set how many clients are held in memory, and how many are parked."""
        self._tracked.set(clients)
        self._parked.set(parked)

    def holders(self, clients: Mapping[float, int]) -> None:
        """Set how many clients hold at least each of a few leads."""
        for lead, count in clients.items():
            self._holders.labels(f"{lead:g}").set(count)

    def organizations(self, organizations: Mapping[float, int]) -> None:
        """Set how many organisations hold at least each of a few leads."""
        for lead, count in organizations.items():
            self._organizations.labels(f"{lead:g}").set(count)

    def drift(self, model: str, evidence: float, distance: float) -> None:
        """Set how well the clients of a model fit its calibration; see `detector.engine.models.drift`."""
        self._drift.labels(model).set(evidence)
        self._drift_distance.labels(model).set(distance)

    def evicted(self, cause: Eviction, clients: int) -> None:
        """Count clients that are no longer held."""
        self._evicted.labels(cause).inc(clients)

    def committed(self, stage: StageName, until_s: float | None = None) -> None:
        """Note that everything a stage has processed is committed, or was as of `until_s` (seconds since 1970)."""
        self._committed.labels(stage).set(time.time() if until_s is None else until_s)

    def restored(self, seconds: float) -> None:
        """Note how long a partition's state took to restore."""
        self._restore.observe(seconds)

    def set_back(self, stage: StageName) -> None:
        """Count a restart of a stage from its last commit."""
        self._setbacks.labels(stage).inc()

    def sent(self, sink: str, outcome: Sent, documents: int = 1) -> None:
        """Count documents that a receiver has accepted or refused for good."""
        self._sink_documents.labels(sink, outcome).inc(documents)

    def sink_up(self, sink: str, *, up: bool) -> None:
        """Set whether the last attempt to deliver went through."""
        self._sink_up.labels(sink).set(up)

    def sending_again(self, sink: str) -> None:
        """Count an attempt to deliver that failed."""
        self._sink_retries.labels(sink).inc()

    def sink_waiting(self, sink: str, records: int) -> None:
        """Set how many records wait for a receiver."""
        self._sink_lag.labels(sink).set(records)

    def sink_current(self, sink: str) -> None:
        """Note that a receiver accepted a document, or has all of them."""
        self._sink_current.labels(sink).set(time.time())

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self.registry)


def records_waiting(consumer: LaggingConsumer, positions: Mapping[Any, int]) -> dict[Place, int]:
    """Return the waiting records by topic and partition, given the next offset of each; unknown ends are left out."""
    ends = {partition: consumer.highwater(partition) for partition in positions}
    return {
        (partition.topic, partition.partition): max(end - positions[partition], 0)
        for partition, end in ends.items()
        if end is not None
    }
