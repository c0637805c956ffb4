"""Fitting what tells drawn records: what is told, and when nothing is."""

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.drawn import MOST_COLUMNS, SCALING, VIEWS, record_views
from detector.engine.evidence.noise import TERMS, noise_ratios
from detector.engine.fitting.cooccurrence import binned, binning_of
from detector.engine.fitting.drawn import _own, _pairs, fit_drawn
from detector.engine.fitting.noise import Taught, Unheard
from detector.engine.fitting.reference import fit_reference
from detector.engine.fitting.stray import LEAST_CLIENTS
from detector.engine.models.reference import Reference, from_arrays, to_arrays
from detector.engine.saved import check_reference

Floats = npt.NDArray[np.float32]
CLIENTS, QUERIES, WIDTH = 12, 60, 8
OWNERS = [f"client-{k // QUERIES}" for k in range(CLIENTS * QUERIES)]
CODES = (7,)


def records(seed: int) -> Floats:
    """Amounts with heavy tails that hang together, and a code that the first of them decides."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((CLIENTS * QUERIES, 2))
    mixed = hidden @ np.random.default_rng(99).standard_normal((2, WIDTH - 1)) + 0.1 * rng.standard_normal(
        (len(hidden), WIDTH - 1)
    )
    return np.column_stack([np.round(np.exp(mixed), 2), mixed[:, 0] > 0]).astype(np.float32)


def fitted(teaching: Floats, calibrating: Unheard, codes: tuple[int, ...] = CODES) -> Reference:
    reference = fit_reference(teaching, 2, seed=1, clients=OWNERS, categorical=codes)
    return fit_drawn(reference, Taught(teaching, OWNERS), calibrating, seed=1)


def ratios(reference: Reference, vectors: Floats) -> Floats:
    views, ratio = np.empty((len(vectors), VIEWS)), np.zeros(len(vectors), np.float32)
    record_views(vectors, reference.reduce(vectors).landmark, reference.drawn, views)
    noise_ratios(views, reference.noise, ratio)
    return ratio


def test_drawn_records_are_told_from_those_of_new_clients() -> None:
    """Whether columns are drawn uniformly or from the values that occur in them."""
    teaching = records(1)
    reference = fitted(teaching, Unheard(records(2), OWNERS))
    rng = np.random.default_rng(3)
    low, high = teaching.min(axis=0), teaching.max(axis=0)
    uniform = (low + (high - low) * rng.random((200, WIDTH))).astype(np.float32)
    uniform[:, CODES] = rng.integers(2, size=(200, 1))
    shuffled = np.take_along_axis(teaching, rng.integers(len(teaching), size=(200, WIDTH)), axis=0)
    assert np.log(ratios(reference, uniform)).mean() > 2.0
    assert np.log(ratios(reference, shuffled)).mean() > 1.0
    assert ratios(reference, records(4)).mean() < 1.0


def paired(seed: int) -> Floats:
    """Pairs of columns without correlation: the second of each is the size of the first, more or less."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(-1.0, 1.0, (CLIENTS * QUERIES, WIDTH // 2))
    return np.round(np.hstack([first, np.abs(first) + 0.05 * rng.standard_normal(first.shape)]), 3).astype(np.float32)


def test_draws_are_told_where_columns_depend_without_correlation() -> None:
    """Pairs of columns tell them, in either order."""
    teaching = paired(1)
    reference = fitted(teaching, Unheard(paired(2), OWNERS), codes=())
    parent = reference.drawn.parent
    tied = {frozenset((j, int(parent[j]))) for j in range(WIDTH) if parent[j] >= 0}
    assert {frozenset((j, j + WIDTH // 2)) for j in range(WIDTH // 2)} <= tied
    rng = np.random.default_rng(3)
    shuffled = np.take_along_axis(teaching, rng.integers(len(teaching), size=(200, WIDTH)), axis=0)
    assert np.log(ratios(reference, shuffled)).mean() > 1.5
    assert ratios(reference, paired(4)).mean() < 1.0
    slid = paired(5)
    slid[:, 1] = rng.uniform(-1.0, 1.0, len(slid))
    assert np.log(ratios(reference, slid)).mean() < 0.0


def test_versions_of_a_record_tie_no_columns() -> None:
    """Sliders keep what they leave alone together; here columns depend on nothing else."""
    rng = np.random.default_rng(1)
    own = rng.random((CLIENTS * QUERIES // 12, WIDTH)).astype(np.float32)
    slid = np.repeat(own, 12, axis=0)
    slid[:, 0] = rng.random(len(slid))
    found = _own(fit_reference(slid, 2, seed=1, clients=OWNERS), Taught(slid, OWNERS))
    assert len(found) == len(own)
    binning = binning_of(slid, frozenset(), rng)
    tied = [_pairs(binned(np.unique(rows, axis=0), binning)[0])[0] for rows in (slid, found)]
    assert (tied[0] >= 0).any()
    assert not (tied[1] >= 0).any()


def test_a_record_that_is_odd_in_one_column_is_not_drawn() -> None:
    """However odd: other units, or a number that overflows."""
    reference = fitted(records(1), Unheard(records(2), OWNERS))
    odd = records(4)
    odd[:, 2] = 3e38
    assert np.log(ratios(reference, odd)).mean() < 0.5


def test_nothing_is_told_without_clients_to_learn_from() -> None:
    """Too few clients, or clients that ask what the teachers asked."""
    teaching, few = records(1), QUERIES * (LEAST_CLIENTS - 1)
    for unheard in (Unheard(records(2)[:few], OWNERS[:few]), Unheard(teaching, OWNERS), Unheard(teaching[:0], [])):
        reference = fitted(teaching, unheard)
        assert len(reference.drawn.columns) == 0
        assert len(reference.noise) == 0


def test_nothing_is_told_where_columns_are_independent_and_uniform() -> None:
    """There is no difference to tell."""
    rows = np.random.default_rng(1).random((2, CLIENTS * QUERIES, WIDTH)).astype(np.float32)
    assert len(fitted(rows[0], Unheard(rows[1], OWNERS), codes=()).noise) == 0


def test_what_tells_drawn_records_outlives_a_save_and_does_not_depend_on_names() -> None:
    """Arrays come back as they were; other ids in the same order of clients fit the same."""
    teaching, calibrating = records(1), records(2)
    reference = fitted(teaching, Unheard(calibrating, OWNERS))
    back = from_arrays({name: np.asarray(array) for name, array in to_arrays(reference).items()})
    assert all(np.array_equal(one, other) for one, other in zip(back.drawn, reference.drawn, strict=True))
    arrays = {name: array for name, array in to_arrays(reference).items() if name not in {"drawn_parent", "drawn_belong"}}
    older = from_arrays(arrays | {"noise": np.zeros((1, TERMS))})
    assert check_reference(older) is older
    assert len(older.drawn.parent) == 0
    renamed = fitted(teaching, Unheard(calibrating, [f"{name}-x" for name in OWNERS]))
    assert renamed.fingerprint == reference.fingerprint


def test_codes_have_no_directions_and_columns_are_bounded() -> None:
    """A wide table is told by some of its columns."""
    reference = fitted(records(1), Unheard(records(2), OWNERS))
    coded = reference.drawn.coded
    assert coded.sum() == 1
    assert not reference.drawn.whiten[coded, 1:].any()
    assert len(reference.drawn.columns) <= MOST_COLUMNS
    assert reference.drawn.whiten.shape[1] == SCALING + WIDTH - 1
