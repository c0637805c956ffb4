"""For tests against this project: events, a thief to catch, a clock that stands still and a sink in memory.

`Events` makes lines of the native format, `traffic` a short log with innocent clients and thieves in it, and `watch` runs
lines through the whole pipeline: what a sink, a gateway or a dashboard would be given is then in a `MemorySink`.

>>> seen = watch(traffic(seed=1, innocents=3, thieves=1))
>>> seen.decided[0].subject.id, sorted({alert.detector.evidence[0].name for alert in seen.raised})
('thief-0', ['children', 'offset'])
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.baseline.store import Baseline
from detector.clock import Clock, HeldClock
from detector.config import Config
from detector.ingest.assemble import Assembler
from detector.ingest.batch import Batch
from detector.ingest.lines import Chunk
from detector.offline.pipeline import Pipeline
from detector.sinks.memory import MemorySink

__all__ = ["LATER_MS", "START_MS", "Events", "HeldClock", "MemorySink", "batches", "traffic", "watch"]

START_MS = 1_777_890_600_000
LATER_MS = START_MS + 400 * 86_400_000


class Events:
    """Makes native events of one model, numbered from 0 and `step_ms` apart unless set otherwise.

    >>> events = Events("fraud")
    >>> json.loads(events.line("acme", [1.0, 2.5], "cat"))["event_id"]
    'fraud-0'
    >>> json.loads(events.line("acme", [1.0, 2.5], probabilities=[0.9, 0.1], time=7))["time"]
    7
    """

    def __init__(self, model: str = "model", *, start_ms: int = START_MS, step_ms: int = 1000) -> None:
        """Start with event 0 at `start_ms`."""
        self.model = model
        self.count = 0
        self._start_ms = start_ms
        self._step_ms = step_ms

    def line(
        self,
        client: str,
        vector: Sequence[float] | npt.NDArray[np.floating | np.integer],
        label: str | int | None = None,
        *,
        probabilities: Sequence[float] | None = None,
        trusted: bool = True,
        **changes: Any,
    ) -> bytes:
        """Return the next event as one line without its end; `changes` replace or add fields of the record.

        Numbers are written so that the same float32 is read again. Nothing is checked: wrong values make a record for the
        dead-letter records.
        """
        output = {"label": label, "probabilities": None if probabilities is None else list(probabilities)}
        record: dict[str, Any] = {
            "event_id": f"{self.model}-{self.count}",
            "time": self._start_ms + self.count * self._step_ms,
            "client": {"id": client, "trusted": trusted},
            "model": {"id": self.model},
            "input": {"vector": np.asarray(vector, np.float64).tolist()},
            "output": {name: value for name, value in output.items() if value is not None},
        }
        self.count += 1
        return json.dumps(record | changes).encode()


def batches(lines: Sequence[bytes], *, first_sequence: int = 0, now_ms: int = LATER_MS) -> list[Batch]:
    """Return the events of `lines` as batches, one per model, as the engine takes them.

    Raises ValueError when a line is no valid event.

    >>> events = Events()
    >>> [batch.client for batch in batches([events.line("a", [0.0], 1), events.line("b", [1.0], 2)])]
    [('a', 'b')]
    """
    assembler = Assembler(HeldClock(now_ms))
    found, refused, _ = assembler.assemble(lines, "test", first_line=1, first_sequence=first_sequence)
    if refused:
        raise ValueError(f"line {refused[0].origin.line}: {refused[0].detail}")
    return found


def traffic(
    *, seed: int = 0, innocents: int = 4, thieves: int = 1, queries: int = 200, dimension: int = 12, model: str = "model"
) -> list[bytes]:
    """Return `queries` lines per client, in turn: innocents ask about points of their own, thieves move theirs by flat steps.

    Inputs lie between 0 and 1, the label says whether their sum is above the middle. With the defaults a thief is blocked,
    also without a baseline, as long as `dimension` is 8 or more: flatness cannot be seen in fewer values.
    """
    rng = np.random.default_rng(seed)
    events = Events(model)
    lines = []
    last = np.zeros((thieves, dimension))
    for turn in range(queries):
        for i in range(innocents):
            x = rng.random(dimension)
            lines.append(events.line(f"client-{i}", x, int(x.sum() > dimension / 2)))
        for i in range(thieves):
            if turn % 2 == 0:
                last[i] = rng.uniform(0.2, 0.8, dimension)
            x = last[i] + 0.1 * (turn % 2) * rng.permutation(np.resize([1.0, -1.0], dimension))
            lines.append(events.line(f"thief-{i}", x, int(x.sum() > dimension / 2)))
    return lines


def watch(
    lines: Sequence[bytes],
    config: Config | None = None,
    baseline: Baseline | None = None,
    *,
    chunk: int = 1000,
    partitions: int = 1,
    clock: Clock | None = None,
) -> MemorySink:
    """Run lines through the pipeline, `chunk` at a time, to the end of the stream."""
    sink = MemorySink()
    pipeline = Pipeline(config or Config(), baseline, sink, clock or HeldClock(LATER_MS), partitions=partitions)
    for at in range(0, len(lines), chunk):
        pipeline.feed(Chunk("test", at + 1, list(lines[at : at + chunk])))
    pipeline.finish()
    return sink
