import numpy as np
import pytest

from detector.redteam.conversation import Array, converse
from detector.redteam.entries import Begin
from detector.redteam.loans import Lender
from detector.redteam.profiles import resubmissions


def _play(profile: Begin, applied: Lender, seed: int, budget: int = 120) -> Array:
    client = profile(applied.setting(applied.benign, np.random.default_rng(seed)))
    return converse(client, applied.predict, budget)[0]


def _natural(vectors: Array, applied: Lender) -> Array:
    known = {row.tobytes() for row in applied.benign.vectors}
    return np.array([row.tobytes() in known for row in vectors])


@pytest.mark.parametrize(("size", "amount"), [(37.0, 20.0), (0.6, 0.5), (5.0, 5.0), (1000.0, 1000.0), (0.0, 1e-6)])
def test_people_choose_round_amounts(size: float, amount: float) -> None:
    """One, two or five times a power of ten, not above the size."""
    assert resubmissions.round_amount(size) == pytest.approx(amount)


def test_corrections_end_in_a_record(applied: Lender) -> None:
    """Each attempt differs from the one before in a few values, and the last is right, but for values wrong by accident."""
    vectors = _play(resubmissions.tab_corrections, applied, 0)
    right = _natural(vectors, applied)
    assert 0.2 < right.mean() < 0.6
    changes = (np.diff(vectors, axis=0) != 0).sum(axis=1)
    assert (changes[right[1:]] <= 2).mean() > 0.9


def test_improvements_go_one_way(applied: Lender) -> None:
    """Between two attempts with one application no number ever goes back."""
    vectors = _play(resubmissions.tab_improvements, applied, 1)
    begins = np.flatnonzero(_natural(vectors, applied))
    assert len(begins) > 5
    steps = np.diff(vectors, axis=0)
    inside = np.delete(np.arange(len(steps)), begins[begins > 0] - 1)
    up, down = (steps[inside] > 0).any(axis=0), (steps[inside] < 0).any(axis=0)
    assert not (up & down).any()
    assert 2 <= (up | down).sum() <= 5


def test_amounts_are_tried_in_one_column(applied: Lender) -> None:
    """An attempt differs from its record in the client's column only."""
    vectors = _play(resubmissions.tab_halved_by_hand, applied, 2)
    natural = _natural(vectors, applied)
    record = vectors[0]
    columns = set()
    for vector, known in zip(vectors, natural, strict=True):
        record = vector if known else record
        columns |= set(np.flatnonzero(vector != record).tolist())
    assert len(columns) == 1


@pytest.mark.parametrize(
    ("profile", "copies"), [(resubmissions.tab_best_and_worst, 2), (resubmissions.tab_recalibrated, 1)], ids=["cases", "offset"]
)
def test_numbers_move_by_fixed_amounts_and_codes_stay(applied: Lender, profile: Begin, copies: int) -> None:
    """Away from the ends of a range each number moves by one amount, for every record."""
    vectors = _play(profile, applied, 3)
    columns = applied.columns
    records = vectors[:: copies + 1]
    for copy in range(1, copies + 1):
        made = vectors[copy :: copies + 1]
        moves = made - records[: len(made)]
        assert not moves[:, list(columns.categorical)].any()
        for column in columns.numeric:
            inside = (made[:, column] > columns.low[column]) & (made[:, column] < columns.high[column])
            assert np.ptp(moves[inside, column]) <= 1.0


def test_a_new_version_changes_a_few_columns(applied: Lender) -> None:
    """Two to four: the version, and one to three numbers that are computed anew."""
    for seed in range(4):
        vectors = _play(resubmissions.tab_two_versions, applied, seed)
        changed = (vectors[1::2] != vectors[::2]).any(axis=0)
        assert 1 <= changed.sum() <= 4
