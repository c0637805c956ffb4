"""Children: which steps between records are twins, and what that is worth."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.engine.columns import allocate
from detector.engine.evidence.channel import Weighed
from detector.engine.evidence.children import (
    CHANNEL,
    LEAST,
    MOST,
    NUMBERS,
    STEPS,
    TWINS,
    Family,
    Kin,
    agreement,
    by_accident,
    count_equal,
    find_twin,
    twin_worth,
    ways_to,
    width_for,
    worth_of,
)
from detector.engine.evidence.registry import CHILDREN
from tests.engine.memory.test_observe import Seen, shown

COORDINATES = 24
NONE = 0.0
Matrix = npt.NDArray[np.float64]


def asked(rows: Matrix) -> Seen:
    """Show records (n, up to NUMBERS) to an empty memory for tables whose other coordinates are 0."""
    z = np.zeros((len(rows), COORDINATES), np.int16)
    z[:, : rows.shape[1]] = np.rint(rows)
    return shown(z, [0] * len(rows), table=True)


def twins(rows: Matrix) -> int:
    """Return how many of the records look like children."""
    return int((asked(rows).ratio[:, CHILDREN] > 1.0).sum())


def seeds(count: int, columns: int = 8) -> Matrix:
    """Return records that have nothing to do with each other."""
    return np.random.default_rng(4).uniform(-9000.0, 9000.0, (count, columns))


def moved(rows: Matrix, step: Matrix | float, rng: np.random.Generator) -> Matrix:
    """Return the records, each moved by the step up or down in every column."""
    return rows + step * rng.choice([-1.0, 1.0], rows.shape)


@pytest.mark.parametrize("spread", [np.full(8, 300.0), np.geomspace(40.0, 2000.0, 8)], ids=["one size", "by column"])
def test_children_by_equal_steps_are_found(spread: Matrix) -> None:
    """Whatever the thief takes for the spread of a column: a few children are enough, and most count."""
    rows = seeds(12)
    found = asked(np.concatenate([rows, moved(rows, spread, np.random.default_rng(0))])).ratio[:, CHILDREN]
    assert (found[:12] <= 1.0).all()
    assert (found[13:] > 1.0).mean() > 0.7
    assert found.max() == pytest.approx(math.exp(MOST), rel=1e-5)


def test_steps_that_end_at_the_edge_are_found_too() -> None:
    """A step that the column's range cuts short says nothing, neither for nor against."""
    rows = seeds(16)
    rows[:, :2] = -9000.0
    made = np.maximum(moved(rows, 400.0, np.random.default_rng(0)), -9000.0)
    assert twins(np.concatenate([rows, made])) > 8


@pytest.mark.parametrize(
    "kind", ["uneven", "two columns", "constant", "best and worst", "one parent", "mixtures", "two levels"]
)
def test_innocent_steps_are_no_twins(kind: str) -> None:
    """Noise, edits of two columns, offsets, scenarios, a plan around one record, coalitions, and codes as numbers."""
    rng = np.random.default_rng(1)
    rows = seeds(16)
    step = np.geomspace(40.0, 2000.0, 8)
    if kind == "uneven":
        made = rows + rng.uniform(-2000.0, 2000.0, rows.shape)
    elif kind == "two columns":
        made = moved(rows, step * (np.arange(8) < 2), rng)
    elif kind == "constant":
        made = rows + step * rng.choice([-1.0, 1.0], 8)
    elif kind == "best and worst":
        made = rows + np.outer(rng.choice([-1.0, 1.0], 16), step)
    elif kind == "one parent":
        made = moved(np.repeat(rows[:1], 16, axis=0), step, rng)
    elif kind == "mixtures":
        made = np.where(rng.random(rows.shape) < 0.5, rows[0], rows[1])
    else:
        rows = rng.choice([0.0, 5000.0], rows.shape)
        made = rng.choice([0.0, 5000.0], rows.shape)
    assert twins(np.concatenate([rows, made])) == 0


def test_tables_of_two_numbers_are_left_out() -> None:
    """Two columns agree by accident, so nothing is said about them."""
    rows = seeds(12, 2)
    assert twins(np.concatenate([rows, moved(rows, 300.0, np.random.default_rng(0))])) == 0


