"""Prada behaves as the published algorithm, step by step, and fails where it is known to fail."""

import math
import warnings
from collections.abc import Hashable, Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tests.quality.published.prada import Prada, Verdict

Vector = npt.NDArray[np.float64]
Query = tuple[Vector, Hashable]


class Transcript:
    """The six steps in plain lists: slow, literal, and sharing no code with `Prada`."""

    def __init__(self, delta: float, minimum: int, per_class: int, period: int) -> None:
        self.delta, self.minimum, self.per_class, self.period = delta, minimum, per_class, period
        self.members: dict[Hashable, list[Vector]] = {}
        self.inserted: dict[Hashable, list[float]] = {}
        self.threshold: dict[Hashable, float] = {}
        self.distances: dict[Hashable, list[float]] = {}
        self.n = 0
        self.w: float | None = None
        self.flag = False

    def observe(self, x: Vector, c: Hashable) -> Verdict:
        d, accepted, tested = None, False, False
        if c not in self.members:
            self.members[c], self.inserted[c], self.threshold[c] = [x], [0.0], 0.0
            accepted = True
        else:
            d = min(float(np.sqrt(np.sum((x - member) ** 2))) for member in self.members[c])
            self.distances.setdefault(c, []).append(d)
            if d > self.threshold[c]:
                self.members[c].append(x)
                self.inserted[c].append(d)
                candidate = float(np.mean(self.inserted[c]) - np.std(self.inserted[c]))
                self.threshold[c] = max(self.threshold[c], candidate)
                accepted = True
        if self.n % self.period == 0:
            pooled = [d for ds in self.distances.values() if len(ds) >= self.per_class for d in ds]
            if pooled:
                centre, spread = np.mean(pooled), np.std(pooled)
                kept = [d for d in pooled if abs(d - centre) < 3 * spread]
                if len(kept) > self.minimum:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", UserWarning)
                        self.w = float(stats.shapiro(kept).statistic)
                    tested = True
                    self.flag = self.w < self.delta
        self.n += 1
        return Verdict(d, accepted, tested, self.w, self.flag)


def stream(seed: int, n: int, *, dimension: int, classes: int, repeats: float, walk: float) -> Iterator[Query]:
    """Gaussian queries; a part of them repeats an earlier one, a part steps away from an earlier one."""
    rng = np.random.default_rng(seed)
    past: list[Query] = []
    for _ in range(n):
        kind = rng.random()
        if past and kind < repeats:
            query = past[rng.integers(len(past))]
        elif past and kind < repeats + walk:
            vector, label = past[rng.integers(len(past))]
            query = vector + 0.1 * rng.choice([-1.0, 1.0], dimension), label
        else:
            query = rng.normal(size=dimension), int(rng.integers(classes))
        past.append(query)
        yield query


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    n=st.integers(1, 160),
    dimension=st.sampled_from([1, 2, 7, 40]),
    classes=st.integers(1, 6),
    repeats=st.sampled_from([0.0, 0.1, 0.4]),
    walk=st.sampled_from([0.0, 0.3, 0.6]),
    delta=st.sampled_from([0.8, 0.95, 0.99]),
    minimum=st.sampled_from([2, 20, 100]),
    per_class=st.sampled_from([0, 1, 10, 30]),
    period=st.sampled_from([1, 3, 10]),
)
def test_equals_the_transcript(
    *,
    seed: int,
    n: int,
    dimension: int,
    classes: int,
    repeats: float,
    walk: float,
    delta: float,
    minimum: int,
    per_class: int,
    period: int,
) -> None:
    """On any stream every field of every verdict is that of the literal algorithm, to the last bit."""
    fast = Prada(delta, minimum=minimum, per_class=per_class, period=period)
    literal = Transcript(delta, minimum, per_class, period)
    for vector, label in stream(seed, n, dimension=dimension, classes=classes, repeats=repeats, walk=walk):
        assert fast.observe(vector, label) == literal.observe(vector, label)
    assert fast.stored == sum(map(len, literal.members.values()))


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_transcript_with_published_defaults(seed: int) -> None:
    """With default parameters too, through tests that raise the alarm and tests that clear it."""
    fast, literal = Prada(), Transcript(0.95, 100, 10, 10)
    both = [
        (fast.observe(vector, label), literal.observe(vector, label))
        for phase, (repeats, walk) in enumerate([(0.0, 0.0), (0.6, 0.2), (0.0, 0.0)])
        for vector, label in stream(3 * seed + phase, 200, dimension=30, classes=3, repeats=repeats, walk=walk)
    ]
    assert [a for a, _ in both] == [b for _, b in both]
    assert {a.flagged for a, _ in both} == {False, True}


