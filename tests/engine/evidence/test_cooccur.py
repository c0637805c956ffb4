"""Cooccur: which clashes count, what is excused, and thieves with made-up records against clients with real ones."""

from collections.abc import Sequence
from itertools import cycle, islice, pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.baseline.fit import fit_baseline
from detector.engine.columns import allocate
from detector.engine.evidence.cooccur import (
    BINS,
    CLASH,
    COLUMNS,
    EVERY,
    KEPT,
    LEAST_BLAME,
    Together,
    count_clashes,
    departed,
    to_blame,
    update_together,
)
from detector.engine.models.cooccurrence import Cooccurrence
from detector.engine.policy import ACTIONS
from detector.engine.shard import EngineSettings, ModelBaseline, Shard
from detector.ingest.batch import Batch
from detector.redteam.attacks.data_free import half_swapped, marginals
from detector.redteam.attacks.uniform import uniform
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, Conversation, converse
from detector.redteam.loans import CATEGORICAL, applications
from detector.redteam.profiles.benign import steady
from detector.redteam.profiles.records import tab_category_noise, tab_what_if
from detector.redteam.setting import Setting
from detector.testing import Events, batches

Floats = npt.NDArray[np.float32]

WIDTH = 8
WORTH = np.array([0.5, 2.0, 8.0, 16.0, 32.0], np.float32)


def pairs_of(width: int) -> npt.NDArray[np.int32]:
    """Return the pairs (0, 1), (2, 3) and so on."""
    return np.arange(width, dtype=np.int32).reshape(-1, 2)


def twins(*, edited: int = -1, mixes: bool = False, usual: float = 0.5) -> Cooccurrence:
    """Return a population with four pairs of columns of ten codes, in which both columns of a pair hold the same code."""
    same = np.full((BINS, BINS), 2 * CLASH, np.float32)
    np.fill_diagonal(same, 1.0)
    pairs = pairs_of(WIDTH)
    share = np.zeros((WIDTH, BINS), np.float32)
    share[:, :10] = 0.1
    codes = np.full(BINS - 1, np.inf, np.float32)
    codes[:10] = np.arange(10)
    return Cooccurrence(
        columns=np.arange(WIDTH, dtype=np.int32),
        coded=np.ones(WIDTH, np.bool_),
        edges=np.tile(codes, (WIDTH, 1)),
        share=share,
        pairs=pairs,
        table=np.tile(same, (len(pairs), 1, 1)),
        worth=WORTH,
        edited=edited,
        mixes=mixes,
        usual=usual,
    )


