"""Fitting what coarse tables are judged by: levels, dependences, and draws that are fair to clients who taught nothing."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.coarse import LEVELS, is_mixed, read_levels, record_chances
from detector.engine.fitting.coarse import LEAST_COLUMNS, LEAST_RECORDS, fit_coarse
from detector.engine.fitting.noise import Unheard
from detector.engine.fitting.reference import fit_reference
from detector.engine.fitting.stray import LEAST_CLIENTS
from detector.engine.models.reference import NOT_COARSE, Reference, from_arrays, to_arrays

Floats = npt.NDArray[np.float32]
WIDTH, HIGHEST = 10, 4
CLIENTS, QUERIES = 12, 60
OWNERS = [f"client-{k // QUERIES}" for k in range(CLIENTS * QUERIES)]


def records(seed: int, n: int = CLIENTS * QUERIES, width: int = WIDTH) -> Floats:
    """Answers to ten questions, five levels each, which two traits decide."""
    rng = np.random.default_rng(seed)
    leaning = np.random.default_rng(99).standard_normal((2, width))
    said = rng.standard_normal((n, 2)) @ leaning + 0.6 * rng.standard_normal((n, width))
    return np.clip(np.rint(said + HIGHEST / 2), 0, HIGHEST).astype(np.float32)


FINE = np.array([2, 5, 8])


def mixed_records(seed: int, n: int = CLIENTS * QUERIES) -> Floats:
    """The same, where three of the ten answers are counts."""
    found = records(seed, n)
    rng = np.random.default_rng([seed, 1])
    found[:, FINE] = rng.negative_binomial(3, 3.0 / (3.0 + 4.0 + 3.0 * found[:, FINE])).clip(0, 60)
    return found


def fitted(teaching: Floats, unheard: Unheard, codes: tuple[int, ...] = ()) -> Reference:
    reference = fit_reference(teaching, 2, seed=1, clients=OWNERS, categorical=codes)
    return fit_coarse(reference, teaching, unheard)


def worths(reference: Reference, vectors: Floats) -> npt.NDArray[np.float64]:
    """Return how much better a draw explains each record than the population does, as a logarithm."""
    known = reference.coarse
    levels = np.empty(len(known.count), np.uint8)
    found = []
    for row in reference.reduce(vectors).c:
        read_levels(row, known, levels)
        population, drawn = record_chances(levels, row, known)
        found.append(drawn - population)
    return np.array(found)


def test_levels_are_those_of_the_columns() -> None:
    """In their order, and each sampled integer has the nearest one."""
    teaching = records(1)
    reference = fitted(teaching, Unheard(records(2), OWNERS))
    known = reference.coarse
    assert known.count.tolist() == [HIGHEST + 1] * WIDTH
    levels = np.empty(WIDTH, np.uint8)
    for record, row in zip(teaching[:50], reference.reduce(teaching[:50]).c, strict=True):
        read_levels(row, known, levels)
        assert levels.tolist() == record[reference.sampled].astype(int).tolist()
    off = teaching[:50] + np.float32(0.2)  # on no level
    for record, row in zip(teaching[:50], reference.reduce(off).c, strict=True):
        read_levels(row, known, levels)
        assert levels.tolist() == record[reference.sampled].astype(int).tolist()


def test_chances_add_up_to_one() -> None:
    """Those of the levels of each column at each level of the column that it depends on, and those of each kind of draw."""
    known = fitted(records(1), Unheard(records(2), OWNERS)).coarse
    roots = known.parent < 0
    assert roots.sum() == 1
    for j in range(WIDTH):
        chances = np.exp(known.chance[j, : known.count[j], : known.count[known.parent[j]]].astype(np.float64))
        assert chances.sum(axis=0) == pytest.approx(1.0, abs=1e-4)
        if j > 0:  # the first column bears what makes draws fair
            assert np.exp(known.drawn[:, j, : known.count[j]].astype(np.float64)).sum(axis=1) == pytest.approx(1.0, abs=1e-4)


def test_dependences_tell_draws_from_new_records() -> None:
    """Uniform draws, and draws of values that occur, are explained better by draws; records of new clients are not."""
    teaching = records(1)
    reference = fitted(teaching, Unheard(records(2), OWNERS))
    rng = np.random.default_rng(3)
    uniform = rng.integers(0, HIGHEST + 1, (300, WIDTH)).astype(np.float32)
    occurring = np.take_along_axis(teaching, rng.integers(len(teaching), size=(300, WIDTH)), axis=0)
    assert worths(reference, uniform).mean() > 3.0
    assert worths(reference, occurring).mean() > 1.0
    assert worths(reference, records(4)).mean() < -1.0


def test_columns_of_many_values_are_fine() -> None:
    """Each level stands for values about it, whose chances add up to one; the others are as in a coarse table."""
    reference = fitted(mixed_records(1), Unheard(mixed_records(2), OWNERS))
    known = reference.coarse
    fine = np.isin(reference.sampled, FINE)
    assert (known.gap > 0.0).tolist() == fine.tolist()
    assert known.count[~fine].tolist() == [HIGHEST + 1] * (WIDTH - len(FINE))  # low ones are told apart, too
    assert is_mixed(known)
    assert not is_mixed(fitted(records(1), Unheard(records(2), OWNERS)).coarse)
    for j in np.flatnonzero(fine):
        chances = np.bincount(known.level[j], np.exp(known.inner[j].astype(np.float64)), minlength=LEVELS)
        assert chances[: known.count[j]] == pytest.approx(1.0, abs=1e-4)
    assert not known.inner[~fine].any()


def test_codes_are_compared_as_well() -> None:
    """As indicators, which are no numbers: they follow the measured columns."""
    reference = fitted(records(1), Unheard(records(2), OWNERS), codes=(0, 3))
    assert reference.coarse.ordered.tolist() == [WIDTH - 2]
    assert len(reference.coarse.count) > WIDTH - 2
    assert worths(reference, records(4)).mean() < -1.0


@pytest.mark.parametrize("case", ["fine", "narrow", "few records", "few clients", "a picture"])
def test_other_inputs_are_judged_as_before(case: str) -> None:
    """Most columns of values that the memory hardly tells apart, few columns, or too little to learn from."""
    teaching, unheard = records(1), Unheard(records(2), OWNERS)
    if case == "fine":
        teaching[:, 2:8] += np.random.default_rng(1).random((len(teaching), 6)).astype(np.float32)
    if case == "narrow":
        width = LEAST_COLUMNS - 1
        teaching, unheard = records(1, width=width), Unheard(records(2, width=width), OWNERS)
    if case == "few records":
        teaching = np.tile(teaching[: LEAST_RECORDS - 1], (8, 1))[: len(OWNERS)]
    if case == "few clients":
        few = QUERIES * (LEAST_CLIENTS - 1)
        unheard = Unheard(unheard.vectors[:few], OWNERS[:few])
    if case == "a picture":
        reference = fit_reference(teaching, 2, seed=1, clients=OWNERS, common_scale=True)
        assert fit_coarse(reference, teaching, unheard) is reference
        return
    reference = fitted(teaching, unheard)
    assert len(reference.coarse.count) == 0
    assert reference.fingerprint == fit_reference(teaching, 2, seed=1, clients=OWNERS).fingerprint


def test_it_outlives_a_save_and_older_baselines_have_none() -> None:
    """Arrays come back as they were; a baseline without them is one of a table that is not coarse."""
    reference = fitted(records(1), Unheard(records(2), OWNERS))
    arrays = to_arrays(reference)
    again = from_arrays(arrays)
    assert again.fingerprint == reference.fingerprint
    assert all(
        np.array_equal(np.asarray(one), np.asarray(other)) for one, other in zip(again.coarse, reference.coarse, strict=True)
    )
    older = from_arrays({name: array for name, array in arrays.items() if name not in NOT_COARSE})
    assert len(older.coarse.count) == 0
    assert older.coarse.level.shape == (0, 256)
    assert older.coarse.value.shape == (0, LEVELS)
