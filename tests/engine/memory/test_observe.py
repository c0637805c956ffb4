"""The memory against a client's whole history, its sample of the past, and PRADA, which it imitates."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from detector.engine.clients import ClientTable
from detector.engine.columns import allocate, columns_of
from detector.engine.constants import coefficients_up_to
from detector.engine.evidence.accumulate import CHANNELS, CONSTRUCTED, NOTHING, ORDINARY
from detector.engine.evidence.children import Family
from detector.engine.evidence.coarse import none_coarse
from detector.engine.evidence.frame import PIXELS, neighbours_of
from detector.engine.evidence.registry import AIM, BISECT, CHILDREN, DWELL, FOREIGN, OFFSET, PROBE, SENS, TURNS
from detector.engine.evidence.remote import VIEWS
from detector.engine.evidence.select import Selection
from detector.engine.evidence.steer import ENOUGH
from detector.engine.evidence.tone import NOISE
from detector.engine.evidence.turns import DISTANCES, MARGINS, MOST_TURNS
from detector.engine.features.distances import NAMES, WINDOW
from detector.engine.features.row import MEMORY as FIRST
from detector.engine.fitting.reference import fit_reference
from detector.engine.judge import Judge
from detector.engine.memory.channels import NEAR
from detector.engine.memory.checksums import Checksums
from detector.engine.memory.kept import room_for
from detector.engine.memory.metered import Metered
from detector.engine.memory.observe import Queries, Written, observe, scratch_for
from detector.engine.memory.reservoir import (
    ACCEPTED,
    CAPACITY,
    COORDINATES,
    LENGTHS,
    MOST_VISITED,
    RING,
    SAMPLED,
    USED,
    VISITED,
    Memory,
)
from detector.engine.memory.yardsticks import Population, Scales
from detector.engine.models.novelty import Novelty
from detector.engine.models.reference import ALWAYS, C_HIGHEST, C_LOWEST, C_UNIT, NEVER_REMOTE
from detector.engine.policy import PolicySettings, thresholds_for
from detector.testing import Events, batches
from tests.quality.published.prada import Prada

Matrix = npt.NDArray[np.float64]
Column = {name: j for j, name in enumerate(NAMES)}

UNIT = 0.01


@dataclass
class Seen:
    """What the kernel said of each query, and the state that it left."""

    features: Matrix
    repeat: npt.NDArray[np.bool_]
    near: npt.NDArray[np.bool_]
    flip: npt.NDArray[np.bool_]
    distance: npt.NDArray[np.float32]
    ratio: npt.NDArray[np.float32]
    crowded: npt.NDArray[np.bool_]
    state: Memory


def shown(
    z: npt.NDArray[np.int16],
    labels: Sequence[int],
    *,
    c: npt.NDArray[np.uint8] | None = None,
    verdict: npt.NDArray[np.uint8] | None = None,
    variance: npt.NDArray[np.float32] | None = None,
    confidence: npt.NDArray[np.float32] | None = None,
    c_variance: npt.NDArray[np.float32] | None = None,
    turning: npt.NDArray[np.float32] | None = None,
    landmark: npt.NDArray[np.float32] | None = None,
    noise: npt.NDArray[np.float32] | None = None,
    remote: npt.NDArray[np.float32] | None = None,
    neighbours: npt.NDArray[np.int16] | None = None,
    blocks: npt.NDArray[np.int16] | None = None,
    rounding: float = NOISE,
    usual: float = math.nan,
    usual_stray: float = math.nan,
    unit: float = UNIT,
    quantum: float = 1e-3,
    table: bool = False,
    seed: int = 1,
) -> Seen:
    """Show one client's queries, z (n, COORDINATES), to an empty memory, with an evaluation at each of them."""
    n = len(z)
    state = allocate(Memory, 1, LENGTHS)
    repeat, near, flip, crowded = np.zeros((4, n), np.bool_)
    distance = np.full(n, np.nan, np.float32)
    ratio = np.zeros((n, len(CHANNELS)), np.float32)
    sure = np.full(n, np.nan, np.float32) if confidence is None else confidence
    features = np.full((n, len(NAMES)), np.nan)
    observe(
        state,
        allocate(Selection, 1),
        allocate(Checksums, 0, LENGTHS),
        allocate(Family, int(table)),
        allocate(Metered, 1),
        Queries(
            slot=np.zeros(n, np.int64),
            seed=np.array([seed], np.uint64),
            verdict=np.zeros(n, np.uint8) if verdict is None else verdict,
            z=z,
            c=np.zeros((n, SAMPLED), np.uint8) if c is None else c,
            sums=np.zeros((0, 2), np.uint32),
            energy=np.zeros(n, np.float32),
            landmark=np.zeros(n, np.float32) if landmark is None else landmark,
            noise=np.zeros(n, np.float32) if noise is None else noise,
            label=np.array(labels, np.int32),
            place=np.array(labels, np.int64),
            confidence=sure,
            runner_up=(1.0 - sure).astype(np.float32),
            told=np.zeros(n, np.uint8),
            version=np.zeros(n, np.uint16),
            evaluation=np.arange(n),
            reading=np.full(n, -1),
        ),
        Scales(
            unit=unit,
            quantum=quantum,
            c_unit=C_UNIT,
            c_lowest=C_LOWEST,
            c_highest=C_HIGHEST,
            c_zero=math.nan,
            measured=SAMPLED,
            principal=16,
            dimension=SAMPLED,
            grain=0.0,
            tolerance=0.05,
            blur=0.0,
            rounding=rounding,
            moved=0.0,
            table=table,
            numbers=COORDINATES if table else 0,
            usual=usual,
            spread=0.1,
            usual_stray=usual_stray,
            stray_spread=0.1,
            neighbour=1.0,
            ring=RING,
        ),
        Population(
            variance=np.ones(COORDINATES, np.float32) if variance is None else variance,
            c_variance=np.ones(SAMPLED, np.float32) if c_variance is None else c_variance,
            sharpness=np.ones(COORDINATES, np.float32),
            origin=np.zeros(0, np.float32),
            plain=np.zeros((0, COORDINATES), np.float32),
            level=np.zeros(COORDINATES, np.float32),
            kinship=np.zeros((COORDINATES + SAMPLED, COORDINATES + SAMPLED), np.float32),
            middle=np.zeros(SAMPLED, np.float32),
            leading=np.eye(SAMPLED, 8, dtype=np.float32),
            remote=NEVER_REMOTE if remote is None else remote,
            keys=np.zeros(0, np.uint32),
            coefficients=coefficients_up_to(WINDOW),
            turning=ALWAYS if turning is None else turning,
            neighbours=np.zeros((0, PIXELS, SAMPLED), np.int16) if neighbours is None else neighbours,
            blocks=np.zeros(0, np.int16) if blocks is None else blocks,
        ),
        none_coarse(),
        scratch_for(state, SAMPLED, 8),
        Written(repeat, near, flip, distance, ratio, features, 0, crowded),
        room_for(state, 0),
    )
    return Seen(features, repeat, near, flip, distance, ratio, crowded, state)


