"""Frames of a camera that pans are recognised, unrelated pictures are not."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits

from detector.engine.evidence.frame import LEAST_SEEN, PIXELS, is_next_frame, neighbours_of

SIDE = 8
SAMPLED = np.sort(np.random.default_rng(0).permutation(SIDE * SIDE)[:48]).astype(np.int32)
NEIGHBOURS = neighbours_of(SAMPLED, SIDE * SIDE)
IMAGES = load_digits().images

Pictures = npt.NDArray[np.uint8]


def wall(seed: int) -> npt.NDArray[np.float64]:
    """Return two digits side by side, (8, 16), from 20 to 220."""
    chosen = np.random.default_rng(seed).integers(len(IMAGES), size=2)
    return np.asarray(20.0 + 12.5 * np.hstack(IMAGES[chosen]))


def view(picture: npt.NDArray[np.float64], left: float) -> npt.NDArray[np.float64]:
    """Return what a camera sees from `left` on, between two columns their mixture."""
    at = int(left)
    share = left - at
    return (1.0 - share) * picture[:, at : at + SIDE] + share * picture[:, at + 1 : at + 1 + SIDE]


def sampled(picture: npt.NDArray[np.float64]) -> Pictures:
    return np.rint(picture.ravel()[SAMPLED]).astype(np.uint8)


def follows(start: Pictures, values: Pictures) -> bool:
    """Ask about two pictures of a client whose pictures differ as two digits do."""
    others = np.stack([sampled(view(wall(seed), 0.0)) for seed in range(100, 120)]).astype(np.float32)
    unlike = np.square(others - values).mean(axis=0).astype(np.float32)
    return bool(is_next_frame(start, values, NEIGHBOURS, unlike))


@pytest.mark.parametrize("pace", [0.3, 0.8, 1.0, 1.4])
@pytest.mark.parametrize("turned", [False, True])
def test_the_next_frame_of_a_pan_is_found(pace: float, turned: bool) -> None:
    """Whatever the way, with the noise of a sensor; beyond one pixel both neighbours must be sampled, so fewer are found."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        frames = [view(wall(seed), left) + rng.normal(0.0, 2.0, (SIDE, SIDE)) for left in (3.0, 3.0 + pace)]
        if turned:
            frames = [frame.T for frame in reversed(frames)]
        found += follows(sampled(frames[0]), sampled(frames[1]))
    assert found >= (36 if pace <= 1.0 else 20)


def test_unrelated_pictures_seldom_follow() -> None:
    """Two digits look like a move once in 25 times at most; noise never does."""
    rng = np.random.default_rng(1)
    pictures = [sampled(view(wall(seed), 0.0)) for seed in range(200, 400)]
    assert sum(follows(one, other) for one, other in pairwise(pictures)) <= 8
    noise = rng.integers(20, 230, (100, len(SAMPLED))).astype(np.uint8)
    assert not any(follows(one, other) for one, other in pairwise(noise))


def test_neighbours_are_those_of_a_square_picture() -> None:
    """Each place holds the neighbour's own place; there are no ways without a square."""
    for way, step in enumerate((1, -1, SIDE, -SIDE)):
        for k in range(PIXELS):
            there = NEIGHBOURS[way, k] >= 0
            assert (SAMPLED[NEIGHBOURS[way, k, there]] == SAMPLED[there] + (k + 1) * step).all()
    assert neighbours_of(SAMPLED, 63).shape == neighbours_of(SAMPLED, 0).shape == (0, PIXELS, 48)


def test_few_neighbours_say_nothing() -> None:
    """Of a picture of 60 by 60 pixels hardly any neighbours are sampled."""
    chosen = np.sort(np.random.default_rng(0).permutation(3600)[:48]).astype(np.int32)
    neighbours = neighbours_of(chosen, 3600)
    assert (neighbours[:, 0] >= 0).sum(axis=1).max() < LEAST_SEEN
    same = np.full(48, 100, np.uint8)
    assert not is_next_frame(same, same, neighbours, np.ones(48, np.float32))
