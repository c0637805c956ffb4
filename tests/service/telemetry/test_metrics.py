"""The figures of a worker: the names that dashboards are built on, and no client among the labels."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from kafka import TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from detector.config import Config
from detector.engine.findings import Outputs
from detector.engine.shard import EngineSettings, Shard
from detector.service.telemetry.metrics import Metrics, records_waiting
from detector.testing import batches, traffic

DOCUMENTED = {
    "detector_events_consumed_total": {"topic"},
    "detector_events_invalid_total": {"reason"},
    "detector_halves_given_up_total": set(),
    "detector_results_too_large_total": {"topic"},
    "detector_state_records_refused_total": set(),
    "detector_events_repeated_total": set(),
    "detector_alerts_total": {"detector", "severity"},
    "detector_decisions_total": {"action", "origin"},
    "detector_decision_delay_seconds_count": set(),
    "detector_score_duration_seconds_count": set(),
    "detector_consumer_lag_messages": {"topic", "partition"},
    "detector_clients_parked": set(),
    "detector_clients_tracked": set(),
    "detector_clients_evicted_total": {"cause"},
    "detector_last_commit_timestamp_seconds": {"stage"},
    "detector_restore_seconds_count": set(),
    "detector_setbacks_total": {"stage"},
    "detector_policy_reloads_total": {"outcome"},
    "detector_sink_documents_total": {"sink", "outcome"},
    "detector_sink_up": {"sink"},
    "detector_sink_retries_total": {"sink"},
    "detector_sink_lag_messages": {"sink"},
    "detector_sink_last_delivery_timestamp_seconds": {"sink"},
    "detector_link_sketches_total": {"outcome"},
    "detector_link_sketches_held": set(),
    "detector_link_partitions_passed_over": set(),
    "detector_degraded": {"stage", "reason"},
    "detector_models_learning": set(),
    "detector_odometer_clients": {"lead"},
    "detector_odometer_organizations": {"lead"},
    "detector_odometer_readings_total": set(),
    "detector_build_info": {"version"},
}


@dataclass
class Watch:
    """A clock that is moved by hand, in seconds."""

    at_s: float = 0.0

    def __call__(self) -> float:
        return self.at_s


@dataclass
class Ends:
    """Where partitions end, as the client knows it."""

    ends: dict[TopicPartition, int | None] = field(default_factory=dict)

    def highwater(self, partition: TopicPartition) -> int | None:
        return self.ends[partition]


@pytest.fixture(scope="module")
def found() -> Outputs:
    """Let the engine find thieves among six innocents, see some events again, and elsewhere run out of room."""
    lines = traffic(seed=1, innocents=6, thieves=2)
    shard = Shard(EngineSettings(learning_events=64))
    outputs = shard.process(*batches(lines))
    outputs.add(shard.process(*batches(lines[-50:], first_sequence=len(lines))))
    outputs.add(Shard(EngineSettings(learning_events=64, max_clients=4)).process(*batches(lines)))
    return outputs


def samples(metrics: Metrics) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return the values by name and labels, as Prometheus would read them."""
    read: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            read.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return read


def use(metrics: Metrics, outputs: Outputs) -> None:
    """Touch every figure."""
    metrics.consumed("prediction-log", 7)
    metrics.invalid("json")
    metrics.too_large("detector.alerts")
    metrics.unsealed(2)
    metrics.published(outputs, max(order.issued_ms for order in outputs.pending_decisions) + 500)
    metrics.scored(0.01)
    metrics.lag("detect", {("detector.queries", 0): 3})
    metrics.tracked(8, 3)
    metrics.evicted("handed_over", 2)
    metrics.committed("detect")
    metrics.restored(1.5)
    metrics.set_back("detect")
    metrics.sent("siem", "delivered")
    metrics.sink_up("siem", up=True)
    metrics.sending_again("siem")
    metrics.sink_waiting("siem", 4)
    metrics.sink_current("siem")
    metrics.degraded("detect", {"model": True, "deployment": False})
    metrics.learning(1)
    metrics.sketched("ordered", 3)
    metrics.ordering(2, 0)
    metrics.holders({0.5: 3, 0.65: 1})
    metrics.organizations({0.5: 3, 0.65: 1})


