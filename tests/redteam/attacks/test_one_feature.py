from itertools import pairwise

import numpy as np
import pytest

from detector.redteam.attacks.one_feature import one_feature_bisect
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, converse
from detector.redteam.setting import Setting

ROWS = np.random.default_rng(0).uniform(0.0, 100.0, (30, 2)).round(1)


def _above(X: Array) -> Array:
    side = (X[:, 0] > 41.5).astype(np.float64)
    return np.column_stack([1.0 - side, side])


@pytest.mark.parametrize("whole", [False, True])
def test_brackets_halve_around_the_threshold(whole: bool) -> None:
    """The last of a run of made queries is next to the threshold; with `whole` all made values are whole numbers."""
    columns = TableColumns.of(ROWS)
    labels = np.zeros(len(ROWS), dtype=np.int64)
    client = one_feature_bisect(Setting(ROWS, labels, np.random.default_rng(1), columns=columns), whole=whole)
    vectors, _, synthetic = converse(client, _above, 400)
    changed = [abs(one[0] - other[0]) for one, other in pairwise(vectors) if one[1] == other[1]]
    near = np.abs(vectors[synthetic][:, 0] - 41.5).min()
    assert near <= (0.5 if whole else 0.1)
    assert min(gap for gap in changed if gap) <= (1.0 if whole else 0.1)
    if whole:
        inner = vectors[synthetic][:, 0]
        inner = inner[(inner != columns.low[0]) & (inner != columns.high[0]) & ~np.isin(inner, ROWS[:, 0])]
        assert np.array_equal(inner, np.rint(inner))


def test_every_made_record_differs_from_its_own_in_one_column() -> None:
    """Nothing but a single feature is touched."""
    client = one_feature_bisect(
        Setting(ROWS, np.zeros(len(ROWS), dtype=np.int64), np.random.default_rng(2), columns=TableColumns.of(ROWS))
    )
    vectors, _, synthetic = converse(client, _above, 200)
    record = vectors[0]
    for vector, made in zip(vectors, synthetic, strict=True):
        if not made:
            record = vector
        else:
            assert (vector != record).sum() == 1


def test_a_table_of_codes_is_refused() -> None:
    """Without an order there is nothing to bisect."""
    codes = np.array([[0.0], [1.0]])
    columns = TableColumns.of(codes, categorical=[0])
    client = one_feature_bisect(Setting(codes, np.zeros(2, dtype=np.int64), np.random.default_rng(0), columns=columns))
    with pytest.raises(ValueError, match="column with an order"):
        next(client)


def test_a_shallow_bisection_asks_about_two_middles() -> None:
    """Beside the record and the two ends of a column at most two values a side are asked."""
    setting = Setting(ROWS, np.zeros(len(ROWS), dtype=np.int64), np.random.default_rng(3), columns=TableColumns.of(ROWS))
    _, _, synthetic = converse(one_feature_bisect(setting, most=2), _above, 200)
    lengths = np.diff(np.flatnonzero(np.concatenate([[True], ~synthetic, [True]]))) - 1
    assert lengths.max() <= 2 * (1 + 2)
