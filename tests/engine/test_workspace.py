"""What is kept from one batch to the next does not show in the results."""

from dataclasses import replace
from functools import partial
from typing import Any

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.engine.clients import SMALLEST
from detector.engine.findings import Outputs
from detector.engine.memory.admission import FRESH
from detector.engine.models.encoding import encode
from detector.engine.models.reference import MOST_CATEGORIES
from detector.engine.observer import Seen
from detector.engine.passes import SMALL
from detector.engine.shard import EngineSettings, Shard
from detector.testing import batches, traffic

FLOATS = st.floats(width=32, allow_nan=False)


@given(st.lists(FLOATS, min_size=6, max_size=6), st.lists(FLOATS, min_size=3, max_size=3), st.sets(st.integers(0, 2)))
def test_inputs_are_encoded_as_numpy_does(values: list[float], scale: list[float], categorical: set[int]) -> None:
    """Bit for bit, whatever overflows: fitted references of former versions were made with numpy."""
    vectors = np.array(values, np.float32).reshape(2, 3)
    codes = np.array(sorted(categorical), np.int32)
    known = np.full((len(codes), MOST_CATEGORIES), np.nan, np.float32)
    known[:, : len(vectors)] = vectors[:, codes].T
    with np.errstate(all="ignore"):
        factors = np.array(scale, np.float32)
        wanted = np.clip((vectors - vectors[1]) * factors, -1e6, 1e6)
    wanted[:, codes] = 0.0
    indicators = (vectors[:, codes, None] == known[None]).reshape(2, -1).astype(np.float32) * np.float32(np.sqrt(0.5))
    wanted = np.concatenate([wanted, indicators], axis=1)
    encoded = encode(vectors, vectors[1], factors, codes, known)
    assert encoded.tobytes() == np.ascontiguousarray(wanted).tobytes()


def test_kernels_get_what_they_were_bound_to(digits_baseline: Baseline) -> None:
    """Nobody looks at types any more, so all passes have the same: small and large ones, before and after the columns grow."""
    shard = Shard(EngineSettings(), digits_baseline.models)
    (batch,) = batches(traffic(seed=2, innocents=SMALL, queries=2, dimension=64, model="digits"))
    table = shard._table("digits", "digits")
    found: set[tuple[Any, ...]] = set()
    for clients in (1, 10 * SMALLEST):
        shard.process(replace(batch, client=[f"client-{i % clients}" for i in range(len(batch))]))
        table._admit_clients([f"more-{clients}-{i}" for i in range(clients)])
        for events in (1, 2, SMALL, SMALL + 1):
            run = table._kernels._passes.over(events)
            calls = [call for call in run if isinstance(call, partial)] + [*run.more, *run.updates]
            found.add(tuple(tuple(map(numba.typeof, call.args)) for call in calls if isinstance(call, partial)))
    assert len(found) == 1
    assert table.columns.capacity > SMALLEST


class Watching:
    """Keeps every pass, as explanations do, and a copy of it."""

    def __init__(self) -> None:
        self.passes: list[Seen] = []
        self.copies: list[list[bytes]] = []

    def observed(self, seen: Seen) -> None:
        self.passes.append(seen)
        self.copies.append(self.bytes_of(seen))

    @staticmethod
    def bytes_of(seen: Seen) -> list[bytes]:
        arrays = (seen.verdict, seen.queries, seen.ratio, seen.peak, seen.z, seen.rows, seen.score)
        return [array.tobytes() for array in arrays]


@pytest.mark.parametrize("events", [1, 3, SMALL, SMALL + 1])
def test_what_observers_were_given_is_theirs(events: int) -> None:
    """Later batches write nothing into it."""
    watching = Watching()
    shard = Shard(EngineSettings(learning_events=64), observer=watching)
    (batch,) = batches(traffic(seed=1, queries=60))
    outputs = Outputs()
    for at in range(0, len(batch), events):
        outputs.add(shard.process(batch.take(np.arange(at, min(at + events, len(batch))))))
    assert outputs.findings
    assert sum(int((seen.verdict == FRESH).sum()) for seen in watching.passes) == len(batch)
    assert [Watching.bytes_of(seen) for seen in watching.passes] == watching.copies
