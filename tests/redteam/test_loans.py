import numpy as np
import pytest

from detector.redteam.loans import CATEGORICAL, NAMES, Lender, applications, lender


def test_columns_depend_on_each_other(applied: Lender) -> None:
    """Education and income, age and years employed go together; otherwise shuffled columns would look natural."""
    X = applied.benign.vectors
    assert np.corrcoef(X[:, NAMES.index("education")], X[:, NAMES.index("income")])[0, 1] > 0.2
    assert np.corrcoef(X[:, NAMES.index("age")], X[:, NAMES.index("years_employed")])[0, 1] > 0.3
    assert np.all(X[:, NAMES.index("years_employed")] <= X[:, NAMES.index("age")])


def test_the_table_is_what_it_says(applied: Lender) -> None:
    """Ten named columns, four of them codes, three whole; every pool holds records that the table admits."""
    columns = applied.columns
    assert columns.dimension == len(NAMES)
    assert columns.categorical == CATEGORICAL
    assert {NAMES[j] for j in columns.integer} == {"age", "hours", "years_employed"}
    for pool in (applied.training, applied.baseline, applied.benign, applied.attacker, applied.test):
        assert columns.admits(pool.vectors).all()
        assert 0.3 < pool.labels.mean() < 0.8


def test_pools_share_no_record(applied: Lender) -> None:
    """No record is in two pools."""
    pools = (applied.training, applied.baseline, applied.benign, applied.attacker, applied.test)
    rows = np.concatenate([pool.vectors for pool in pools])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_the_model_is_worth_stealing(applied: Lender) -> None:
    """It beats the commoner answer clearly on records that it has not seen."""
    test = applied.test
    right = (applied.predict(test.vectors).argmax(axis=1) == test.labels).mean()
    assert right > max(test.labels.mean(), 1.0 - test.labels.mean()) + 0.1


def test_answers_are_the_forests_own_as_a_log_holds_them(applied: Lender) -> None:
    """Floored at 0.0001, six digits, and otherwise what scikit-learn's own predict_proba says."""
    X = applied.benign.vectors[:100]
    answers = applied.predict(X)
    assert answers.min() >= 1e-4
    np.testing.assert_allclose(answers, np.maximum(applied.model.predict_proba(X), 1e-4), atol=1e-6)


def test_the_same_seed_gives_the_same_lender(applied: Lender) -> None:
    """Seed 7 again gives the same records and answers; another generator gives other records."""
    again = lender(7)
    assert np.array_equal(applied.test.vectors, again.test.vectors)
    assert np.array_equal(applied.predict(applied.test.vectors), again.predict(applied.test.vectors))
    first, second = (applications(5, np.random.default_rng(seed))[0] for seed in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("count", [1, 3])
def test_any_number_of_applications_can_be_drawn(count: int) -> None:
    """Shapes are as asked."""
    X, y = applications(count, np.random.default_rng(0))
    assert X.shape == (count, len(NAMES))
    assert y.shape == (count,)
