import numpy as np
import pytest

from detector.redteam.attacks.functionally_equivalent import functionally_equivalent, recover
from detector.redteam.conversation import Array, converse, found_by
from detector.redteam.network import Network
from detector.redteam.setting import Setting
from detector.redteam.space import Space


def _network(seed: int, dimension: int, units: int, classes: int) -> Network:
    """A random network whose ridges all cross the unit cube."""
    rng = np.random.default_rng(seed)
    inner = rng.standard_normal((dimension, units))
    bias = -np.einsum("dh,hd->h", inner, rng.uniform(0.2, 0.8, (units, dimension)))
    return Network(inner, bias, rng.standard_normal((units, classes)), rng.standard_normal(classes))


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_a_network_of_four_units_is_recovered_with_its_signs(seed: int) -> None:
    """All four ridges, each with the right normal, offset and side, and the same answers everywhere to 1e-5."""
    victim = _network(seed, 6, 4, 3)
    copy, asked = found_by(recover(Space.of(None, (0.0, 1.0), 6), 3, np.random.default_rng(seed)), victim.probabilities)
    assert copy is not None
    X = np.random.default_rng(9).uniform(0.0, 1.0, (300, 6))
    assert np.abs(copy.probabilities(X) - victim.probabilities(X)).max() < 1e-5
    assert asked < 2000
    length = np.linalg.norm(victim.inner, axis=0)
    true = np.vstack([victim.inner, victim.inner_bias]) / length
    found = np.vstack([copy.inner, copy.inner_bias])
    nearest = np.abs(true[:, :, None] - found[:, None, :]).max(axis=0).min(axis=1)
    assert nearest.max() < 1e-4


def test_the_conversation_ends_when_the_network_is_known() -> None:
    """A small network is known long before the budget is spent."""
    victim = _network(3, 5, 3, 2)
    client = functionally_equivalent(Setting(np.zeros((1, 5)), np.zeros(1, dtype=np.int64), np.random.default_rng(0)))
    vectors, _, synthetic = converse(client, victim.probabilities, 5000)
    assert len(vectors) < 3000
    assert synthetic.all()


def test_rounded_answers_defeat_it() -> None:
    """With three digits no network explains the answers."""
    victim = _network(4, 4, 3, 2)

    def rounded(X: Array) -> Array:
        return np.maximum(victim.probabilities(X), 1e-3).round(3)

    copy, _ = found_by(recover(Space.of(None, (0.0, 1.0), 4), 2, np.random.default_rng(1), most_lines=10), rounded)
    assert copy is None
