"""Succession: records made from earlier ones in their order are found, lattices and shuffled lists are not."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.engine.columns import allocate
from detector.engine.evidence.children import MANY, NUMBERS, ROUNDING, STEPS, TWINS, Kin, agreement, slack, ways_to, width_for
from detector.engine.evidence.registry import CHILDREN
from detector.engine.evidence.succession import count_agreeing, find_successor, on_lattice, place_of, usual_lags
from detector.engine.memory.reservoir import CAPACITY, LENGTHS, RING, Memory, Past, choose_place
from tests.engine.evidence.test_children import asked, moved, seeds

COORDINATES = 24
Matrix = npt.NDArray[np.float64]


def retained(rows: Matrix) -> Past:
    """Return a memory that retains these records (n, numbers), no more than fit the ring."""
    state = allocate(Memory, 1, LENGTHS)
    n, numbers = rows.shape
    state.z[0, :numbers, :n] = np.rint(rows).T
    state.order[0, :n] = np.arange(n)
    columns = {name: getattr(state, name)[0] for name in Past._fields[: Past._fields.index("held")]}
    return Past(
        **columns,
        held=np.int64(n),
        stored=np.uint32(n),
        newest=np.int64(n - 1),
        squares=np.zeros(CAPACITY, np.float32),
        near=np.zeros(0, np.int64),
    )


def no_steps() -> Kin:
    """Return the kept steps of a client that has none."""
    return Kin(np.zeros((STEPS, NUMBERS), np.int16), np.zeros((STEPS, NUMBERS), np.int16), np.zeros(STEPS, np.uint32))


def successor(rows: Matrix, kin: Kin | None = None) -> tuple[float, int]:
    """Return what the last of these records, at most `RING` + 1, says of its making, and from which one it was made."""
    past, level = retained(rows[:-1]), np.zeros(COORDINATES, np.float32)
    query = np.zeros(COORDINATES, np.float32)
    query[: rows.shape[1]] = np.rint(rows[-1])
    worth, place = find_successor(query, past, kin or no_steps(), level, rows.shape[1], RING)
    return float(worth), int(place)


@given(st.integers(0, 300), st.integers(0, 2**32))
def test_a_place_is_that_of_the_record_or_none(stored: int, seed: int) -> None:
    """Whatever the reservoir has displaced: the ring is always found, and before anything was forgotten all of it."""
    order, held = np.zeros(CAPACITY, np.uint32), 0
    for number in range(stored):
        at, to = choose_place(np.zeros(CAPACITY, np.uint8), number, np.uint64(seed), RING)
        if to >= 0:
            order[to] = order[at]
        order[at] = number
        held = max(held, at + 1, to + 1)
    for number in range(stored):
        place = place_of(order, np.int64(number), RING)
        assert place < 0 or order[place] == number
        assert place >= 0 or (number < stored - RING and stored > CAPACITY)
    assert place_of(order, np.int64(-1), RING) == -1


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_children_of_long_steps_are_found_in_the_order_of_their_parents(share: float) -> None:
    """The parent is seldom the nearest record, and an iterated step turns round in a share of the columns."""
    rng = np.random.default_rng(2)
    rows = seeds(20)
    length = np.where(rng.random(rows.shape) < share, 1000.0 * rng.choice([1.0, 3.0], rows.shape), 5000.0)
    made = rows + length * rng.choice([-1.0, 1.0], rows.shape)
    found = asked(np.concatenate([rows, made])).ratio[:, CHILDREN]
    assert (found[:20] <= 1.0).all()
    assert (found[21:] > 1.0).mean() > 0.6


def test_the_order_of_the_parents_tells_them() -> None:
    """The same children in another order say nothing."""
    rows = seeds(10)
    made = moved(rows, 5000.0, np.random.default_rng(3))
    worth, place = successor(np.concatenate([rows, made[[0, 1]]]))
    assert worth > 0.0
    assert place == 1
    assert successor(np.concatenate([rows, made[[0, 4]]]))[0] == -np.inf


def test_two_numbers_are_told_unless_the_parents_are_points_of_a_lattice() -> None:
    """A person who tries two amounts leaves points that are whole steps apart in both."""
    rows = seeds(8, 2)
    step, signs = np.array([700.0, 1100.0]), np.array([[1.0, 1.0], [1.0, -1.0]])
    worth, place = successor(np.concatenate([rows, rows[:2] + step * signs]))
    assert worth > 0.0
    assert place == 1
    lattice = step * np.random.default_rng(5).permutation(np.argwhere(np.ones((4, 4)))[:8]).astype(np.float64)
    assert successor(np.concatenate([lattice, lattice[:2] + step * signs]))[0] == -np.inf
    z = np.rint(rows).T.astype(np.int16)
    assert not on_lattice(z, 0, 1, (rows[0] + step).astype(np.float32), 0, np.zeros(2, np.float32), 2)
    assert rows.shape[1] < MANY


def test_a_record_as_far_back_as_the_last_parent_is_expected() -> None:
    """The step that had a twin tells the distance, so fewer comparisons are set against the next one."""
    rows = seeds(14)
    made = moved(rows, 5000.0, np.random.default_rng(6))
    told = np.concatenate([rows, made[:4]])
    kin = no_steps()
    kin.child[0, :8], kin.parent[0, :8], kin.origin[0] = np.rint(made[2]), np.rint(rows[2]), 3
    past = retained(told[:-1])
    lags = np.empty(TWINS, np.int64)
    usual_lags(past.z, past.order, past.held, kin, 8, lags)
    assert lags.tolist() == [14, *[0] * (TWINS - 1)]
    assert successor(told, kin)[0] == pytest.approx(successor(told)[0] + np.log(2 * 17 / (2 * TWINS)))


def test_records_that_have_nothing_to_do_with_each_other_are_no_children() -> None:
    """Neither are noise on every number, and a constant that is added to a list of records."""
    rng = np.random.default_rng(7)
    rows = seeds(20)
    for made in (seeds(40)[20:], rows + rng.normal(0.0, 900.0, rows.shape), rows + 800.0 * rng.choice([-1.0, 1.0], 8)):
        assert (asked(np.concatenate([rows, made])).ratio[:, CHILDREN] <= 1.0).all()


@given(st.integers(0, 2**32), st.integers(3, 8), st.sampled_from([0.0, 1.0, 40.0]))
@settings(max_examples=40, deadline=None)
def test_no_step_is_passed_over_that_agrees(seed: int, columns: int, grain: float) -> None:
    """The quick count of columns never says less than the exact comparison, on grids and off them."""
    rng = np.random.default_rng(seed)
    scale = max(grain, 1.0)
    rows = np.rint(rng.integers(-30, 30, (20, columns))) * scale
    rows[-1] = rows[4] + (rows[-2] - rows[3]) * rng.choice([-1.0, 1.0], columns)
    past, level = retained(rows[:-1]), np.full(COORDINATES, grain, np.float32)
    query = np.zeros(COORDINATES, np.float32)
    query[:columns] = rows[-1]
    held, child = int(past.held), int(past.newest)
    parents = np.array([place_of(past.order, np.int64(past.order[m]) - 1, RING) for m in range(held)])
    ways = np.empty((columns, width_for(held)), np.uint16)
    ways_to(query, past.z, held, ways)
    sums = np.empty(ways.shape[1], np.uint16)
    count_agreeing(ways, past.z, child, parents, level, sums)
    for m in np.flatnonzero((parents >= 0) & (np.arange(held) != child)):
        q, start = query[:columns].astype(float), past.z[:columns, m].astype(float)
        end, begin = past.z[:columns, child].astype(float), past.z[:columns, parents[m]].astype(float)
        exact = sum(agreement(a - b, c - d, a, b, c, d, grain) > 0 for a, b, c, d in zip(q, start, end, begin, strict=True))
        assert sums[m] >= exact


@given(st.integers(0, 2**32), st.sampled_from([3, 23, 60]), st.integers(2, 16))
@settings(max_examples=40, deadline=None)
def test_columns_are_counted_wherever_the_parents_lie(seed: int, held: int, columns: int) -> None:
    """The count is that of the formula, for records all over the range of the integers and levels of any size."""
    rng = np.random.default_rng(seed)
    z = np.rint(rng.normal(0.0, rng.choice([30.0, 9000.0]), (COORDINATES, 60))).clip(-32768, 32767).astype(np.int16)
    query = np.rint(rng.normal(0.0, 3000.0, COORDINATES)).clip(-32768, 32767).astype(np.float32)
    level = rng.choice([0.0, 1.0, 37.5, 9000.0], COORDINATES).astype(np.float32)
    parents = np.arange(-1, held - 1)
    parents[rng.integers(held, size=4)] = rng.integers(-1, held, 4)
    ways = np.empty((columns, width_for(held)), np.uint16)
    ways_to(query, z, held, ways)
    sums = np.empty(ways.shape[1], np.uint16)
    count_agreeing(ways, z, 1, parents, level, sums)
    for m in np.flatnonzero(parents >= 0):
        now = np.abs(query[:columns].astype(float) - z[:columns, m])
        before = np.abs(z[:columns, 1].astype(float) - z[:columns, parents[m]])
        off = [slack(size, grain) for size, grain in zip(np.maximum(now, before), level.astype(float), strict=False)]
        least = ROUNDING + 0.25 * level[:columns]
        assert sums[m] == ((np.minimum(now, before) >= least) & (np.abs(now - before) <= off)).sum()
