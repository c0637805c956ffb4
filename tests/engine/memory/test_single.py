"""Single: changes of one value that only somebody who probes would make, and those that others make as well."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_digits

from detector.baseline.fit import fit_baseline
from detector.baseline.store import Baseline
from detector.engine.evidence.probe import SIZES
from detector.engine.memory.checksums import STEPS, add_up, weights_of
from detector.engine.memory.single import (
    LARGEST,
    SERIES,
    WALK,
    are_alike,
    halved,
    has_twin,
    in_even_series,
    in_pairs,
    in_walk,
    is_level,
    is_mirrored_series,
    nearest_single,
    others_moved,
    resembles,
    slip_of,
)
from detector.engine.models.reference import C_LEVELS, C_LOWEST
from detector.engine.policy import ACTIONS
from detector.engine.shard import EngineSettings, Shard
from detector.testing import Events, batches

Vector = npt.NDArray[np.floating]

SIDE = 28
DIMENSION = SIDE * SIDE
STEP = 0.01
SIZE = round(STEP * STEPS)
KEYS = weights_of(DIMENSION)[1]


def moved(*changes: tuple[int, float], start: Vector | None = None) -> Vector:
    """Return a picture with some values moved."""
    picture = np.full(DIMENSION, 0.5, np.float32) if start is None else start.copy()
    for place, size in changes:
        picture[place] += size
    return picture


def sums_of(*pictures: Vector) -> npt.NDArray[np.uint32]:
    sums = np.empty((len(pictures), 2), np.uint32)
    add_up(np.array(pictures, np.float32), weights_of(DIMENSION)[0], sums)
    return sums


def latest(changes: Iterable[tuple[int, float]]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32], int]:
    """Return the client's columns after changes of these values by so much."""
    values, sizes = np.zeros(SIZES, np.uint32), np.zeros(SIZES, np.int32)
    singles = 0
    for place, size in changes:
        values[singles % SIZES] = place + 1
        sizes[singles % SIZES] = round(size * STEPS)
        singles += 1
    return values, sizes, singles


def in_series(place: int, size: float, changes: Iterable[tuple[int, float]]) -> bool:
    return bool(in_even_series(place, round(size * STEPS), *latest(changes)))


def walks(places: list[int], run: int | None = None, *, sizes: tuple[float, ...] = (0.3, -0.5, 0.7)) -> bool:
    """Ask about the last of these values when each was moved on top of the one before, by these sizes in turn."""
    *changes, (place, size) = zip(places, np.resize(sizes, len(places)).tolist(), strict=True)
    values, moved_by, singles = latest(changes)
    length = len(places) if run is None else run
    return bool(in_walk(place, round(size * STEPS), length, values, moved_by, singles, DIMENSION))


def test_the_least_change_leads_back() -> None:
    """To the picture and not to the probe on its other side; the run goes by the shortest way."""
    earlier = sums_of(moved(), moved((700, STEP)), moved((3, 0.5), (9, 0.5)))
    (query,) = sums_of(moved((700, -STEP)))
    run = np.array([4, 1, 0], np.uint8)
    place, value, size, shortest = nearest_single(earlier[:, 0], earlier[:, 1], run, 3, query, KEYS)
    assert (place, value, shortest) == (0, 700, 2)
    assert abs(size + SIZE) <= 1
    (query,) = sums_of(moved((700, -STEP), (3, 0.1)))
    assert nearest_single(earlier[:, 0], earlier[:, 1], run, 3, query, KEYS)[0] == -1


def test_a_twin_needs_siblings_and_no_third_value() -> None:
    """The mirror image among probes of other values; one value tried up and down, or further, is none."""

    def twin(*others: Vector) -> tuple[bool, bool]:
        earlier = sums_of(moved(), *others)
        mirrored, tried = has_twin(earlier[:, 0], earlier[:, 1], len(earlier), 0, 700, -SIZE, KEYS, 0.0)
        return bool(mirrored), bool(tried)

    siblings = moved((3, STEP)), moved((9, -STEP))
    assert twin(moved((700, STEP)), *siblings) == (True, False)
    assert twin(moved((700, STEP))) == (False, False)
    assert twin(moved((700, 2 * STEP)), *siblings) == (False, True)
    assert twin(moved((700, STEP)), moved((700, -0.3)), *siblings) == (False, True)


