import numpy as np
import pytest

from detector.redteam.attacks.active_thief import SELECTIONS, Knowledge, active_thief
from detector.redteam.conversation import Array, Labels, converse
from detector.redteam.network import Network, train
from detector.redteam.setting import Setting

RNG = np.random.default_rng(0)
POOL = RNG.uniform(0.0, 1.0, (200, 2))
LABELS: Labels = (POOL[:, 0] > POOL[:, 1]).astype(np.int64)


def _halves(X: Array) -> Array:
    p = 1.0 / (1.0 + np.exp(-10.0 * (X[:, [0]] - X[:, [1]])))
    return np.hstack([1.0 - p, p])


def _known() -> Knowledge:
    network: Network = train(POOL[:40], _halves(POOL[:40]), np.random.default_rng(1))
    return Knowledge(lambda: network, POOL[:40], _halves(POOL[:40]), POOL[40:])


@pytest.mark.parametrize("name", ["uncertainty", "dfal", "dfal_k_center"])
def test_selections_by_doubt_go_to_the_boundary(name: str) -> None:
    """What is chosen lies nearer to where the model changes its mind than what is left on average."""
    known = _known()
    chosen = known.left[SELECTIONS[name](known, 10)]
    assert len(chosen) == 10
    assert np.abs(chosen[:, 0] - chosen[:, 1]).max() < np.median(np.abs(known.left[:, 0] - known.left[:, 1]))


@pytest.mark.parametrize("name", ["k_center_inputs", "k_center_outputs"])
def test_selections_by_coverage_go_where_nothing_is_known(name: str) -> None:
    """What is chosen is farther from what is known, in its own space, than what is left on average."""
    known = _known()
    inputs = name == "k_center_inputs"
    space = known.left if inputs else known.copy().probabilities(known.left)
    gap = np.linalg.norm(space[:, None] - (known.asked if inputs else known.responses)[None], axis=2).min(axis=1)
    assert gap[SELECTIONS[name](known, 10)].mean() > 1.5 * gap.mean()


def test_the_covering_radius_of_k_center_queries_shrinks_round_by_round() -> None:
    """Selected by inputs, each round's queries come no farther from the earlier ones than those of the round before."""
    client = active_thief(Setting(POOL, LABELS, np.random.default_rng(2)), selection="k_center_inputs")
    vectors, _, _ = converse(client, _halves, 120)
    radii = [np.linalg.norm(vectors[:n] - vectors[n], axis=1).min() for n in range(20, 120)]
    assert (np.diff(radii) <= 1e-12).all()


def test_the_pool_is_used_up_once() -> None:
    """Every example is asked once, and then the conversation ends."""
    client = active_thief(Setting(POOL[:45], LABELS[:45], np.random.default_rng(3)))
    vectors, _, synthetic = converse(client, _halves, 1000)
    assert sorted(map(tuple, vectors)) == sorted(map(tuple, POOL[:45]))
    assert not synthetic.any()


def test_no_example_is_an_error() -> None:
    """There must be something to choose from."""
    with pytest.raises(ValueError, match="natural examples"):
        next(active_thief(Setting(POOL[:0], LABELS[:0], np.random.default_rng(0))))
