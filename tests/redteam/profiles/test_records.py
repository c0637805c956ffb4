from itertools import pairwise

import numpy as np

from detector.redteam.conversation import Array, converse
from detector.redteam.entries import Begin
from detector.redteam.loans import Lender
from detector.redteam.profiles import records
from detector.redteam.registry import PROFILES


def _play(profile: Begin, applied: Lender, seed: int, budget: int = 200) -> Array:
    pool = applied.benign
    client = profile(applied.setting(pool, np.random.default_rng(seed)))
    return converse(client, applied.predict, budget)[0]


def _rows(vectors: Array) -> set[bytes]:
    return {row.tobytes() for row in vectors}


def test_those_who_select_send_records_of_the_pool(applied: Lender) -> None:
    """Steady, bursty, skewed, repeating, hard and monitoring clients alter nothing."""
    natural = _rows(applied.benign.vectors)
    for profile in (
        "tab_steady",
        "tab_bursty",
        "tab_retries",
        "tab_skewed",
        "tab_load_test",
        "tab_hard_cases",
        "tab_health_checks",
    ):
        assert _rows(_play(PROFILES[profile].make, applied, 1)) <= natural


def test_a_branch_has_customers_of_its_own(applied: Lender) -> None:
    """In some categorical column a client's codes are far more uneven than the pool's."""

    def largest(X: Array) -> Array:
        return np.array([np.unique(X[:, j], return_counts=True)[1].max() / len(X) for j in applied.columns.categorical])

    usual = largest(applied.benign.vectors)
    gains = [float((largest(_play(records.tab_skewed, applied, seed)) - usual).max()) for seed in range(8)]
    assert np.median(gains) > 0.2


def test_an_analyst_changes_one_attribute_at_a_time(applied: Lender) -> None:
    """Nearly every query differs from an earlier one of the same sitting in exactly one column."""
    for seed in range(4):
        vectors = _play(records.tab_what_if, applied, seed)
        natural = _rows(applied.benign.vectors)
        made = [row for row, vector in enumerate(vectors) if vector.tobytes() not in natural]
        near = [min(int((vectors[row] != earlier).sum()) for earlier in vectors[max(0, row - 26) : row]) for row in made]
        assert set(near) <= {0, 1}  # a value may be tried twice
        assert np.mean(near) > 0.8
        changed = {tuple(np.flatnonzero(a != b)) for a, b in pairwise(vectors)}
        assert len(changed) > 4


def test_a_night_is_much_like_the_one_before(applied: Lender) -> None:
    """The list comes again in its order; a place holds what it held, or a record near it, or rarely a new one."""
    for seed in range(4):
        vectors = _play(records.tab_nightly, applied, seed, 400)
        lags = [np.mean([(vectors[i] == vectors[i - lag]).all() for i in range(lag, 400)]) for lag in range(20, 81)]
        night = 20 + int(np.argmax(lags))
        same = np.array([(vectors[i] == vectors[i - night]).mean() for i in range(night, 400)])
        assert (same >= 0.7).mean() > 0.85
        assert (same < 1.0).any()


def test_shadow_records_differ_little_from_their_twins(applied: Lender) -> None:
    """The first of a pair is natural, the second changes only what its version changes."""
    styles = set()
    for seed in range(12):
        vectors = _play(records.tab_ab_shadow, applied, seed)
        assert _rows(vectors[::2]) <= _rows(applied.benign.vectors)
        columns = np.flatnonzero((vectors[::2] != vectors[1::2]).any(axis=0))
        styles.add("codes" if set(columns.tolist()) <= set(applied.columns.categorical) else min(len(columns), 2))
        numbers = list(applied.columns.numeric)
        assert np.all(
            np.abs(vectors[::2] - vectors[1::2])[:, numbers] <= 0.1 * np.ptp(applied.benign.vectors[:, numbers], axis=0)
        )
    assert styles >= {1, 2, "codes"}


def test_a_load_test_knows_few_records(applied: Lender) -> None:
    """At most fifty different ones, sent equally often."""
    for seed in range(4):
        _, counts = np.unique(_play(PROFILES["tab_load_test"].make, applied, seed, 300), axis=0, return_counts=True)
        assert len(counts) <= 50
        assert counts.max() <= 3 * counts.min() + 2


def test_a_slider_moves_one_number_through_its_range(applied: Lender) -> None:
    """In order the number rises within a record and nothing else changes; shuffled it is the same set of values."""
    columns = applied.columns
    for seed in range(4):
        vectors = _play(records.tab_sliders, applied, seed, 60)
        moves = vectors[1:] - vectors[:-1]
        within = (moves != 0).sum(axis=1) == 1
        assert within.mean() > 0.7
        assert np.all(moves[within].sum(axis=1) > 0)
        falls = np.diff(_play(records.tab_shuffled_sliders, applied, seed, 60), axis=0)
        one = (falls != 0).sum(axis=1) == 1
        assert (falls[one].sum(axis=1) < 0).mean() > 0.25
    assert columns.admits(vectors).all()


def test_hard_records_are_hard_for_the_model_too(applied: Lender) -> None:
    """The forest's own confidence is lower on them than at large."""

    def confidence(X: Array) -> float:
        return float(applied.predict(X).max(axis=1).mean())

    hard = np.mean([confidence(_play(records.tab_hard_cases, applied, seed)) for seed in range(4)])
    assert hard < confidence(applied.benign.vectors) - 0.01


def test_noise_moves_every_number_and_no_code(applied: Lender) -> None:
    """Against the nearest record of the pool, numbers are off by a little and codes are those of some record."""
    columns = applied.columns
    continuous = [j for j in columns.numeric if j not in columns.integer]
    for seed in range(3):
        vectors = _play(records.tab_numeric_noise, applied, seed, 100)
        assert len(_rows(vectors)) == 100
        scaled = (vectors[:, None] - applied.benign.vectors[None]) / np.maximum(columns.spread, 1e-9)
        nearest = np.abs(scaled[:, :, list(columns.numeric)]).max(axis=2).min(axis=1)
        assert np.median(nearest) < 0.6
        assert not np.isin(np.round(vectors[:, continuous], 6), applied.benign.vectors[:, continuous]).all()


def test_typing_errors_hit_codes_only(applied: Lender) -> None:
    """All numbers are those of a natural record, some records have a code changed."""
    numbers, natural = list(applied.columns.numeric), applied.benign.vectors
    for seed in range(3):
        vectors = _play(records.tab_category_noise, applied, seed)
        assert _rows(np.ascontiguousarray(vectors[:, numbers])) <= _rows(np.ascontiguousarray(natural[:, numbers]))
        assert _rows(vectors) - _rows(natural)
