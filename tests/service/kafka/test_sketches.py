"""The codec of the sketches topic: what is written is read, and nothing that is read raises but the error for it."""

from contextlib import suppress
from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import SketchesError
from detector.ingest.batch import LABEL_CHANGED
from detector.service.kafka.sketches import (
    MOST_ROWS,
    PlacedSketches,
    Progress,
    decode,
    encode_progress,
    encode_sketches,
    pieces,
)
from tests.service.link.drawn import SOURCE, placed, sketches


def _same(one: PlacedSketches, other: PlacedSketches) -> bool:
    columns = [field.name for field in fields(one.sketches) if field.name != "sequence"]
    return (
        (one.source, one.partition, one.reference) == (other.source, other.partition, other.reference)
        and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("offset", "index", "written"))
        and all(
            np.array_equal(first, second, equal_nan=True)
            if isinstance(first, np.ndarray) and first.dtype.kind == "f"
            else np.array_equal(first, second)
            if isinstance(first, np.ndarray)
            else first == second
            for first, second in ((getattr(one.sketches, name), getattr(other.sketches, name)) for name in columns)
        )
    )


@given(st.integers(1, 40), st.integers(0, 2**31))
def test_what_is_written_is_read(n: int, seed: int) -> None:
    """Every column comes back as it was, numbers within a record included."""
    written = placed(sketches(n, seed=seed), 3, range(n))
    several = replace(written, offset=written.offset // 3, index=written.offset % 3)
    for one in (written, several):
        read = decode(encode_sketches(one))
        assert isinstance(read, PlacedSketches)
        assert _same(one, read)
        assert read.sketches.z.dtype == np.int16


def test_pieces_hold_all_rows_in_order() -> None:
    """Many sketches are cut into records of at most so many, and none is lost."""
    many = placed(sketches(2 * MOST_ROWS + 7), 0, range(2 * MOST_ROWS + 7))
    cut = list(pieces(many))
    assert [len(piece) for piece in cut] == [MOST_ROWS, MOST_ROWS, 7]
    assert [name for piece in cut for name in piece.sketches.event_id] == many.sketches.event_id


def test_a_sketch_takes_about_200_bytes() -> None:
    """With ids of 36 characters, as UUIDs have, a query takes at most 220 bytes."""
    many = sketches(MOST_ROWS, name="x" * 30)
    assert len(encode_sketches(placed(many, 0, range(MOST_ROWS)))) <= 220 * MOST_ROWS


def test_progress_is_read() -> None:
    """Progress comes back; one that names a partition beyond their number is refused."""
    progress = Progress(SOURCE, 6, {0: 5, 5: 1_700_000_000_000})
    assert decode(encode_progress(progress)) == progress
    with pytest.raises(SketchesError, match="beyond their number"):
        decode(encode_progress(progress._replace(partitions=5)))


@given(st.data())
def test_no_bytes_raise_anything_else(data: st.DataObject) -> None:
    """Damaged and arbitrary records are refused with a reason, or are valid ones."""
    good = bytearray(encode_sketches(placed(sketches(3), 1, [1, 2, 3])))
    if data.draw(st.booleans()):
        for _ in range(data.draw(st.integers(1, 4))):
            good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
        record = bytes(good)
    else:
        record = data.draw(st.binary(max_size=200))
    with suppress(SketchesError):
        assert decode(record)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (1, 99, "version 99"),
        (3, 10**9, "no sketches"),
        (4, "", "no sketches"),
        (6, b"123", "offset: 3 bytes for 3 sketches"),
        (6, np.array([3, 2, 1], "<i8").tobytes(), "not in the order"),
        (6, np.array([-1, 2, 3], "<i8").tobytes(), "out of range"),
        (7, np.array([0, 0, 2**31], "<u4").tobytes()[:4], "index: 4 bytes"),
        (8, np.array([-1, 2, 3], "<i8").tobytes(), "written: out of range"),
        (9, {}, "not those of a sketch"),
        (10, [], "no sketches"),
        (11, [], "account: a code that is not in its table"),
        (14, np.array([0, 0, 77], "<u2").tobytes(), "sender: a code"),
    ],
)
def test_what_is_refused(place: int, value: object, said: str) -> None:
    """A field that is out of its range or of the wrong length is refused by name."""
    record = msgspec.msgpack.decode(encode_sketches(placed(sketches(3), 1, [1, 2, 3])))
    record[place] = value
    with pytest.raises(SketchesError, match=said):
        decode(msgspec.msgpack.encode(record))


def test_an_infinite_probability_is_refused() -> None:
    """A probability may be missing, and not infinite."""
    found = sketches(2)
    found.confidence[1] = np.inf
    with pytest.raises(SketchesError, match="confidence: holds an infinity"):
        decode(encode_sketches(placed(found, 0, [1, 2])))


def test_an_unknown_perturbation_is_refused() -> None:
    """A value that no sender of this version writes is none that a reader may guess at."""
    found = sketches(2)
    found.perturbed[:] = LABEL_CHANGED
    read = decode(encode_sketches(placed(found, 0, [1, 2])))
    assert isinstance(read, PlacedSketches)
    assert read.sketches.perturbed.tolist() == [LABEL_CHANGED] * 2
    found.perturbed[1] = LABEL_CHANGED + 1
    with pytest.raises(SketchesError, match="perturbed: unknown value"):
        decode(encode_sketches(placed(found, 0, [1, 2])))
