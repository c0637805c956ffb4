"""Coarse: middles, side steps and draws among records of few levels are told from what innocent clients ask."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.columns import allocate
from detector.engine.evidence.children import Family
from detector.engine.evidence.coarse import (
    LEAST_MOVED,
    LEVELS,
    MANY,
    Explained,
    either,
    explain,
    learn_sides,
    middle_chance,
    middle_worth,
    read_levels,
    record_chances,
    step_worth,
)
from detector.engine.fitting.noise import Unheard
from detector.engine.memory.reservoir import CAPACITY, LENGTHS, RING, SAMPLED, USED, Memory, Past
from detector.engine.models.reference import Reference
from tests.engine.fitting.test_coarse import FINE, HIGHEST, OWNERS, WIDTH, fitted, mixed_records, records

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fitted(records(1), Unheard(records(2), OWNERS))


class Client:
    """A client's memory of records, and what each new one says; all of them must fit the ring."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.state = allocate(Memory, 1, LENGTHS)
        self.family = allocate(Family, 1)
        self.stored = 0

    def ask(self, record: Floats, label: int) -> Explained | None:
        """Return how a record is explained, None for the first one, then retain it."""
        c = self.reference.reduce(np.asarray(record, np.float32)[None]).c[0]
        found = None
        if self.stored == 0:
            self.family.home[0] = label
        else:
            known = self.reference.coarse
            own, start = np.zeros((2, len(known.count)), np.uint8)
            read_levels(c, known, own)
            found = explain(self._past(), self.family, 0, known, own, c, start, RING, USED)
            if found.parent >= 0:
                learn_sides(self.family, 0, self._past(), found.parent, known, own)
        self.state.c[0, self.stored] = c
        self.state.label[0, self.stored] = label
        self.state.order[0, self.stored] = self.stored
        self.stored += 1
        assert self.stored <= RING
        return found

    def _past(self) -> Past:
        columns = {name: getattr(self.state, name)[0] for name in Past._fields[: Past._fields.index("held")]}
        return Past(
            **columns,
            held=np.int64(self.stored),
            stored=np.uint32(self.stored),
            newest=np.int64(self.stored - 1),
            squares=np.zeros(CAPACITY, np.float32),
            near=np.zeros(0, np.int64),
        )


@pytest.fixture(scope="module")
def mixed() -> Reference:
    return fitted(mixed_records(1), Unheard(mixed_records(2), OWNERS))


def asked_of(reference: Reference, *records_and_labels: tuple[Floats, int]) -> Explained:
    """Return how the last of some records is explained."""
    client = Client(reference)
    found = None
    for record, label in records_and_labels:
        found = client.ask(record, label)
    assert found is not None
    return found


LOW, HIGH = np.zeros(WIDTH, np.float32), np.full(WIDTH, float(HIGHEST), np.float32)


def test_the_middle_of_two_labels_is_no_accident(reference: Reference) -> None:
    """It is worth much, a third natural record is not, and nothing is a middle of two records with one label."""
    rows = records(7)
    made, same, other = [], [], []
    for one, two, third in zip(rows[:10], rows[10:20], rows[20:30], strict=True):
        middle = np.rint((one + two) / 2.0).astype(np.float32)
        made.append(middle_worth(asked_of(reference, (one, 0), (two, 1), (middle, 0))))
        same.append(middle_worth(asked_of(reference, (one, 0), (two, 0), (middle, 0))))
        other.append(middle_worth(asked_of(reference, (one, 0), (two, 1), (third, 0))))
    assert np.median(made) > 2.0
    assert max(same) == -np.inf
    assert max(other) < 1.0


def test_a_middle_in_few_columns_is_none(reference: Reference) -> None:
    """A person who tries fields of a form moves one or two."""
    for moved in range(1, WIDTH):
        other = np.where(np.arange(WIDTH) < moved, HIGH, LOW).astype(np.float32)
        found = asked_of(reference, (LOW, 0), (other, 1), ((LOW + other) / 2.0, 0))
        assert (found.middle > -np.inf) == (moved >= MANY)


