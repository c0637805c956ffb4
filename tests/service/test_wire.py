"""The normalised event: what is written is read back, and anything else is refused without harm."""

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.service.wire import WIRE_VERSION, decode, encode
from detector.testing import Events, batches


@given(seed=st.integers(0, 2**32 - 1), events=st.integers(1, 30))
def test_round_trip(seed: int, events: int) -> None:
    """Every column of a batch comes back as it was."""
    rng = np.random.default_rng(seed)
    maker = Events("m")
    [batch] = batches(
        [
            maker.line(
                f"c{int(rng.integers(5))}",
                rng.normal(0, 1e3, 4),
                probabilities=[0.25, 0.75] if rng.random() < 0.5 else None,
                label=int(rng.integers(9)),
                trusted=bool(rng.random() < 0.5),
                sampled_rate=float(rng.integers(1, 40)),
            )
            for _ in range(events)
        ]
    )
    [read], unreadable = decode(encode(batch), batch.sequence.tolist())
    assert not unreadable
    for name in ("sequence", "time", "vector", "label", "confidence", "runner_up", "weight"):
        np.testing.assert_array_equal(getattr(read, name), getattr(batch, name))
    assert (read.model, list(read.client), list(read.event_id)) == (batch.model, list(batch.client), list(batch.event_id))
    assert list(read.sender) == list(batch.sender)
    assert list(read.version) == list(batch.version)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_anything_else_is_refused(records: list[bytes]) -> None:
    """Bytes that are no normalised event are named by their place, and the others are read all the same."""
    [batch] = batches([Events("m").line("c", [1.0, 2.0], 1)])
    [good] = encode(batch)
    found, unreadable = decode([*records, good], range(len(records) + 1))
    assert [entry.place for entry in unreadable] == list(range(len(records)))
    assert [read.event_id for read in found] == [["m-0"]]


def test_other_version() -> None:
    """An event of another version is refused, and both versions are named."""
    [batch] = batches([Events("m").line("c", [1.0, 2.0], 1)])
    fields = msgspec.msgpack.decode(encode(batch)[0])
    fields[0] = WIRE_VERSION + 1
    found, [refused] = decode([msgspec.msgpack.encode(fields)], [0])
    assert not found
    assert refused.detail == f"a normalised event of version {WIRE_VERSION + 1}; this version reads {WIRE_VERSION}"


def test_models_and_dimensions_apart() -> None:
    """Events of several models and dimensions become a batch each, with their places in the stream."""
    one, two = Events("one"), Events("two")
    parts = batches([one.line("c", [1.0], 1), two.line("c", [1.0], 1), one.line("c", [1.0, 2.0], 1)][:2])
    records = [record for part in parts for record in encode(part)]
    found, _ = decode(records, [7, 9])
    assert {(read.model, read.vector.shape[1], int(read.sequence[0])) for read in found} == {("one", 1, 7), ("two", 1, 9)}
