import numpy as np
import pytest

from detector.redteam.victim import Pool
from tests.quality.campaigns.fresh import enlarged, fresh
from tests.quality.simulation import Simulation, simulated

DIGITS, FRAUD, FEATURES = (simulated(*one, 1) for one in (("digits_8bit", "mlp"), ("fraud", "forest"), ("features", "mlp")))
WORLDS = pytest.mark.parametrize("served", [DIGITS, FRAUD, FEATURES], ids=["pictures", "table", "embeddings"])


@WORLDS
def test_fresh_examples_arrive_as_natural_ones_do(served: Simulation) -> None:
    """They pass the wire unchanged, have the labels of their pool, lie in its range, and nearly all are new."""
    target = served.evaluation
    made = fresh(target.benign, target, 400, np.random.default_rng(3))
    assert np.allclose(target.wire.send(made.vectors), made.vectors, atol=1e-3)
    assert set(made.labels.tolist()) <= set(target.benign.labels.tolist())
    if not target.unit:
        assert made.vectors.min() >= target.benign.vectors.min()
        assert made.vectors.max() <= target.benign.vectors.max()
    natural = {row.tobytes() for row in target.wire.send(target.benign.vectors)}
    assert sum(row.tobytes() in natural for row in made.vectors) < 40


@WORLDS
def test_a_model_sees_no_difference(served: Simulation) -> None:
    """Fresh examples have the label that the model gives them about as often as those that they were made of."""
    target = served.evaluation
    made = fresh(target.benign, target, 600, np.random.default_rng(4))

    def right(pool: Pool) -> float:
        return float(np.mean(target.predict(pool.vectors).argmax(axis=1) == pool.labels))

    assert right(made) > right(target.benign) - 0.25


def test_records_keep_the_values_of_their_columns() -> None:
    """Numbers and codes of fresh records are values that the column has; codes of a class stay with it."""
    target = FRAUD.evaluation
    made = fresh(target.benign, target, 300, np.random.default_rng(5))
    for own, natural in zip(made.vectors.T, target.benign.vectors.T, strict=True):
        assert np.isin(np.round(own, 6), np.round(natural, 6)).all()


def test_pools_stay_apart() -> None:
    """Each pool is enlarged by itself, the same each time, and nothing is made of nothing."""
    served = enlarged(DIGITS, 500, 1)
    assert np.array_equal(served.evaluation.benign.vectors, enlarged(DIGITS, 500, 1).evaluation.benign.vectors)
    pools = [served.teaching.benign, served.calibration.benign, served.evaluation.benign, served.thieves.attacker]
    asked = [{row.tobytes() for row in pool.vectors} for pool in pools]
    assert all(len(pool.vectors) == 500 for pool in pools)
    assert not any(asked[i] & asked[j] for i in range(4) for j in range(i))
    with pytest.raises(ValueError, match="empty pool"):
        fresh(Pool(np.empty((0, 64)), np.empty(0, np.int64)), DIGITS.evaluation, 3, np.random.default_rng(0))
