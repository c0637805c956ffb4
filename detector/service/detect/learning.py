"""Which models are still being learned. None of their clients is watched until then, so a worker reports them."""

import time
from collections.abc import Callable, Collection, Iterable

import structlog

from detector.engine.shard import Shard
from detector.service.telemetry.metrics import Metrics

TELL_EVERY_S = 30.0
MOST_NAMED = 5  # models in a log line: model names come from callers, who could fill the log with them

log = structlog.get_logger(__name__)


class LearningReporter:
    """Follows the models without a baseline through the shards of a worker; `monotonic` is for tests."""

    def __init__(self, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start with no models."""
        self._metrics = metrics
        self._monotonic = monotonic
        self._shards: dict[Shard, frozenset[str]] = {}
        self._models: set[str] = set()
        self._begun: set[str] = set()
        self._learned: set[str] = set()
        self._told_s = float("-inf")

    @property
    def trouble(self) -> str | None:
        """How many models are not watched yet, in a sentence; None where all are. Safe to read from another thread."""
        count = len(self._models)
        return f"{count} {'model is' if count == 1 else 'models are'} being learned and not watched yet" if count else None

    def check(self, shards: Collection[Shard]) -> None:
        """Set the gauge, and log which models began to be learned and which are watched now."""
        now_learning = {shard: frozenset(shard.learning) for shard in shards}
        models = {model for learning in now_learning.values() for model in learning}
        # Only shards that are still ours count: a shard that left takes its models to another worker.
        done = {model for shard, before in self._shards.items() for model in before - now_learning.get(shard, before)}
        self._begun = (self._begun | (models - self._models)) & models
        self._learned = (self._learned | done) - models
        self._models, self._shards = models, now_learning
        self._metrics.learning(len(models))
        now = self._monotonic()
        if now < self._told_s + TELL_EVERY_S or not (self._begun or self._learned):
            return
        self._told_s = now
        if self._begun:
            log.info(
                "models are being learned: their clients are not watched yet; a baseline watches from the first event",
                **_named(self._begun),
            )
        if self._learned:
            log.info("models are learned: their clients are watched", **_named(self._learned))
        self._begun, self._learned = set(), set()


def _named(models: Iterable[str]) -> dict[str, object]:
    names = sorted(models)
    return {"models": names[:MOST_NAMED], "more": max(len(names) - MOST_NAMED, 0)}
