"""Metrics of the gate: counted by action and cause, never by client.

Plain numbers are counted in the event loop, and become Prometheus's families when they are asked for: a counter of its library
takes a lock for each request.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from detector.gate.verdict import Verdict

__all__ = ["CONTENT_TYPE", "GateMetrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_STARTED: Final = (
    *(("allow", cause, "passed") for cause in ("none", "unready", "no_identity", "repeated_identity", "unknown_identity")),
    ("throttle", "decision", "refused"),
    ("block", "decision", "refused"),
)
"""Counters that are there from the start, at 0: of one that begins with its first request, Prometheus sees no increase."""
_BOUNDS_S: Final = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.02, 0.1)


class GateMetrics:
    """Counts verdicts and the time that each took; `gauges` returns the state of the decisions when it is asked for."""

    def __init__(self, gauges: Callable[[], dict[str, float | dict[str, int]]]) -> None:
        """Start at zero."""
        self._gauges = gauges
        self.verdicts: Counter[tuple[str, str, str]] = Counter(dict.fromkeys(_STARTED, 0))
        self.simulated: Counter[str] = Counter()
        self._times = [0] * (len(_BOUNDS_S) + 1)
        self._sum_s = 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def count(self, verdict: Verdict, took_s: float) -> None:
        """Count one verdict."""
        self.verdicts[verdict.action, verdict.cause, "passed" if verdict.passes else "refused"] += 1
        self._times[bisect_left(_BOUNDS_S, took_s)] += 1
        self._sum_s += took_s

    def text(self) -> bytes:
        """Return everything as Prometheus reads it."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Any]:
        """Yield the families; called by Prometheus's library."""
        requests = CounterMetricFamily(
            "detector_gate_requests",
            "Sub-requests answered; cause unready and missing or unknown identities with result passed are failures open.",
            labels=("action", "cause", "result"),
        )
        for labels, number in sorted(self.verdicts.items()):
            requests.add_metric(labels, number)
        yield requests
        simulated = CounterMetricFamily(
            "detector_gate_simulated", "Requests that a simulated decision would have met, by its action.", labels=("action",)
        )
        for action, number in sorted(self.simulated.items()):
            simulated.add_metric((action,), number)
        yield simulated
        yield self._histogram()
        for name, value in self._gauges().items():
            if isinstance(value, dict):
                family = GaugeMetricFamily(f"detector_gate_{name}", _HELP[name], labels=("action",))
                for action, number in sorted(value.items()):
                    family.add_metric((action,), number)
                yield family
            else:
                yield GaugeMetricFamily(f"detector_gate_{name}", _HELP[name], value=value)

    def _histogram(self) -> HistogramMetricFamily:
        total, buckets = 0, []
        for bound, number in zip((*map(str, _BOUNDS_S), "+Inf"), self._times, strict=True):
            total += number
            buckets.append((bound, total))
        return HistogramMetricFamily(
            "detector_gate_seconds", "Time of the gate itself for a sub-request.", buckets=buckets, sum_value=self._sum_s
        )


_HELP: Final = {
    "decisions": "Live decisions, by action; simulated ones apart.",
    "ready": "1 while sub-requests are answered from decisions.",
    "connected": "1 while the source of decisions can be read.",
    "lag_records": "Records of the decisions topic that are not read yet.",
    "age_seconds": "Time since the source of decisions was last read to its end.",
    "unusable_records": "Records that hold no decision.",
    "unbound_decisions": "1 while decisions bound to an address cannot hold, since [gate] address_header is not set.",
    "matched_decisions": "Decisions that a request has met. 0 of many: clients are named otherwise than in the log.",
}