@given(st.lists(st.integers(0, HIGHEST), min_size=WIDTH, max_size=WIDTH), st.integers(0, 2**32))
def test_exactly_the_middles_are_middles(ends: list[int], seed: int) -> None:
    """Column by column: between two levels either may be meant, and what both ends share must stay."""
    reference = fitted_once()
    known = reference.coarse
    other = np.random.default_rng(seed).integers(0, HIGHEST + 1, WIDTH)
    one = np.array(ends)
    c = reference.reduce(np.stack([one, other]).astype(np.float32)).c
    order = reference.sampled
    one, other = one[order], other[order]
    down, up = (one + other) // 2, -(-(one + other) // 2)
    odd = int(((one + other) % 2).sum())
    for levels in (down, up):
        chance, moved, _ = middle_chance(levels.astype(np.uint8), c[0], c[0], c[1], known)
        assert chance == pytest.approx(-odd * np.log(2.0))
        assert moved == (one != other).sum()
    wrong = down.copy()
    wrong[0] = (wrong[0] + 2) % (HIGHEST + 1)
    if wrong[0] not in (down[0], up[0]):
        assert middle_chance(wrong.astype(np.uint8), c[0], c[0], c[1], known)[0] == -np.inf


_KEPT: list[Reference] = []


def fitted_once() -> Reference:
    """Return the reference, which hypothesis may not take from a fixture."""
    if not _KEPT:
        _KEPT.append(fitted(records(1), Unheard(records(2), OWNERS)))
    return _KEPT[0]


def test_a_mixture_of_two_records_excuses_what_rounding_makes_of_a_middle(reference: Reference) -> None:
    """Between neighbouring levels every middle is a mixture, too, as an explainer's coalition is."""
    other = np.where(np.arange(WIDTH) < 4, 1.0, 0.0).astype(np.float32)
    found = asked_of(reference, (LOW, 0), (other, 1), (np.where(np.arange(WIDTH) < 2, 1.0, 0.0).astype(np.float32), 0))
    assert found.mixture > -np.inf
    assert middle_worth(found) < 2.0


def test_the_middles_of_a_mixed_table_are_worth_more(reference: Reference, mixed: Reference) -> None:
    """Columns of many values leave an accident less room; a third natural record is no middle."""
    rows = mixed_records(7)
    made, other = [], []
    for one, two, third in zip(rows[:20], rows[20:40], rows[40:60], strict=True):
        middle = np.rint((one + two) / 2.0).astype(np.float32)
        made.append(asked_of(mixed, (one, 0), (two, 1), (middle, 0)))
        other.append(asked_of(mixed, (one, 0), (two, 1), (third, 0)))
    plain = records(7)
    coarse = [
        asked_of(reference, (one, 0), (two, 1), (np.rint((one + two) / 2.0).astype(np.float32), 0))
        for one, two in zip(plain[:20], plain[20:40], strict=True)
    ]
    assert np.median([one.middle - one.excuse for one in made]) > np.median([one.middle - one.excuse for one in coarse]) + 2.0
    assert max(middle_worth(one) for one in other) < 1.0


def test_noise_in_fine_columns_is_seldom_a_middle(mixed: Reference) -> None:
    """Small moves about an earlier record have an excuse, whatever the answers."""
    rng = np.random.default_rng(17)
    found = []
    for row in mixed_records(19)[:60]:
        noisy = np.tile(row, (3, 1))
        noisy[:, FINE] = np.clip(row[FINE] + rng.integers(-2, 3, (3, len(FINE))), 0, None)
        found.append(middle_worth(asked_of(mixed, (noisy[0], 0), (noisy[1], 1), (noisy[2], 0))))
    assert np.mean(np.array(found) > 1.0) < 0.1


def test_a_search_goes_on_behind_cover(mixed: Reference) -> None:
    """The ends may be any retained records."""
    rows = mixed_records(23)
    worth = []
    for k in range(10):
        one, two, *cover = rows[20 * k : 20 * k + 18]
        middle = np.rint((one + two) / 2.0).astype(np.float32)
        worth.append(middle_worth(asked_of(mixed, (one, 0), (two, 1), *((record, 0) for record in cover), (middle, 0))))
    assert np.median(worth) > 1.0