def sampled(*pictures: Vector) -> npt.NDArray[np.uint8]:
    """Return every sixteenth value, as the memory keeps them."""
    return np.asarray(np.rint(np.stack(pictures)[:, ::16] * C_LEVELS + C_LOWEST), np.uint8)


def mirrored(*others: Vector, size: float = -STEP, place: int = 700, start: Vector | None = None, slip: float = 0.0) -> bool:
    """Ask about a picture with one value moved by `size`, after the picture and these others."""
    asked = moved(start=start), *others, moved((place, size), start=start)
    sums, c = sums_of(*asked), sampled(*asked)
    held, ends = len(asked) - 1, (C_LOWEST, C_LOWEST + C_LEVELS)
    return bool(is_mirrored_series(sums[:, 0], sums[:, 1], c, held, 0, place, round(size * STEPS), KEYS, slip, c[-1], ends))


def test_differences_by_a_level_are_told_from_a_flicker_by_their_mirror_images() -> None:
    """A thief moves each value to both sides of one query; a flicker hits most values once."""
    pairs = [moved((place, sign * STEP)) for place in (16, 160) for sign in (1.0, -1.0)]
    assert mirrored(moved((700, STEP)), *pairs)
    assert not mirrored(*pairs)
    assert not mirrored(moved((700, STEP)), *pairs[:2])
    assert mirrored(moved((700, STEP)), moved((50, STEP)), *pairs)
    assert not mirrored(moved((700, STEP)), *pairs, *(moved((place, STEP)) for place in (32, 48)))
    assert mirrored(moved((700, STEP)), *pairs, *(moved((place, 3 * STEP)) for place in (32, 48)))


LEVEL = 1 / 255
SLIP = slip_of(2 * LEVEL * STEPS, LEVEL)


def test_rounding_to_levels_parts_two_sides_by_a_level() -> None:
    """A step of two and a half levels arrives as two or three. A thief asks for each side once, a hot pixel again and again."""
    pairs = [moved((place, size * LEVEL)) for place in (16, 160) for size in (2, -3)]
    assert not mirrored(moved((700, 2 * LEVEL)), *pairs, size=-3 * LEVEL)
    assert mirrored(moved((700, 2 * LEVEL)), *pairs, size=-3 * LEVEL, slip=SLIP)
    assert not mirrored(moved((700, 4.2 * LEVEL)), *pairs, size=-3 * LEVEL, slip=SLIP)
    again = [moved((place, 3 * LEVEL)) for place in (16, 160)]
    assert not mirrored(moved((700, 2 * LEVEL)), *pairs, *again, size=-3 * LEVEL, slip=SLIP)


def test_a_value_at_an_end_of_its_range_has_one_side() -> None:
    """It says nothing against a series, and belongs to it once there is one."""
    dark = moved()
    dark[320:] = 0.0
    pairs = [moved((place, size * LEVEL), start=dark) for place in (16, 160, 48) for size in (2, -3)]
    ends = [moved((place, 3 * LEVEL), start=dark) for place in (336, 352, 368, 384, 400)]
    assert mirrored(*pairs, *ends, size=3 * LEVEL, place=640, start=dark, slip=SLIP)
    assert not mirrored(*pairs, *ends, size=3 * LEVEL, place=192, start=dark, slip=SLIP)
    assert not mirrored(*pairs[:4], *ends, size=3 * LEVEL, place=640, start=dark, slip=SLIP)
    free = [moved((place, 3 * LEVEL), start=dark) for place in (32, 64)]
    assert not mirrored(*pairs, *ends, *free, size=3 * LEVEL, place=640, start=dark, slip=SLIP)


