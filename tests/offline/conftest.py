"""A day to analyse: readers and thieves after a history of readers."""

from dataclasses import dataclass
from pathlib import Path

import pytest

import detector
from detector.testing import traffic


@dataclass(frozen=True)
class Day:
    """Logs, what they were made of, and what a replay of them found; thieves are called thief-0 and thief-1."""

    log: Path
    lines: list[bytes]
    config: detector.Config
    baseline: detector.Baseline
    results: detector.Results


@pytest.fixture(scope="package")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """Fit a baseline on 32 readers, then replay a day of six others, two thieves and a broken line."""
    home = tmp_path_factory.mktemp("day")
    history = home / "history.jsonl"
    history.write_bytes(b"\n".join(traffic(seed=1, innocents=32, thieves=0, queries=48)))
    lines = traffic(seed=2, innocents=6, thieves=2, queries=48)
    log = home / "log.jsonl"
    log.write_bytes(b"\n".join([*lines, b"{"]))
    config = detector.load_config()
    baseline = detector.fit_baseline(history, config)
    return Day(log, lines, config, baseline, detector.replay(log, config, baseline=baseline))
