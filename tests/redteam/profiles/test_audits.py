from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, Predict, converse
from detector.redteam.entries import Begin
from detector.redteam.loans import Lender
from detector.redteam.profiles import audits
from detector.redteam.setting import Setting


def _play(profile: Begin, applied: Lender, seed: int, budget: int, predict: Predict | None = None) -> Array:
    pool = applied.benign
    client = profile(applied.setting(pool, np.random.default_rng(seed)))
    return converse(client, predict or applied.predict, budget)[0]


def _known(vectors: Array, pool: Array) -> npt.NDArray[np.bool_]:
    rows = {row.tobytes() for row in pool}
    return np.array([row.tobytes() in rows for row in vectors])


def test_a_price_grid_is_the_same_for_all_customers(applied: Lender) -> None:
    """One number only is ever set, to the values of one grid or of one that is off by half a step."""
    for seed in range(5):
        vectors = _play(audits.tab_price_grid, applied, seed, 120)
        alone = [np.flatnonzero(a != b).tolist() for a, b in pairwise(vectors)]
        single = [where[0] for where in alone if len(where) == 1]
        column = max(set(single), key=single.count)
        assert column in applied.columns.numeric
        assert len(np.unique(vectors[:, column])) <= 2 * 12


def test_a_portfolio_stays_and_grows_older(applied: Lender) -> None:
    """The next quarter has mostly the same records, a little changed, in the same order; codes do not drift."""
    vectors = _play(audits.tab_quarters, applied, 1, 500)
    coded = list(applied.columns.categorical)
    sizes = [n for n in range(25, 121) if (vectors[:-n][:, coded] == vectors[n:][:, coded]).all(axis=1).mean() > 0.85]
    assert len(sizes) == 1
    before, after = vectors[: -sizes[0]], vectors[sizes[0] :]
    kept = (before[:, coded] == after[:, coded]).all(axis=1)
    assert 0.85 < kept.mean() <= 1.0
    assert (before[kept] != after[kept]).any(axis=1).mean() > 0.02


def test_synthetic_records_lie_between_two_of_a_class(applied: Lender) -> None:
    """Every number of a made record is between two records of the pool, and its codes are of one or the other."""
    vectors = _play(audits.tab_smote, applied, 2, 40)
    pool, numbers = applied.benign.vectors, list(applied.columns.numeric)
    made = vectors[~_known(vectors, pool)]
    assert len(made) > 20
    assert applied.columns.admits(made).all()
    spread = applied.columns.spread[numbers]
    off = np.abs(made[:, None, numbers] - pool[None, :, numbers]) / spread
    assert np.median(off.max(axis=2).min(axis=1)) < 1.0


def test_a_record_without_peers_is_asked_about_itself() -> None:
    """In a class of one there is nothing to interpolate."""
    X = np.array([[1.0, 2.5], [2.0, 3.5]])
    client = audits.tab_smote(Setting(X, np.array([0, 1]), np.random.default_rng(0), columns=TableColumns.of(X)))
    assert _known(converse(client, lambda rows: rows, 10)[0], X).all()


def test_an_audit_of_monotonicity_only_rises(applied: Lender) -> None:
    """From a natural record on, one number after the other goes upwards through its quantiles."""
    for seed in range(4):
        vectors = _play(audits.tab_monotonicity, applied, seed, 80)
        natural = np.flatnonzero(_known(vectors, applied.benign.vectors))
        person = vectors[natural[0] : natural[0] + 5]
        moved = [np.flatnonzero(row != person[0]) for row in person[1:]]
        assert all(len(where) <= 1 for where in moved)
        assert len({int(where[0]) for where in moved if len(where)}) == 1
        column = next(int(where[0]) for where in moved if len(where))
        assert np.all(np.diff(person[1:, column]) >= 0.0)


def test_fairness_flips_codes_only(applied: Lender) -> None:
    """What differs from the person before is one or two columns of codes; numbers stay."""
    for seed in range(6):
        vectors = _play(audits.tab_fairness, applied, seed, 60)
        coded = set(applied.columns.categorical)
        person = vectors[0]
        for row in vectors[1:]:
            changed = set(np.flatnonzero(row != person).tolist())
            if len(changed) > 2:
                person = row
                continue
            assert changed <= coded


def test_fairness_without_codes_sets_a_number(applied: Lender) -> None:
    """A table of measurements has its quartiles asked about instead."""
    numbers = list(applied.columns.numeric)
    X = applied.benign.vectors[:, numbers]
    columns = TableColumns.of(X)
    client = audits.tab_fairness(Setting(X, applied.benign.labels, np.random.default_rng(0), columns=columns))
    vectors = converse(client, lambda rows: rows, 40)[0]
    assert columns.admits(vectors).all()
    assert _known(vectors, X).mean() < 0.5


def test_shocks_are_correlated_and_the_same_for_all(applied: Lender) -> None:
    """Where a record is free to move, its numbers move together, as those of the next record do."""
    X = np.random.default_rng(0).uniform(400.0, 600.0, (20, 4))
    X[0], X[1] = 1.0, 1e6  # room on both sides
    client = audits.tab_stress(
        Setting(X[2:], np.zeros(18, dtype=np.int64), np.random.default_rng(1), columns=TableColumns.of(X))
    )
    vectors = converse(client, lambda rows: rows, 150)[0]
    natural = np.flatnonzero(_known(vectors, X))
    count = int(natural[1] - natural[0])
    assert 11 <= count <= 61
    shocks = [np.log(vectors[start + 1 : start + count] / vectors[start]) for start in natural[:2]]
    np.testing.assert_allclose(shocks[0], shocks[1], atol=0.01)
    correlated = np.abs(np.corrcoef(shocks[0].T)[np.triu_indices(4, 1)])
    assert correlated.mean() > 0.2
    assert applied.columns.dimension == 10


@pytest.mark.parametrize("limit", [420.0, 500.0, 590.0])
def test_a_calculator_closes_in_on_the_largest_loan(limit: float) -> None:
    """The last value asked about for a customer is next to where the answer changes."""
    X = np.column_stack([np.linspace(400.1, 600.0, 30), np.linspace(400.0, 600.1, 30)])
    columns = TableColumns.of(X)

    def predict(rows: Array) -> Array:
        granted = (rows <= limit).all(axis=1)
        return np.column_stack([granted, ~granted]).astype(np.float64)

    client = audits.tab_affordability(Setting(X[:2], np.array([0, 1]), np.random.default_rng(1), columns=columns))
    vectors = converse(client, predict, 40)[0]
    natural = np.flatnonzero(_known(vectors, X))
    ends = [vectors[stop - 1] for start, stop in pairwise(natural) if stop - start > 4]
    assert ends
    for end in ends:
        assert np.abs(end - limit).min() <= 200.0 / 2**5


def test_nothing_is_halved_where_the_ends_agree(applied: Lender) -> None:
    """A model of one answer is asked three times a customer."""
    vectors = _play(audits.tab_affordability, applied, 0, 9, lambda X: np.tile([1.0, 0.0], (len(X), 1)))
    assert np.array_equal(_known(vectors, applied.benign.vectors)[[0, 3, 6]], [True] * 3)
    assert len({tuple(row) for row in np.delete(vectors, [0, 3, 6], axis=0)}) <= 6