def test_a_walk_between_two_records_is_no_search(mixed: Reference) -> None:
    """Who went part of the way before did not halve a bracket."""
    one, two = np.zeros(WIDTH, np.float32), np.full(WIDTH, float(HIGHEST), np.float32)
    two[FINE] = 40.0
    quarter, middle = np.rint(0.25 * two), np.rint(0.5 * two)
    assert middle_worth(asked_of(mixed, (one, 0), (two, 1), (middle, 0))) > 1.0
    assert asked_of(mixed, (one, 0), (two, 1), (quarter, 0), (middle, 0)).middle == -np.inf


def steps(reference: Reference, signs: dict[int, npt.NDArray[np.float64]], seeds: int = 10) -> list[float]:
    """Return what each child of some seeds says, where a seed of each label is moved by the label's `signs`."""
    client = Client(reference)
    rows = records(11)[:seeds]
    labels = [k % 2 for k in range(seeds)]
    for row, label in zip(rows, labels, strict=True):
        client.ask(row, label)
    made = [np.clip(row + signs[label], 0, HIGHEST) for row, label in zip(rows, labels, strict=True)]
    found = [client.ask(child, label) for child, label in zip(made, labels, strict=True)]
    return [step_worth(one) for one in found if one is not None]


def test_steps_to_sides_that_depend_on_labels_add_up(reference: Reference) -> None:
    """The first ones teach the sides; the same steps regardless of labels say nothing."""
    signs = np.random.default_rng(5).choice([-1.0, 1.0], WIDTH)
    told = steps(reference, {0: signs, 1: -signs})
    assert sum(told[4:]) > 8.0
    same = steps(reference, {0: signs, 1: signs})
    assert max(same) < 1.0


def test_a_step_of_two_levels_is_no_side_step(reference: Reference) -> None:
    """Only neighbouring levels are."""
    moved = np.where(np.arange(WIDTH) < LEAST_MOVED, 2.0, 0.0).astype(np.float32)
    found = asked_of(reference, (LOW, 0), (moved, 0))
    assert found.step == -np.inf
    assert found.parent == -1


def test_an_edit_is_likelier_the_fewer_columns_it_changes(reference: Reference) -> None:
    """And the later the record that it edits."""
    rows = records(13)
    edits = []
    for changed in range(1, 5):
        edited = rows[0].copy()
        edited[:changed] = (edited[:changed] + 1) % (HIGHEST + 1)
        edits.append(asked_of(reference, (rows[0], 0), (edited, 0)).edit)
    assert edits == sorted(edits, reverse=True)
    edited = rows[0].copy()
    edited[0] = (edited[0] + 1) % (HIGHEST + 1)
    late = asked_of(reference, (rows[1], 0), (rows[2], 0), (rows[0], 0), (edited, 0))
    early = asked_of(reference, (rows[0], 0), (rows[1], 0), (rows[2], 0), (edited, 0))
    assert late.edit > early.edit
    assert late.least == 1


@given(st.lists(st.integers(0, 255), min_size=SAMPLED, max_size=SAMPLED))
def test_any_sampled_integers_have_levels_and_chances(values: list[int]) -> None:
    """Whatever a client sends: a level is one of its column's, and chances are finite."""
    known = fitted_once().coarse
    levels = np.zeros(len(known.count), np.uint8)
    read_levels(np.array(values, np.uint8), known, levels)
    assert (levels < known.count).all()
    assert all(np.isfinite(chance) for chance in record_chances(levels, np.array(values, np.uint8), known))
    assert known.count.max() <= LEVELS


@given(st.floats(-700, 0), st.floats(-700, 0))
def test_either_adds_chances(one: float, other: float) -> None:
    """Of which both, one or none may be excluded."""
    assert either(one, other) == pytest.approx(np.logaddexp(one, other))
    assert either(one, -np.inf) == pytest.approx(one)
    assert either(-np.inf, -np.inf) == -np.inf
