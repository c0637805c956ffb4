from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.redteam.arrivals import ARRIVALS, bursty, clockwork, poisson, steady
from detector.redteam.conversation import Array


def _gaps(process: str, mean: float, seed: int, count: int) -> Array:
    return np.array(list(islice(ARRIVALS[process](np.random.default_rng(seed), mean), count)))


@given(process=st.sampled_from(sorted(ARRIVALS)), mean=st.floats(1e-3, 1e5), seed=st.integers(0, 2**32 - 1))
def test_gaps_are_never_negative_and_repeatable(process: str, mean: float, seed: int) -> None:
    """Time does not run backwards, and the same seed gives the same times."""
    gaps = _gaps(process, mean, seed, 50)
    assert np.isfinite(gaps).all()
    assert gaps.min() >= 0.0
    assert np.array_equal(gaps, _gaps(process, mean, seed, 50))


@pytest.mark.parametrize("process", ["steady", "poisson", "clockwork"])
def test_the_mean_gap_is_as_asked(process: str) -> None:
    """Over many queries the rate is the one asked for."""
    assert _gaps(process, 30.0, 1, 20_000).mean() == pytest.approx(30.0, rel=0.03)


def test_the_mean_gap_of_bursts_is_as_asked() -> None:
    """The same, with a tail light enough for a sample mean to settle."""
    gaps = list(islice(bursty(np.random.default_rng(1), 30.0, tail=4.0), 100_000))
    assert np.mean(gaps) == pytest.approx(30.0, rel=0.03)


def test_processes_differ_in_regularity() -> None:
    """Spread over mean: none for clockwork, little for steady, one for Poisson, much more for bursts."""
    spread = {name: gaps.std() / gaps.mean() for name in ARRIVALS for gaps in [_gaps(name, 10.0, 3, 5_000)]}
    assert spread["clockwork"] == 0.0
    assert 0.0 < spread["steady"] < 0.2
    assert spread["poisson"] == pytest.approx(1.0, abs=0.1)
    assert spread["bursty"] > 2.0


def test_steady_gaps_stay_within_their_jitter() -> None:
    """No gap is further from the period than the jitter allows."""
    gaps = list(islice(steady(np.random.default_rng(0), 5.0, jitter=0.1), 500))
    assert min(gaps) >= 4.5
    assert max(gaps) <= 5.5


def test_most_gaps_of_a_burst_are_short() -> None:
    """Queries come in runs: the median gap is far below the mean, unlike in a Poisson process."""
    assert np.median(list(islice(bursty(np.random.default_rng(0), 10.0), 5_000))) < 1.5
    assert np.median(list(islice(poisson(np.random.default_rng(0), 10.0), 5_000))) > 6.0


def test_clockwork_draws_nothing() -> None:
    """It leaves the generator of random numbers as it was."""
    rng = np.random.default_rng(0)
    assert list(islice(clockwork(rng, 2.0), 3)) == [2.0, 2.0, 2.0]
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(("burst", "tail"), [(0.5, 1.5), (4.0, 1.0)])
def test_bursts_without_a_mean_are_refused(burst: float, tail: float) -> None:
    """A tail without a mean, or a burst of less than one query, is an error."""
    with pytest.raises(ValueError, match="burst >= 1 and tail > 1"):
        next(bursty(np.random.default_rng(0), 1.0, burst=burst, tail=tail))
