import numpy as np

from detector.redteam.conversation import converse
from detector.redteam.line_search import line_search
from detector.redteam.victim import Victim


def test_each_bisection_halves_its_step_down_to_the_tolerance(victim: Victim) -> None:
    """Within a run of made queries each step is half the last, and the run ends just at the tolerance."""
    pool = victim.attacker
    client = line_search(pool.vectors, pool.labels, np.random.default_rng(2), victim.value_range, 10, tolerance=0.01)
    vectors, _, synthetic = converse(client, victim.predict, 400)
    runs = np.split(vectors, np.flatnonzero(np.diff(synthetic.astype(np.int64))) + 1)
    searches = [run for run, made in zip(runs[:-1], _starts(runs, synthetic), strict=False) if made]
    assert len(searches) > 20
    for search in searches:
        steps = np.linalg.norm(np.diff(search, axis=0), axis=1)
        np.testing.assert_allclose(steps[1:], steps[:-1] / 2.0, rtol=1e-6)
        assert 0.5 * 0.16 < steps[-1] <= 0.16


def test_the_search_ends_where_the_labels_meet(victim: Victim) -> None:
    """Near the last point of a run both labels of its bracket are found."""
    pool = victim.attacker
    client = line_search(pool.vectors, pool.labels, np.random.default_rng(3), victim.value_range, 10)
    vectors, answers, synthetic = converse(client, victim.predict, 400)
    ends = np.flatnonzero(synthetic[:-1] & ~synthetic[1:])
    margins = np.sort(answers[ends], axis=1)
    assert np.median(margins[:, -1] - margins[:, -2]) < 0.1
    assert len(vectors) == 400


def test_a_model_with_one_label_leaves_nothing_to_search() -> None:
    """Against a constant model the attack only asks about natural pictures."""
    pool = np.random.default_rng(0).uniform(size=(30, 4))
    client = line_search(pool, np.zeros(30, dtype=np.int64), np.random.default_rng(0), (0.0, 1.0), 2)
    _, _, synthetic = converse(client, lambda X: np.tile([0.9, 0.1], (len(X), 1)), 50)
    assert len(synthetic) == 50
    assert not synthetic.any()


def _starts(runs: list[np.ndarray], synthetic: np.ndarray) -> list[bool]:
    starts = np.cumsum([0] + [len(run) for run in runs[:-1]])
    return [bool(synthetic[start]) for start in starts]
