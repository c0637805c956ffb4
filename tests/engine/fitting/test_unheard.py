"""What is usual of clients that taught nothing: expectations are raised for those that ask about something else."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.remote import LEAST_OF_ALL
from detector.engine.fitting.noise import Unheard
from detector.engine.fitting.reference import fit_reference
from detector.engine.fitting.stray import LEAST_CLIENTS
from detector.engine.fitting.unheard import fair_to_unheard
from detector.engine.models.reference import Reference

Floats = npt.NDArray[np.float32]
CLIENTS, QUERIES, SIDE = 12, 40, 10
OWNERS = [f"client-{k // QUERIES}" for k in range(CLIENTS * QUERIES)]


def pictures(seed: int, noise: float = 0.02) -> Floats:
    """Smooth dense pictures: a few waves each, with noise."""
    rng = np.random.default_rng(seed)
    place = np.linspace(0.0, np.pi, SIDE)
    waves = np.array([np.outer(np.cos(i * place), np.cos(j * place)).ravel() for i in range(4) for j in range(4)])
    loads = rng.standard_normal((CLIENTS * QUERIES, len(waves))) / np.arange(1, len(waves) + 1)
    drawn = 0.5 + 0.1 * loads @ waves + noise * rng.standard_normal((len(loads), SIDE * SIDE))
    return np.asarray(np.clip(drawn, 0.0, 1.0), np.float32)


@pytest.fixture(scope="module")
def learned() -> Reference:
    return fit_reference(pictures(1), 2, seed=1, clients=OWNERS)


def expectations(reference: Reference) -> npt.NDArray[np.float64]:
    return np.array([reference.usual_structure, reference.usual_stray, reference.remote[LEAST_OF_ALL, 0]])


def test_clients_like_the_teachers_change_little(learned: Reference) -> None:
    """What is raised for them is less than the spread of what is usual."""
    raised = expectations(fair_to_unheard(learned, Unheard(pictures(2), OWNERS))) - expectations(learned)
    assert (raised >= 0.0).all()
    assert (raised <= [learned.structure_spread, learned.stray_spread, learned.remote[LEAST_OF_ALL, 1]]).all()


def test_expectations_rise_with_what_the_others_ask(learned: Reference) -> None:
    """Noisier cameras than the teachers' stray more, and are not foreign."""
    raised = fair_to_unheard(learned, Unheard(pictures(2, noise=0.1), OWNERS))
    assert raised.usual_stray > learned.usual_stray + learned.stray_spread
    assert (expectations(raised) >= expectations(learned)).all()


def test_a_single_odd_client_raises_little(learned: Reference) -> None:
    """It may be a thief: the next oddest counts instead, however far it is from the others."""
    usual = pictures(2)
    odd = usual.copy()
    odd[:QUERIES] = np.random.default_rng(3).random((QUERIES, SIDE * SIDE))
    with_odd, without = (fair_to_unheard(learned, Unheard(asked, OWNERS)) for asked in (odd, usual))
    spreads = [learned.structure_spread, learned.stray_spread, learned.remote[LEAST_OF_ALL, 1]]
    assert (expectations(with_odd) <= expectations(without) + spreads).all()


def test_too_few_clients_change_nothing(learned: Reference) -> None:
    """Nor do vectors that lack values, where none is whole."""
    noisy, few = pictures(2, noise=0.1), QUERIES * (LEAST_CLIENTS - 1)
    assert fair_to_unheard(learned, Unheard(noisy[:few], OWNERS[:few])).fingerprint == learned.fingerprint
    noisy[:, 0] = np.nan
    assert fair_to_unheard(learned, Unheard(noisy, OWNERS)).fingerprint == learned.fingerprint
