"""What the compiled search finds, pair by pair, and what the store keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.engine.fitting.reference import fit_reference
from detector.engine.links.seeking.search import (
    BISECT,
    HALVED,
    LINE,
    MIDDLE,
    MIRRORED,
    NOTHING,
    OFFSET,
    SHALLOW,
    SINGLE,
    STEP,
)
from detector.engine.links.seeking.store import (
    HIT,
    PROBED,
    SHARED,
    empty,
    near_for,
    nearest_cells,
    nearest_entries,
    place_for,
)
from detector.engine.memory.reservoir import COORDINATES
from detector.engine.models.reference import Reference
from tests.engine.links.seeking.searching import Searching, records, smooth


@pytest.fixture(scope="module")
def pictures() -> Reference:
    rng = np.random.default_rng(0)
    return fit_reference(smooth(rng, 400), 2, seed=1, clients=[f"c{i % 20}" for i in range(400)])


@pytest.fixture(scope="module")
def table() -> Reference:
    return fit_reference(records(np.random.default_rng(0), 400), 2, seed=1, clients=[f"c{i % 20}" for i in range(400)])


def test_a_flat_step_from_another_account_is_found(pictures: Reference) -> None:
    rng = np.random.default_rng(1)
    seeds = smooth(rng, 30)
    search = Searching(pictures)
    assert not search.ask(seeds, [1] * 30).kind.any()
    moved = seeds + 0.1 * rng.choice([-1.0, 1.0], seeds.shape)
    links = search.ask(np.asarray(moved, np.float32), [2] * 30)
    assert np.count_nonzero(links.kind == OFFSET) >= 27
    made = links.kind == OFFSET
    assert (links.one[made, 1] == 1).all()
    assert (links.one[made, 0] == np.arange(1, 31)[made]).all()


def test_brightness_and_noise_are_no_flat_steps(pictures: Reference) -> None:
    rng = np.random.default_rng(2)
    seeds = smooth(rng, 30)
    search = Searching(pictures)
    search.ask(seeds, [1] * 30)
    for altered in (seeds * 0.8, seeds + 0.1, seeds + rng.normal(0.0, 0.08, seeds.shape), np.rint(seeds * 15) / 15):
        assert not (search.ask(np.asarray(altered, np.float32), [2] * 30).kind == OFFSET).any()


def test_a_bisection_dealt_to_accounts_is_followed(pictures: Reference) -> None:
    rng = np.random.default_rng(3)
    low, high = smooth(rng, 2)
    search = Searching(pictures)
    search.ask(np.stack([low, high]), [1, 2], [0, 1])
    kinds = []
    for account in range(3, 11):
        middle = np.asarray((low + high) / 2, np.float32)
        links = search.ask(middle[None], [account], [account % 2])
        kinds.append(int(links.kind[0]))
        low, high = (middle, high) if account % 2 == 0 else (low, middle)
    assert SHALLOW in kinds
    assert kinds[-1] == BISECT


def test_probes_of_one_size_are_found(pictures: Reference) -> None:
    seed = smooth(np.random.default_rng(4), 1)[0]
    search = Searching(pictures)
    search.ask(seed[None], [1])
    probes = np.repeat(seed[None], 6, axis=0)
    for turn, place in enumerate((3, 40, 77, 12, 91, 55)):
        probes[turn, place] += 0.05
    assert np.count_nonzero(search.ask(probes, range(2, 8)).kind == SINGLE) >= 4


def test_what_was_asked_before_is_no_event_and_belongs_to_nobody(pictures: Reference) -> None:
    seed = smooth(np.random.default_rng(5), 1)
    search = Searching(pictures)
    links = search.ask(np.concatenate([seed, seed, seed]), [1, 1, 2])
    assert links.repeat.tolist() == [False, True, True]
    assert int(search.entries.stored[0]) == 1
    assert np.count_nonzero(search.entries.mark & SHARED) == 1
    moved = seed + 0.1 * np.random.default_rng(5).choice([-1.0, 1.0], seed.shape)
    links = search.ask(np.asarray(moved, np.float32), [3])
    assert links.kind.tolist() == [OFFSET]
    assert links.one[0].tolist() == [1, 0, 1], "the step leads to the query and to no account"


def test_one_column_halved_by_several_accounts_is_found(table: Reference) -> None:
    record = records(np.random.default_rng(6), 1)[0]
    search = Searching(table)
    low, high = -1000.0, 1000.0
    asked = [low, high]
    for turn in range(6):
        asked.append((low + high) / 2)
        low, high = (asked[-1], high) if turn % 3 else (low, asked[-1])
    rows = np.repeat(record[None], len(asked), axis=0)
    rows[:, 2] = asked
    kinds = search.ask(rows, range(1, len(asked) + 1)).kind.tolist()
    assert kinds[:3] == [NOTHING] * 3
    assert set(kinds[-2:]) <= {HALVED, LINE}


def test_two_sided_differences_are_found_from_the_second_record(table: Reference) -> None:
    rng = np.random.default_rng(7)
    search = Searching(table)
    rows = []
    for record in records(rng, 6):
        rows += [record + np.array([0.0, 0.0, step, 0.0], np.float32) for step in (0.0, 20.0, -20.0)]
    kinds = search.ask(np.stack(rows), range(1, len(rows) + 1)).kind.reshape(6, 3)
    assert not kinds[:, :2].any()
    assert kinds[0, 2] == NOTHING
    assert (kinds[1:, 2] == MIRRORED).all()


def test_natural_inputs_are_no_events(pictures: Reference, table: Reference) -> None:
    rng = np.random.default_rng(8)
    for reference, inputs in ((pictures, smooth(rng, 600)), (table, records(rng, 600))):
        links = Searching(reference).ask(inputs, rng.integers(1, 50, 600).tolist(), rng.integers(2, size=600).tolist())
        strong = np.isin(links.kind, (OFFSET, SINGLE, BISECT, HALVED, MIRRORED, LINE, MIDDLE, STEP))
        assert not strong.any()


def test_the_store_is_bounded_and_cuts_change_nothing(pictures: Reference) -> None:
    rng = np.random.default_rng(9)
    inputs, accounts = smooth(rng, 900), rng.integers(1, 9, 900).tolist()
    whole, cut = Searching(pictures, entries=256), Searching(pictures, entries=256)
    links = whole.ask(inputs, accounts)
    parts = [cut.ask(inputs[at : at + 111], accounts[at : at + 111]) for at in range(0, 900, 111)]
    for column, array in links._asdict().items():
        assert np.array_equal(array, np.concatenate([getattr(part, column) for part in parts])), column
    for column, array in whole.entries._asdict().items():
        assert np.array_equal(array, getattr(cut.entries, column)), column
    assert len(whole.entries.uid) <= 256
    assert sum(array.nbytes for array in empty(64, 32_768)) < 6_500_000
    assert sum(array.nbytes for array in empty(64, 32_768, table=True)) < 4_500_000
    assert PROBED < 64


def test_coordinates_that_no_column_fills_are_not_kept(table: Reference) -> None:
    """A table of four numbers has four; with all of them the same is found."""
    rng = np.random.default_rng(10)
    seeds = records(rng, 60)
    moved = seeds + 0.4 * np.array([1.0, 50.0, 1000.0, 3.0]) * rng.choice([-1.0, 1.0], seeds.shape)
    rows = np.concatenate([records(rng, 200), seeds, np.asarray(moved, np.float32)])
    labels = rng.integers(2, size=len(rows)).tolist()
    trimmed, whole = Searching(table), Searching(table, width=COORDINATES)
    assert trimmed.entries.z.shape[1] == 4
    assert whole.entries.z.nbytes == 6 * trimmed.entries.z.nbytes
    links, same = (search.ask(rows, range(1, len(rows) + 1), labels) for search in (trimmed, whole))
    assert (links.kind == STEP).any()
    for column, array in links._asdict().items():
        assert np.array_equal(array, getattr(same, column)), column


def test_records_are_repeats_only_if_all_their_columns_are() -> None:
    """Columns beyond the coordinates differ by less than a coordinate shows; a hash of the sampled values tells them apart."""
    rng = np.random.default_rng(11)
    rows = np.asarray(rng.normal(0.0, 1000.0, (400, 30)), np.float32)
    search = Searching(fit_reference(rows, 2, seed=1, clients=[f"c{i % 20}" for i in range(400)]))
    search.ask(rows[:1], [1])
    place = int(np.flatnonzero(search.entries.uid == 1)[0])
    kept = (int(search.entries.weighed[place]) << 32) + int(search.entries.total[place])
    assert kept != 0
    search.entries.seen[:] = 0  # as if the content had been forgotten
    assert search.ask(rows[:1], [2]).repeat.tolist() == [True]
    search.entries.seen[:] = 0
    search.entries.total[place] ^= 1
    assert search.ask(rows[:1], [3]).repeat.tolist() == [False]


def test_entries_that_were_used_are_kept_longer() -> None:
    mark = np.array([HIT, 0, 0, 0], np.uint8)
    filled = np.array([4], np.int64)
    assert place_for(mark, filled, 0, 4) == 1
    assert mark[0] == 0
    assert [place_for(mark, filled, 0, 4) for _ in range(3)] == [2, 3, 0]


@given(st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_the_nearest_entries_come_in_their_order(seed: int, asked: int, few: int) -> None:
    """As many as there are, nearest first, equally near ones in the order of the cells; whatever the cells hold."""
    rng = np.random.default_rng(seed)
    store = empty(6, 6 * 40)
    landmarks = np.ascontiguousarray(rng.integers(-few, few, (store.z.shape[1], 6)), np.float32)
    near = near_for(store)
    for _ in range(asked):
        cell = int(rng.integers(6))
        store.z[cell, :, store.filled[cell] % store.z.shape[2]] = rng.integers(-few, few, store.z.shape[1])
        store.filled[cell] += 1
    z = np.asarray(rng.integers(-few, few, (store.z.shape[1],)), np.int16)
    nearest_cells(landmarks, z, near)
    away = np.square(landmarks - z[:, None]).sum(axis=0)
    assert near.cells.tolist() == np.argsort(away, kind="stable")[: len(near.cells)].tolist()
    found = nearest_entries(store, z, near)
    held = [(cell, place) for cell in near.cells for place in range(min(store.filled[cell], store.z.shape[2]))]
    squares = np.array([np.square(store.z[cell, :, place].astype(np.float32) - z).sum() for cell, place in held])
    order = np.argsort(squares, kind="stable")[:found]
    assert found == min(len(held), len(near.place))
    assert near.place[:found].tolist() == [held[i][0] * store.z.shape[2] + held[i][1] for i in order]
    assert near.square[:found].tolist() == squares[order].tolist()
