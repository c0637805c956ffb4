"""SEAT trains what it says and counts similar pairs as published."""

import numpy as np
import pytest

from tests.quality.published.interface import Array, Session, flagged_at, scores
from tests.quality.published.seat import MARGIN, REACH, Encoder, Seat, _gradients, adversarial, trained


def _plain(dimension: int) -> Encoder:
    """Encodes non-negative inputs as themselves, so that distances can be worked out by hand."""
    eye = np.eye(dimension)
    return Encoder(np.zeros(dimension), np.ones(dimension), eye, np.zeros(dimension), eye)


def _session(X: Array) -> Session:
    return Session(X, np.ones((len(X), 1)))


def _loss(encoder: Encoder, anchor: Array, same: Array, other: Array) -> float:
    near = np.square(encoder.encode(anchor) - encoder.encode(same)).sum(axis=1)
    far = np.square(encoder.encode(anchor) - encoder.encode(other)).sum(axis=1)
    return float((near + np.maximum(0.0, 10.0 - far)).mean())


def _some(seed: int) -> tuple[Encoder, Array]:
    rng = np.random.default_rng(seed)
    encoder = Encoder(
        rng.normal(size=5), rng.uniform(0.5, 2.0, 5), rng.normal(size=(5, 7)), rng.normal(size=7), rng.normal(size=(7, 3))
    )
    return encoder, rng.normal(size=(6, 5))


def test_gradients_are_those_of_the_published_loss() -> None:
    """Against differences of the loss, parameter by parameter, with pairs inside and outside of the margin."""
    encoder, anchor = _some(0)
    same, other = _some(1)[1], 0.3 * _some(2)[1]
    shallow = Encoder(encoder.centre, encoder.scale, 0.3 * encoder.inner, encoder.inner_bias, 0.5 * encoder.outer)
    found = _gradients(shallow, anchor, same, other)
    far = np.square(shallow.encode(anchor) - shallow.encode(other)).sum(axis=1)
    assert (far < MARGIN**2).any()
    parameters = [shallow.inner, shallow.inner_bias, shallow.outer]
    for place, gradient in enumerate(found):
        for index in np.ndindex(gradient.shape):
            slopes = []
            for step in (1e-6, -1e-6):
                moved = [parameter.copy() for parameter in parameters]
                moved[place][index] += step
                slopes.append(_loss(Encoder(shallow.centre, shallow.scale, moved[0], moved[1], moved[2]), anchor, same, other))
            assert gradient[index] == pytest.approx((slopes[0] - slopes[1]) / 2e-6, abs=1e-5)


def test_the_pull_is_the_gradient_of_the_encoding() -> None:
    """Against differences, input by input."""
    encoder, X = _some(3)
    toward = np.random.default_rng(4).normal(size=(6, 3))
    found = encoder.pull(X, toward)
    for column in range(5):
        step = np.zeros(5)
        step[column] = 1e-6
        slope = ((encoder.encode(X + step) - encoder.encode(X - step)) * toward).sum(axis=1) / 2e-6
        np.testing.assert_allclose(found[:, column], slope, atol=1e-5)


def test_adversarial_versions_stay_within_reach_and_are_worse_than_chance() -> None:
    """No value moves by more than a tenth of its column's range, and encodings move further than under random signs."""
    encoder, X = _some(5)
    reach = np.array([1.0, 2.0, 0.0, 4.0, 0.5])
    rng = np.random.default_rng(6)
    moved = adversarial(encoder, X, reach, rng)
    assert np.all(np.abs(moved - X) <= REACH * reach + 1e-12)
    chance = X + REACH * reach * rng.choice([-1.0, 1.0], X.shape)
    home = encoder.encode(X)
    assert np.linalg.norm(encoder.encode(moved) - home) > np.linalg.norm(encoder.encode(chance) - home)


def test_training_brings_adversarial_versions_near_and_others_apart() -> None:
    """After training the ratio of both distances is far better than before it, and so is the loss."""
    rng = np.random.default_rng(7)
    X = rng.uniform(0.0, 1.0, (200, 20))
    reach = np.ptp(X, axis=0)

    def quality(encoder: Encoder) -> tuple[float, float]:
        same, other = adversarial(encoder, X, reach, np.random.default_rng(8)), np.roll(X, 1, axis=0)
        code = encoder.encode(X)
        near = np.linalg.norm(code - encoder.encode(same), axis=1).mean()
        far = np.linalg.norm(code - encoder.encode(other), axis=1).mean()
        return _loss(encoder, X, same, other), float(near / far)

    before, after = (quality(trained(X, epochs=epochs)) for epochs in (0, 15))
    assert after[0] < 0.7 * before[0]
    assert after[1] < before[1]


def test_pairs_are_counted_by_hand() -> None:
    """Fitted on 0, 1, 3, 7: nearest distances 1, 1, 2, 4, their least 1. Then each query within 1 of an earlier one is a pair.

    10 first; 12 is 2 away; 11 is 1 from both, one pair; 11 again, another; 20 none; 20.5 a third.
    """
    detector = Seat(_plain(1), pairs=2, percentile=0.0)
    detector.fit([_session(np.array([[0.0], [1.0], [3.0], [7.0], [7.0]]))])
    assert detector.near == pytest.approx(1.0)
    seen = scores(detector, _session(np.array([[10.0], [12.0], [11.0], [11.0], [20.0], [20.5]])))
    assert seen.tolist() == [0.0, 0.0, 1.0, 2.0, 2.0, 3.0]
    assert flagged_at(seen, detector.threshold) == 4


def test_the_fiftieth_pair_cancels_the_account() -> None:
    """The published number, for a client that repeats one picture: pair after pair from its second query on."""
    detector = Seat(_plain(2))
    detector.fit([_session(np.array([[0.0, 1.0], [5.0, 5.0]]))])
    seen = scores(detector, _session(np.full((80, 2), 3.0)))
    assert flagged_at(seen, detector.threshold) == 51


def test_finds_small_steps_and_misses_natural_queries() -> None:
    """A walk by small steps is cancelled; as many independent queries bring hardly a pair."""
    rng = np.random.default_rng(9)
    detector = Seat(epochs=5)
    detector.fit([_session(rng.uniform(0.0, 1.0, (300, 20)))])
    walk = np.clip(0.5 + np.cumsum(0.01 * rng.choice([-1.0, 1.0], (120, 20)), axis=0), 0.0, 1.0)
    assert flagged_at(scores(detector, _session(walk)), detector.threshold) is not None
    assert scores(detector, _session(rng.uniform(0.0, 1.0, (120, 20))))[-1] <= 5.0


def test_refuses_what_has_no_meaning() -> None:
    """No pairs, a percentile beyond 100, and benign traffic of a single picture."""
    for pairs, percentile in ((0, 0.1), (50, 101.0)):
        with pytest.raises(ValueError, match="pairs"):
            Seat(pairs=pairs, percentile=percentile)
    with pytest.raises(ValueError, match="two different"):
        Seat().fit([_session(np.ones((5, 2)))])
