import numpy as np
import pytest

from detector.errors import ConfigError
from tests.quality.simulation import simulated


@pytest.mark.parametrize(
    ("data", "victim"),
    [
        ("digits", "mlp"),
        ("loans", "forest"),
        ("loans", "tree"),
        ("loans", "linear"),
        ("breast_cancer", "mlp"),
        ("text", "linear"),
    ],
)
def test_pools_share_no_example(data: str, victim: str) -> None:
    """What one party holds no other does: training, teaching, calibration, evaluation, thieves and the test."""
    found = simulated(data, victim, 1)
    pools = [found.training.vectors, found.thieves.attacker.vectors, found.thieves.test]
    pools += [target.benign.vectors for target in (found.teaching, found.calibration, found.evaluation)]
    different = [{row.tobytes() for row in pool} for pool in pools]
    assert len(set.union(*different)) == sum(map(len, different))
    assert min(map(len, different)) > 50


def test_a_thief_hides_among_his_own_examples() -> None:
    """Cover is drawn from what the thief holds, not from what the innocents ask."""
    found = simulated("digits", "mlp", 1)
    assert found.thieves.benign is found.thieves.attacker


@pytest.mark.parametrize(
    ("data", "victim"),
    [("digits", "mlp"), ("loans", "forest"), ("loans", "linear"), ("breast_cancer", "mlp"), ("text", "linear")],
)
def test_models_are_worth_stealing(data: str, victim: str) -> None:
    """A victim says more of fresh examples than the most frequent class does, with probabilities as a log holds them."""
    target = simulated(data, victim, 1).evaluation
    answers = target.predict(target.benign.vectors)
    right = (answers.argmax(axis=1) == target.benign.labels).mean()
    assert right > np.bincount(target.benign.labels).max() / len(answers) + 0.1
    assert answers.min() >= 1e-4
    assert answers == pytest.approx(answers.round(6), abs=1e-12)


def test_the_same_seed_makes_the_same_world() -> None:
    """Pools and answers depend on the seed alone, which another seed changes."""
    simulated.cache_clear()
    first = simulated("digits", "mlp", 1)
    simulated.cache_clear()
    again, other = simulated("digits", "mlp", 1), simulated("digits", "mlp", 2)
    X = first.thieves.test
    assert np.array_equal(first.thieves.predict(X), again.thieves.predict(X))
    assert not np.array_equal(X, other.thieves.test)


def test_a_model_may_tell_labels_only() -> None:
    """Such a victim gives the same labels, all clients alike, and no probabilities."""
    told, silent = simulated("digits", "mlp", 1), simulated("digits", "mlp-labels", 1)
    X = told.thieves.test
    for target in (silent.thieves, silent.teaching, silent.calibration, silent.evaluation):
        answers = target.predict(X)
        assert set(np.unique(answers)) == {0.0, 1.0}
        assert np.array_equal(answers.argmax(axis=1), told.thieves.predict(X).argmax(axis=1))
    assert silent.labels_only
    assert not told.labels_only


def test_names_that_are_none_are_refused() -> None:
    """The message says which name is wrong; real data need a folder."""
    with pytest.raises(ConfigError, match="no model 'svm' on data 'digits'"):
        simulated("digits", "svm", 1)
    with pytest.raises(ConfigError, match="no model 'mlp' on data 'imagenet'"):
        simulated("imagenet", "mlp", 1)
    with pytest.raises(ConfigError, match="a folder"):
        simulated("mnist", "mlp", 1)
