"""Rows of client state: packed, unpacked, grown and cleared without touching their neighbours."""

import zlib
from random import Random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.features.coverage import LABELS
from detector.engine.memory.reservoir import CAPACITY
from detector.engine.state import SNAPSHOT_VERSION, ClientSnapshot, Columns, dump, load
from detector.errors import SnapshotError


def filled(capacity: int, seed: int, held: int) -> Columns:
    """Return columns with noise wherever noise can be, except that places beyond `held` are empty, as they are in life."""
    columns = Columns(capacity, summed=True)
    rng = np.random.default_rng(seed)
    for name, array in columns._named():
        array[...] = np.frombuffer(rng.bytes(array.nbytes), array.dtype).reshape(array.shape)
        declared = columns._declared[name]
        if declared.within is not None:
            low, high = declared.within
            array[...] = np.maximum(rng.random(array.shape) * min(high, 1e9), low).astype(array.dtype)
        if (axis := declared.retained_axis) is not None:
            array[(slice(None),) * (1 + axis) + (slice(held, None),)] = 0
    columns.memory.held[:] = held
    columns.memory.stored[:] = held
    columns.memory.newest[:] = rng.integers(max(held, 1), size=capacity)
    columns.memory.order[:, :held] %= np.uint32(max(held, 1))
    return columns


def packed(columns: Columns, *slots: int) -> list[bytes]:
    return columns.pack(np.array(slots))


def same(first: Columns, second: Columns, slots: slice) -> bool:
    return all(a[slots].tobytes() == b[slots].tobytes() for (_, a), (_, b) in zip(first._named(), second._named(), strict=True))


@given(st.integers(0, 1000), st.integers(0, CAPACITY))
def test_a_row_survives_packing(seed: int, held: int) -> None:
    """Every byte comes back, into any row, and no other row is touched."""
    columns = filled(3, seed, held)
    other = filled(3, seed + 1, 5)
    kept = filled(3, seed + 1, 5)
    other.unpack(np.array([2]), packed(columns, 0))
    assert packed(other, 2) == packed(columns, 0)
    for (_, a), (_, b) in zip(columns._named(), other._named(), strict=True):
        assert a[0].tobytes() == b[2].tobytes()
    assert same(other, kept, slice(0, 2))


@given(st.lists(st.integers(0, CAPACITY), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_rows_packed_together_are_those_packed_alone(held: list[int], random: Random) -> None:
    """Rows with all numbers of retained queries, in any order, become the same bytes, and from them the same rows."""
    columns = Columns(len(held), summed=True)
    for slot, count in enumerate(held):
        for (_, into), (_, noise) in zip(columns._named(), filled(1, slot, count)._named(), strict=True):
            into[slot] = noise[0]
    order = random.sample(range(len(held)), len(held))
    rows = columns.pack(np.array(order))
    assert rows == [packed(columns, slot)[0] for slot in order]
    other = filled(len(held), 99, CAPACITY)
    other.unpack(np.array(order), rows)
    assert same(other, columns, slice(None))


def test_empty_places_take_no_room() -> None:
    """The bytes grow with the queries that are held, and by nothing else."""
    sizes = [len(packed(filled(1, 1, held), 0)[0]) for held in (0, 1, 2, CAPACITY)]
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1]
    assert sizes[3] - sizes[0] == CAPACITY * (sizes[1] - sizes[0])
    assert sizes[0] < 0.3 * sizes[3]


@pytest.mark.parametrize("change", [b"", b"\0"])
def test_bytes_of_another_length_are_refused(change: bytes) -> None:
    """One byte less or more cannot be this layout."""
    (row,) = packed(filled(1, 1, 7), 0)
    with pytest.raises(SnapshotError, match=r"cut off|longer"):
        Columns(1, summed=True).unpack(np.array([0]), [row + change if change else row[:-1]])


@pytest.mark.parametrize("row", [b"", b"\x07", b"\xff\xff" + bytes(9000)])
def test_bytes_that_are_no_row_are_refused(row: bytes) -> None:
    """Nothing, half a number, and more retained queries than there may be."""
    with pytest.raises(SnapshotError, match=r"cut off|more than its layout"):
        Columns(1).unpack(np.array([0]), [row])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("Memory.newest", 7),
        ("Memory.newest", 65_535),
        ("Memory.mark", 128),
        ("Metered.read", 255),
        ("Memory.depth", 251),
        ("Coverage.label_places", LABELS),
        ("Evidence.score", np.nan),
        ("Evidence.score", -1.0),
        ("Evidence.peak", np.inf),
        ("Standing.novelty", np.nan),
        ("Standing.held", 5),
        ("Standing.reached", 255),
        ("Admission.first_ms", -1),
        ("Admission.latest_ms", 2**62),
        ("Standing.held_until_ms", -1),
    ],
)
def test_what_no_kernel_writes_is_refused(column: str, value: float) -> None:
    """An index beyond its array, a level that there is not, a time that cannot be written, a score that compares with none."""
    columns = filled(2, 1, 7)
    dict(columns._named())[column][1] = value
    with pytest.raises(SnapshotError, match=f"not one of ours: {column}"):
        Columns(2, summed=True).unpack(np.array([0, 1]), packed(columns, 0, 1))


