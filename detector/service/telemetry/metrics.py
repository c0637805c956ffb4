"""How a worker does: counters and gauges for Prometheus, and the pulse that tells a busy loop from a stuck one.

Every worker has one `Metrics` with a registry of its own, so several can live in one process. Labels have few values each: a
topic, a reason, an action; never a client, since there may be millions of them and their ids are nobody's business.

Counters start at 0 with the process and count work done: what is computed again after a fault is counted again. Rates are
what they are for; exact numbers are in the topics.
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

StageName = Literal["ingest", "detect"]
Eviction = Literal["capacity", "handed_over"]
Place = tuple[str, int]


class LaggingConsumer(Protocol):
    """What measuring needs of the client."""

    def highwater(self, partition: Any) -> int | None:
        """Offset behind the last record, as far as is known."""


_DELAYS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
_LASTED = (0.01, 0.05, 0.25, 1, 2.5, 5, 10, 30, 60, 120, 300)
_BATCH = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)


class Metrics:
    """The figures of one worker; methods are called by the stages, `text` by the health server in its own thread.

    >>> metrics = Metrics()
    >>> metrics.consumed("prediction-log", 3)
    >>> 'detector_events_consumed_total{topic="prediction-log"} 3.0' in metrics.text().decode()
    True
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start with every figure at zero and the pulse felt now."""
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
            "detector_alerts_total", "Alerts sent, by kind of evidence and severity", ["detector", "severity"], registry=own
        )
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
            "Records of a partition that wait to be processed, as far as its broker has told",
            ["topic", "partition"],
            registry=own,
        )
        self._tracked = Gauge("detector_clients_tracked", "Clients held, once per model", registry=own)
        self._parked = Gauge(
            "detector_clients_parked",
            "Clients with evidence that made room and are kept outside memory until they ask again",
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
            "detector_held_up", "1 while a stage takes nothing in, as Kafka takes its results slowly", ["stage"], registry=own
        )
        self._sink_documents = Counter(
            "detector_sink_documents_total",
            "Documents by receiver, and whether it has them, had them before, or refused them for good",
            ["sink", "outcome"],
            registry=own,
        )
        self._sink_up = Gauge(
            "detector_sink_up", "1 while a receiver takes what it is given, 0 while it does not", ["sink"], registry=own
        )
        self._sink_retries = Counter(
            "detector_sink_retries_total", "Attempts to deliver that failed and are made again", ["sink"], registry=own
        )
        self._sink_lag = Gauge(
            "detector_sink_lag_messages",
            "Records of the alerts and decisions that a receiver waits for",
            ["sink"],
            registry=own,
        )
        self._sink_current = Gauge(
            "detector_sink_last_delivery_timestamp_seconds",
            "When a receiver was last given something, or last had everything, in seconds since 1970",
            ["sink"],
            registry=own,
        )
        self._drift = Gauge(
            "detector_baseline_drift",
            "Evidence that clients are no longer like those the baseline was calibrated on, a decimal logarithm; 3 is telling",
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
        build = Gauge("detector_build_info", "1, with the version as a label", ["version"], registry=own)
        build.labels(VERSION).set(1)
        ProcessCollector(registry=own)

    def beat(self) -> None:
        """Note that the loop came round, or that a long step got on."""
        self._beat_s = self._monotonic()

    @property
    def beat_s(self) -> float:
        """When the loop last got on, in monotonic seconds."""
        return self._beat_s

    def still_s(self) -> float:
        """Seconds since the loop last got on."""
        return self._monotonic() - self._beat_s

    def consumed(self, topic: str, records: int) -> None:
        """Count records read from a topic."""
        self._consumed.labels(topic).inc(records)

    def invalid(self, reason: str) -> None:
        """Count a dead letter; `reason` is one of the fixed codes."""
        self._invalid.labels(reason).inc()

    def too_large(self, topic: str) -> None:
        """Count a record that its topic did not take for its size."""
        self._too_large.labels(topic).inc()

    def unsealed(self, records: int) -> None:
        """Count records of the state topic that are not ours."""
        self._unsealed.inc(records)

    def published(self, outputs: Outputs, now_ms: int) -> None:
        """Count what the engine found and what was sent of it; `now_ms` is the wall clock's time."""
        self._repeated.inc(outputs.repeated)
        self._evicted.labels("capacity").inc(len(outputs.departed))
        for finding in outputs.findings:
            self._alerts.labels(finding.evidence, SEVERITIES[finding.action]).inc()
        for order in outputs.pending_decisions:
            self._decisions.labels(action_name(order.action), "detector").inc()
            self._delay.observe(max(now_ms - order.issued_ms, 0) / 1000)

    def scored(self, seconds: float) -> None:
        """Note how long the engine took for a batch."""
        self._score.observe(seconds)

    def lag(self, stage: StageName, waiting: Mapping[Place, int]) -> None:
        """Set the records that wait, by topic and partition; partitions that are no longer the stage's vanish."""
        for topic, partition in self._lagging.get(stage, set()) - waiting.keys():
            self._lag.remove(topic, str(partition))
        for (topic, partition), records in waiting.items():
            self._lag.labels(topic, str(partition)).set(records)
        self._lagging[stage] = set(waiting)

    def held_up(self, stage: StageName, held_up: bool) -> None:
        """Note whether a stage waits for its results to be taken."""
        self._held_up.labels(stage).set(held_up)

    def degraded(self, stage: StageName, reasons: Mapping[str, bool]) -> None:
        """Set for each of the fixed `reasons` whether a stage is degraded for it."""
        for reason, holds in reasons.items():
            self._degraded.labels(stage, reason).set(holds)

    def learning(self, models: int) -> None:
        """Set how many models are being learned."""
        self._learning.set(models)

    def tracked(self, clients: int, parked: int) -> None:
        """Set how many clients are held in memory, and how many are parked."""
        self._tracked.set(clients)
        self._parked.set(parked)

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
        """Count that a stage starts again from its last commit."""
        self._setbacks.labels(stage).inc()

    def sent(self, sink: str, outcome: Sent, documents: int = 1) -> None:
        """Count documents that a receiver has taken or refused for good."""
        self._sink_documents.labels(sink, outcome).inc(documents)

    def sink_up(self, sink: str, *, up: bool) -> None:
        """Note whether a receiver took what it was given last."""
        self._sink_up.labels(sink).set(up)

    def sending_again(self, sink: str) -> None:
        """Count an attempt to deliver that failed."""
        self._sink_retries.labels(sink).inc()

    def sink_waiting(self, sink: str, records: int) -> None:
        """Set how many records a receiver has not been given yet."""
        self._sink_lag.labels(sink).set(records)

    def sink_current(self, sink: str) -> None:
        """Note that a receiver was given something, or has everything."""
        self._sink_current.labels(sink).set(time.time())

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self.registry)


def records_waiting(consumer: LaggingConsumer, positions: Mapping[Any, int]) -> dict[Place, int]:
    """Return how many records wait, by topic and partition, given which offset is next in each; unknown ends are left out."""
    ends = {partition: consumer.highwater(partition) for partition in positions}
    return {
        (partition.topic, partition.partition): max(end - positions[partition], 0)
        for partition, end in ends.items()
        if end is not None
    }
