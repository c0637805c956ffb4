"""Checksums: a change of a single value is read off exactly, others are not, and what needs none keeps none."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.fitting.reference import fit_reference
from detector.engine.memory.checksums import FARTHEST, LEAST, STEPS, add_up, reversed_bits, single_change, weights_of

DIMENSION = 784
SEEDS = st.integers(0, 2**32)
PLACES = st.integers(0, DIMENSION - 1)


def sums_of(*pictures: npt.NDArray[np.floating]) -> npt.NDArray[np.uint32]:
    sums = np.empty((len(pictures), 2), np.uint32)
    add_up(np.array(pictures, np.float32), weights_of(pictures[0].size)[0], sums)
    return sums


def change(earlier: npt.NDArray[np.floating], later: npt.NDArray[np.floating]) -> tuple[int, float]:
    """Return which value moved and how far, in value ranges."""
    before, after = sums_of(earlier, later)
    value, size = single_change(after[0], after[1], before[0], before[1], weights_of(earlier.size)[1])
    return int(value), size / STEPS


@given(SEEDS, PLACES, st.floats(2 * LEAST / STEPS, 2.0), st.sampled_from([-1.0, 1.0]))
def test_a_change_of_any_value_by_any_size_is_read_off(seed: int, place: int, size: float, sign: float) -> None:
    """Which value, and how far to a step or two, up or down, from a fifty-thousandth to twice the value range."""
    picture = np.random.default_rng(seed).random(DIMENSION).astype(np.float32)
    later = picture.copy()
    later[place] += sign * size
    value, moved = change(picture, later)
    assert value == place
    assert abs(moved - (float(later[place]) - float(picture[place]))) <= 1.01 / STEPS


@given(SEEDS, st.sampled_from([0.25, 0.5, 1.0, 2.0, 512 / STEPS, 65536 / STEPS]))
def test_round_sizes_are_read_off(seed: int, size: float) -> None:
    """Sizes with many factors of two leave part of the weight unknown, and it is found all the same."""
    place = seed % DIMENSION
    later = np.zeros(DIMENSION, np.float32)
    later[place] = size
    assert change(np.zeros(DIMENSION, np.float32), later)[0] == place


def test_two_changes_are_not_one() -> None:
    """Of 20,000 pairs of changes, equal, opposite and other ones, hardly any passes for a single one."""
    rng = np.random.default_rng(1)
    picture = rng.random(DIMENSION).astype(np.float32)
    taken = 0
    for k in range(20_000):
        one, other = rng.choice(DIMENSION, 2, replace=False)
        later = picture.copy()
        size = rng.choice([0.01, 0.5, 1.0])
        later[one] += size
        later[other] += (size, -size, rng.uniform(-1.0, 1.0))[k % 3]
        taken += change(picture, later)[0] >= 0
    assert taken <= 2


def test_what_is_smaller_than_the_least_step_says_nothing() -> None:
    """Nothing moved, or too little to be told from rounding."""
    picture = np.full(DIMENSION, 0.5)
    later = picture.copy()
    later[3] += 0.5 * LEAST / STEPS
    assert change(picture, picture) == (-1, 0.0)
    assert change(picture, later) == (-1, 0.0)


def test_values_beyond_all_ranges_do_not_overflow() -> None:
    """They count as the farthest that is told apart, and another value is still read off beside them."""
    picture = np.zeros(DIMENSION, np.float32)
    picture[5] = 1e6
    nearer, later = picture.copy(), picture.copy()
    nearer[5], later[9] = FARTHEST, 0.25
    assert (sums_of(picture) == sums_of(nearer)).all()
    assert change(picture, later) == (9, round(0.25 * STEPS) / STEPS)


@given(st.integers(0, 2**32 - 1))
def test_bits_are_reversed(x: int) -> None:
    """As written backwards with all thirty-two digits."""
    assert int(reversed_bits(x)) == int(f"{x:032b}"[::-1], 2)


def test_weights_differ_and_stay_what_they_are() -> None:
    """Distinct, in order when read backwards, and those of other processes: snapshots depend on them."""
    weights, keys = weights_of(3072)
    assert len(np.unique(weights)) == 3072
    assert (np.diff(keys.astype(np.int64)) > 0).all()
    assert int(weights_of(DIMENSION)[0].sum(dtype=np.uint64)) == 1_693_703_642_559


def test_only_what_is_not_sampled_whole_is_summed() -> None:
    """Pictures of more values than are sampled have sums; smaller ones and tables have none."""
    rng = np.random.default_rng(0)
    wide, narrow = rng.random((200, 64)).astype(np.float32), rng.random((200, 20)).astype(np.float32)
    reference = fit_reference(wide, 2, seed=1)
    assert reference.summed
    assert reference.reduce(wide).sums.shape == (200, 2)
    for rows, scale in ((narrow, True), (wide, False)):
        reference = fit_reference(rows, 2, seed=1, common_scale=scale)
        assert not reference.summed
        assert reference.reduce(rows).sums.shape == (0, 2)