@pytest.mark.parametrize("told", [0, 6, 8, 65_535])
def test_a_number_of_queries_that_differs_from_the_layout_is_refused(told: int) -> None:
    """The number is there twice: in front, where the layout follows from it, and among the columns."""
    columns = filled(1, 1, 7)
    (row,) = packed(columns, 0)
    changed = np.frombuffer(bytearray(row), columns._packed(7))
    changed["Memory.held"] = told
    with pytest.raises(SnapshotError, match=r"Memory\.held"):
        Columns(1, summed=True).unpack(np.array([0]), [changed.tobytes()])


@pytest.mark.parametrize("stored", [0, 6, 8, 2**32 - 1])
def test_queries_that_are_not_held_are_refused(stored: int) -> None:
    """Until the memory is full, as many queries are held as were stored: a count that differs would meet the other later."""
    columns = filled(1, 1, 7)
    columns.memory.stored[0] = stored
    with pytest.raises(SnapshotError, match=r"Memory\.order"):
        Columns(1, summed=True).unpack(np.array([0]), packed(columns, 0))


def test_an_order_beyond_the_queries_is_refused() -> None:
    """While all queries of a client are held, their order leads to their place in an array."""
    columns = filled(1, 1, 7)
    columns.memory.order[0, 3] = 7
    with pytest.raises(SnapshotError, match=r"Memory\.order"):
        Columns(1, summed=True).unpack(np.array([0]), packed(columns, 0))


def test_growing_keeps_rows_and_clearing_forgets_them() -> None:
    """Rows keep their places; a cleared row is all zero, its neighbours are as they were."""
    columns, before = filled(4, 3, 9), filled(4, 3, 9)
    columns.grow(9)
    assert columns.capacity == 9
    assert same(columns, before, slice(0, 4))
    assert not any(array[4:].view(np.uint8).any() for _, array in columns._named())
    columns.clear(np.array([1, 3]))
    assert not any(np.ascontiguousarray(array[[1, 3]]).view(np.uint8).any() for _, array in columns._named())
    for slot in (0, 2):
        assert packed(columns, slot) == packed(before, slot)


def test_the_layout_tells_other_columns_apart() -> None:
    """It depends on names, kinds and shapes, not on how many clients there are."""
    assert Columns(1).layout == Columns(7).layout
    assert Columns(1, retained=32).layout != Columns(1).layout
    assert Columns(1, window=10).layout != Columns(1).layout
    assert Columns(1, table=True).layout != Columns(1).layout
    assert Columns(1, summed=True).layout != Columns(1).layout


def test_snapshots_carry_no_code() -> None:
    """What `dump` writes is plain MessagePack of numbers, text and bytes."""
    snapshot = ClientSnapshot(
        SNAPSHOT_VERSION, "layout", "reference", "m", "c", b"row", b"", zlib.crc32(b"row"), {"offset": ["e1"]}
    )
    data = dump(snapshot)
    plain = [SNAPSHOT_VERSION, "layout", "reference", "m", "c", b"row", b"", zlib.crc32(b"row"), {"offset": ["e1"]}]
    assert msgspec.msgpack.decode(data) == plain
    assert load(data, layout="layout", reference="reference") == snapshot


def test_ids_that_are_cut_off_are_refused() -> None:
    """An id is remembered by its key and its time, and neither counts without the other."""
    whole = ClientSnapshot(SNAPSHOT_VERSION, "layout", "reference", "m", "c", b"row", b"x" * 24, zlib.crc32(b"row"), {})
    with pytest.raises(SnapshotError, match="ids are cut off"):
        load(dump(whole), layout="layout", reference="reference")


def test_a_damaged_row_is_refused() -> None:
    """A flipped bit in the row does not pass its check sum."""
    whole = ClientSnapshot(SNAPSHOT_VERSION, "layout", "reference", "m", "c", b"row", b"", zlib.crc32(b"row"), {})
    data = dump(msgspec.structs.replace(whole, row=b"rov"))
    with pytest.raises(SnapshotError, match="check sum"):
        load(data, layout="layout", reference="reference")


@given(st.binary(max_size=60))
def test_garbage_is_no_snapshot(data: bytes) -> None:
    """Random bytes are refused, whatever they decode to."""
    with pytest.raises(SnapshotError):
        load(data, layout="layout", reference="reference")


@pytest.mark.parametrize("content", [[], [SNAPSHOT_VERSION], {}, 5, ["1"], [SNAPSHOT_VERSION, 2, 3, 4, 5, 6, 7, 8]])
def test_other_content_is_no_snapshot(content: object) -> None:
    """Well-formed MessagePack of other content is refused as well."""
    with pytest.raises(SnapshotError):
        load(msgspec.msgpack.encode(content), layout="layout", reference="reference")