def test_small_case_by_hand() -> None:
    """Points on a line: distances, threshold and growing set as worked out on paper.

    0 opens the set. 4: d = 4 joins, inserted [0, 4], T = 2 - 2 = 0. 5: d = 1 > 0 joins, inserted [0, 4, 1], mean 5/3,
    deviation sqrt(26)/3 = 1.70, so T stays 0. 15: d = 10 joins, inserted [0, 4, 1, 10], mean 3.75, deviation 3.90.
    25, 35, 45, 55: d = 10 each join; inserted then has mean 55/8 = 6.875 and deviation 4.166, so T = 2.709 by then.
    57: d = 2 is below T, does not join. 58: d = 3 from 55 joins, because 57 is not a member; inserted now has mean
    less deviation 2.33, which does not lower T.
    """
    client = Prada()
    seen = [client.observe([float(x)], "a") for x in (0, 4, 5, 15, 25, 35, 45, 55, 57, 58)]
    assert [v.distance for v in seen] == [None, 4, 1, 10, 10, 10, 10, 10, 2, 3]
    assert [v.accepted for v in seen] == [True] * 8 + [False, True]
    threshold = 55 / 8 - math.sqrt((0 + 16 + 1 + 500) / 8 - (55 / 8) ** 2)
    assert threshold == pytest.approx(2.709, abs=5e-4)
    assert not client.observe([25.0 + threshold - 1e-9], "a").accepted
    assert client.stored == 9
    assert client.observe([25.0 + threshold + 1e-9], "a").accepted


def test_threshold_never_falls() -> None:
    """One far insertion widens the deviation; if the threshold followed, the short step at the end would join."""
    client = Prada()
    for x in range(0, 200, 10):
        client.observe([float(x)], "a")
    inserted = [0.0] + [10.0] * 19
    before = np.mean(inserted) - np.std(inserted)
    after = np.mean([*inserted, 1e6]) - np.std([*inserted, 1e6])
    assert after < 0
    assert before > 7
    assert client.observe([190.0 + 1e6], "a").accepted
    assert not client.observe([197.0], "a").accepted


def test_classes_do_not_see_each_other() -> None:
    """A query is compared with its own class alone, and the first of a class has no distance."""
    client = Prada()
    client.observe([0.0, 0.0], 1)
    assert client.observe([0.0, 0.0], "1") == Verdict(None, accepted=True, tested=False, w=None, flagged=False)
    assert client.observe([3.0, 4.0], 1).distance == 5.0


def test_first_test_needs_more_than_a_hundred_distances_at_a_tenth_query() -> None:
    """With one class, query n brings distance n: more than 100 from query 101 on, and the next look is at 110."""
    rng = np.random.default_rng(0)
    client = Prada()
    verdicts = [client.observe(rng.uniform(size=3), 0) for _ in range(131)]
    assert [i for i, v in enumerate(verdicts) if v.tested] == [110, 120, 130]
    assert [v.w is None for v in verdicts] == [True] * 110 + [False] * 21


def test_small_classes_take_no_part() -> None:
    """With 14 classes of 9 distances each nothing is ever tested, though there are 126 distances in all."""
    rng = np.random.default_rng(0)
    queries = [(rng.uniform(size=3), i % 14) for i in range(14 * 10)]
    ten, nine = Prada(period=1), Prada(period=1, per_class=9)
    assert not any(ten.observe(vector, label).tested for vector, label in queries)
    assert [nine.observe(vector, label).tested for vector, label in queries][-1]


