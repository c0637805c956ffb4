"""Models that are being learned are told of: by a gauge, in a line when it begins and when it ends, and on /readyz."""

import numpy as np
from structlog.testing import capture_logs

from detector.engine.shard import EngineSettings, Shard
from detector.service.detect.learning import MOST_NAMED, TELL_EVERY_S, LearningReporter
from detector.service.telemetry.metrics import Metrics
from detector.testing import Events, batches


def _lines(model: str, count: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    events = Events(model)
    return [events.line(f"c-{i % 4}", rng.normal(size=4), 1) for i in range(count)]


class World:
    """What watches, and its clock."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.metrics = Metrics()
        self.learning = LearningReporter(self.metrics, lambda: self.now_s)

    def check(self, *shards: Shard) -> list[tuple[str, list[str]]]:
        """Check a while later, and return what was logged: the first two words, and the models."""
        self.now_s += TELL_EVERY_S
        with capture_logs() as said:
            self.learning.check(shards)
        return [(line["event"][:20], line["models"]) for line in said]

    @property
    def gauge(self) -> float | None:
        return self.metrics.registry.get_sample_value("detector_models_learning")


def test_it_is_told_when_it_begins_and_when_it_ends() -> None:
    """Once each; meanwhile the gauge counts the model, though two partitions learn it."""
    world = World()
    one, two = (Shard(EngineSettings(learning_events=32)) for _ in range(2))
    assert world.check(one, two) == []
    assert (world.gauge, world.learning.trouble) == (0, None)
    lines = _lines("alpha", 40)
    for shard in (one, two):
        shard.process(*batches(lines[:10]))
    assert world.check(one, two) == [("models are being lea", ["alpha"])]
    assert (world.gauge, world.learning.trouble) == (1, "1 model is being learned and not watched yet")
    assert world.check(one, two) == []
    one.process(*batches(lines[10:]))
    assert world.check(one, two) == [], "the other partition still learns"
    two.process(*batches(lines[10:]))
    assert world.check(one, two) == [("models are learned: ", ["alpha"])]
    assert (world.gauge, world.learning.trouble) == (0, None)


def test_a_partition_given_away_is_not_learned() -> None:
    """Another worker learns there, so nothing is said to be watched."""
    world = World()
    shard = Shard(EngineSettings(learning_events=32))
    shard.process(*batches(_lines("alpha", 5)))
    world.check(shard)
    assert world.check() == []
    assert world.gauge == 0


def test_a_flood_of_models_does_not_fill_the_log() -> None:
    """A line names a few and counts the rest, and there is one in a while."""
    world = World()
    shard = Shard(EngineSettings(learning_events=32))
    for i in range(20):
        shard.process(*batches(_lines(f"m-{i:02}", 1)))
    with capture_logs() as said:
        world.learning.check([shard])
        shard.process(*batches(_lines("later", 1)))
        world.learning.check([shard])
    assert [(len(line["models"]), line["more"]) for line in said] == [(MOST_NAMED, 20 - MOST_NAMED)]
    assert world.gauge == 21
    assert world.check(shard) == [("models are being lea", ["later"])]