def test_two_sides_of_a_query_that_moves_on_come_in_pairs() -> None:
    """Not two of them, not with a third query that differs from one in one value, and not the flicker of one picture."""

    def paired(*others: Vector, size: int = -3, at_end: bool = False) -> bool:
        sums = sums_of(*others, moved((5, 0.4), (700, 2 * LEVEL)), moved((5, 0.4), (700, (2 + size) * LEVEL)))
        held = len(others) + 1
        order = np.arange(held, dtype=np.uint32)
        steps = round(size * LEVEL * STEPS)
        return bool(in_pairs(sums[:, 0], sums[:, 1], order, held, 24, held, held - 1, 700, steps, sums[-1], KEYS, SLIP, at_end))

    pairs = [
        moved((base, 0.1), (base + 1, 0.2), (place, side * LEVEL))
        for base, place in ((20, 300), (30, 400), (40, 500))
        for side in (1, -1)
    ]
    assert paired(*pairs)
    assert paired(*pairs, size=-2)
    assert not paired(*pairs, size=-1)
    assert paired(*pairs, size=-1, at_end=True)
    assert not paired(*pairs[:4], size=-1, at_end=True)
    assert not paired(*pairs[:2])
    assert not paired(*pairs[::2], *pairs[1::2])  # not one after the other
    assert not paired(*pairs, moved((5, 0.4), (700, 1 * LEVEL)))
    assert not paired(*pairs[:2], *(moved((60, 0.1), (place, 2 * LEVEL)) for place in (300, 400, 500)))
    assert not paired(*(moved((base, 0.1), (base + 1, 0.2), (700, side * LEVEL)) for base in (20, 30, 40) for side in (1, -1)))


def test_a_series_moves_several_values_by_one_size() -> None:
    """Or by twice that, as from one twin to the other; not by all sizes, nor the same values again."""
    even = [(place, STEP) for place in range(SERIES)]
    assert in_series(700, STEP, even)
    assert not in_series(700, 2 * STEP, even)
    assert in_series(700, 2 * STEP, [*even, *((100 + k, 2 * STEP) for k in range(len(even)))])
    assert not in_series(700, STEP, even[1:])
    assert not in_series(700, 3 * STEP, even)
    assert in_series(700, STEP, [*even, (700, STEP)])
    assert not in_series(700, STEP, [*even, (700, STEP), (700, STEP)])
    assert not in_series(700, STEP, [(700, 0.05), *even])
    assert not in_series(700, STEP, [*even, (0, STEP), (0, STEP)])
    assert not in_series(700, STEP, [*even, *((100 + k, 0.05 + 0.01 * k) for k in range(2 * SERIES + 1))])


def test_a_walk_goes_all_over_and_never_returns() -> None:
    """Each value once and far from the last, up and down; a pen, a scan and a lamp do not, and who draws has one ink."""
    places = [317 * step % DIMENSION for step in range(SIZES - 1)]
    assert walks(places)
    assert not walks(places, sizes=(0.3, 0.5))
    assert not walks(places, sizes=(-0.3,))
    assert not walks(places, sizes=(0.7, 0.7, -0.2, 0.7, -0.4))
    assert not walks(places[: WALK - 1])
    assert not walks(places, run=WALK - 1)
    assert not walks([*places, places[1]])
    assert not walks([places[1], *places])
    assert not walks(sorted(places))
    assert not walks([300 + step for step in (0, 1, 29, 28, 27, 55, 54, 53, 25)])
    turn = np.linspace(0.0, 2.0 * np.pi, 12, endpoint=False)
    assert not walks((28 * np.rint(14 + 8 * np.sin(turn)) + np.rint(14 + 8 * np.cos(turn))).astype(int).tolist())


def test_a_few_whole_levels_are_a_sensor_s() -> None:
    """Where values have levels; between them, or beyond a few, they are steps."""
    level = 1 / 255
    assert all(is_level(round(k * level * STEPS), level) for k in (-1, 1, 2, 3))
    assert is_level(round(1.1 * level * STEPS), level)
    assert not any(is_level(round(k * level * STEPS), level) for k in (0.5, 1.275, 2.55, 4, 20))
    assert not is_level(round(level * STEPS), 0.0)


def test_sizes_are_alike_but_for_rounding() -> None:
    """Equal to a hundredth, or one twice the other."""
    assert are_alike(1000, 1009)
    assert are_alike(1000, 2010)
    assert are_alike(1000, -500)
    assert not are_alike(1000, 1020)
    assert not are_alike(1000, 3000)


def test_a_query_resembles_an_anchor_or_the_newest() -> None:
    """With two sampled values at most that differ, from one of those it is compared with."""
    c = np.zeros((4, 10), np.uint8)
    c[1:] = 9
    query = np.array([1, 1, *[0] * 8], np.uint8)
    assert resembles(c, query, np.array([2, 0]), 1)
    assert resembles(c, query, np.array([2]), 0)
    assert not resembles(c, query, np.array([2]), 1)
    assert not resembles(c, np.array([1, 1, 1, *[0] * 7], np.uint8), np.array([0]), 1)