def test_constant_distances_are_not_tested() -> None:
    """No distance is within 3 standard deviations when the deviation is 0, so a regular grid never leads to a test."""
    client = Prada()
    assert not any(client.observe([float(i)], 0).tested for i in range(300))


def test_no_warning_beyond_five_thousand_distances() -> None:
    """Long histories keep being tested; scipy's warning about p-values does not reach the caller."""
    rng = np.random.default_rng(0)
    client = Prada(period=6000)
    client.observe(rng.normal(size=2), 0)
    for _ in range(5999):
        client.observe(rng.normal(size=2), 0)
    assert client.observe(rng.normal(size=2), 0).tested


def test_alarm_can_be_taken_back() -> None:
    """The flag follows the latest test only: enough ordinary queries clear what retries raised."""
    rng = np.random.default_rng(2)
    client = Prada()
    flags: list[bool] = []
    for i in range(1500):
        vector = rng.normal(size=20)
        flags.append(client.observe(vector, 0).flagged)
        if i < 100:
            flags.append(client.observe(vector, 0).flagged)
    raised = flags.index(True)
    assert not flags[-1]
    assert not all(flags[raised:])


def test_flags_innocent_retries() -> None:
    """A client that sends ordinary data and repeats three queries in ten is flagged, and stays flagged."""
    client = Prada()
    queries = stream(0, 500, dimension=30, classes=5, repeats=0.3, walk=0.0)
    assert [client.observe(vector, label).flagged for vector, label in queries][-200:] == [True] * 200


def video(rng: np.random.Generator) -> Iterator[Query]:
    """Forty scenes of 5 to 30 frames, slow and fast ones, each frame close to the one before."""
    for scene in range(40):
        frame = rng.normal(size=30)
        motion = rng.uniform(0.01, 0.3)
        for _ in range(rng.integers(5, 31)):
            frame += motion * rng.normal(size=30)
            yield frame, scene % 5


def test_flags_innocent_video() -> None:
    """Most video clients are flagged at some time, while independent draws of the same data never are."""
    flagged = {"video": 0, "independent": 0}
    for seed in range(8):
        rng = np.random.default_rng(seed)
        client, other = Prada(), Prada()
        independent = stream(seed, 500, dimension=30, classes=5, repeats=0.0, walk=0.0)
        flagged["video"] += any(client.observe(vector, label).flagged for vector, label in video(rng))
        flagged["independent"] += any(other.observe(vector, label).flagged for vector, label in independent)
    assert flagged["video"] >= 6
    assert flagged["independent"] == 0


def test_misses_uniform_noise() -> None:
    """An attacker who covers the input space with noise has normal distances and is never flagged."""
    rng = np.random.default_rng(0)
    client = Prada()
    assert not any(client.observe(rng.uniform(size=30), int(rng.integers(5))).flagged for _ in range(1000))


@pytest.mark.parametrize("vector", [[math.nan, 0.0], [math.inf, 0.0], [1.0], [1.0, 2.0, 3.0]])
def test_refuses_a_vector_that_does_not_fit(vector: list[float]) -> None:
    """A wrong size would broadcast to a wrong distance; it raises instead and leaves the client as it was."""
    client = Prada(minimum=2, period=1, per_class=1)
    for x in (0.0, 1.0, 3.0, 7.0, 12.0):
        client.observe([x, 0.0], 0)
    with pytest.raises(ValueError, match="a query"):
        client.observe(vector, 0)
    twin = Prada(minimum=2, period=1, per_class=1)
    for x in (0.0, 1.0, 3.0, 7.0, 12.0):
        twin.observe([x, 0.0], 0)
    assert client.observe([20.0, 0.0], 0) == twin.observe([20.0, 0.0], 0)


def test_refuses_parameters_without_meaning() -> None:
    """Shapiro-Wilk needs three values, and a period of 0 has no multiples."""
    with pytest.raises(ValueError, match="minimum"):
        Prada(minimum=1)
    with pytest.raises(ValueError, match="period"):
        Prada(period=0)