@dataclass
class History:
    """The same features, from everything that a client ever sent."""

    points: list[Matrix] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    accepted: list[bool] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    entered: dict[int, list[float]] = field(default_factory=dict)
    thresholds: dict[int, float] = field(default_factory=dict)
    near: int = 0
    repeats: int = 0
    step: float = 0.0

    def ask(self, z: Matrix, label: int) -> None:
        away = [float(np.linalg.norm(z - point)) * UNIT for point in self.points]
        if any(distance == 0 and known == label for distance, known in zip(away, self.labels, strict=True)):
            self.repeats += 1
            return
        if away:
            self.near += min(away) < NEAR
            n = len(away)
            self.step += max(0.02, 1.0 / n) * (np.log(max(away[-1], 1e-3)) - self.step)
        members = [
            distance
            for distance, known, inside in zip(away, self.labels, self.accepted, strict=True)
            if known == label and inside
        ]
        joins = True
        if not members:
            self.entered[label] = [0.0]
            self.thresholds[label] = 0.0
        else:
            self.distances.append(min(members))
            joins = min(members) > self.thresholds[label]
            if joins:
                self.entered[label].append(min(members))
                threshold = float(np.mean(self.entered[label]) - np.std(self.entered[label]))
                self.thresholds[label] = max(self.thresholds[label], threshold)
        self.points.append(z)
        self.labels.append(label)
        self.accepted.append(joins)

    def described(self) -> dict[str, float]:
        fresh = max(len(self.points), 1)
        found = {
            "near_duplicate_rate": self.near / fresh,
            "repeat_rate": self.repeats / (fresh + self.repeats),
            "step": self.step if len(self.points) > 1 else np.nan,
        }
        window = np.sort(self.distances[-WINDOW:])
        n = len(window)
        if n < 4:
            return found | dict.fromkeys(("distance_mean", "distance_low", "distance_mid", "distance_high"), np.nan)
        logs = np.log(np.maximum(window, 1e-3))
        found |= {
            "distance_mean": float(logs.mean()),
            "distance_low": float(logs[n // 10]),
            "distance_mid": float(logs[n // 2]),
            "distance_high": float(logs[9 * n // 10]),
        }
        kept = window[np.abs(window - window.mean()) < 3 * window.std()]
        if len(kept) >= 8:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                found["normality"] = float(stats.shapiro(kept).statistic)
        return found


def points(rng: np.random.Generator, n: int, spread: int) -> npt.NDArray[np.int16]:
    """Return n queries of which a third lie close to an earlier one and some repeat one."""
    z = rng.integers(-spread, spread + 1, (n, COORDINATES)).astype(np.int16)
    for i in range(1, n):
        kind = rng.random()
        earlier = z[int(rng.integers(i))]
        if kind < 0.1:
            z[i] = earlier
        elif kind < 0.35:
            z[i] = earlier + rng.integers(-2, 3, COORDINATES)
    return z


@given(st.integers(0, 10_000), st.integers(1, CAPACITY), st.sampled_from([20, 400, 8000]), st.integers(1, 4))
def test_features_are_what_the_history_says(seed: int, n: int, spread: int, kinds: int) -> None:
    """As long as nothing had to be forgotten, distances, quantiles, W, near duplicates, repeats and step are exact."""
    rng = np.random.default_rng(seed)
    z = points(rng, n, spread)
    labels = rng.integers(0, kinds, n).tolist()
    found = shown(z, labels).features
    history = History()
    for i in range(n):
        history.ask(z[i].astype(np.float64), labels[i])
        for name, value in history.described().items():
            assert found[i, Column[name]] == pytest.approx(value, rel=1e-4, abs=2e-5, nan_ok=True), (i, name)


def test_near_and_flip_tell_close_queries_with_another_answer() -> None:
    """Closer than 0.3 median distances is near; a flip is near with another label."""
    z = np.zeros((4, COORDINATES), np.int16)
    z[1, 0], z[2, 0], z[3, 0] = 29, 500, 529
    seen = shown(z, [0, 1, 0, 0])
    assert seen.near.tolist() == [False, True, False, True]
    assert seen.flip.tolist() == [False, True, False, False]
    z[1, 0] = 31
    assert not shown(z, [0, 1, 0, 0]).near[1]


def test_a_wavering_model_makes_no_distances() -> None:
    """One picture that is answered now 0, now 1, is two retained queries; everything after repeats one of them."""
    n = 40
    seen = shown(np.full((n, COORDINATES), 7, np.int16), [i // 3 % 2 for i in range(n)])
    assert seen.repeat.tolist() == [i not in {0, 3} for i in range(n)]
    assert int(seen.state.stored[0]) == 2
    assert np.isnan(seen.distance).all()
    assert not (seen.ratio > NOTHING).any()


def test_a_difference_in_the_sampled_columns_alone_is_no_repeat() -> None:
    """What the projection cannot see may still differ in the raw columns."""
    c = np.zeros((2, SAMPLED), np.uint8)
    c[1, 5] = 1
    assert shown(np.zeros((2, COORDINATES), np.int16), [0, 0], c=c).repeat.tolist() == [False, False]


def test_structure_is_zero_for_the_population_and_blind_to_offset_and_gain() -> None:
    """Queries spread like the population have a logarithm of 0; moved, inverted or amplified they keep it; others rise."""
    rng = np.random.default_rng(8)
    deviation = np.linspace(30.0, 2.0, SAMPLED)
    variance = (deviation**2).astype(np.float32)
    z = rng.integers(-9000, 9000, (60, COORDINATES)).astype(np.int16)
    own = rng.normal(size=(60, SAMPLED)) * deviation
    at = Column["structure"]

    def found(values: Matrix) -> Seen:
        return shown(z, [0] * 60, c=np.clip(np.rint(128 + values), 0, 255).astype(np.uint8), c_variance=variance, usual=0.5)

    plain = found(own)
    assert abs(plain.features[-1, at]) < 0.3
    assert found(-0.7 * own + 20).features[-1, at] == pytest.approx(plain.features[-1, at], abs=0.2)
    foreign = found(rng.uniform(-60, 60, (60, SAMPLED)))
    assert foreign.features[-1, at] > plain.features[-1, at] + 1.0
    assert (foreign.ratio[1:, FOREIGN] > NOTHING).mean() > 0.9
    assert (plain.ratio[1:, FOREIGN] > NOTHING).mean() < 0.1


def test_noise_strays_from_the_leading_directions_and_noise_upon_a_picture_does_not() -> None:
    """Eight of the values lead. Noise strays, but not a client whose queries differ by noise alone and are pictures each."""
    rng = np.random.default_rng(9)
    z = rng.integers(-9000, 9000, (60, COORDINATES)).astype(np.int16)
    leads = np.where(np.arange(SAMPLED) < 8, 60.0, 6.0)

    def strays(values: Matrix) -> float:
        """Return the share of foreign queries, where the population's mean is 0."""
        c = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        return float((shown(z, [0] * 60, c=c, usual=9.0, usual_stray=1.0).ratio[1:, FOREIGN] > NOTHING).mean())

    noise = np.abs(rng.normal(0.0, 30.0, (60, SAMPLED)))
    assert strays(noise) > 0.9
    assert strays(np.abs(rng.normal(size=(60, SAMPLED))) * leads) < 0.1
    assert strays(2.0 * leads + noise / 4.0) < 0.1


def test_noise_is_a_version_of_earlier_noise_only_if_its_values_are() -> None:
    """Where the population is far, two draws of noise may be near each other in the projection; their values are not."""
    rng = np.random.default_rng(9)
    z = rng.integers(-9000, 9000, (60, COORDINATES)).astype(np.int16)
    gaps = np.linalg.norm(z[:, None].astype(float) - z[None], axis=2) * UNIT
    nearest = [gaps[at, :at].min(initial=np.inf) for at in range(60)]
    far = np.log(np.minimum(nearest, 1e6) / 0.6).astype(np.float32)  # nearer to an earlier query than 0.7 of the way
    noise = np.abs(rng.normal(0.0, 30.0, (60, SAMPLED)))

    def strays(values: Matrix) -> npt.NDArray[np.bool_]:
        c = np.clip(np.rint(values), 0, 255).astype(np.uint8)
        return np.asarray(shown(z, [0] * 60, c=c, usual=9.0, usual_stray=1.0, landmark=far).ratio[1:, FOREIGN] > NOTHING)

    assert strays(noise).mean() > 0.9
    assert not strays(noise[0] + noise / 10.0).any()


def test_versions_of_a_record_are_one_cluster_unless_all_of_the_client_s_are_as_near() -> None:
    """Scenarios of one record among others count twice; records that are far in one column alike are not its versions."""
    rng = np.random.default_rng(13)
    others = rng.integers(-9000, 9000, (30, COORDINATES))
    versions = rng.integers(-9000, 9000, COORDINATES) + rng.integers(-60, 60, (20, COORDINATES))
    c = rng.integers(0, 256, (50, SAMPLED)).astype(np.uint8)

    def counted(z: npt.NDArray[np.integer]) -> int:
        far = np.full(len(z), 4.0, np.float32)
        found = shown(z.astype(np.int16), [0] * len(z), c=c[: len(z)], usual=-5.0, landmark=far, table=True).ratio[:, FOREIGN]
        return int((found[-20:] != NOTHING).sum())

    assert counted(np.vstack([others, versions])) == 2
    assert counted(versions) > 10


def test_further_versions_of_what_counted_twice_are_marked() -> None:
    """So that other channels leave them out."""
    rng = np.random.default_rng(14)
    z = rng.integers(-5, 6, (10, COORDINATES)).astype(np.int16)
    assert shown(z, [0] * 10).crowded.tolist() == [False] * 3 + [True] * 7


def test_noise_counts_where_the_client_asked_about_nothing_like_it() -> None:
    """A query near an earlier one, compared with the landmarks, is not scored as noise."""
    rng = np.random.default_rng(12)
    z = rng.integers(-9000, 9000, (40, COORDINATES)).astype(np.int16)
    c = rng.integers(0, 256, (40, SAMPLED)).astype(np.uint8)

    def counted(landmark: float, ratio: float) -> int:
        far, noise = np.full((2, 40), [[landmark], [ratio]], np.float32)
        return int((shown(z, [0] * 40, c=c, usual=9.0, landmark=far, noise=noise).ratio[1:, FOREIGN] > NOTHING).sum())

    assert counted(0.0, 5.0) == 39
    assert counted(0.0, 0.0) == 0
    assert counted(10.0, 5.0) == 0


def test_far_from_the_population_neighbours_may_be_far_apart() -> None:
    """Queries whose nearest landmark is much farther than their nearest predecessor are one cluster."""
    rng = np.random.default_rng(11)
    z = (rng.integers(-9000, 9000, COORDINATES) + rng.integers(-900, 900, (40, COORDINATES))).astype(np.int16)
    c = rng.integers(0, 256, (40, SAMPLED)).astype(np.uint8)

    def counted(landmark: float) -> int:
        far = np.full(40, landmark, np.float32)
        return int((shown(z, [0] * 40, c=c, usual=-5.0, landmark=far).ratio[:, FOREIGN] != NOTHING).sum())

    assert counted(0.0) == 39
    assert counted(10.0) <= 3


def test_remote_queries_are_foreign_if_the_client_asked_about_nothing_like_them() -> None:
    """All three views find them far; a query close to an earlier one, compared with the landmarks, is not scored as remote."""
    rng = np.random.default_rng(12)
    z = rng.integers(-9000, 9000, (40, COORDINATES)).astype(np.int16)
    c = rng.integers(0, 256, (40, SAMPLED)).astype(np.uint8)
    remote = np.tile(np.array([[-1.0, 1.0]], np.float32), (VIEWS, 1))

    def share(landmark: float) -> float:
        far = np.full(40, landmark, np.float32)
        return float((shown(z, [0] * 40, c=c, usual=99.0, landmark=far, remote=remote).ratio[1:, FOREIGN] > NOTHING).mean())

    assert share(1.0) > 0.9
    assert share(10.0) == 0.0


def test_a_crowd_of_foreign_queries_counts_twice() -> None:
    """A hundred frames of one foreign scene say no more than two of them, a hundred foreign scenes say it a hundred times."""
    rng = np.random.default_rng(5)
    scenes = rng.integers(-9000, 9000, (2, COORDINATES))
    z = (scenes[np.arange(100) % 2] + rng.integers(-5, 6, (100, COORDINATES))).astype(np.int16)
    c = rng.integers(0, 256, (100, SAMPLED)).astype(np.uint8)
    counted = shown(z, [0] * 100, c=c, usual=-5.0).ratio[:, FOREIGN] != NOTHING
    assert 2 <= counted.sum() <= 4
    apart = rng.integers(-9000, 9000, (100, COORDINATES)).astype(np.int16)
    assert (shown(apart, [0] * 100, c=c, usual=-5.0).ratio[1:, FOREIGN] != NOTHING).all()


def test_frames_of_a_panning_camera_count_twice() -> None:
    """A camera that pans over a wall moves every value of a small picture; cameras that show other places count each time."""
    rng = np.random.default_rng(5)
    wall = rng.integers(0, 256, (8, 80)).astype(float)
    z = rng.integers(-9000, 9000, (48, COORDINATES)).astype(np.int16)
    sampled = np.sort(rng.permutation(64)[:SAMPLED])
    neighbours = neighbours_of(sampled.astype(np.int32), 64)

    def counted(lefts: npt.NDArray[np.int64]) -> int:
        """Return how many of the queries are scored, which show the wall from these columns on."""
        c = np.array([wall[:, left : left + 8].ravel()[sampled] for left in lefts.tolist()], np.uint8)
        ratio = shown(z, [0] * 48, c=c, usual=-5.0, neighbours=neighbours).ratio[:, FOREIGN]
        return int((ratio != NOTHING).sum())

    assert counted(np.arange(48)) <= 4
    assert counted(rng.permutation(np.arange(0, 72, 1))[:48]) > 40


def test_best_and_worst_cases_of_records_are_no_flat_steps() -> None:
    """They move each column to one side, whatever the record; a thief's steps move each record's columns their own way."""
    rng = np.random.default_rng(8)
    records = rng.integers(-8000, 8000, (20, COORDINATES))
    values = np.repeat(rng.integers(60, 180, (20, 1, SAMPLED)), 3, axis=1)
    sides = {"analyst": np.tile(rng.choice([-1, 1], COORDINATES), (20, 1)), "thief": rng.choice([-1, 1], (20, COORDINATES))}
    flat = rng.choice([-20, 20], SAMPLED)
    found = {}
    for name, side in sides.items():
        z, c = np.repeat(records[:, None], 3, axis=1), values.copy()
        for k, factor in enumerate((0, 1, -1)):
            z[:, k] += 300 * factor * side
            c[:, k] += factor * flat
        asked = (z.reshape(60, COORDINATES).astype(np.int16), c.reshape(60, SAMPLED).astype(np.uint8))
        assert (shown(asked[0], [0] * 60, c=asked[1]).ratio[1:, OFFSET] > NOTHING).sum() > 20
        ratio = shown(asked[0], [0] * 60, c=asked[1], table=True).ratio
        found[name] = int((ratio[:, OFFSET] > NOTHING).sum())
        assert name == "thief" or (ratio[:, CHILDREN] <= NOTHING).all()
    assert found["analyst"] <= 1
    assert found["thief"] > 15


def test_the_latest_are_kept_and_of_the_rest_a_uniform_sample() -> None:
    """After 300 queries the ring holds the last 24, and each earlier one is among the other 40 equally often."""
    n, clients = 300, 120
    rng = np.random.default_rng(3)
    z = rng.integers(-8000, 8000, (n, COORDINATES)).astype(np.int16)
    kept = np.zeros(n)
    for client in range(clients):
        pending_decisions = shown(z, [0] * n, seed=client).state.order[0]
        assert len(set(pending_decisions.tolist())) == CAPACITY
        assert sorted(pending_decisions[:RING].tolist()) == list(range(n - RING, n))
        kept[pending_decisions[RING:]] += 1
    early = kept[: n - RING].reshape(4, -1).sum(axis=1)
    expected = clients * (CAPACITY - RING) / 4
    assert stats.chisquare(early, np.full(len(early), expected)).pvalue > 1e-3


def test_an_anchor_that_was_used_outlives_those_that_were_not() -> None:
    """A seed from which a constructed query was made is still there 800 innocent queries later."""
    rng = np.random.default_rng(6)
    n = 820
    z = rng.integers(-8000, 8000, (n, COORDINATES)).astype(np.int16)
    c = rng.integers(30, 200, (n, SAMPLED)).astype(np.uint8)
    z[1] = z[0] + 30
    step = np.resize([20, -20], SAMPLED)
    rng.shuffle(step)
    c[1] = (c[0].astype(int) + step).astype(np.uint8)
    seen = shown(z, [0] * n, c=c)
    assert np.flatnonzero(seen.ratio[1] > NOTHING).tolist() == [OFFSET]
    (place,) = np.flatnonzero(seen.state.order[0] == 0)
    assert seen.state.mark[0, place] & USED


def test_the_ends_of_an_open_interval_outlive_cover() -> None:
    """Two pictures and the first point between them are still there 800 innocent queries later, though that counts nothing."""
    rng = np.random.default_rng(9)
    n = 820
    z = rng.integers(-8000, 8000, (n, COORDINATES)).astype(np.int16)
    c = rng.integers(30, 200, (n, SAMPLED)).astype(np.uint8)
    z[2], c[2] = (z[0].astype(int) + z[1]) // 2, (c[0].astype(int) + c[1]) // 2
    seen = shown(z, [0, 1, *[0] * (n - 2)], c=c)
    assert (seen.ratio[2] <= NOTHING).all()
    for early in range(3):
        (place,) = np.flatnonzero(seen.state.order[0] == early)
        assert seen.state.mark[0, place] & USED
    unrelated = shown(np.delete(z, 2, axis=0), [0, 1, *[0] * (n - 3)], c=np.delete(c, 2, axis=0))
    assert not unrelated.state.mark[0].any() or not (unrelated.state.mark[0] & USED).any()


def test_a_query_that_is_come_back_to_outlives_cover() -> None:
    """Nine near duplicates of one query, each after 19 innocent ones, find it there, and the later ones find each other."""
    rng = np.random.default_rng(11)
    n = 200
    z = rng.integers(-8000, 8000, (n, COORDINATES)).astype(np.int16)
    made = np.arange(20, n, 20)
    for k, at in enumerate(made):
        z[at] = z[0]
        z[at, k] += 20
    seen = shown(z, [0] * n)
    assert np.flatnonzero(seen.near).tolist() == made.tolist()
    held = seen.state.order[0].tolist()
    assert {0, *made[1:].tolist()} <= set(held)


def test_a_camera_marks_nothing() -> None:
    """Its pictures are near duplicates of each other in all values, so none is kept before others for that."""
    rng = np.random.default_rng(13)
    z = rng.integers(-8000, 8000, (40, COORDINATES)).astype(np.int16)
    z[1:] = z[0] + rng.integers(-3, 4, (39, COORDINATES)).astype(np.int16)
    c = rng.integers(100, 110, (40, SAMPLED)).astype(np.uint8)
    seen = shown(z, [0] * 40, c=c)
    assert seen.near[1:].all()
    assert not (seen.state.mark[0] & VISITED).any()


def test_a_client_that_dwells_has_few_marks() -> None:
    """However often it asks about one place, only the latest visits are marked."""
    rng = np.random.default_rng(12)
    n, others = 400, 100
    z = rng.integers(-8000, 8000, (n, COORDINATES)).astype(np.int16)
    z[others:] = z[others - 1] + rng.integers(-3, 4, (n - others, COORDINATES)).astype(np.int16)
    seen = shown(z, [0] * n)
    assert seen.near[others:].all()
    assert ((seen.state.mark[0] & VISITED) != 0).sum() == MOST_VISITED


def test_arrays_do_not_grow_with_history() -> None:
    """A client of 5,000 queries takes the room of a client of one."""
    rng = np.random.default_rng(1)
    state = shown(rng.integers(-8000, 8000, (5000, COORDINATES)).astype(np.int16), [0] * 5000).state
    assert {name: column.shape[1:] for name, column in state._asdict().items()} == {
        name: column.row_shape(LENGTHS) for name, (_, column) in columns_of(Memory).items()
    }
    assert int(state.held[0]) == CAPACITY


@pytest.mark.parametrize("dimension", [2, 11, 24])
@pytest.mark.parametrize("seed", [0, 1])
def test_agrees_with_prada_when_nothing_is_forgotten(dimension: int, seed: int) -> None:
    """With room for everything, distances, acceptance and W are those of the published detector.

    PRADA tests at the 1st, 11th, 21st query once more than 100 distances are left, and here W is computed at evaluations: the
    191st and the 211th query are both. PRADA leaves labels with fewer than ten distances out, so both labels are given many.
    """
    n = 320
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, dimension)).astype(np.float32)
    for i in range(20, n, 4):
        X[i] = X[i - 7] + 0.3 * rng.normal(size=dimension)
    labels = (X[:, 0] > 0).astype(int)
    reference = fit_reference(X, 2, seed=seed)
    idle = Novelty(None)
    table = ClientTable(
        "m",
        reference,
        idle,
        Judge(thresholds_for(PolicySettings(), None, None), PolicySettings(), idle),
        max_clients=9,
        lateness_ms=1,
        retained=n,
        window=n,
    )
    z = reference.reduce(X).z.astype(np.float64)
    exact, rounded = Prada(), Prada()
    events = Events("m")
    compared = 0
    for i in range(n):
        (batch,) = batches([events.line("c", X[i], int(labels[i]))], first_sequence=i)
        table.process(batch)
        said = rounded.observe(z[i], int(labels[i]))
        raw = exact.observe(X[i], int(labels[i]))
        memory = table.columns.memory
        assert bool(memory.mark[0, i] & ACCEPTED) == said.accepted
        if said.distance is None or raw.distance is None:
            continue
        distance = float(memory.window[0, int(memory.window_count[0]) - 1])
        assert distance == pytest.approx(said.distance * reference.unit, rel=1e-5)
        step = reference.quantum / float(reference.scale[0])  # of the raw values, per integer
        if exact.stored == rounded.stored:
            assert distance / reference.unit * step == pytest.approx(raw.distance, abs=step * np.sqrt(dimension))
        if said.tested and i + 1 in {191, 211}:
            compared += 1
            assert float(table.columns.standing.row[0, FIRST + Column["normality"]]) == pytest.approx(said.w, abs=1e-5)
    assert compared == 2


@pytest.mark.parametrize(("end", "seen"), [("picture", 1), ("grey", 1), ("black", 0)])
def test_the_middle_of_far_ends_is_seen_among_nearer_queries(end: str, seen: int) -> None:
    """None of the eight nearest is an end. A way to black may be a lamp that is dimmed; a way to another plain grey is not."""
    rng = np.random.default_rng(5)
    way = 2 * rng.integers(-3000, 3000, COORDINATES)
    others = rng.integers(-900, 900, (20, COORDINATES))
    z = np.array([way, *others, -way, np.zeros(COORDINATES)]).astype(np.int16)
    c = rng.integers(40, 110, (len(z), SAMPLED))
    c[-2] = {"picture": c[-2], "grey": 180, "black": np.ceil(C_LOWEST)}[end]
    c[-1] = np.rint((c[0] + c[-2]) / 2)
    state = shown(z, [0] * 21 + [1, 0], c=c.astype(np.uint8)).state
    assert state.depth[0, state.newest[0]] == seen
    assert ((state.mark[0, [0, 21]] & USED) != 0).all() == bool(seen)


def cut_twice(rng: np.random.Generator, *, follows: bool) -> tuple[Matrix, list[int]]:
    """Return 40 brackets, cut twice off the middle, and the labels; a coin chooses the second side unless it `follows`."""
    z, labels = [], []
    for _ in range(40):
        one, other = rng.integers(-9000, 9000, (2, COORDINATES))
        first, turn = rng.uniform(0.3, 0.4), rng.uniform(0.1, 0.9)
        label = int(first > turn)
        below = bool(label) if follows else rng.random() < 0.5
        second = first * 0.6 if below else first + 0.5 * (1.0 - first)
        for at in (0.0, 1.0, first, second):
            z.append(one + at * (other - one))
            labels.append(int(at > turn))
    return np.array(z), labels


@pytest.mark.parametrize("table", [False, True])
def test_brackets_that_are_cut_twice_convict_where_the_side_is_the_answer_s(*, table: bool) -> None:
    """Each by little, and together after two dozen; whose side is a coin's gathers nothing, and keeps two counts."""
    for follows in (True, False):
        z, labels = cut_twice(np.random.default_rng(2), follows=follows)
        values = 128 + z @ np.random.default_rng(4).normal(size=(COORDINATES, SAMPLED)) / 1000
        c = np.clip(np.rint(values), 1, 254).astype(np.uint8)
        seen = shown(np.rint(z).astype(np.int16), labels, c=c, table=table)
        told = np.flatnonzero(seen.ratio[:, BISECT] >= np.exp(ENOUGH - 1e-3))
        if follows:
            assert 60 < told[0] < 130
            assert int(seen.state.ways[0]) & 15 > 7
        else:
            assert told.size == 0


def test_a_walk_between_two_answers_aims() -> None:
    """Undecided steps towards a query with another answer carry evidence, until they make a line; the way back does not."""
    rng = np.random.default_rng(4)
    start, target = rng.integers(-2000, 2000, (2, COORDINATES))
    others = rng.integers(-9000, 9000, (3, COORDINATES))
    steps = [start + (target - start) * share for share in (0.004, 0.008, 0.012, 0.016)]
    away = start - (target - start) * 0.01
    z = np.rint(np.array([target, *others, start, *steps, away])).astype(np.int16)
    c = rng.integers(30, 200, (len(z), SAMPLED)).astype(np.uint8)
    seen = shown(z, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0], c=c, confidence=np.full(len(z), 0.55, np.float32))
    assert (seen.ratio[:, AIM] > NOTHING).tolist() == [False] * 5 + [True] * 3 + [False] * 2
    sure = shown(z, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0], c=c, confidence=np.full(len(z), 0.95, np.float32))
    assert not (sure.ratio[:, AIM] > NOTHING).any()


@pytest.mark.parametrize("table", [False, True])
def test_single_values_moved_there_and_back_probe(*, table: bool) -> None:
    """The second pair of mirrored steps carries evidence; a slider that goes on along its line does not."""
    base = np.full(COORDINATES, 500)
    z = np.tile(base, (6, 1))
    for place, (column, step) in enumerate(((3, 60), (3, -60), (7, 60), (7, -60)), start=1):
        z[place, column] += step
    z[5, 3] += 120
    c = np.full((6, SAMPLED), 90, np.uint8)
    variance = np.full(COORDINATES, 1e6, np.float32)
    seen = shown(z.astype(np.int16), [0] * 6, c=c, variance=variance, table=table, unit=UNIT / 10)
    probes = seen.ratio[:, PROBE] > NOTHING
    assert probes.tolist() == [False, False, False, False, True, False]


def test_probes_of_one_size_are_a_series_though_the_picture_moves_on() -> None:
    """Zeroth-order optimisation never asks about the picture itself, and changes it after every pair."""
    rng = np.random.default_rng(3)
    z = np.tile(np.full(COORDINATES, 500), (16, 1))
    c = np.full((16, SAMPLED), 90, np.uint8)
    for place in range(1, 16):
        z[place:, place] += 40  # what was learned so far
        z[place] += np.rint(40 * rng.choice([-1, 1]) * (np.arange(COORDINATES) == 16 + place % 8)).astype(int)
        c[place:, place] = 95
    seen = shown(z.astype(np.int16), [0] * 16, c=c, unit=UNIT / 10, quantum=1e-4)
    assert (seen.ratio[6:, PROBE] > NOTHING).sum() >= 4


def test_a_form_edited_in_large_steps_is_no_probe() -> None:
    """In a table, a column moved up and down by a good part of its spread is what people do."""
    c = np.full((5, SAMPLED), 90, np.uint8)
    variance = np.full(COORDINATES, 1e4, np.float32)
    for step, expected in ((12, True), (30, False)):  # 12 and 30% of the standard deviation
        z = np.tile(np.full(COORDINATES, 500), (5, 1))
        for place, (column, sign) in enumerate(((3, 1), (3, -1), (5, 1), (5, -1))):
            z[place + 1, column] += sign * step
        seen = shown(z.astype(np.int16), [0] * 5, c=c, variance=variance, table=True)
        assert (seen.ratio[:, PROBE] > NOTHING).any() == expected


def test_steep_steps_from_confident_answers_are_told_from_gentle_ones() -> None:
    """Margins that fall by six a median distance and more; pairs that say nothing count neither way."""
    z = np.zeros((5, COORDINATES), np.int16)
    z[1, 0], z[2, 1], z[3, 2], z[4, 3] = 50, 50, 50, 9000
    confidence = np.array([0.99, 0.55, 0.98, 0.55, 0.55], np.float32)
    seen = shown(z, [0, 0, 0, 1, 0], confidence=confidence)
    assert seen.ratio[:, SENS].tolist() == pytest.approx([1.0, CONSTRUCTED[SENS], ORDINARY[SENS], CONSTRUCTED[SENS], 1.0])
    assert (shown(z, [0, 0, 0, 1, 0]).ratio[:, SENS] == NOTHING).all()


def test_steep_steps_count_twice_at_one_place() -> None:
    """As draws about one query are; copies of it that say nothing use none of that up."""
    z = np.zeros((14, COORDINATES), np.int16)
    for place in (0, 7):
        z[place : place + 7, 20] = 900 * place
        for step in range(4):
            z[place + 3 + step, step] = 50
    confidence = np.tile(np.array([0.99, 0.99, 0.99, 0.55, 0.55, 0.55, 0.55], np.float32), 2)
    steep = shown(z, [0] * 14, confidence=confidence).ratio[:, SENS] == np.float32(CONSTRUCTED[SENS])
    assert np.flatnonzero(steep).tolist() == [3, 4, 10, 11]


def test_dwelling_in_one_place_counts_six_times() -> None:
    """A static scene on the boundary flickers for ever; what it may add up to is bounded, until the client goes elsewhere."""
    rng = np.random.default_rng(2)
    n = 40
    z = rng.integers(-2, 3, (2 * n, COORDINATES)).astype(np.int16)
    z[n:] += 5000
    seen = shown(z, [i % 2 for i in range(2 * n)], confidence=np.full(2 * n, 0.52, np.float32))
    hits = seen.ratio[:, DWELL] > NOTHING
    assert 1 <= hits[:n].sum() <= 7
    assert 1 <= hits[n:].sum() <= 7
    assert not (shown(z, [i % 2 for i in range(2 * n)]).ratio[:, DWELL] > NOTHING).any()


def test_a_picture_that_fades_until_the_answer_turns_does_not_dwell() -> None:
    """Somebody who seeks the least light goes to where the answer turns, along the way of the brightness alone."""
    rng = np.random.default_rng(15)
    shares = np.array([1.0, 0.1, 0.504, 0.494, 0.484, 0.474])

    def dwelt(first: Matrix, second: Matrix, labels: Sequence[int] = (0, 1, 0, 1, 0, 1)) -> int:
        c = np.rint(second + shares[:, None] * (first - second)).astype(np.uint8)
        z = np.rint(shares[:, None] * np.repeat([400, 0], [4, COORDINATES - 4])).astype(np.int16)
        seen = shown(z, list(labels), c=c, confidence=np.full(6, 0.52, np.float32))
        return int((seen.ratio[:, DWELL] > NOTHING).sum())

    picture = rng.integers(40, 220, SAMPLED).astype(float)
    assert dwelt(picture, np.full(SAMPLED, 20.0)) == 0
    assert dwelt(picture, np.full(SAMPLED, 20.0), [0, 0, 0, 1, 0, 1]) >= 2  # no answer turns on the way: it hides something
    assert dwelt(picture, rng.integers(40, 220, SAMPLED).astype(float)) >= 2


def pairs(places: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Return pairs of near queries at so many places that lie far apart: their coordinates and sampled values."""
    z = np.repeat(200 * rng.integers(-100, 100, (places, COORDINATES)), 2, axis=0)
    z[1::2] += rng.integers(1, 3, (places, COORDINATES))
    return z.astype(np.int16), rng.integers(0, 255, (2 * places, SAMPLED)).astype(np.uint8)


def test_turns_near_earlier_queries_are_told_from_answers_that_stay() -> None:
    """Each pair that turns counts for a search, each that stays against it; the first of a pair is near no other."""
    rng = np.random.default_rng(5)
    z, c = pairs(20, rng)
    turning = np.full((DISTANCES, MARGINS), 0.02, np.float32)
    turned = shown(z, [i % 2 for i in range(40)], c=c, turning=turning).ratio[:, TURNS]
    stayed = shown(z, [i // 2 % 2 for i in range(40)], c=c, turning=turning).ratio[:, TURNS]
    assert (turned[1::2] > 1.0).all()
    assert (stayed[1::2] < 1.0).all()
    assert (turned[::2] == NOTHING).all()
    assert (shown(z, [i % 2 for i in range(40)], c=c).ratio[:, TURNS] == NOTHING).all()


def test_in_tables_a_single_value_changed_makes_no_turn() -> None:
    """A person who tries a field until the answer changes does so."""
    rng = np.random.default_rng(6)
    z, c = pairs(20, rng)
    turning = np.full((DISTANCES, MARGINS), 0.02, np.float32)
    labels = [i % 2 for i in range(40)]
    c[1::2] = c[::2]
    c[1::2, 3] ^= 1
    assert (shown(z, labels, c=c, turning=turning, table=True).ratio[:, TURNS] == NOTHING).all()
    c[1::2, 4] ^= 1
    assert (shown(z, labels, c=c, turning=turning, table=True).ratio[1::2, TURNS] > NOTHING).all()


def test_one_place_turns_so_often_and_no_more() -> None:
    """A static scene on the boundary flickers for ever; its first turns count, until the client goes elsewhere."""
    rng = np.random.default_rng(2)
    n = 40
    z = rng.integers(-2, 3, (2 * n, COORDINATES)).astype(np.int16)
    z[n:] += 5000
    turning = np.full((DISTANCES, MARGINS), 0.02, np.float32)
    hits = shown(z, [i % 2 for i in range(2 * n)], turning=turning).ratio[:, TURNS] > NOTHING
    assert 1 <= hits[:n].sum() <= MOST_TURNS
    assert 1 <= hits[n:].sum() <= MOST_TURNS


def test_a_retained_query_is_compared_twice() -> None:
    """Whoever asks around one query compares with it only so often."""
    z = np.zeros((6, COORDINATES), np.int16)
    for turn in range(1, 6):
        z[turn, turn] = 30  # from the first 0.3 away, from each other more
    ratio = shown(z, [0] * 6, turning=np.full((DISTANCES, MARGINS), 0.02, np.float32)).ratio[:, TURNS]
    assert (ratio != NOTHING).tolist() == [False, True, True, False, False, False]
