"""Norms, profiles and the combined score."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.features.row import CONTENT, NAMES
from detector.engine.fitting.novelty import fit_norms
from detector.engine.memory.admission import evaluation_after
from detector.engine.models.novelty import LESSONS, SINCE_KNOWN, Norms, Novelty, Trees, combine, from_arrays, to_arrays
from detector.engine.models.profiles import MOST, STAGES, stage_of
from detector.engine.models.sides import SIDES, weigh_outputs
from detector.engine.models.trees import WINDOW
from detector.errors import BaselineError
from tests.engine.evaluations import FIRST, evaluations

Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def norms() -> Norms:
    """Learn forty clients in two crowds."""
    return fit_norms(evaluations(40, crowds=2)).norms


def test_the_usual_scores_low_and_each_strange_feature_counts_up_to_its_limit(norms: Norms) -> None:
    """A calibration client scores near 0, a foreign one high; a single odd figure moves the ranges by at most `MOST`."""
    novelty = Novelty(norms)
    rows, queries = evaluations(40, crowds=2).rows, np.tile(FIRST, 40)
    usual = novelty.score(rows, queries)
    assert np.median(usual) < 0.7
    foreign = novelty.score(rows + 1.5, queries)
    assert np.median(foreign) > 3.0
    odd = rows.copy()
    odd[:, CONTENT.start] = 1e9
    limit = np.sqrt(np.square(usual) + 3 * MOST**2)  # ranges, combination and stream
    assert (novelty.score(odd, queries) <= limit + 1e-9).all()


def test_crowds_are_told_apart(norms: Norms) -> None:
    """A client between two crowds is stranger than either, which one range over both would not see."""
    assert norms.means.shape[1] == 2
    novelty = Novelty(norms)
    between = np.full((1, len(NAMES)), 1.5)
    assert novelty.score(between, np.array([64]))[0] > novelty.score(between - 1.5, np.array([64]))[0] + 1.0


def test_timing_never_enters_the_comparison(norms: Norms) -> None:
    """A client that differs in its rates alone is not stranger to the ranges and to the combination."""
    novelty = Novelty(norms)
    novelty.trees = Trees(np.empty((0, len(NAMES))))
    rows, queries = evaluations(40, crowds=2).rows, np.tile(FIRST, 40)
    faster = rows.copy()
    faster[:, : CONTENT.start] += 100.0
    np.testing.assert_array_equal(novelty.score(rows, queries), novelty.score(faster, queries))


def test_missing_features_count_neither_way(norms: Norms) -> None:
    """A row of missing values is no stranger than the usual; the score is a number."""
    novelty = Novelty(norms)
    blank = np.full((len(STAGES), len(NAMES)), np.nan)
    scores = novelty.score(blank, STAGES)
    assert np.isfinite(scores).all()
    assert (scores < 3.0).all()
    thin = fit_norms(evaluations(20, missing=0.4)).norms
    for array in to_arrays(thin).values():
        if array is not thin.lessons:
            assert np.isfinite(array).all()


@pytest.mark.parametrize("value", [1e300, -1e300, 3e38, 1e-320, 0.0])
def test_extreme_features_make_finite_scores(norms: Norms, value: float) -> None:
    """Whatever a feature says, the score is finite, at most that of a client outside every range."""
    scores = Novelty(norms).score(np.full((3, len(NAMES)), value), np.array([8, 64, 10**9]))
    assert np.isfinite(scores).all()
    assert (scores <= MOST * np.sqrt(len(NAMES) + 2)).all()


def test_scores_do_not_depend_on_the_batch(norms: Norms) -> None:
    """An evaluation is scored alike alone and among others."""
    rows, queries = evaluations(40, crowds=2, seed=5).rows, np.tile(FIRST, 40)
    novelty = Novelty(norms)
    whole = novelty.score(rows, queries)
    for i in (0, 100, 319):
        assert novelty.score(rows[i : i + 1], queries[i : i + 1])[0] == whole[i]


def test_combine_is_the_root_of_the_summed_squares() -> None:
    """Ranges, then what the distance exceeds the usual by, then the stream in halves; the last two limited."""
    excess, distance, usual, oddness = (np.array(column) for column in ([0.0, 4.0], [1.0, 6.0], [2.0, 3.0], [0.5, 2.0]))
    np.testing.assert_allclose(combine(excess, distance, usual, oddness), [0.0, np.sqrt(4.0 + 1.0 + 0.25)])
    assert combine(np.zeros(1), np.array([99.0]), np.ones(1), np.array([4.0]))[0] == pytest.approx(MOST * np.sqrt(2))


def test_stages_and_lessons_follow_the_looks() -> None:
    """An evaluation belongs to the last stage it reached; lessons are few, and all of them are evaluations."""
    assert [stage_of(count) for count in (1, 8, 15, 16, 4095, 4096)] == [0, 0, 0, 1, 10, 11]
    counted, schedule = 0, set()
    while counted < 10**6:
        counted = int(evaluation_after(counted))
        schedule.add(counted)
    few = {lesson for lesson in LESSONS if lesson <= 10**6}
    assert few <= schedule
    assert len(few) == 16  # one for each power of two from 16 to 2 ** 19


def test_deviations_name_what_stands_out(norms: Norms) -> None:
    """The feature that was moved comes first, with its quantiles; missing ones are left out; no norms, no deviations."""
    row = np.nanmedian(evaluations(40).rows, axis=0)
    row[CONTENT.start + 2] += 50.0
    row[CONTENT.start + 4] = np.nan
    found = Novelty(norms).deviations(row, 64)
    assert found[0][0] == NAMES[CONTENT.start + 2]
    assert NAMES[CONTENT.start + 4] not in {name for name, *_ in found}
    assert all(low <= median <= high for _, _, (low, median, high), _ in found)
    assert Novelty(None).deviations(row, 64) == []


def test_trees_speak_after_two_windows_and_remember_over_a_restart() -> None:
    """Oddness is 0 until the trees know what is usual, and goes on unchanged after a restart."""
    rng = np.random.default_rng(1)
    trees, probe = Trees(np.empty((0, len(NAMES)))), rng.normal(size=(20, len(NAMES)))
    for i in range(2 * WINDOW):
        assert not trees.ready or i > 2 * WINDOW - 2
        trees.learn(rng.normal(size=len(NAMES)))
    assert trees.ready
    other = Trees(np.empty((0, len(NAMES))))
    other.restore(trees.state())
    for _ in range(WINDOW + 7):
        np.testing.assert_array_equal(trees.oddness(probe), other.oddness(probe))
        row = rng.normal(size=len(NAMES))
        assert trees.learn(row) == other.learn(row)
    assert ((trees.oddness(probe) >= 0) & (trees.oddness(probe) <= 4)).all()


def test_arrays_and_back(norms: Norms) -> None:
    """What is kept in a file scores like the original; a missing array is named."""
    arrays = to_arrays(norms)
    rows, queries = evaluations(5).rows, np.tile(FIRST, 5)
    np.testing.assert_array_equal(Novelty(from_arrays(arrays)).score(rows, queries), Novelty(norms).score(rows, queries))
    del arrays["whiten"]
    with pytest.raises(BaselineError, match="whiten"):
        from_arrays(arrays)


@pytest.mark.parametrize("feature", NAMES[CONTENT])
def test_a_deviation_to_the_side_that_does_not_count_never_makes_a_client_more_novel(norms: Norms, feature: str) -> None:
    """Neither by its range nor in combination with others; the trees see the feature at the end of its usual range."""
    j = NAMES.index(feature)
    rows, queries = evaluations(40, crowds=2, seed=3).rows, np.tile(FIRST, 40)
    rows[:, CONTENT] += np.random.default_rng(2).normal(size=rows[:, CONTENT].shape)  # strange in many ways
    less = rows.copy()
    less[:, j] -= 5.0 * SIDES[j - CONTENT.start]
    novelty = Novelty(norms)
    novelty.trees = Trees(np.empty((0, len(NAMES))))
    assert (novelty.score(less, queries) <= novelty.score(rows, queries) + 1e-3).all()


def test_unsure_answers_to_near_duplicates_tell_less() -> None:
    """The features of the outputs are as far from sure as the share of queries that are no near duplicates."""
    rows = np.full((3, len(NAMES)), np.nan)
    confidence, near = NAMES.index("confidence"), NAMES.index("near_duplicate_rate")
    rows[:, confidence] = 0.4
    rows[:, near] = [0.0, 0.5, 1.0]
    np.testing.assert_allclose(weigh_outputs(rows)[:, confidence], [0.4, 0.7, 1.0])


def test_whoever_is_merely_unlike_the_others_is_unfamiliar(norms: Norms) -> None:
    """A client that deviates to the sides that do not count is named with them, and scores as usual; known clients are not."""
    novelty = Novelty(norms)
    novelty.trees = Trees(np.empty((0, len(NAMES))))
    rows, queries = evaluations(40, crowds=2).rows, np.tile(FIRST, 40)
    assert len(novelty.unfamiliar(rows, queries)) < 0.1 * len(rows)
    quiet = rows.copy()
    quiet[:, CONTENT] -= 4.0 * SIDES
    found = novelty.unfamiliar(quiet, queries)
    assert len(found) > 0.9 * len(rows)
    assert all(kind.features and kind.score > 0 for kind in found.values())
    assert (novelty.score(quiet, queries) <= novelty.score(rows, queries) + 1e-3).all()
    assert Novelty(None).unfamiliar(rows, queries) == {}


def test_older_norms_are_used_as_they_were(norms: Norms) -> None:
    """They lack widths and scores without sides: widths follow from the ranges, and nobody is unfamiliar."""
    arrays = {name: array for name, array in to_arrays(norms).items() if name not in SINCE_KNOWN}
    old = from_arrays(arrays)
    assert (old.width >= 0.2).all()
    assert Novelty(old).unfamiliar(evaluations(5).rows + 9.0, np.tile(FIRST, 5)) == {}
