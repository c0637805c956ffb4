"""What is kept from one batch to the next does not show in the results."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.compute import SMALL
from detector.engine.findings import Outputs
from detector.engine.memory.admission import FRESH
from detector.engine.models.encoding import encode_rows
from detector.engine.models.reference import MOST_CATEGORIES, encode
from detector.engine.observer import Seen
from detector.engine.shard import EngineSettings, Shard
from detector.testing import batches, traffic

FLOATS = st.floats(width=32, allow_nan=False)


@given(st.lists(FLOATS, min_size=6, max_size=6), st.lists(FLOATS, min_size=3, max_size=3), st.sets(st.integers(0, 2)))
def test_inputs_are_encoded_as_numpy_does(values: list[float], scale: list[float], categorical: set[int]) -> None:
    """Bit for bit, whatever overflows: the fitted reference was made with the other."""
    vectors = np.array(values, np.float32).reshape(2, 3)
    codes = np.array(sorted(categorical), np.int32)
    known = np.full((len(codes), MOST_CATEGORIES), np.nan, np.float32)
    known[:, : len(vectors)] = vectors[:, codes].T
    with np.errstate(all="ignore"):
        factors = np.array(scale, np.float32)
        wanted = encode(vectors, vectors[1], factors, codes, known)
    encoded = np.empty((2, 3 + known.size), np.float32)
    encode_rows(vectors, vectors[1], factors, codes, known, encoded)
    assert encoded.tobytes() == np.ascontiguousarray(wanted).tobytes()


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
