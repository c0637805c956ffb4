"""Select: the kernel against its definition, distances against exact ones, and a thief who selects among clients who do not."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from detector.engine.clients import ClientTable
from detector.engine.columns import allocate
from detector.engine.evidence.accumulate import CHANNELS, MAY_STOP
from detector.engine.evidence.registry import SELECT
from detector.engine.evidence.select import (
    APART,
    CHANNEL,
    FIRST,
    INEXACT,
    LEAST_NEARER,
    NARROWER,
    WAIT,
    WIDER,
    Selection,
    apart,
    judge_selection,
    weigh,
)
from detector.engine.fitting.reference import fit_reference
from detector.engine.judge import Judge
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models.novelty import Novelty
from detector.engine.models.reference import Reference
from detector.engine.policy import ALERT_SHARE, PolicySettings, thresholds_for
from detector.redteam.k_center import greedy_k_center
from detector.testing import Events, batches

Matrix = npt.NDArray[np.float64]
Points = npt.NDArray[np.float32]


def judged(gaps: Matrix, unexplained: Matrix, neighbour: float) -> list[int]:
    """Return what the kernel says query by query, given squared distances (n, n) between all queries."""
    state = allocate(Selection, 1)
    n = len(gaps)
    return [judge_selection(*state, 0, u, gaps[u, :u].copy(), 1.0, unexplained[u], neighbour) for u in range(n)]


def defined(gaps: Matrix, unexplained: Matrix, neighbour: float) -> list[int]:
    """Return the same from the definition, looking back over everything."""
    said = []
    for u in range(len(gaps)):
        t = u - WAIT + 1
        if t < 1:
            said.append(0)
            continue
        to_earlier = gaps[t : u + 1, :t].min(axis=1).astype(np.float32)
        known = np.where(unexplained[t : u + 1] <= INEXACT * gaps[t : u + 1, :t].min(axis=1), to_earlier, np.float32(0))
        first, others = known[0], known[1:]
        regular = others.max() < WIDER**2 * first and others.min() > NARROWER**2 * first
        new = others.min() > APART**2 * neighbour**2
        said.append(1 if regular and new and (others < first).sum() >= LEAST_NEARER else -1)
    return said


def between(points: Matrix) -> Matrix:
    """Return the squared distances between all points."""
    found: Matrix = np.sum((points[:, None] - points[None]) ** 2, axis=2)
    return found


def selected(pool: Matrix, count: int) -> Matrix:
    """Return a greedy k-center selection from the pool, its first example given."""
    places, _ = greedy_k_center(pool[1:], pool[:1], count - 1)
    return np.vstack([pool[:1], pool[1:][places]])


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, FIRST), st.integers(2, 40), st.booleans(), st.floats(0.0, 2.0))
def test_the_kernel_keeps_to_the_definition(seed: int, n: int, dimension: int, selecting: bool, doubt: float) -> None:
    """With distances of any evenness, selected or not, known well or badly, and whatever counts as a neighbour."""
    rng = np.random.default_rng(seed)
    pool = rng.normal(size=(3 * n, dimension))
    points = selected(pool, n) if selecting else pool[:n]
    unexplained = doubt * rng.exponential(size=n)
    gaps = between(points)
    assert judged(gaps, unexplained, 0.5) == defined(gaps, unexplained, 0.5)


def test_a_selection_is_seen_and_the_same_queries_shuffled_are_not() -> None:
    """It is the order that tells: the very same queries in another order look selected now and then at most."""
    rng = np.random.default_rng(1)
    points = selected(rng.normal(size=(2000, 6)), FIRST)
    certain = np.zeros(FIRST)
    in_order = judged(between(points), certain, 1.0)[20:]
    assert np.mean(np.array(in_order) > 0) > 0.9
    shuffled = [judged(between(rng.permutation(points)), certain, 1.0)[20:] for _ in range(20)]
    assert np.mean(np.array(shuffled) > 0) < 0.2


def test_neighbours_and_sweeps_say_nothing() -> None:
    """Equal steps are as even as can be, and a selection within the grain of the population tells of nothing new."""
    steps = np.arange(FIRST)[:, None] * np.full(6, 3.0)
    assert set(judged(between(steps), np.zeros(FIRST), 1.0)) == {0, -1}
    close = selected(np.random.default_rng(2).normal(size=(2000, 30)), FIRST)
    assert set(judged(between(close), np.zeros(FIRST), 100.0)) == {0, -1}


def pictures() -> Points:
    """Return digits in an order of our own."""
    data = load_digits().data
    return np.asarray(data[np.random.default_rng(0).permutation(len(data))], np.float32)


@pytest.fixture(scope="module")
def reference() -> Reference:
    """A reference on four hundred digits."""
    return fit_reference(pictures()[:400], 10, seed=3)


def test_distances_are_those_of_the_inputs_in_whatever_places_they_lie(reference: Reference) -> None:
    """The integers that are remembered and the length of a query give its distances to within a hundredth."""
    X = pictures()[400:440]
    rows = reference.reduce(X)
    n = len(X)
    places = np.random.default_rng(5).permutation(n)[None]
    order = np.argsort(places[0])[None].astype(np.uint32)
    z, c = np.zeros((1, COORDINATES, n), np.int16), np.zeros((1, n, SAMPLED), np.uint8)
    z[0][:, places[0]], c[0][places[0]] = rows.z.T, rows.c
    weights, gaps = np.empty(COORDINATES + SAMPLED, np.float32), np.empty(n)
    scratch = np.empty(SAMPLED, np.int32), np.empty(n, np.float32)
    exact = between((X * reference.scale).astype(np.float64))
    for i in range(n):
        own = weigh(rows.z[i], rows.c[i], reference.middle, reference.kinship, weights)
        assert own == pytest.approx(rows.energy[i], rel=0.05)
        apart(z, c, order, 0, n, rows.energy[None], rows.energy[i], reference.middle, weights, *scratch, gaps)
        others = np.arange(n) != i
        assert np.median(np.abs(gaps[others] / exact[i, others] - 1)) < 0.01


def scores(reference: Reference, clients: dict[str, Points]) -> dict[str, float]:
    """Return the evidence of a selection after each client's queries."""
    idle = Novelty(None)
    judge = Judge(thresholds_for(PolicySettings(), None, None), PolicySettings(), idle)
    table = ClientTable("m", reference, idle, judge, max_clients=99, lateness_ms=1)
    events = Events("m")
    lines = [events.line(name, row, 1) for name, rows in clients.items() for row in rows]
    for batch in batches(lines):
        table.process(batch)
    return {report.client: report.evidence[CHANNEL.name] for report in table.reports()}


