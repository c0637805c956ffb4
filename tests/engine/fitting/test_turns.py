"""Fitted rates of turns: rare near, frequent far, and not set by one client."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from detector.engine.evidence.turns import SELDOM, SURE, UNDECIDED, UNKNOWN
from detector.engine.fitting.reference import fit_reference
from detector.engine.fitting.turns import LEAST_RATE, Opening, count_turns, fit_turning
from detector.engine.models.reference import Floats, Reference

QUERIES = 80


def pictures() -> Floats:
    return np.asarray(load_digits().data, np.float32)


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Fit handwritten digits."""
    return fit_reference(pictures()[:900], 2, seed=3)


def labelled(vectors: Floats) -> Opening:
    """Return the answers of a model that compares the two halves of a picture."""
    score = vectors[:, :32].sum(axis=1) - vectors[:, 32:].sum(axis=1)
    return Opening(vectors, (score > 0).astype(np.int32), np.abs(score).astype(np.float32) / 20)


def camera(seed: int, shake: float = 0.3) -> Opening:
    """Return a client that shows each picture four times, each a little different."""
    rng = np.random.default_rng(seed)
    shown = np.repeat(pictures()[rng.permutation(900)[: QUERIES // 4]], 4, axis=0)
    return labelled((shown + shake * rng.standard_normal(shown.shape)).astype(np.float32))


def test_labels_turn_more_often_from_farther_away(reference: Reference) -> None:
    """The rates rise with the distance, and are higher where the model is undecided."""
    rates = fit_turning(reference, [camera(seed) for seed in range(20)])
    assert (np.diff(rates, axis=0) >= 0.0).all()
    assert (rates[:, UNDECIDED] >= rates[:, SURE]).all()
    assert LEAST_RATE <= rates.min() < 0.05
    assert rates[0, UNKNOWN] < SELDOM < rates[-1, UNKNOWN]
    assert rates.dtype == np.float32


def test_too_few_clients_teach_nothing(reference: Reference) -> None:
    """With seven clients the channel stays silent."""
    assert (fit_turning(reference, [camera(seed) for seed in range(7)]) == 1.0).all()


def test_without_probabilities_distance_alone_is_learned(reference: Reference) -> None:
    """The classes of margin stay silent then."""
    openings = [camera(seed)._replace(margin=np.full(QUERIES, np.nan, np.float32)) for seed in range(10)]
    rates = fit_turning(reference, openings)
    assert (rates[:, [UNDECIDED, SURE]] == 1.0).all()
    assert rates[0, UNKNOWN] < SELDOM


def test_one_client_does_not_set_the_rates(reference: Reference) -> None:
    """A client whose every label turns is one among twenty."""
    rng = np.random.default_rng(1)
    odd = camera(99)._replace(label=rng.integers(0, 2, QUERIES).astype(np.int32))
    plain = fit_turning(reference, [camera(seed) for seed in range(20)])
    with_odd = fit_turning(reference, [*(camera(seed) for seed in range(19)), odd])
    assert (with_odd[:4, UNKNOWN] < SELDOM).all()
    assert np.abs(with_odd[:4] - plain[:4]).max() < 0.15


def test_the_order_of_clients_does_not_matter(reference: Reference) -> None:
    """Nor what they are called, which is not known here."""
    openings = [camera(seed) for seed in range(12)]
    np.testing.assert_allclose(fit_turning(reference, openings), fit_turning(reference, openings[::-1]), rtol=1e-6)


def test_repeats_are_not_compared(reference: Reference) -> None:
    """A retry is no pair; the same input with another label is none either."""
    one = camera(5)
    twice = Opening(np.repeat(one.vectors, 2, axis=0), np.repeat(one.label, 2), np.repeat(one.margin, 2))
    for once, again in zip(count_turns(reference, one), count_turns(reference, twice), strict=True):
        np.testing.assert_array_equal(once, again)
    wavering = twice._replace(label=(np.arange(2 * QUERIES) % 2).astype(np.int32))
    assert count_turns(reference, wavering)[0][0, UNKNOWN] <= count_turns(reference, one)[0][0, UNKNOWN]


def test_the_first_query_is_compared_as_often_as_others(reference: Reference) -> None:
    """Nothing comes before it, so the two queries that are nearest to it make two pairs, as in the channel."""
    first = pictures()[0]
    step = np.zeros_like(first)
    step[:8] = 0.02
    vectors = np.array([first, first + step, first - step], np.float32)
    pairs, _ = count_turns(reference, Opening(vectors, np.zeros(3, np.int32), np.full(3, np.nan, np.float32)))
    assert pairs[:, UNKNOWN].sum() == 2


def test_missing_values_are_filled_as_they_are_when_scored(reference: Reference) -> None:
    """A gap is no error."""
    gappy = camera(6)
    gappy.vectors[::5, 7] = np.nan
    pairs, turns = count_turns(reference, gappy)
    assert (turns <= pairs).all()
    assert pairs.sum() > 0