def natural(n: int, seed: int = 0) -> Floats:
    """Return records (n, WIDTH) of that population."""
    return np.repeat(np.random.default_rng(seed).integers(10, size=(n, WIDTH // 2)), 2, axis=1).astype(np.float32)


def nobody(clients: int = 1) -> Together:
    return allocate(Together, clients)


def told(
    known: Cooccurrence,
    records: Floats,
    state: Together | None = None,
    repeat: Sequence[int] = (),
    *,
    crowded: bool = False,
) -> Floats:
    """Return the likelihood ratio of each record of one client; 1 where it was not scored."""
    ratio = np.ones(len(records), np.float32)
    repeated = np.zeros(len(records), np.bool_)
    repeated[list(repeat)] = True
    update_together(
        nobody() if state is None else state,
        np.zeros(len(records), np.int64),
        records,
        np.zeros(len(records), np.uint8),
        repeated,
        np.full(len(records), crowded),
        known.columns,
        known.coded,
        known.edges,
        known.share,
        known.pairs,
        known.table,
        known.worth,
        known.edited,
        known.mixes,
        known.usual,
        ratio,
    )
    return ratio


def test_versions_of_a_record_clash_once() -> None:
    """Further versions of what the client asked about before are not scored where they clash; natural ones are."""
    made_up = np.random.default_rng(3).integers(10, size=(40, WIDTH)).astype(np.float32)
    assert (told(twins(), made_up) > 1.0).sum() > 20
    assert not (told(twins(), made_up, crowded=True) > 1.0).any()
    assert (told(twins(), natural(40), crowded=True) < 1.0).all()


def test_a_client_takes_little_room() -> None:
    """The state of the channel is at most 400 bytes."""
    assert sum(array.nbytes for array in nobody()) <= 400


def test_what_a_count_is_worth() -> None:
    """A natural record speaks for a client, and each pair of columns that clashes against it."""
    records = natural(5)
    for clashes in range(5):
        records[clashes, : 2 * clashes : 2] += 1
    records[records == 10] = 0
    np.testing.assert_array_equal(told(twins(), records), WORTH)


def test_one_wrong_value_is_one_clash() -> None:
    """However many values it contradicts: pairs that share a column count once."""
    pairs = np.array([[0, 1], [0, 2], [0, 3]], np.int32)
    table = np.full((3, BINS, BINS), 2 * CLASH, np.float32)
    blamed = np.zeros(4, np.int64)
    bins = np.zeros(4, np.int64)
    assert count_clashes(bins, pairs, table, 0, np.empty(3, np.float32), blamed) == 1
    assert blamed.tolist() == [1, 1, 0, 0]
    assert count_clashes(bins, pairs, table, 1, np.empty(3, np.float32), blamed) == 0


@given(
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda pair: pair[0] < pair[1]), min_size=1, unique=True),
    st.randoms(use_true_random=False),
    st.integers(0, 255),
)
def test_clashing_pairs_are_disjoint_and_none_is_left(pairs: list[tuple[int, int]], random: object, excused: int) -> None:
    """Whatever clashes: no column has a part in two of them, none is excused, and no clash of free columns remains."""
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    table = rng.uniform(3 * CLASH, 0.0, (len(pairs), BINS, BINS)).astype(np.float32)
    bins = rng.integers(BINS, size=8)
    blamed = np.zeros(8, np.int64)
    found = count_clashes(bins, np.array(pairs, np.int32), table, excused, np.empty(len(pairs), np.float32), blamed)
    assert blamed.max() <= 1
    assert blamed.sum() == 2 * found
    free = [blamed[j] == 0 and not excused >> j & 1 for j in range(8)]
    assert not any(blamed[j] and excused >> j & 1 for j in range(8))
    for p, (one, other) in enumerate(pairs):
        assert not (free[one] and free[other] and table[p, bins[one], bins[other]] < CLASH)


@given(st.lists(st.integers(0, 60), max_size=4), st.integers(0, 2**32 - 1))
def test_a_stream_may_be_cut_anywhere(cuts: list[int], seed: int) -> None:
    """Records one by one, in pieces or at once: the same ratios and the same state."""
    rng = np.random.default_rng(seed)
    records = natural(60, seed)
    records[rng.random(records.shape) < 0.1] = 3.0
    known = twins(edited=2, mixes=True)
    whole, piecewise = nobody(), nobody()
    expected = told(known, records, whole)
    edges = [0, *sorted(cuts), 60]
    found = [told(known, records[a:b], piecewise) for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(found), expected)
    for one, other in zip(whole, piecewise, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_edited_record_is_not_scored() -> None:
    """One that differs from an earlier one in so few columns, or repeats it, says nothing and leaves no trace."""
    known = twins(edited=2)
    base = np.zeros((1, WIDTH), np.float32)
    edits = np.repeat(base, 5, axis=0)
    edits[1, 0], edits[2, :2], edits[3, :4:2], edits[4, :6:2] = 1, (1, 2), 3, 4
    state = nobody()
    assert told(known, edits, state).tolist() == [WORTH[0], 1, 1, 1, WORTH[3]]
    assert state.stored[0] == 2
    assert told(twins(), edits[:2], repeat=[1]).tolist() == [WORTH[0], 1]


def test_a_record_mixed_of_two_earlier_ones_does_not_clash() -> None:
    """A coalition of an explainer says nothing, where the baseline can tell it from chance."""
    one, other = np.zeros(WIDTH), np.arange(WIDTH) // 2 + 1.0
    mixed = np.where([True, False, False, True, True, True, False, True], one, other)
    records = np.array([one, other, mixed], np.float32)
    assert told(twins(mixes=True), records).tolist() == [WORTH[0], WORTH[0], 1]
    assert told(twins(), records)[2] == WORTH[3]


def test_a_column_that_left_the_population_is_left_out() -> None:
    """Other units in one column are no evidence for long; where half of the columns have left, nothing is excused."""
    records = natural(100)
    records[:, 0] = 77.0
    ratio = told(twins(), records)
    assert (ratio[2 * EVERY :] == WORTH[0]).all()
    records[:, ::2] = 77.0
    assert (told(twins(), records)[2 * EVERY :] == WORTH[4]).all()


def test_a_sample_of_the_population_has_not_left() -> None:
    """Chance alone takes a third of the columns out at most, and none from a hundred records on."""
    known = twins()
    rng = np.random.default_rng(2)
    for n in (0, 1, 5, 20, 100, 250):
        for _ in range(20):
            seen = np.zeros((COLUMNS, BINS), np.uint8)
            seen[:WIDTH, :10] = rng.multinomial(n, np.full(10, 0.1), WIDTH)
            mask = int(departed(seen, known.share, np.empty(COLUMNS)))
            assert mask.bit_count() <= (0 if n >= 100 else WIDTH // 3)


def test_one_column_may_be_to_blame() -> None:
    """A column in nearly all of many clashes is excused; clashes all over the record, or few of them, are not."""
    blame = np.zeros(COLUMNS, np.uint8)
    blame[:5] = 40, 10, 10, 10, 10
    assert to_blame(blame, 0.5) == 1
    assert to_blame(np.full(COLUMNS, 10, np.uint8), 0.5) == 0
    blame[:5] = LEAST_BLAME - 1, LEAST_BLAME - 1, 0, 0, 0
    assert to_blame(blame, 0.1) == 0
    records = natural(100)
    records[:, 2] = np.random.default_rng(1).permutation(records[:, 2])
    state = nobody()
    ratio = told(twins(usual=0.25), records, state)
    assert state.spared[0] in {1 << 2, 1 << 3}
    assert (ratio[60:] == WORTH[0]).all()


def test_a_long_session_stays_in_its_row() -> None:
    """Counters are halved before they run over, and the words of later records replace earlier ones."""
    state = nobody()
    records = natural(3000)
    told(twins(), records, state)
    assert state.stored[0] == 3000
    shares = state.seen[0, :WIDTH, :10] / state.seen[0, :WIDTH].sum(axis=1, keepdims=True)
    assert np.abs(shares - 0.1).max() < 0.1
    assert len(np.unique(state.word[0])) == KEPT


def predict(X: Array) -> Array:
    """Grant a loan by income and savings against debt."""
    granted = 1.0 / (1.0 + np.exp(-0.08 * (X[:, 1] + X[:, 5] - 2.0 * X[:, 4] - 30.0)))
    return np.column_stack([1.0 - granted, granted])


def session(conversation: Conversation, queries: int) -> tuple[Array, Array]:
    X, answers, _ = converse(conversation, predict, queries)
    return X, answers


def log(sessions: dict[str, tuple[Array, Array]]) -> list[Batch]:
    """Return the log of clients who ask in turn."""
    events = Events("loans")
    length = max(len(X) for X, _ in sessions.values())
    return batches(
        [
            events.line(client, X[i], probabilities=answers[i].round(6).tolist())
            for i in range(length)
            for client, (X, answers) in sessions.items()
            if i < len(X)
        ]
    )


@pytest.fixture(scope="module")
def lending() -> tuple[ModelBaseline, EngineSettings, Array, TableColumns]:
    """Fit a baseline on thirty clients of a lender; return it with records that nobody has asked about."""
    X, y = applications(6000, np.random.default_rng(3))
    columns = TableColumns.of(X, CATEGORICAL)
    habits = cycle((steady, steady, tab_category_noise, tab_what_if, steady))
    asked = {
        f"benign-{i}": session(habit(Setting(X[:4000], y[:4000], np.random.default_rng([1, i]), columns=columns)), 100)
        for i, habit in enumerate(islice(habits, 30))
    }
    settings = EngineSettings(categorical={"loans": CATEGORICAL})
    baseline = fit_baseline(lambda: log(asked), settings)
    return baseline.models["loans"], settings, X[4000:], columns


def test_thieves_with_made_up_records_are_throttled(
    lending: tuple[ModelBaseline, EngineSettings, Array, TableColumns],
) -> None:
    """Uniform and independent columns soon, halves of records later; never stopped; clients with real records not at all."""
    known, settings, pool, columns = lending
    assert not known.reference.cooccurrence.silent
    labels = np.zeros(len(pool), np.int64)
    asked = {}
    for i in range(2):
        for name, attack in (("uniform", uniform), ("marginals", marginals), ("half_swapped", half_swapped)):
            attacking = attack(Setting(pool, labels, np.random.default_rng([2, i]), columns=columns))
            asked[f"{name}-{i}"] = session(attacking, 300)
        for name, habit in (("steady", steady), ("what_if", tab_what_if), ("noise", tab_category_noise)):
            asked[f"{name}-{i}"] = session(habit(Setting(pool, labels, np.random.default_rng([3, i]), columns=columns)), 300)
    shard = Shard(settings, {"loans": known})
    findings = [finding for batch in log(asked) for finding in shard.process(batch).findings]
    made_up = [finding for finding in findings if finding.evidence == "cooccur"]
    assert {ACTIONS[finding.action] for finding in made_up} == {"alert", "throttle"}
    assert {finding.kind for finding in made_up} == {"novelty"}
    first = {name: [f.queries for f in made_up if f.client == name and ACTIONS[f.action] == "alert"] for name in asked}
    for i in range(2):
        assert first[f"uniform-{i}"][0] <= 60
        assert first[f"marginals-{i}"][0] <= 120
        assert first[f"half_swapped-{i}"][0] <= 300
        assert not any(first[f"{name}-{i}"] for name in ("steady", "what_if", "noise"))
