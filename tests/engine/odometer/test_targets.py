"""What responses say of each class."""

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.targets import targets
from detector.engine.odometer.told import LARGEST, Told, told_of
from tests.engine.odometer.learned import LABELS, judge, queries, said, told


def read(judging: ReferenceSet, asked: Told) -> npt.NDArray[np.float32]:
    return targets(asked, judging.class_of(asked.label), judging.classes)


def test_probabilities_find_their_labels() -> None:
    """Places become labels by what stands beside them, whatever their order."""
    judging = judge()
    asked = told(300, 1)
    chances = said(asked.z)
    plain = read(judging, asked)
    np.testing.assert_allclose(plain[:, :3], chances, atol=1e-5)
    turned = read(judging, told_of(asked.z, asked.c, asked.label, chances[:, [2, 0, 1]]))
    np.testing.assert_allclose(turned, plain, atol=1e-6)


def test_a_response_counts_for_what_it_tells() -> None:
    """A label alone is sure; a confidence leaves the rest to the other labels; a label nobody knows is none of them."""
    judging = judge()
    z, c = queries(3, 1)
    label = np.array([LABELS[1], LABELS[2], 5], np.int32)
    assert read(judging, told_of(z, c, label)).tolist() == [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    some = read(judging, told_of(z, c, label, [np.array([0.8]), np.zeros(0), np.array([0.7])]))
    np.testing.assert_allclose(some[0], [0.1, 0.8, 0.1, 0], atol=1e-6)
    np.testing.assert_allclose(some[1], [0, 0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(some[2], [0.1, 0.1, 0.1, 0.7], atol=1e-6)


def test_a_confidence_below_that_of_other_labels_is_left_out() -> None:
    """A label with less than its share of the probability would be taught as another one."""
    z, c = queries(1, 1)
    assert read(judge(), told_of(z, c, LABELS[:1], [np.array([0.1])])).tolist() == [[1, 0, 0, 0]]


def test_one_probability_of_two_classes_is_that_of_one_of_them() -> None:
    """Which one stands beside it: the label that is told where it is large."""
    z, c = queries(64, 3)
    label = np.where(np.arange(64) % 3 == 0, 1, 0).astype(np.int32)
    judging = ReferenceSet(z, c, label, table=False)
    asked = told_of(z[:2], c[:2], np.array([0, 1], np.int32), np.array([[0.9], [0.3]]))
    np.testing.assert_allclose(read(judging, asked)[:, :2], [[0.9, 0.1], [0.3, 0.7]], atol=1e-6)
    asked = told_of(z[:2], c[:2], np.array([1, 0], np.int32), np.array([[0.9], [0.3]]))
    np.testing.assert_allclose(read(judging, asked)[:, :2], [[0.1, 0.9], [0.7, 0.3]], atol=1e-6)


def test_of_many_probabilities_the_largest_count() -> None:
    """A place beyond them is what they leave."""
    z, c = queries(20, 1)
    chances = np.full((20, 500), 0.3 / 499)
    chances[np.arange(20), 100 + np.arange(20) % 3] = 0.7
    asked = told_of(z, c, LABELS[np.arange(20) % 3], chances)
    assert asked.place.shape == asked.chance.shape == (20, LARGEST)
    found = read(judge(), asked)
    np.testing.assert_allclose(found[np.arange(20), np.arange(20) % 3], 0.7, atol=1e-3)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=20)), max_size=30)
)
def test_every_response_says_its_label_most(responses: list[tuple[int, list[float]]]) -> None:
    """Whatever the numbers beside it, a label is never taught as another one, and probabilities sum to 1."""
    z, c = queries(len(responses), 1)
    codes = np.array([*LABELS, 5, 6], np.int32)
    label = np.array([codes[place] for place, _ in responses], np.int32)
    judging = judge()
    asked = told_of(z, c, label, [np.array(given) for _, given in responses])
    found = read(judging, asked)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
    assert (found[np.arange(len(label)), judging.class_of(label)] >= found.max(axis=1, initial=0.0) - 1e-5).all()