@pytest.mark.parametrize(
    ("size", "level", "share"), [(1.0, 1.0, 2.0), (99.0, 1.0, 0.04), (100.0, 100.0, 0.5), (900.0, 100.0, 0.3)]
)
def test_coincidence_is_as_likely_as_the_grid_is_coarse(size: float, level: float, share: float) -> None:
    """One level of a grid agrees every second time, nine agree within one level three times in ten."""
    assert by_accident(size, level) == pytest.approx(min(share, 0.95))


def test_a_move_below_one_level_is_worth_nothing() -> None:
    """It is rounding; a long move on a fine grid is worth much."""
    assert worth_of(1.0, 0.0) == NONE
    assert worth_of(20.0, 100.0) == NONE
    assert worth_of(1000.0, 1.0) > 5.0


def test_the_texts_and_limits_fit() -> None:
    """Evidence of single queries is bounded, and three of them are needed."""
    assert isinstance(CHANNEL.ratio, Weighed)
    assert (CHANNEL.ratio.most, CHANNEL.ratio.least) == (MOST, LEAST)
    assert CHANNEL.floor > 2 * MOST
    assert allocate(Family, 2).child.shape == (2, STEPS, NUMBERS)
    assert TWINS < STEPS


def test_no_pair_of_steps_is_passed_over_at_the_length_where_a_level_is_forgiven() -> None:
    """The quick comparison finds what the exact one does: shorter steps say more there."""
    rng = np.random.default_rng(0)
    columns, held, level = 6, 60, np.full(COORDINATES, 100.0, np.float32)
    z = np.zeros((COORDINATES, held), np.int16)
    z[:columns] = rng.integers(-150, 150, (columns, held)) * 100
    kin = Kin(np.zeros((STEPS, NUMBERS), np.int16), np.zeros((STEPS, NUMBERS), np.int16), np.zeros(STEPS, np.uint32))
    kin.parent[0, :columns] = rng.integers(-100, 100, columns) * 100
    kin.child[0, :columns] = kin.parent[0, :columns] + np.array([1, -1, -1, -1, -1, 1]) * 800
    kin.origin[0] = 1000
    for step in (790.0, 799.0, 800.0, 810.0):
        query = z[:, 30].astype(np.float32)
        query[:columns] += np.array([1, 1, -1, 1, -1, 1], np.float32) * np.float32(step)
        exact = twin_worth(query, z, held, 30, kin, 0, level, columns) - math.log(held)
        order = np.arange(held, dtype=np.uint32)
        found, _ = find_twin(query, z, order, held, kin, level, columns)
        assert found >= exact


@given(st.integers(0, 2**32), st.sampled_from([2, 16]))
@settings(max_examples=30, deadline=None)
def test_columns_in_which_steps_may_agree_are_counted(seed: int, columns: int) -> None:
    """The quick count never says less than the exact comparison, all over the range of the integers, and seldom more."""
    rng = np.random.default_rng(seed)
    held = 60
    level = rng.choice([0.0, 1.0, 37.5, 2000.0], COORDINATES).astype(np.float32)
    z = np.rint(rng.normal(0.0, 20000.0, (COORDINATES, held))).clip(-32768, 32767).astype(np.int16)
    child, parent = rng.integers(-32768, 32768, (2, STEPS, NUMBERS)).astype(np.int16)
    kin = Kin(child, parent, np.ones(STEPS, np.uint32))
    kin.origin[3] = 0
    query = z[:, 7].astype(np.float32)
    query[:columns] = (query[:columns] + kin.child[0, :columns] - kin.parent[0, :columns]).clip(-32768, 32767)
    ways = np.empty((columns, width_for(held)), np.uint16)
    ways_to(query, z, held, ways)
    sums = np.empty((STEPS, ways.shape[1]), np.uint16)
    count_equal(ways, kin, level, sums)
    for k, m in np.ndindex(STEPS, held):
        exact = 0
        for q, start, end, begin, grain in zip(query, z[:, m], kin.child[k], kin.parent[k], level[:columns], strict=False):
            now, before = float(q) - float(start), float(end) - float(begin)
            exact += agreement(now, before, float(q), float(start), float(end), float(begin), float(grain)) > 0
        assert sums[k, m] >= (exact if k != 3 else 0)
    assert sums[3].sum() == 0
    assert sums[1:, :held].mean() < columns / 2