def test_an_interval_of_one_value_is_halved() -> None:
    """Between answers that differ and near its middle, one deeper than its deeper end, however short it is."""
    for reach in (0.8, 2e-4):
        earlier = sums_of(moved(), moved((700, reach)), moved((700, 2 * reach)))
        label, depth = np.array([1, 2, 2], np.int32), np.array([3, 5, 9], np.uint8)
        for share, expected in ((0.45, (6, 1)), (0.1, (0, -1))):
            (query,) = sums_of(moved((700, share * reach)))
            size = round(share * reach * STEPS)
            found = halved(earlier[:, 0], earlier[:, 1], label, depth, 3, query, 0, 700, size, KEYS)
            assert found == expected
        (query,) = sums_of(moved((700, 1.45 * reach)))
        size = round(0.45 * reach * STEPS)
        assert halved(earlier[:, 0], earlier[:, 1], label, depth, 3, query, 1, 700, size, KEYS) == (0, -1)


def test_other_values_that_moved_are_counted_once_each() -> None:
    """A calculator moves one value or two; unused places of the memory are no values."""
    assert others_moved(4, np.array([5, 5, 5, 0], np.int32)) == 0
    assert others_moved(4, np.array([5, 9, 9, 5], np.int32)) == 1
    assert others_moved(4, np.array([5, 9, 1, 9], np.int32)) == 2


@pytest.fixture(scope="module")
def pictures() -> npt.NDArray[np.float32]:
    """Handwritten digits in twenty-eight rows and columns, values from 0 to 1."""
    small = load_digits().images / 16
    large = np.kron(small, np.ones((3, 3)))
    blurred = sum(np.roll(large, (down, right), (1, 2)) for down in range(3) for right in range(3)) / 9
    return np.pad(blurred, ((0, 0), (2, 2), (2, 2))).reshape(len(small), DIMENSION).astype(np.float32)


@pytest.fixture(scope="module")
def known(pictures: npt.NDArray[np.float32]) -> Baseline:
    """A baseline of innocent readers of these pictures."""
    rng = np.random.default_rng(3)
    events = Events("large", step_ms=700)
    asked = [(client, int(rng.integers(len(pictures)))) for _ in range(20) for client in range(20)]
    lines = [events.line(f"reader-{client}", pictures[i], int(load_digits().target[i])) for client, i in asked]
    return fit_baseline(lambda: batches(lines), EngineSettings(seed=5))


def differences(picture: Vector, rng: np.random.Generator) -> list[Vector]:
    """Return a picture and its finite differences, as far as the range allows."""
    asked = [picture]
    for place in rng.permutation(DIMENSION)[:20]:
        asked += [moved((int(place), sign * STEP), start=picture).clip(0, 1) for sign in (1.0, -1.0)]
    return [query for k, query in enumerate(asked) if k == 0 or (query != picture).any()]


def stopped_after(known: Baseline, queries: list[Vector]) -> int | None:
    """Return after how many queries one client is stopped."""
    events = Events("large", step_ms=700)
    shard = Shard(EngineSettings(seed=5), known.models)
    outputs = shard.process(*batches([events.line("client", query, 3) for query in queries]))
    return min((finding.queries for finding in outputs.findings if finding.action >= ACTIONS.index("perturb")), default=None)


@pytest.mark.parametrize("seed", range(5))
def test_a_thief_who_differentiates_is_stopped_within_sixteen_queries(
    pictures: npt.NDArray[np.float32], known: Baseline, seed: int
) -> None:
    """In 784 dimensions, of which a sixteenth are sampled; and soon where every other query is innocent."""
    rng = np.random.default_rng(seed)
    asked = differences(pictures[seed], rng)
    found = stopped_after(known, asked[:30])
    assert found is not None
    assert found <= 17  # the picture itself is no query of the attack's making
    hidden = [query for pair in zip(asked[:25], pictures[100:125], strict=True) for query in pair]
    found = stopped_after(known, hidden)
    assert found is not None
    assert found <= 34


def test_a_thief_who_looks_for_a_deciding_value_is_stopped(pictures: npt.NDArray[np.float32], known: Baseline) -> None:
    """Turning one picture into another value by value, in any order, the label never changing."""
    first, second = pictures[0], pictures[1]
    asked = [first]
    for place in np.random.default_rng(1).permutation(np.flatnonzero(first != second))[:20]:
        asked.append(np.where(np.arange(DIMENSION) == place, second, asked[-1]))
    found = stopped_after(known, asked)
    assert found is not None
    assert found <= 17


