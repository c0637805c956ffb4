"""Readings of the service: from what the memory retains, without a state of their own."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.columns import allocate
from detector.engine.findings import Reading
from detector.engine.memory.admission import evaluation_after
from detector.engine.memory.kept import Kept
from detector.engine.memory.metered import READINGS, Metered
from detector.engine.memory.reservoir import LABEL_TOLD, MARGIN_LEVELS, MISLED, NO_MARGIN, OUTDATED
from detector.engine.odometer.meters import MOST_TOGETHER, Meters, read_together
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.odometer.view import Retained, View, view_of
from tests.engine.odometer.learned import LABELS, judge, queries, said

LARGEST = 64  # queries that a memory retains


@pytest.fixture(scope="module")
def judging() -> ReferenceSet:
    return judge()


def retained(n: int, seed: int, *, mark: int = 0, margins: bool = True, labels: bool = True) -> Retained:
    """Return n retained queries; without `labels` their labels are random."""
    z, c = queries(n, seed)
    chances = np.sort(said(z), axis=1)
    margin = np.rint(np.log(chances[:, -1] / chances[:, -2]) * MARGIN_LEVELS).clip(0, 32767).astype(np.int16)
    place = said(z).argmax(axis=1) if labels else np.random.default_rng(seed).integers(0, 3, n)
    return Retained(z, c, LABELS[place], np.full(n, mark, np.uint8), margin if margins else np.full(n, NO_MARGIN, np.int16))


def kept(own: Retained, stored: int, turn: int = 0) -> Kept:
    """Return what the memory keeps for one reading."""
    z, c, label, mark, margin = own
    held, so_many = np.array([len(label)]), np.array([stored])
    return Kept(z[None], c[None], label[None], mark[None], margin[None], held, so_many, np.array([turn], np.uint8))


def read(judging: ReferenceSet, own: Retained, queries: int = 64, stored: int | None = None) -> Reading:
    """Return the reading of a client that was never read before."""
    metered = allocate(Metered, 1)
    meters = Meters(judging)
    meters.read(metered, 0, queries, kept(own, len(own.label) if stored is None else stored), 0)
    found = meters.reading(metered, 0)
    assert found is not None
    return found


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("margins", [False, True])
def test_the_lead_grows_with_what_is_retained(table: bool, margins: bool) -> None:
    """More different queries teach more, with probabilities and with labels alone; the interval holds the lead."""
    judging = judge(table=table)
    few, many = (read(judging, retained(n, 1, margins=margins)) for n in (16, LARGEST))
    assert many.lead > max(few.lead, 0.4)
    for reading in (few, many):
        assert 0.0 <= reading.low <= reading.lead <= reading.high <= 1.0


def test_random_labels_teach_little(judging: ReferenceSet) -> None:
    """A copy of noise is no better than the guess."""
    assert read(judging, retained(LARGEST, 1, labels=False)).lead < 0.2


def test_what_was_told_counts_and_not_what_the_model_said(judging: ReferenceSet) -> None:
    """A client that was told another label has learned nothing; labels alone teach no more than what stands beside them."""
    plain, labels, misled = (read(judging, retained(LARGEST, 1, mark=mark)).lead for mark in (0, LABEL_TOLD, MISLED))
    assert misled < 0.1
    assert labels == read(judging, retained(LARGEST, 1, margins=False)).lead
    assert plain >= labels - 0.05


def test_queries_beyond_the_retained_ones_count_as_far_as_more_of_them_help(judging: ReferenceSet) -> None:
    """A copy that still learns is read higher after more queries, one that learns nothing is not."""
    own, junk = retained(LARGEST, 1), retained(LARGEST, 1, labels=False)
    leads = [read(judging, own, stored=stored).lead for stored in (LARGEST, 4 * LARGEST, 1 << 20)]
    assert leads == sorted(leads)
    assert leads[0] < leads[1] < leads[2] <= 1.0
    again = own.take(np.zeros(LARGEST, np.intp))
    assert read(judging, again, stored=1 << 20).lead == read(judging, again).lead
    assert read(judging, junk, stored=1 << 20).lead < 1.0


@given(st.integers(0, LARGEST), st.integers(0, 5))
def test_equal_queries_give_equal_readings(n: int, seed: int) -> None:
    """Nothing is remembered of other readings, and nothing is written without a retained query."""
    meters, metered = Meters(judge()), allocate(Metered, 3)
    for slot in (2, 0):
        meters.read(metered, slot, 32, kept(retained(n, seed), 3 * n), 0)
    assert metered.right[0] == metered.right[2]
    assert metered.read.tolist() == [min(n, 1), 0, min(n, 1)]
    assert (meters.reading(metered, 0) is None) == (n == 0)


def test_the_highest_reading_stays(judging: ReferenceSet) -> None:
    """A client does not lose what it has learned; the reading says when it was."""
    meters, metered = Meters(judging), allocate(Metered, 1)
    meters.read(metered, 0, 64, kept(retained(LARGEST, 1), LARGEST), 0)
    before = meters.reading(metered, 0)
    meters.read(metered, 0, 87, kept(retained(LARGEST, 1, labels=False), 87), 0)
    assert meters.reading(metered, 0) == before
    assert before is not None
    assert before.queries == 64
    assert meters.holders(metered, np.array([True]), (0.0, before.lead, before.lead + 0.01)) == [1, 1, 0]
    assert meters.holders(metered, np.array([False]), (0.0,)) == [0]


def test_another_version_begins_anew(judging: ReferenceSet) -> None:
    """What an older version answered teaches nothing of the new one, and its reading counts no more."""
    meters, metered = Meters(judging), allocate(Metered, 1)
    meters.read(metered, 0, 64, kept(retained(LARGEST, 1), LARGEST), 0)
    meters.read(metered, 0, 87, kept(retained(LARGEST, 1, mark=OUTDATED), 87, turn=1), 0)
    assert meters.reading(metered, 0) is None
    assert meters.holders(metered, np.array([True]), (0.0,)) == [0]
    meters.read(metered, 0, 117, kept(retained(16, 1), 117, turn=1), 0)
    after = meters.reading(metered, 0)
    assert after is not None
    assert after.queries == 117


def test_readings_are_at_scheduled_evaluations_that_grow() -> None:
    """Cost per query stays bounded: from 64 on each comes a quarter more queries later at the least."""
    later = READINGS[READINGS >= 64]
    assert READINGS[:4].tolist() == [32, 48, 64, 87]
    scheduled = [int(evaluation_after(0))]
    while scheduled[-1] < READINGS[20]:
        scheduled.append(int(evaluation_after(scheduled[-1])))
    assert set(READINGS[:21].tolist()) <= set(scheduled)
    assert (later[1:] >= 1.25 * later[:-1]).all()
    assert (later[1:] <= 1.4 * later[:-1]).all()
    assert len(READINGS) < 255  # a number of a reading is kept in 8 bits


def test_members_put_together_what_they_were_told(judging: ReferenceSet) -> None:
    """Each of them knows little; together they know as much as one client with all of it, in whatever order."""
    whole = retained(400, 1)
    parts = [whole.take(slice(i, None, 20)) for i in range(20)]
    together = read_together(view_of(judging), parts, 400)
    assert together.queries == 400
    assert together.lead > 1.5 * read_together(view_of(judging), parts[:1], 20).lead
    assert together.lead == read_together(view_of(judging), [whole], 400).lead


def test_many_members_are_not_dear(judging: ReferenceSet) -> None:
    """No more than so many queries are used, some of each member."""
    crowd = [retained(LARGEST, seed) for seed in range(30)]
    fewer = [own.take(slice(MOST_TOGETHER // 30)) for own in crowd]
    assert read_together(view_of(judging), crowd, 10_000).lead > read_together(view_of(judging), fewer, 10_000).lead - 0.1


def test_nobody_holds_nothing(judging: ReferenceSet) -> None:
    """Without a retained query there is nothing to read."""
    with pytest.raises(ValueError, match="retained"):
        read_together(view_of(judging), [retained(0, 1), retained(5, 1, mark=OUTDATED)], 5)


def test_a_view_leaves_out_what_never_varies(judging: ReferenceSet) -> None:
    """Values that are the same in all reference inputs tell no inputs apart."""
    view = View(judging)
    assert len(view.columns) == 8 + 12
    assert view.inputs.shape == (20, 256)
    lessons = view.lessons(retained(7, 1))
    assert lessons.inputs.shape == (7, 20)
    assert np.allclose(lessons.targets.sum(axis=1), 1.0)
    assert np.array_equal(lessons.targets[:, :3].argmax(axis=1), view.judge.class_of(retained(7, 1).label))
