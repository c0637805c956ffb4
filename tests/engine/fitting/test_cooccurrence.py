"""Co-occurrence: what is learned from benign records, from how few nothing, and what a count of clashes is worth."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.cooccur import BINS, CLASH, COLUMNS, COUNTS, LEAST, MOST
from detector.engine.fitting.cooccurrence import LEAST_RECORDS, bin_records, count_all, fair_to, fit_cooccurrence
from detector.engine.fitting.reference import fit_reference
from detector.engine.models.cooccurrence import Cooccurrence, to_arrays
from detector.redteam.loans import CATEGORICAL, applications

Floats = npt.NDArray[np.float32]


def loans(n: int = 3000, seed: int = 3) -> Floats:
    return applications(n, np.random.default_rng(seed))[0].astype(np.float32)


def clients(n: int, each: int = 100) -> list[str]:
    return [f"client-{i // each}" for i in range(n)]


def clashes(known: Cooccurrence, records: Floats) -> npt.NDArray[np.int64]:
    """Return how many disjoint pairs of columns clash in each record."""
    bins, words = np.zeros((len(records), len(known.columns)), np.int64), np.zeros(len(records), np.uint64)
    bin_records(records, known.columns, known.coded, known.edges, bins, words)
    found = np.zeros(len(records), np.int64)
    count_all(bins, known.pairs, known.table, found, np.zeros(len(known.columns), np.int64))
    return found


@pytest.fixture(scope="module")
def known() -> Cooccurrence:
    """Learn from applications for a loan."""
    return fit_cooccurrence(loans(), CATEGORICAL, clients(3000), seed=1)


def test_made_up_records_clash_and_natural_ones_do_not(known: Cooccurrence) -> None:
    """Records that the fit has not seen seldom clash; with every column shuffled most do."""
    fresh = loans(2000, seed=4)
    shuffled = np.random.default_rng(5).permuted(fresh, axis=0)
    assert np.mean(clashes(known, fresh) > 0) < 0.15
    assert np.mean(clashes(known, shuffled) > 0) > 0.5


def test_natural_records_gather_no_evidence(known: Cooccurrence) -> None:
    """The ratio is that of an e-value: about 1 at most on average over benign records; it never falls with the count."""
    worth = known.worth[np.minimum(clashes(known, loans(4000, seed=6)), COUNTS - 1)]
    assert worth.mean() < 1.0
    assert (np.diff(known.worth) >= 0).all()
    assert known.worth.min() >= np.exp(np.float32(LEAST)) * 0.5
    assert known.worth.max() <= np.exp(np.float32(MOST)) * 1.001
    assert known.worth[0] < 1.0 < known.worth[-1]


def test_a_clash_needs_enough_to_be_missed(known: Cooccurrence) -> None:
    """Two values that nobody has, however rare together, do not clash."""
    never = known.share == 0
    for p, (one, other) in enumerate(known.pairs):
        assert (known.table[p][never[one]] >= CLASH).all()
        assert (known.table[p][:, never[other]] >= CLASH).all()


def test_too_little_is_nothing() -> None:
    """Few different records, however often they are asked about, few or independent columns: the channel is silent."""
    few = loans(LEAST_RECORDS - 1)
    assert fit_cooccurrence(np.tile(few, (4, 1)), CATEGORICAL, clients(4 * len(few)), seed=1).silent
    assert fit_cooccurrence(np.ascontiguousarray(loans()[:, :2]), (), clients(3000), seed=1).silent
    independent = np.random.default_rng(1).random((3000, 8)).astype(np.float32)
    assert fit_cooccurrence(independent, (), clients(3000), seed=1).silent
    constant = np.tile(loans(1), (3000, 1))
    assert fit_cooccurrence(constant, CATEGORICAL, clients(3000), seed=1).silent


def test_a_wide_table_is_narrowed_to_what_tells() -> None:
    """Of eighty columns those that depend on each other are kept, sixteen at most."""
    rng = np.random.default_rng(1)
    X = rng.random((2000, 80)).astype(np.float32)
    X[:, 40:44] = X[:, [40]] + 0.01 * rng.random((2000, 4))
    X[:, 70:74] = X[:, [70]] + 0.01 * rng.random((2000, 4))
    found = fit_cooccurrence(X, (), clients(2000), seed=1)
    assert len(found.columns) == COLUMNS
    chosen = set(found.columns[np.unique(found.pairs)].tolist())
    assert chosen <= {*range(40, 44), *range(70, 74)}
    assert len(chosen) > 3  # of the eight, since 64 of the 80 are looked at


def test_sliders_teach_nothing() -> None:
    """What somebody tried by moving one value of a record does not become usual."""
    base = loans(1500)
    tried = np.repeat(base[:100], 20, axis=0)
    tried[:, 0] = np.tile(np.linspace(18, 90, 20), 100)
    plain = fit_cooccurrence(base, CATEGORICAL, clients(1500), seed=1)
    found = fit_cooccurrence(
        np.concatenate([base, tried]), CATEGORICAL, clients(1500) + [f"slider-{i // 200}" for i in range(2000)], seed=1
    )
    made_up = np.random.default_rng(5).permuted(loans(2000, seed=4), axis=0)
    assert np.mean(clashes(found, made_up) > 0) > 0.8 * np.mean(clashes(plain, made_up) > 0)


def test_clients_that_differ_as_much_as_made_up_records_teach_nothing() -> None:
    """Each sensor waits in a state of its own: to the tables of the others its readings clash as records that are made up."""
    rng = np.random.default_rng(1)
    owners = clients(3000, each=60)
    state = np.repeat(rng.normal(size=(50, 2)), 60, axis=0)
    readings = (state @ rng.normal(size=(2, 20)) + 0.02 * rng.normal(size=(3000, 20))).astype(np.float32)
    assert fit_cooccurrence(readings[:600], (), owners[:600], seed=1).silent
    mixed = rng.permutation(readings)
    assert not fit_cooccurrence(mixed, (), owners, seed=1).silent


def test_codes_and_numbers_are_put_into_bins(known: Cooccurrence) -> None:
    """Each code has a bin, commonest first; an unknown one and those beyond have the last; shares add up to 1."""
    at = known.columns.tolist().index(CATEGORICAL[0])
    record = loans(1)
    bins, words = np.zeros((1, len(known.columns)), np.int64), np.zeros(1, np.uint64)
    record[0, CATEGORICAL[0]] = 99.0
    bin_records(record, known.columns, known.coded, known.edges, bins, words)
    assert bins[0, at] == BINS - 1
    assert (np.diff(known.share[at][:5]) <= 0).all()
    np.testing.assert_allclose(known.share.sum(axis=1), 1.0, atol=1e-5)


def test_the_seed_decides() -> None:
    """The same log and seed give the same, to the bit."""
    one, other = (to_arrays(fit_cooccurrence(loans(), CATEGORICAL, clients(3000), seed=7)) for _ in range(2))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_pictures_and_the_nameless_have_none() -> None:
    """Columns of one range are no table, and without clients nobody knows whose records they are."""
    pixels = np.random.default_rng(1).random((800, 16)).astype(np.float32)
    assert fit_reference(pixels, 2, seed=1, clients=clients(800)).cooccurrence.silent
    assert fit_reference(loans(1200), 2, seed=1, categorical=CATEGORICAL).cooccurrence.silent


def test_ratios_are_fair_to_clients_that_did_not_teach(known: Cooccurrence) -> None:
    """Where new clients clash more than the teachers did, all ratios fall alike; else the model stays as it is."""
    owner = clients(2000)
    assert fair_to(known, loans(2000, seed=4), owner) is known or fair_to(known, loans(2000, seed=4), owner).worth[-1] > 1.0
    odd = np.random.default_rng(5).permuted(loans(2000, seed=4), axis=0)
    lowered = fair_to(known, odd, owner)
    assert known.worth[np.minimum(clashes(known, odd), COUNTS - 1)].mean() > 1.5
    assert lowered.worth[np.minimum(clashes(lowered, odd), COUNTS - 1)].mean() < 1.1
    assert np.allclose(lowered.worth / known.worth, lowered.worth[0] / known.worth[0])
    assert fair_to(known, odd[:300], owner[:300]) is known
