import numpy as np
import pytest

from detector.redteam.attacks.data_free import gaussian, generator_proxy, half_swapped, marginals
from detector.redteam.conversation import Array, converse
from detector.redteam.setting import Setting

RNG = np.random.default_rng(0)
BASE = RNG.normal(size=500)
ROWS = np.column_stack([BASE, BASE, -BASE, 2.0 * BASE])
LABELS = np.zeros(500, dtype=np.int64)


def _answer(X: Array) -> Array:
    return np.full((len(X), 2), 0.5)


def test_marginals_keep_the_values_and_lose_the_dependences() -> None:
    """Each value is one of its column's; columns that were equal no longer correlate."""
    vectors, _, synthetic = converse(marginals(Setting(ROWS, LABELS, np.random.default_rng(1))), _answer, 400)
    assert synthetic.all()
    assert all(np.isin(vectors[:, j], ROWS[:, j]).all() for j in range(4))
    assert abs(np.corrcoef(vectors[:, 0], vectors[:, 1])[0, 1]) < 0.2


def test_gaussian_values_keep_scales_and_lose_the_dependences() -> None:
    """Means and spreads are those of the pool; values that went together no longer do."""
    setting = Setting(ROWS, LABELS, np.random.default_rng(4), (-20.0, 20.0))
    vectors, _, synthetic = converse(gaussian(setting), _answer, 600)
    assert synthetic.all()
    np.testing.assert_allclose(vectors.std(axis=0), ROWS.std(axis=0), rtol=0.1)
    assert np.abs(vectors.mean(axis=0) - ROWS.mean(axis=0)).max() < 0.3
    assert np.abs(np.atleast_2d(np.corrcoef(vectors.T))[np.triu_indices(4, 1)]).max() < 0.2


def test_half_swapped_records_take_half_from_each_parent() -> None:
    """Two columns come from one record and two from another, so half the dependences are left."""
    vectors, _, synthetic = converse(half_swapped(Setting(ROWS, LABELS, np.random.default_rng(2))), _answer, 400)
    assert synthetic.all()
    origin = vectors / np.array([1.0, 1.0, -1.0, 2.0])
    assert {len(set(row.round(9).tolist())) for row in origin} == {2}
    assert all(sorted(np.unique(row.round(9), return_counts=True)[1].tolist()) == [2, 2] for row in origin)


def test_too_few_records_are_an_error() -> None:
    """One record cannot be crossed, none has no marginals."""
    with pytest.raises(ValueError, match="at least 2 natural records"):
        next(half_swapped(Setting(ROWS[:1], LABELS[:1], RNG)))
    with pytest.raises(ValueError, match="at least 1 natural record"):
        next(marginals(Setting(ROWS[:0], LABELS[:0], RNG)))
    with pytest.raises(ValueError, match="at least 1 natural record"):
        next(gaussian(Setting(ROWS[:0], LABELS[:0], RNG)))


def test_generated_pictures_are_smooth_and_made() -> None:
    """Neighbouring pixels are alike, and every picture counts as synthetic."""
    client = generator_proxy(Setting(np.zeros((1, 400)), LABELS[:1], np.random.default_rng(3)))
    vectors, _, synthetic = converse(client, _answer, 20)
    assert synthetic.all()
    assert np.abs(np.diff(vectors.reshape(20, 20, 20), axis=2)).mean() < 0.1