def test_a_thief_who_selects_is_told_from_clients_who_do_not(reference: Reference) -> None:
    """Twenty examples to begin with and forty selected pass the threshold; the same in another order come nowhere near it."""
    rng = np.random.default_rng(7)
    pool = pictures()[400:].astype(np.float64)
    told: dict[str, Points] = {}
    for i in range(5):
        begun = rng.permutation(len(pool))
        first, rest = pool[begun[:20]], pool[begun[20:]]
        chosen = rest[greedy_k_center(rest, first, 40)[0]]
        told[f"thief-{i}"] = np.vstack([first, chosen]).astype(np.float32)
        told[f"shuffled-{i}"] = np.vstack([first, rng.permutation(chosen)]).astype(np.float32)
        told[f"innocent-{i}"] = pool[begun[:300]].astype(np.float32)
    found = scores(reference, told)
    for name, score in found.items():
        if name.startswith("thief"):
            assert score > CHANNEL.floor
        else:
            assert score < ALERT_SHARE * CHANNEL.floor


def test_a_selection_alerts_and_throttles_only() -> None:
    """It is novelty: it never stops a client."""
    assert CHANNELS[SELECT] == CHANNEL.name
    assert not MAY_STOP[SELECT]


def test_a_population_that_is_even_by_itself_silences_the_channel() -> None:
    """In many directions alike all distances are nearly the same, and everybody would look as if they selected."""
    rows = np.random.default_rng(4).uniform(size=(900, 60)).astype(np.float32)
    even = fit_reference(rows[:400], 2, seed=1)
    assert not even.table
    assert even.neighbour == np.inf
    assert scores(even, {"innocent": rows[400:]}) == {"innocent": 0.0}


def test_tables_say_nothing() -> None:
    """Columns with units of their own leave open which distances a thief would cover."""
    rng = np.random.default_rng(3)
    rows = (rng.normal(size=(900, 8)) * np.array([1, 2, 5, 10, 20, 50, 100, 1000])).astype(np.float32)
    table = fit_reference(rows[:300], 2, seed=1, common_scale=False)
    assert table.table
    encoded = ((rows[300:] - table.offset) * table.scale).astype(np.float64)
    places = np.append(0, greedy_k_center(encoded[1:], encoded[:1], 60)[0] + 1)
    assert scores(table, {"thief": rows[300:][places]}) == {"thief": 0.0}
