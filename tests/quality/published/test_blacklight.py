"""Blacklight behaves as the published program, hash by hash, and fails where it is known to fail."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.quality.published.blacklight import Blacklight
from tests.quality.published.interface import Array, Session, flagged_at, scores


class Transcript:
    """The published steps one after the other, in plain lists and dictionaries."""

    def __init__(self, salt: Array, window: int, quantum: int, kept: int, step: int) -> None:
        self.salt, self.window, self.quantum, self.kept, self.step = salt, window, quantum, kept, step
        self.known: dict[str, list[int]] = {}
        self.count = 0

    def add(self, picture: Array) -> int:
        values = (picture * 255.0 + self.salt) % 255.0
        levels = np.array([int(np.around(value / self.quantum)) * self.quantum for value in values], dtype=np.int16)
        digests = []
        for number in range(int((len(levels) - self.window + 1) / self.step)):
            start = number * self.step
            digests.append(hashlib.sha256(bytes(levels[start : start + self.window])).hexdigest())
        chosen = sorted((digest[::-1] for digest in set(digests)), reverse=True)[: self.kept]
        matches = [owner for digest in chosen for owner in self.known.get(digest, [])]
        most = Counter(matches).most_common(1)[0][1] if matches else 0
        self.count += 1
        for digest in chosen:
            self.known.setdefault(digest, []).append(self.count)
        return most


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    dimension=st.sampled_from([20, 21, 64, 150]),
    window=st.sampled_from([1, 8, 20]),
    quantum=st.sampled_from([10, 50]),
    kept=st.sampled_from([5, 50]),
    step=st.sampled_from([1, 3]),
)
def test_equals_the_transcript(*, seed: int, dimension: int, window: int, quantum: int, kept: int, step: int) -> None:
    """On any stream every count is that of the literal algorithm."""
    rng = np.random.default_rng(seed)
    detector = Blacklight((0.0, 1.0), window=window, quantum=quantum, kept=kept, step=step, seed=seed)
    literal = Transcript(np.random.default_rng(seed).random(dimension) * 255.0, window, quantum, kept, step)
    watch, picture = detector.watch(), rng.random(dimension)
    for _ in range(25):
        kind = rng.random()
        if kind < 0.4:
            picture = np.clip(picture + 0.02 * rng.standard_normal(dimension) * (rng.random(dimension) < 0.1), 0.0, 1.0)
        elif kind < 0.7:
            picture = rng.random(dimension)
        assert watch.observe(picture, np.ones(1)) == literal.add(picture)


def test_small_case_by_hand() -> None:
    """Four values, windows of two, no shift by the salt to speak of: three windows, of which two are equal.

    Values 0, 0, 0, 1 become 0, 0, 0, 255 % 255 = 0 without a salt; with one they are whatever it says. What can be said by
    hand: a repeat shares all its hashes; changing the last value by half the range leaves the first two windows.
    """
    detector = Blacklight((0.0, 1.0), window=2, quantum=50, matches=1)
    watch = detector.watch()
    first = np.array([0.1, 0.4, 0.6, 0.9])
    count = len(detector.fingerprint(first))
    assert watch.observe(first, np.ones(1)) == 0.0
    assert watch.observe(first, np.ones(1)) == count
    last = first + np.array([0.0, 0.0, 0.0, -0.5])
    assert len(set(detector.fingerprint(last)) & set(detector.fingerprint(first))) == count - 1
    assert watch.observe(last, np.ones(1)) == count - 1


def test_finds_small_steps_at_the_second_query() -> None:
    """A step that changes a few values is flagged at once; independent pictures never are."""
    rng = np.random.default_rng(0)
    start = rng.random(196)
    steps = np.tile(start, (20, 1))
    for row in range(1, 20):
        steps[row, rng.choice(196, 3)] = rng.random()
    detector = Blacklight((0.0, 1.0), shared=False)
    assert flagged_at(scores(detector, Session(steps, np.ones((20, 1)))), detector.threshold) == 2
    assert flagged_at(scores(detector, Session(rng.random((60, 196)), np.ones((60, 1)))), detector.threshold) is None


def test_flags_innocent_repeats_and_under_one_memory_the_neighbour() -> None:
    """A retry is flagged at once; with the memory of all accounts so is whoever asks about the same picture."""
    rng = np.random.default_rng(0)
    pictures = Session(rng.random((10, 100)), np.ones((10, 1)))
    for shared, expected in ((True, 1), (False, None)):
        detector = Blacklight((0.0, 1.0), shared=shared)
        assert flagged_at(scores(detector, pictures), detector.threshold) is None
        assert flagged_at(scores(detector, pictures), detector.threshold) == expected
        detector.fit([])
        assert flagged_at(scores(detector, pictures), detector.threshold) is None


def test_misses_noise_on_every_value() -> None:
    """Steps that move every value by a third of the rounding break nearly every window of twenty: the known way around it."""
    rng = np.random.default_rng(0)
    start = rng.random(300)
    noisy = np.clip(start + (25.0 / 255.0) * rng.choice([-1.0, 1.0], (30, 300)), 0.0, 1.0)
    detector = Blacklight((0.0, 1.0), shared=False)
    assert flagged_at(scores(detector, Session(noisy, np.ones((30, 1)))), detector.threshold) is None


def test_refuses_what_has_no_meaning() -> None:
    """An empty range, a window of nothing, and a picture of another size."""
    with pytest.raises(ValueError, match="empty"):
        Blacklight((1.0, 1.0))
    with pytest.raises(ValueError, match="at least 1"):
        Blacklight((0.0, 1.0), window=0)
    detector = Blacklight((0.0, 1.0))
    detector.fingerprint(np.zeros(40))
    with pytest.raises(ValueError, match="40"):
        detector.fingerprint(np.zeros(41))


def test_a_picture_smaller_than_the_window_has_no_fingerprint() -> None:
    """It can never be like another."""
    watch = Blacklight((0.0, 1.0)).watch()
    assert [watch.observe(np.zeros(19), np.ones(1)) for _ in range(3)] == [0.0] * 3
