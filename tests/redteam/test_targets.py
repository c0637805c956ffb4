from pathlib import Path

import numpy as np
import pytest

from detector.errors import ConfigError
from detector.redteam.conversation import Array
from detector.redteam.targets import examples, named, remote


@pytest.mark.parametrize("name", ["demo", "digits:3", "loans", "mlp:iris", "linear:wine", "tree:breast_cancer", "tree:digits"])
def test_a_named_model_answers_for_everything_its_clients_hold(name: str) -> None:
    """Probabilities of the right shape for all pools, no example in two of them, records that the table could hold."""
    target = named(name)
    pools = (target.attacker.vectors, target.benign.vectors, target.test)
    for X in pools:
        answers = target.predict(X)
        assert answers.shape == (len(X), target.classes)
        np.testing.assert_allclose(answers.sum(axis=1), 1.0, atol=0.002)
    assert sum(len(X) for X in pools) > 50
    assert target.data == ("image" if "digits" in name or name == "demo" else "tabular")
    if target.columns is not None:
        assert target.columns.admits(np.vstack(pools)).all()


def test_a_model_that_keeps_its_probabilities_tells_certainties() -> None:
    """Labels stay, nothing else does."""
    target = named("tree:iris")
    sure = target.labels_only().predict(target.test)
    assert np.array_equal(sure.argmax(axis=1), target.predict(target.test).argmax(axis=1))
    assert set(sure.ravel().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("name", ["", "mnist", "demo:3", "digits:x", "mlp:adult", "forest:iris", "mlp"])
def test_unknown_models_are_refused_with_the_known_ones(name: str) -> None:
    """The message lists what there is."""
    with pytest.raises(ConfigError, match="there are: demo, digits"):
        named(name)


def _halves(X: Array) -> Array:
    p = (X[:, [0]] > 0.5).astype(np.float64)
    return np.hstack([1.0 - p, p])


def test_a_model_elsewhere_gets_its_shape_from_its_answers_and_the_pool() -> None:
    """Classes, value range and pools are found out; columns only where they are wanted."""
    pool = np.random.default_rng(0).uniform(0.0, 1.0, (40, 3))
    target = remote(_halves, pool, value_range=None, categorical=(), tabular=False)
    assert (target.classes, target.data) == (2, "image")
    assert target.value_range == (pool.min(), pool.max())
    rows = np.vstack([target.attacker.vectors, target.benign.vectors, target.test])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, pool))
    assert remote(_halves, pool, value_range=None, categorical=(), tabular=True).data == "tabular"
    with pytest.raises(ConfigError, match="at least eight"):
        remote(_halves, pool[:7], value_range=None, categorical=(), tabular=False)


def test_examples_come_from_files_of_three_kinds(tmp_path: Path) -> None:
    """The same matrix from .npy, .npz and .csv; anything else is an error with the file's name."""
    X = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "a.npz", X=X)
    np.savetxt(tmp_path / "a.csv", X, delimiter=",")
    for name in ("a.npy", "a.npz", "a.csv"):
        assert np.array_equal(examples(str(tmp_path / name)), X)
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    np.save(tmp_path / "c.npy", np.arange(3.0))
    for name in ("b.csv", "c.npy", "none.npy"):
        with pytest.raises(ConfigError, match=name):
            examples(str(tmp_path / name))
    assert examples("digits").shape == (1797, 64)
