import numpy as np

from detector.redteam.attacks.uniform import uniform
from detector.redteam.conversation import converse
from detector.redteam.setting import Setting


def test_values_fill_the_range_evenly_and_are_all_made() -> None:
    """Each tenth of the value range holds about a tenth of the values, and no query is natural."""
    client = uniform(Setting(np.empty((0, 50)), np.empty(0, dtype=np.int64), np.random.default_rng(0), (-1.0, 3.0)))
    vectors, _, synthetic = converse(client, lambda X: X, 400)
    counts, _ = np.histogram(vectors, bins=10, range=(-1.0, 3.0))
    assert counts.sum() == vectors.size == 20_000
    assert np.all(np.abs(counts - 2_000) < 200)
    assert synthetic.all()
