import numpy as np

from detector.redteam.conversation import Array, converse
from detector.redteam.entries import Begin
from detector.redteam.loans import Lender
from detector.redteam.profiles import forms


def _play(profile: Begin, applied: Lender, seed: int, budget: int = 200) -> Array:
    pool = applied.benign
    client = profile(applied.setting(pool, np.random.default_rng(seed)))
    return converse(client, applied.predict, budget)[0]


def _strange(vectors: Array, applied: Lender) -> set[int]:
    """Columns with values that no record of the pool has."""
    pool = applied.benign.vectors
    return {j for j in range(pool.shape[1]) if not np.isin(vectors[:, j], pool[:, j]).all()}


def test_units_change_in_a_few_numeric_columns_for_good(applied: Lender) -> None:
    """One to three columns are multiples of natural ones by one factor each; the rest is untouched."""
    for seed in range(6):
        vectors = _play(forms.tab_unit_change, applied, seed)
        strange = _strange(vectors, applied)
        assert strange <= set(applied.columns.numeric)
        assert 1 <= len(strange) <= 3


def test_imputed_columns_hold_one_value_too_often(applied: Lender) -> None:
    """Some column's commonest value is far commoner than in the pool, and every value is a natural one or the usual."""

    def commonest(X: Array) -> Array:
        return np.array([np.unique(X[:, j], return_counts=True)[1].max() / len(X) for j in range(X.shape[1])])

    for seed in range(5):
        vectors = _play(forms.tab_imputed, applied, seed)
        assert (commonest(vectors) - commonest(applied.benign.vectors)).max() > 0.15
        assert applied.columns.admits(vectors).all()


def test_a_form_is_filled_in_field_by_field(applied: Lender) -> None:
    """Each query differs from the one before in one field, or two where a typing error is mended, until a record is sent."""
    natural = {row.tobytes() for row in applied.benign.vectors}
    for seed in range(4):
        vectors = _play(forms.tab_form_editing, applied, seed, 120)
        changes = (np.diff(vectors, axis=0) != 0).sum(axis=1)
        assert (changes <= 2).mean() > 0.8
        done = [row for row, vector in enumerate(vectors) if vector.tobytes() in natural]
        assert len(done) > 8
        starts = [vectors[row + 1] for row in done[:-1] if vectors[row + 1].tobytes() not in natural]
        assert np.median([(start == starts[0]).sum() for start in starts]) >= applied.columns.dimension - 3


def test_a_trend_takes_a_few_numbers_away_and_back(applied: Lender) -> None:
    """Late records have numbers unlike early ones in one to three columns, by no more than a factor of two or so."""
    shifts = []
    for seed in range(6):
        vectors = _play(forms.tab_trend, applied, seed, 500)
        strange = _strange(vectors, applied)
        assert 1 <= len(strange) <= 3
        ratio = vectors[250:500].mean(axis=0)[list(strange)] / applied.benign.vectors.mean(axis=0)[list(strange)]
        assert ratio.max() < 3.0
        assert ratio.min() > 0.3
        shifts.append(np.abs(np.log(ratio)).max())
    assert max(shifts) > 0.15


def test_a_young_market_is_a_corner_of_the_population(applied: Lender) -> None:
    """All are natural records, few different ones, and some number stays in its lower part."""
    natural = {row.tobytes() for row in applied.benign.vectors}
    for seed in range(5):
        vectors = _play(forms.tab_young_market, applied, seed)
        assert {row.tobytes() for row in vectors} <= natural
        tops = [(applied.benign.vectors[:, j] <= vectors[:, j].max()).mean() for j in applied.columns.numeric]
        assert min(tops) < 0.6
        assert 2 <= len(np.unique(vectors, axis=0)) <= 0.3 * len(applied.benign.vectors)


def test_swapping_keeps_values_and_breaks_records(applied: Lender) -> None:
    """Every value is natural in its column, the records are not."""
    natural = {row.tobytes() for row in applied.benign.vectors}
    for seed in range(4):
        vectors = _play(forms.tab_swapped_columns, applied, seed)
        assert not _strange(vectors, applied)
        assert sum(row.tobytes() not in natural for row in vectors) > 60