def test_values_that_blink_are_no_probes(pictures: npt.NDArray[np.float32], known: Baseline) -> None:
    """One pixel by turns or by any amount, three lamps, a bar that grows, a dot that runs, and single impulses."""
    rng = np.random.default_rng(4)
    picture = pictures[7]
    blinking = [moved((300, 0.4 * (k % 2)), start=picture) for k in range(60)]
    uneven = [moved((300, float(rng.uniform(0.0, 0.4))), start=picture) for k in range(60)]
    lamps = [moved(*((int(p), 0.9 * (k >> b & 1)) for b, p in enumerate((20, 400, 700))), start=picture) for k in range(60)]
    bar = [np.where(np.arange(DIMENSION) < k, np.float32(1), picture) for k in range(60)]
    dot = [moved((28 * k % DIMENSION, 0.8), start=picture) for k in range(25)]
    impulses = [moved((int(rng.integers(DIMENSION)), float(1 + rng.random())), start=picture) for k in range(60)]
    assert [stopped_after(known, client) for client in (blinking, uneven, lamps, bar, dot, impulses)] == [None] * 6
    assert LARGEST < 0.8


@pytest.fixture(scope="module")
def known_in_8_bits(pictures: npt.NDArray[np.float32]) -> Baseline:
    """The same readers, whose cameras have a little noise and 8 bits."""
    rng = np.random.default_rng(3)
    events = Events("large", step_ms=700)
    lines = []
    for _ in range(20):
        for client in range(20):
            i = int(rng.integers(len(pictures)))
            seen = in_8_bits(pictures[i] + 0.01 * rng.normal(size=DIMENSION))
            lines.append(events.line(f"reader-{client}", seen, int(load_digits().target[i])))
    return fit_baseline(lambda: batches(lines), EngineSettings(seed=5))


def in_8_bits(picture: Vector) -> Vector:
    return np.asarray(np.rint(255 * picture.clip(0, 1)) / 255, np.float32)


def sides_on_the_move(picture: Vector, rng: np.random.Generator, step: float = 0.005) -> list[Vector]:
    """Return what ZOO asks: both sides of one value after the other, which moves by 0.03 then."""
    asked = [picture]
    point = picture.copy()
    for place in rng.permutation(np.flatnonzero((picture > 0.1) & (picture < 0.9)))[:30]:
        asked += [moved((int(place), sign * step), start=point) for sign in (1.0, -1.0)]
        point = moved((int(place), 0.03 * rng.choice([-1.0, 1.0])), start=point)
    return asked


@pytest.mark.parametrize("seed", range(3))
def test_gradients_in_8_bits_are_seen(pictures: npt.NDArray[np.float32], known_in_8_bits: Baseline, seed: int) -> None:
    """A step of two and a half levels arrives as two or three; and the query between two sides need not be asked."""
    rng = np.random.default_rng(seed)
    for asked in (differences(in_8_bits(pictures[seed]), rng), sides_on_the_move(in_8_bits(pictures[seed]), rng)):
        found = stopped_after(known_in_8_bits, [in_8_bits(query) for query in asked])
        assert found is not None
        assert found <= 30


def test_a_flicker_in_8_bits_is_no_gradient(pictures: npt.NDArray[np.float32], known_in_8_bits: Baseline) -> None:
    """One pixel a frame by up to three levels, hot pixels, and a slider that moves a few values by a level at a time."""
    rng = np.random.default_rng(4)
    picture = in_8_bits(pictures[7])
    inner = np.flatnonzero(picture > 0.1)
    frames = [moved((int(rng.choice(inner)), rng.integers(-3, 4) / 255), start=picture) for _ in range(60)]
    hot = [moved((int(inner[rng.integers(5)]), rng.integers(-3, 4) / 255), start=picture) for _ in range(60)]
    flat = (0.5 + 0.02 * (picture - picture.mean())).astype(np.float32)
    slider = [0.5 + share * (flat - 0.5) for share in np.linspace(0.5, 1.5, 60)]
    assert [stopped_after(known_in_8_bits, [in_8_bits(query) for query in client]) for client in (frames, hot, slider)] == [
        None
    ] * 3
