"""Circle: which records of two numbers lie on one ellipse about an earlier one."""

import numpy as np

from detector.engine.evidence.circle import LEAST, circle_centre

COORDINATES = 24
CENTRE = np.array([400.0, -900.0])
LEVEL = 5.0


def is_circle(records: np.ndarray, *, level: float = LEVEL) -> bool:
    """Ask about the last of the records (n, 2), the first of which is the centre; all lie on the grid."""
    rounded = np.rint(np.rint(records / level) * level)
    z = np.zeros((COORDINATES, len(rounded) - 1), np.int16)
    z[:2] = rounded[:-1].T
    query = np.zeros(COORDINATES, np.float32)
    query[:2] = rounded[-1]
    held = z.shape[1]
    near = np.argsort(np.square(rounded[:-1] - rounded[-1]).sum(axis=1), kind="stable")[:8]
    order, levels = np.arange(held, dtype=np.uint32), np.full(COORDINATES, level, np.float32)
    return int(circle_centre(query, z, order, held, near, levels)) == 0


def around(radii: np.ndarray, seed: int, shape: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Return the centre, and records about it at these distances in random directions, in a thief's scale of the columns."""
    angles = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi, len(radii))
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] * shape
    return np.vstack([CENTRE, CENTRE + ways])


def share(records: list[np.ndarray], *, level: float = LEVEL) -> float:
    """Return the share of the sessions whose last record lies on a circle."""
    return float(np.mean([is_circle(one, level=level) for one in records]))


def test_probes_at_one_distance_in_random_directions_are_a_circle() -> None:
    """Nobody knows how the thief scales his columns."""
    for shape in ((1.0, 1.0), (1.3, 1.0), (0.8, 1.1)):
        assert share([around(np.full(9, 3000.0), seed, shape) for seed in range(40)]) > 0.7


def test_a_few_probes_are_none() -> None:
    """Through the query and any other record there is an ellipse."""
    assert share([around(np.full(LEAST, 3000.0), seed) for seed in range(40)]) == 0.0


def test_draws_about_a_record_are_no_circle() -> None:
    """Their distances vary: of normal and uniform draws, and of lengths that are drawn."""
    rng = np.random.default_rng(7)
    normal = [np.hypot(*rng.normal(0.0, 2000.0, (2, 12))) for _ in range(100)]
    uniform = [rng.uniform(2500, 3500, 12) for _ in range(100)]
    assert share([around(radii, seed) for seed, radii in enumerate(normal + uniform)]) <= 0.01


def test_a_plan_on_a_lattice_is_no_circle() -> None:
    """Its corners lie at one distance, and some of its other places do."""
    rng = np.random.default_rng(8)
    steps = np.array([(x, y) for x in range(-4, 5) for y in range(-4, 5) if (x, y) != (0, 0)], np.float64)
    for size in (300.0, 700.0):
        plans = [np.vstack([CENTRE, CENTRE + size * rng.permutation(steps)[:40]]) for _ in range(40)]
        assert share(plans) == 0.0


def test_sliders_are_no_circle() -> None:
    """One column moves at a time, so values come again."""
    rng = np.random.default_rng(9)
    sessions = []
    for _ in range(60):
        here = CENTRE.copy()
        records = [here.copy()]
        for _ in range(30):
            here[rng.integers(2)] = rng.integers(-20, 20) * 200.0
            records.append(here.copy())
        sessions.append(np.array(records))
    assert share(sessions) == 0.0


def test_cover_and_an_odd_probe_between_hide_no_circle() -> None:
    """Records anywhere, and one at another distance, do not count against it."""
    rng = np.random.default_rng(10)
    sessions = []
    for seed in range(40):
        probes = around(np.full(9, 3000.0), seed)
        cover = rng.uniform(-15000, 15000, (30, 2))
        odd = around(np.full(1, 6000.0), seed)[1:]
        sessions.append(np.vstack([probes[:4], cover[:15], probes[4:6], cover[15:], odd, probes[6:]]))
    assert share(sessions) > 0.6


def test_a_coarse_grid_says_little() -> None:
    """Where moves are a few levels long, many records lie at one distance up to rounding."""
    assert share([around(np.full(9, 3000.0), seed) for seed in range(40)], level=1200.0) == 0.0