def test_names_and_labels_are_the_documented_ones(found: Outputs) -> None:
    """Each documented figure is there with its labels, and no other of the project's."""
    metrics = Metrics()
    use(metrics, found)
    read = samples(metrics)
    for name, labels in DOCUMENTED.items():
        assert {frozenset(dict(key)) for key in read[name]} == {frozenset(labels)}, name
    plain = {name for name in read if name.startswith("detector_") and not name.endswith(("_bucket", "_sum", "_created"))}
    assert plain == set(DOCUMENTED)


def test_figures_count_what_was_found(found: Outputs) -> None:
    """Alerts, decisions, repeats and evictions add up to what the engine put out; the delay is measured from event time."""
    metrics = Metrics()
    use(metrics, found)
    read = samples(metrics)
    assert found.findings
    assert found.pending_decisions
    assert found.repeated
    assert found.departed
    assert sum(read["detector_alerts_total"].values()) == len(found.findings)
    assert sum(read["detector_decisions_total"].values()) == len(found.pending_decisions)
    assert read["detector_decisions_total"][("action", "block"), ("origin", "detector")] >= 1
    assert read["detector_events_repeated_total"][()] == found.repeated
    assert read["detector_clients_evicted_total"][(("cause", "capacity"),)] == len(found.departed)
    assert read["detector_decision_delay_seconds_count"][()] == len(found.pending_decisions)
    assert read["detector_decision_delay_seconds_sum"][()] >= 0.5 * len(found.pending_decisions)


def test_no_client_is_told(found: Outputs) -> None:
    """No id of a client is anywhere in the text."""
    metrics = Metrics()
    use(metrics, found)
    text = metrics.text().decode()
    assert not [finding.client for finding in found.findings if finding.client in text]


def test_workers_do_not_share_figures() -> None:
    """Two objects in one process count apart, and making the second is no error."""
    one, other = Metrics(), Metrics()
    one.invalid("late")
    assert 'reason="late"' in one.text().decode()
    assert 'reason="late"' not in other.text().decode()


def test_lag_of_partitions_that_are_gone_vanishes() -> None:
    """A partition handed over leaves no figure behind that would raise an alarm for ever; other stages' stay."""
    metrics = Metrics()
    metrics.lag("ingest", {("log", 0): 1})
    metrics.lag("detect", {("queries", 0): 5, ("queries", 1): 6})
    metrics.lag("detect", {("queries", 1): 2})
    assert samples(metrics)["detector_consumer_lag_messages"] == {
        (("partition", "0"), ("topic", "log")): 1,
        (("partition", "1"), ("topic", "queries")): 2,
    }


def test_waiting_records_are_those_up_to_the_known_end() -> None:
    """Unknown ends are left out, and an end that is known late never gives a negative number."""
    a, b, c = (TopicPartition("log", number) for number in range(3))
    assert records_waiting(Ends({a: 10, b: None, c: 3}), {a: 4, b: 0, c: 5}) == {("log", 0): 6, ("log", 2): 0}


def test_the_pulse_follows_its_clock() -> None:
    """Stillness grows with time and ends with a beat."""
    watch = Watch(100.0)
    metrics = Metrics(watch)
    watch.at_s = 145.0
    assert metrics.still_s() == 45.0
    metrics.beat()
    assert (metrics.still_s(), metrics.beat_s) == (0.0, 145.0)


def test_the_service_section_does_not_change_what_is_found() -> None:
    """Ports and log levels leave the version of the configuration alone."""
    make: Callable[..., Config] = Config
    assert make(service={"port": 1234, "log_level": "debug"}).version == Config().version


def test_stops_held_back_are_counted_from_zero() -> None:
    """Prometheus sees no increase of a counter that begins with the first of them."""
    assert 'detector_alerts_total{detector="held_back",severity="high"} 0.0' in Metrics().text().decode()
