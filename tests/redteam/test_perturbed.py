"""The table of what perturbation costs whom."""

import numpy as np
import pytest

from detector.perturb.modes import How
from detector.redteam import perturbed
from detector.redteam.attacks.jbda import jbda
from detector.redteam.targets import named


def test_calibration_error() -> None:
    """Confidences that are right as often as they say cost nothing; others by how much they err."""
    told = np.array([[0.95, 0.05]] * 4)
    assert perturbed.calibration_error(told, np.zeros(4, np.int64)) == pytest.approx(0.05)
    assert perturbed.calibration_error(told, np.array([0, 0, 1, 1])) == pytest.approx(0.45)


def test_one_cell_of_the_table() -> None:
    """The label stays with top1 and its copies are no better; thieves that need pictures are left out of tables."""
    target = named("digits", 0)
    plain, told = (
        perturbed._measured(target, change, 60, 0) for change in (perturbed.MODES["none"], perturbed.told_by(How("top1")))
    )
    assert told["flips"] == 0.0
    assert told["own"] is not None
    assert plain["own"] is not None
    assert told["own"] <= plain["own"] + 0.04
    assert perturbed._copied(named("loans", 0), jbda, lambda X: X, 10, 0) is None


def test_the_rows_as_a_table() -> None:
    """What does not exist is a dash."""
    row = perturbed.Row("loans", "top1", 0.5, 0.25, None, None, 0.0, 0.1)
    assert perturbed.markdown([row]).splitlines()[-1] == "| loans | top1 | 50.0% | 25.0% | - | - | 0.0% | 0.100 |"
    assert perturbed.table([row]).row_count == 1
