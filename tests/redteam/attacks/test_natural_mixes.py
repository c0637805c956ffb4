from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest

from detector.redteam.attacks.natural_mixes import copula, cut_mix, smote, three_points
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, converse
from detector.redteam.entries import Begin
from detector.redteam.setting import Data, Setting
from detector.redteam.targets import Target


def _play(make: Begin, target: Target, budget: int = 240) -> tuple[Array, Array]:
    """The natural queries and those that were made."""
    setting = target.setting(target.attacker, np.random.default_rng(3))
    vectors, _, made = converse(make(setting), target.predict, budget)
    return vectors[~made], vectors[made]


@pytest.mark.parametrize("data", ["image", "tabular"])
def test_a_copula_keeps_distributions_and_how_values_go_together(targets: Mapping[Data, Target], data: Data) -> None:
    """Means lie within the sample's spread, no value outside its range, and correlations of the sample come back."""
    sample, made = _play(copula, targets[data], 600)
    assert (made >= sample.min(axis=0) - 1e-9).all()
    assert (made <= sample.max(axis=0) + 1e-9).all()
    spread = sample.std(axis=0)
    assert (np.abs(made.mean(axis=0) - sample.mean(axis=0)) <= 0.4 * spread + 1e-9).all()
    varying = spread > 0.05 * np.ptp(sample)
    there, here = (np.atleast_2d(np.corrcoef(X[:, varying].T))[np.triu_indices(varying.sum(), 1)] for X in (sample, made))
    assert np.corrcoef(there, here)[0, 1] > 0.7


def test_smote_stays_between_neighbours_of_one_label(targets: Mapping[Data, Target]) -> None:
    """Every made picture lies on the line between two of the sample with the same answer."""
    target = targets["image"]
    sample, made = _play(smote, target, 60)
    labels = target.predict(sample).argmax(axis=1)
    for row in made:
        off = []
        for i, one in enumerate(sample):
            ways = sample - one
            share = np.clip((ways @ (row - one)) / np.maximum((ways**2).sum(axis=1), 1e-9), 0.0, 1.0)
            off.append(np.where(labels == labels[i], np.linalg.norm(one + share[:, None] * ways - row, axis=1), np.inf).min())
        assert min(off) < 1e-6


@pytest.mark.parametrize("data", ["image", "tabular"])
def test_cut_mix_takes_every_value_from_one_of_two(targets: Mapping[Data, Target], data: Data) -> None:
    """Each value of a made query stands at the same place in some natural one; at most two are needed."""
    sample, made = _play(cut_mix, targets[data], 60)
    for row in made:
        same: npt.NDArray[np.bool_] = sample == row
        assert max(int((one | other).sum()) for one in same for other in same) == row.size


def test_three_points_lie_in_a_triangle() -> None:
    """Of three records a mixture has coordinates that add up to one; codes are those of one of them."""
    pool = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 2.0], [0.0, 1.0, 3.0]])
    setting = Setting(pool, np.arange(3), np.random.default_rng(0), columns=TableColumns.of(pool + 0.0, categorical=[2]))
    vectors, _, made = converse(three_points(setting), lambda X: np.eye(2)[np.zeros(len(X), np.int64)], 80)
    mixed = vectors[made]
    assert (mixed[:, :2] >= 0.0).all()
    assert (mixed[:, :2].sum(axis=1) <= 2.0).all()
    assert set(mixed[:, 2]) == {1.0, 2.0, 3.0}


@pytest.mark.parametrize("make", [copula, smote, cut_mix, three_points])
def test_nothing_is_mixed_of_nothing(make: Begin) -> None:
    """Without natural examples there is no sample."""
    with pytest.raises(ValueError, match="natural examples to mix"):
        next(make(Setting(np.empty((0, 4)), np.empty(0, np.int64), np.random.default_rng(0))))
