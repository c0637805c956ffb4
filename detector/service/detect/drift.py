"""Whether the baseline still fits: gauges every 30 seconds, and a log line when the verdict changes."""

import time
from collections.abc import Iterable

import structlog

from detector.engine.shard import Shard, drifts
from detector.service.telemetry.metrics import Metrics

EVERY_S = 30.0

log = structlog.get_logger(__name__)


class DriftReporter:
    """Compares the clients of a worker's partitions with the calibration of their models."""

    def __init__(self, metrics: Metrics) -> None:
        """Start; the first comparison is due in `EVERY_S`."""
        self._metrics = metrics
        self._due = time.monotonic() + EVERY_S
        self._misfits: set[str] = set()  # models whose calibration no longer fits

    def check(self, shards: Iterable[Shard]) -> None:
        """Compare, if it is time; log when a calibration no longer fits, or fits again."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY_S
        for model, drift in drifts(shards).items():
            self._metrics.drift(model, drift.evidence, drift.distance)
            if drift.fits == (model in self._misfits):
                self._misfits ^= {model}
                tell = log.info if drift.fits else log.warning
                tell("baseline", model=model, finding=drift.tell(), evidence=drift.evidence, distance=drift.distance)
