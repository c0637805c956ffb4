"""Records that were made from others by one step, and middles between records, whoever asked them and wherever they lie."""

import numpy as np
import pytest

from detector.engine.fitting.reference import fit_reference
from detector.engine.links.seeking.search import MIDDLE, NOTHING, STEP, Links
from detector.engine.links.seeking.steps import no_steps
from detector.engine.links.seeking.values import fine_columns, no_values
from detector.engine.models.reference import Reference
from tests.engine.links.seeking.searching import Floats, Searching, records

SPREAD = np.array([1.0, 50.0, 1000.0, 3.0])
SHORT, LONG = 0.4, 1.5  # lengths of a step in each column, in deviations


@pytest.fixture(scope="module")
def table() -> Reference:
    return fit_reference(records(np.random.default_rng(0), 400), 2, seed=1, clients=[f"c{i % 20}" for i in range(400)])


def moved(rng: np.random.Generator, seeds: Floats, length: float) -> Floats:
    """Return records moved by one step, up or down in each column."""
    return np.asarray(seeds + length * SPREAD * rng.choice([-1.0, 1.0], seeds.shape), np.float32)


def asked(search: Searching, rows: Floats, first: int = 1) -> Links:
    """Ask each record from another account."""
    return search.ask(rows, range(first, first + len(rows)))


@pytest.mark.parametrize("length", [SHORT, LONG])
def test_records_moved_by_one_step_are_found_with_their_seeds(table: Reference, length: float) -> None:
    rng = np.random.default_rng(1)
    search = Searching(table, entries=32_768)
    asked(search, records(rng, 1500), 1000)
    seeds = records(rng, 60)
    assert not asked(search, seeds).kind.any()
    links = asked(search, np.concatenate([moved(rng, seeds, length) for _ in range(3)]), 100)
    made = np.flatnonzero(links.kind == STEP)
    assert len(made) >= 90
    assert np.count_nonzero(links.one[made, 1] == 1 + made % 60) >= 0.95 * len(made), "each comes from its own seed"
    assert np.count_nonzero(links.other[made, 1] >= 100) >= 0.9 * len(made), "and is kin to another one that was made"


def test_other_ways_are_no_steps(table: Reference) -> None:
    rng = np.random.default_rng(2)
    seeds = records(rng, 60)
    drawn = seeds + SPREAD * rng.uniform(0.1, 1.5, seeds.shape) * rng.choice([-1.0, 1.0], seeds.shape)
    added = seeds + 0.4 * SPREAD
    taken = np.concatenate([seeds[:30] + 0.4 * SPREAD, seeds[30:] - 0.4 * SPREAD])
    few = seeds.copy()
    few[:, :2] += 0.4 * SPREAD[:2] * rng.choice([-1.0, 1.0], (60, 2))
    plan = seeds[0] + 0.4 * SPREAD * rng.choice([-1.0, 0.0, 1.0], (60, 4))
    coarse = np.rint(records(rng, 60) / SPREAD * 2.5) / 2.5 * SPREAD
    for name, rows in {
        "coarse": coarse,
        "drawn": drawn,
        "added": added,
        "best and worst": taken,
        "two columns": few,
        "plan": plan,
    }.items():
        search = Searching(table)
        asked(search, seeds)
        links = asked(search, np.asarray(rows, np.float32), 100)
        assert np.count_nonzero(links.kind == STEP) <= int(name in {"plan", "coarse"}), name


def test_a_step_is_forgotten_with_its_ways(table: Reference) -> None:
    rng = np.random.default_rng(3)
    search = Searching(table, entries=2048)
    seeds = records(rng, 60)
    asked(search, seeds)
    asked(search, moved(rng, seeds, SHORT), 100)
    assert search.steps.latest.any()
    search.entries.stored[0] += 1 << 20
    assert not (asked(search, moved(rng, records(rng, 30), SHORT), 300).kind == STEP).any()


def test_an_end_to_which_a_search_returns_is_looked_up_beyond_the_nearest(table: Reference) -> None:
    """It is remembered once it is an end for long; then a middle that is far from both ends is found."""
    rng = np.random.default_rng(4)
    search = Searching(table, entries=32_768)
    start = np.asarray(SPREAD * [1.0, -1.0, 1.0, 1.0], np.float32)
    search.ask(start[None], [1], [0])
    asked(search, records(rng, 60), 1000)
    far = np.asarray(-0.9 * SPREAD, np.float32)
    middle = np.asarray((start + far) / 2.0, np.float32)
    search.ask(far[None], [2], [1])
    assert search.ask(middle[None], [3]).kind[0] == NOTHING
    close = np.asarray(start + 0.2 * SPREAD, np.float32)
    search.ask(close[None], [4], [1])
    assert search.ask(np.asarray((start + close) / 2.0, np.float32)[None], [5]).kind[0] == MIDDLE
    asked(search, records(rng, 40), 2000)
    other = np.asarray(far + 0.05 * SPREAD, np.float32)
    search.ask(other[None], [6], [1])
    links = search.ask(np.asarray((start + other) / 2.0, np.float32)[None], [7])
    assert links.kind[0] == MIDDLE
    assert {int(links.one[0, 1]), int(links.other[0, 1])} == {1, 6}


def test_queries_around_what_was_made_are_one_chain(table: Reference) -> None:
    rng = np.random.default_rng(5)
    search = Searching(table)
    search.ask(np.asarray([-0.5 * SPREAD, 0.5 * SPREAD], np.float32), [1, 2], [0, 1])
    middle = search.ask(np.zeros((1, 4), np.float32), [3])
    around = asked(search, np.asarray(0.02 * SPREAD * rng.standard_normal((30, 4)), np.float32), 10)
    assert middle.kind[0] == MIDDLE
    assert (around.cluster == middle.cluster[0]).all()


def test_cuts_change_nothing(table: Reference) -> None:
    rng = np.random.default_rng(6)
    seeds = records(rng, 60)
    rows = np.concatenate([records(rng, 300), seeds, moved(rng, seeds, SHORT), moved(rng, seeds, LONG)])
    whole, cut = Searching(table, entries=512), Searching(table, entries=512)
    links = asked(whole, rows)
    parts = [asked(cut, rows[at : at + 37], 1 + at) for at in range(0, len(rows), 37)]
    assert (links.kind == STEP).any()
    for column, array in links._asdict().items():
        assert np.array_equal(array, np.concatenate([getattr(part, column) for part in parts])), column
    kept = [(one.entries, one.chains, one.steps, one.values) for one in (whole, cut)]
    for one, other in zip(*kept, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_records_are_looked_up_by_columns_with_many_levels() -> None:
    variance, level = np.array([9e4, 1e6, 1e6, 1e6]), np.array([0.0, 400.0, 20.0, 0.0])
    assert fine_columns(variance, level, 4).tolist() == [3, 2, 0]
    assert fine_columns(variance, level, 2).tolist() == [], "two numbers are too few to tell a step"
    assert sum(array.nbytes for array in (*no_steps(table=True), *no_values(table=True))) < 1_000_000
    assert len(no_steps(table=False).check) == 0
