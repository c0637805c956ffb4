"""Which retained queries are nearest, that they move whole, and where chance comes from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.columns import allocate, columns_of
from detector.engine.evidence.step import Asked
from detector.engine.memory.checksums import Checksums, retain_sums
from detector.engine.memory.reservoir import (
    CAPACITY,
    COORDINATES,
    GROUPS,
    LABEL_TOLD,
    LENGTHS,
    NEIGHBOURS,
    RING,
    SAMPLED,
    USED,
    VISITED,
    Memory,
    Past,
    choose_nearest,
    choose_place,
    mix,
    move,
    retain,
)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, 7.0]) | st.floats(0, 2.0**40, width=32), max_size=CAPACITY))
def test_the_nearest_are_those_of_a_stable_sort(distances: list[float]) -> None:
    """Ties go to the lower place, whatever the order and the number of retained queries."""
    n = len(distances)
    squares = np.zeros(CAPACITY, np.float32)
    squares[:n] = distances
    best = np.full(NEIGHBOURS, -1)
    found = choose_nearest(squares.view(np.int32), n, np.empty(CAPACITY, np.int64), np.empty(GROUPS, np.int64), best)
    assert found == min(n, NEIGHBOURS)
    assert best[:found].tolist() == np.argsort(squares[:n], kind="stable")[:NEIGHBOURS].tolist()


def test_mix_is_splitmix64() -> None:
    """The draw is the published generator, so that any implementation can follow it."""

    def splitmix64(x: int) -> int:
        mask = 2**64 - 1
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
        return x ^ (x >> 31)

    for seed, counter in ((0, 1), (5, 2), (2**63, 77)):
        wanted = splitmix64((seed + counter * 0x9E3779B97F4A7C15) % 2**64)
        assert int(mix(np.uint64(seed), np.uint64(counter))) == wanted


def past_of(memory: Memory) -> Past:
    """Return the first client's retained queries, as the memory hands them to the channels."""
    rows = [array[0] for name, array in memory._asdict().items() if columns_of(Memory)[name].column.retained_axis is not None]
    nothing = np.zeros(CAPACITY, np.float32)
    return Past._make([*rows, np.int64(CAPACITY), np.uint32(1), np.int64(0), nothing, np.zeros(0, np.int64)])


def place_of(memory: tuple[np.ndarray, ...], family: type[tuple[np.ndarray, ...]], place: int) -> list[list[float]]:
    """Return what each column of retained queries holds at a place."""
    declared = [column.retained_axis for _, column in columns_of(family).values()]
    return [
        np.atleast_1d(array[0].take(place, axis)).tolist()
        for axis, array in zip(declared, memory, strict=True)
        if axis is not None
    ]


def test_a_query_moves_with_all_that_is_known_of_it() -> None:
    """Every column that has a place for each retained query is copied; one that is forgotten would mix two queries."""
    memory, checksums = allocate(Memory, 1, LENGTHS), allocate(Checksums, 1, LENGTHS)
    for array in (*memory, *checksums):
        array[...] = np.arange(array.size).reshape(array.shape) % 251
    before, sums_before = place_of(memory, Memory, 3), place_of(checksums, Checksums, 3)
    move(past_of(memory), 3, 40)
    retain_sums(checksums, 0, 3, 40, np.array([9, 8], np.uint32), 7)
    assert place_of(memory, Memory, 40) == before
    assert place_of(checksums, Checksums, 40) == sums_before
    assert place_of(checksums, Checksums, 3) == [[9], [8], [7]]


def test_a_new_query_leaves_nothing_of_the_one_before() -> None:
    """Every column of the place is written."""
    memory = allocate(Memory, 1, LENGTHS)
    for array in memory:
        array[...] = 77
    asked = Asked(
        query=np.zeros(COORDINATES, np.float32),
        z=np.arange(COORDINATES, dtype=np.int16),
        c=np.arange(SAMPLED, dtype=np.uint8),
        label=np.int32(5),
        margin=np.float32(0.5),
        landmark=np.float32(0.0),
    )
    retain(past_of(memory), 3, asked, 2, 9, True, LABEL_TOLD)
    assert place_of(memory, Memory, 3) == [
        list(range(COORDINATES)),
        list(range(SAMPLED)),
        *([value] for value in (5, 1, 2, 1 | LABEL_TOLD, 128, 9)),
    ]


@given(
    st.integers(CAPACITY, 10_000),
    st.integers(0, 2**32),
    st.lists(st.sampled_from([0, VISITED, USED]), min_size=CAPACITY, max_size=CAPACITY),
)
def test_only_equals_and_lower_ranks_give_way(stored: int, seed: int, marks: list[int]) -> None:
    """What later queries came back to is displaced by its like alone, and it never is where a lower rank was drawn as well."""
    mark = np.array(marks, np.uint8)
    at, to = choose_place(mark, stored, np.uint64(seed), RING)
    assert at == stored % RING
    assert to == -1 or RING <= to < CAPACITY
    if to >= 0:
        assert mark[to] == 0 or mark[at] == USED or mark[to] == mark[at] == VISITED


@given(st.integers(CAPACITY, 10_000), st.integers(0, 2**32))
def test_what_a_later_query_was_made_from_always_stays(stored: int, seed: int) -> None:
    """It leaves the ring for the sample, whatever that holds."""
    for others in (0, VISITED, USED):
        mark = np.full(CAPACITY, others, np.uint8)
        mark[stored % RING] = USED
        assert choose_place(mark, stored, np.uint64(seed), RING)[1] >= RING


def test_cover_gives_way_to_what_was_come_back_to() -> None:
    """A query that was visited once stays though thousands came before it; an equal one of many seldom does."""
    stays = {0: 0, VISITED: 0}
    for others in stays:
        mark = np.full(CAPACITY, others, np.uint8)
        for stored in range(5000, 5200):
            mark[stored % RING] = VISITED
            stays[others] += choose_place(mark, stored, np.uint64(7), RING)[1] >= 0
            mark[stored % RING] = others
    assert stays[0] == 200
    assert stays[VISITED] < 10
