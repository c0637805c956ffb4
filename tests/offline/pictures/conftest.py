"""What the pictures are drawn of: explained clients, made-up traces; and the reader of the header of a PNG."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from detector.config import Config, EngineSection
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.features.row import NAMES
from detector.engine.memory.reservoir import COORDINATES
from detector.engine.policy import Thresholds
from detector.offline.explain import Explanation, explain
from detector.offline.replay import replay
from detector.offline.trace import Escalation, Trace

SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="session")
def make_trace() -> Callable[..., Trace]:
    """Return a maker of traces, see `_trace`."""
    return _trace


def _trace(client: str, group: str, *, queries: int = 40, hits: int = 0, novelty: float = 0.4) -> Trace:
    """A client whose last `hits` queries carried evidence, five at a time."""
    rng = np.random.default_rng(len(client) + hits)
    count = np.arange(1, queries + 1)
    carried = np.zeros((queries, len(CHANNELS)), np.float32)
    carried[queries - hits :, 0] = 1.0
    evaluations = count[7::8]
    escalations = [
        Escalation("offset", action, int(queries - hits + need), 1_000 * int(queries - hits + need), 5.0 * need)
        for action, need in (("alert", 2), ("perturb", 4), ("block", 5))
        if hits >= need
    ]
    return Trace(
        client=client,
        model="m",
        group=group,
        queries=count,
        time_ms=1_000 * count,
        event_ids=tuple(f"{client}-{i}" for i in count),
        z=rng.integers(-900, 900, (queries, COORDINATES)).astype(np.int16),
        ratio=1.0 + carried,
        peak=np.cumsum(5.0 * carried, axis=0, dtype=np.float32),
        evaluations=evaluations,
        novelty=np.full(len(evaluations), novelty),
        rows=np.zeros((len(evaluations), len(NAMES))),
        thresholds=Thresholds(alert=2.0, throttle=2.5, stop=(16.0,) * len(CHANNELS)),
        escalations=tuple(escalations),
    )


@pytest.fixture(scope="session")
def size_of() -> Callable[[Path], tuple[int, int]]:
    """Return a measure of pictures, see `_size_of`."""
    return _size_of


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height from the header of a PNG."""
    data = path.read_bytes()
    assert data[:8] == SIGNATURE
    assert data.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.fixture(scope="package")
def explained(tmp_path_factory: pytest.TempPathFactory, make_log: Callable[..., list[bytes]]) -> Callable[[str], Explanation]:
    """Replay a log of all kinds of clients without a baseline, and explain them."""
    home = tmp_path_factory.mktemp("pictured")
    log = home / "log.jsonl"
    log.write_bytes(b"\n".join(make_log(3, events=600)))
    config = Config(engine=EngineSection(learning_events=100))
    replay([str(log)], home / "out", config, None)
    return lambda client: explain(client, None, home / "out", config, None)
