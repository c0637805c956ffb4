"""JPEG: whether a population's pictures went through one, and how far that moves a picture.

A JPEG transforms blocks of 8x8 pixels by cosines and rounds each coefficient to multiples of its own step. A picture that was
read from one still shows these steps: within whole blocks its coefficients lie near multiples of them, up to the rounding of
the pixels (step estimation as in Fan and de Queiroz, IEEE Transactions on Image Processing 2003). The steps are larger than a
grey level, most of all where a picture varies quickly. So a picture that comes from two others, such as their middle, arrives
several times farther from its place than 8 bits alone would move it.

Known for square grey pictures of 8 bits, whose blocks may begin at any pixel. Not found: a JPEG of colours, one that was scaled
or shifted afterwards by an amount of its own for each picture. `qualities` tells several qualities apart.
Steps of one level are not told from no steps. So a quality of 94 or more, which has many such steps, passes for none.

The pictures that are known lie on the steps already, and another pass moves them little. So each coefficient of a picture that
is sent through the JPEG again is first put anywhere within its step. Then it moves as a picture that never was a JPEG.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.blocks import LEAST_SAMPLED
from detector.engine.fitting.yardsticks import GRID_ROWS, grid_step

BLOCK = 8
STEPS = np.arange(2, 256)  # of a coefficient, in grey levels: what a table of 8 bits can say
PICTURES = 8000  # pictures that are looked at
BLOCKS = 4000  # blocks that are looked at
GLIMPSE = 400  # the same while it is not known where they begin
SLOW = 4  # frequencies that are looked at until then, each way: JPEG rounds these least, and pictures have most of them
LEAST_VALUES = 100  # least number of values of a coefficient beyond its first step: fewer may share one by accident
BEYOND = 0.4  # where the values beyond the first step begin, in steps
LEAST_STEPPED = 6  # least number of coefficients with steps
MOST_AWAY = 0.5  # largest distance from a multiple: rounded pixels leave a deviation of 0.29, a step of 2 spreads up to 1
LEAST_NEAR = 0.75  # least share of the values that are so near; clients who send no JPEG are the others
EVIDENT = 0.8  # least share of the coefficients with enough values that have steps of 2 levels or more
EVEN = 1e6  # times its mean size, an exponential is even over any step
MIDDLES = 400  # middles of two pictures that are sent through the JPEG

Array = npt.NDArray[np.float64]


class Jpeg(NamedTuple):
    """How square pictures of `side` pixels were compressed, whose values are whole multiples of a grey `level`.

    The first whole block begins at pixel (`top`, `left`). `steps` (8, 8) are in grey levels: 0 where there are none, infinite
    where hardly any coefficient differs from 0. `phase` is where the multiples of the first step begin. `spreads` (8, 8) are
    the mean sizes of the coefficients before the JPEG, in grey levels.
    """

    side: int
    level: float
    top: int
    left: int
    steps: Array
    phase: float
    spreads: Array


def _cosines() -> Array:
    """Return the orthonormal transform (8, 8), frequencies by rows."""
    places = np.arange(BLOCK)
    waves = np.cos(np.pi * (places + 0.5) * places[:, None] / BLOCK) * math.sqrt(2.0 / BLOCK)
    waves[0] /= math.sqrt(2.0)
    return waves


COSINES = _cosines()


def jpeg_of(vectors: npt.NDArray[np.float32]) -> Jpeg | None:
    """Return how the pictures (n, dimension) of grey levels were compressed, None if there is no sign of it.

    Their values lie on one grid, whose step is a grey level. Pictures that occur several times count once.
    """
    side = math.isqrt(vectors.shape[1])
    if side * side != vectors.shape[1] or side < BLOCK:
        return None
    rng = np.random.default_rng(len(vectors))
    distinct = rng.permutation(np.unique(vectors[rng.permutation(len(vectors))[:PICTURES]], axis=0)).astype(np.float64)
    level = grey_level(distinct)
    if level == 0.0:
        return None
    pictures = (distinct / level).reshape(-1, side, side)
    ends = float(pictures.min()), float(pictures.max())
    found = [
        (_glimpse(_transformed(_whole_blocks(pictures, ends, (top, left), GLIMPSE))), -top, -left)
        for top in range(min(BLOCK, side - BLOCK + 1))
        for left in range(min(BLOCK, side - BLOCK + 1))
    ]
    stepped, top, left = max(found)
    if stepped == 0:
        return None
    coefficients = _transformed(_whole_blocks(pictures, ends, (-top, -left), BLOCKS))
    steps, phase = _steps_of(coefficients)
    if _evidence(steps) == 0:
        return None
    return Jpeg(side, level, -top, -left, steps, phase, spreads_of(coefficients, steps))


def grey_level(values: Array) -> float:
    """Return the step of the grid of the values (n, dimension), 0 where they lie on none as fine as grey levels are."""
    spread = float(np.ptp(values))
    if not (spread > 0.0 and math.isfinite(spread)):
        return 0.0
    sample = values[:: max(1, len(values) // GRID_ROWS)].ravel()
    return grid_step((sample - sample.min()) / spread) * spread


def _whole_blocks(pictures: Array, ends: tuple[float, float], place: tuple[int, int], most: int) -> Array:
    """Return up to `most` blocks (n, 8, 8) that lie within the pictures (n, side, side) and touch neither end of their range.

    A value at an end may have been clipped.
    """
    side = pictures.shape[1]
    top, left = place
    down, across = (side - top) // BLOCK, (side - left) // BLOCK
    inside = pictures[: math.ceil(4 * most / (down * across)), top : top + BLOCK * down, left : left + BLOCK * across]
    blocks = inside.reshape(-1, down, BLOCK, across, BLOCK).transpose(0, 1, 3, 2, 4).reshape(-1, BLOCK, BLOCK)
    free = (blocks.min(axis=(1, 2)) > ends[0]) & (blocks.max(axis=(1, 2)) < ends[1])
    return np.asarray(blocks[free][:most])


def _transformed(blocks: Array) -> Array:
    return np.asarray(COSINES @ blocks @ COSINES.T)


def _steps_of(coefficients: Array) -> tuple[Array, float]:
    """Return the steps (rows, columns) of coefficients (n, rows, columns), and the phase of the first; see `Jpeg`."""
    steps = np.zeros(coefficients.shape[1:])
    phase = 0.0
    for row in range(len(steps)):
        for column in range(len(steps)):
            values = coefficients[:, row, column]
            if row == column == 0:
                steps[0, 0], phase = _step_with_phase(values)
            else:
                steps[row, column] = _step_of(values)
    return steps, phase


def _step_of(values: Array) -> float:
    """Return the largest step near whose multiples most of the values beyond the first one lie.

    It is infinite where too few values lie beyond any step, and 0 where the values have none.
    """
    size = np.abs(values)
    told = np.sort(size)[-LEAST_VALUES] if len(size) >= LEAST_VALUES else 0.0
    steps = STEPS[told >= BEYOND * STEPS].astype(np.float64)[:, None]
    if len(steps) == 0:
        return math.inf
    beyond = size >= BEYOND * steps
    near = np.abs(size - steps * np.rint(size / steps)) <= MOST_AWAY
    found = steps[np.count_nonzero(near & beyond, axis=1) >= LEAST_NEAR * np.count_nonzero(beyond, axis=1)]
    return float(found.max(initial=0.0))


def _step_with_phase(values: Array) -> tuple[float, float]:
    """Return the same for a coefficient whose multiples begin anywhere, and where they do."""
    if len(values) < LEAST_VALUES:
        return math.inf, 0.0
    for step in STEPS[np.ptp(values) > 4.0 * STEPS][::-1].tolist():
        phase = float(np.angle(np.exp(2j * np.pi * values / step).mean()) * step / (2.0 * np.pi))
        away = np.abs(values - phase - step * np.rint((values - phase) / step))
        if np.count_nonzero(away <= MOST_AWAY) >= LEAST_NEAR * len(values):
            return float(step), phase
    return 0.0, 0.0


def _evidence(steps: Array) -> int:
    """Return how many coefficients have steps, 0 if they are too few to be those of a JPEG."""
    stepped = np.count_nonzero((steps > 0.0) & np.isfinite(steps))
    told = np.count_nonzero(np.isfinite(steps))
    return int(stepped) if stepped >= max(LEAST_STEPPED, EVIDENT * told) else 0


def _glimpse(coefficients: Array) -> int:
    """Return the `_evidence` of the slow waves among coefficients (n, 8, 8); the slowest soon tell where there is none.

    The mean is not asked, since a step whose phase is unknown takes longest.
    """
    if not any(0.0 < _step_of(coefficients[:, row, column]) < math.inf for row, column in ((0, 1), (1, 0), (1, 1))):
        return 0
    return _evidence(_steps_of(coefficients[:, :SLOW, :SLOW])[0])


def spreads_of(coefficients: Array, steps: Array) -> Array:
    """Return the mean sizes (8, 8) of coefficients (n, 8, 8) before they were rounded to `steps`, as if exponential.

    The share that is rounded to 0 tells them. Where nearly all are, sizes go on falling by the power of the frequency by which
    those of the others fall. It is the median over pairs, since a single step may have been mistaken.
    """
    beyond = np.clip((np.abs(coefficients) > 0.5 * steps).mean(axis=0), 1.0 / len(coefficients), 0.99)
    stepped = (steps > 0.0) & np.isfinite(steps)
    spreads = 0.5 * np.where(stepped, steps, 1.0) / -np.log(beyond)
    stepped[0, 0] = False
    slowness = -np.log(np.maximum(np.hypot.outer(np.arange(BLOCK), np.arange(BLOCK)), 1.0))
    known, sizes = slowness[stepped], np.log(spreads[stepped])
    one, other = np.nonzero(known[:, None] > known)
    power = np.median((sizes[one] - sizes[other]) / (known[one] - known[other]))
    return np.asarray(np.where(np.isfinite(steps), spreads, np.exp(np.median(sizes - power * known) + power * slowness)))


def blocks_of(jpeg: Jpeg, sampled: npt.NDArray[np.int32]) -> npt.NDArray[np.int16]:
    """Return the number of the block in which each of the `sampled` pixels lies; empty where too few lie in each.

    >>> jpeg = Jpeg(12, 1.0, 4, 0, np.ones((8, 8)), 0.0, np.ones((8, 8)))
    >>> blocks_of(jpeg, np.arange(0, 144, 9, dtype=np.int32)).tolist()
    [0, 1, 0, 0, 0, 1, 2, 2, 2, 3, 2, 2, 2, 3, 2, 2]
    """
    rows, columns = np.divmod(sampled, jpeg.side)
    across = (jpeg.side + -jpeg.left % BLOCK - 1) // BLOCK + 1
    numbers = (rows + -jpeg.top % BLOCK) // BLOCK * across + (columns + -jpeg.left % BLOCK) // BLOCK
    told = len(sampled) >= LEAST_SAMPLED * len(np.unique(numbers))
    return np.asarray(numbers if told else numbers[:0], np.int16)


def _blocks_of(levels: Array, jpeg: Jpeg) -> Array:
    """Return the blocks (n, down, across, 8, 8) of pictures (n, dimension); those at the edges are filled up with these."""
    before = (-jpeg.top) % BLOCK, (-jpeg.left) % BLOCK
    after = tuple(-(jpeg.side + more) % BLOCK for more in before)
    padded = np.pad(levels.reshape(-1, jpeg.side, jpeg.side), ((0, 0), *zip(before, after, strict=True)), mode="edge")
    n, rows, columns = padded.shape
    return padded.reshape(n, rows // BLOCK, BLOCK, columns // BLOCK, BLOCK).transpose(0, 1, 3, 2, 4)


def _pictures_of(blocks: Array, jpeg: Jpeg) -> Array:
    """Undo `_blocks_of`."""
    n, down, across = blocks.shape[:3]
    top, left = (-jpeg.top) % BLOCK, (-jpeg.left) % BLOCK
    whole = blocks.transpose(0, 1, 3, 2, 4).reshape(n, BLOCK * down, BLOCK * across)
    return whole[:, top : top + jpeg.side, left : left + jpeg.side].reshape(n, -1)


def through_jpeg(levels: Array, jpeg: Jpeg) -> Array:
    """Return pictures (n, dimension) in grey levels as the JPEG leaves them; blocks at the edges are filled up with these."""
    phase = np.zeros((BLOCK, BLOCK))
    phase[0, 0] = jpeg.phase
    steps = np.maximum(np.where(np.isfinite(jpeg.steps), jpeg.steps, 1.0), 1.0)
    rounded = phase + steps * np.rint((_transformed(_blocks_of(levels, jpeg)) - phase) / steps)
    seen = COSINES.T @ np.where(np.isfinite(jpeg.steps), rounded, 0.0) @ COSINES
    return np.rint(_pictures_of(seen, jpeg))


def before_jpeg(levels: Array, jpeg: Jpeg, rng: np.random.Generator) -> Array:
    """Return pictures (n, dimension) in grey levels as they may have been before the JPEG.

    A coefficient other than 0 may have been anywhere within half a step. Of those that became 0 small ones are likelier.
    """
    coefficients = _transformed(_blocks_of(levels, jpeg))
    half = 0.5 * jpeg.steps
    spreads = np.where(np.abs(coefficients) <= half, jpeg.spreads, EVEN * jpeg.spreads)
    spreads[..., 0, 0] *= EVEN
    away = -spreads * np.log1p(rng.random(coefficients.shape) * np.expm1(-half / spreads))
    moved = coefficients + rng.choice([-1.0, 1.0], coefficients.shape) * away
    return _pictures_of(COSINES.T @ moved @ COSINES, jpeg)


def displaced(vectors: npt.NDArray[np.float32], jpeg: Jpeg, seed: int) -> tuple[Array, Array]:
    """Return how far a JPEG moves pictures, and the middles of two of them; both (n, dimension), in the unit of the `vectors`.

    A middle is compared with that of its two ends as they arrived.
    """
    rng = np.random.default_rng(seed)
    drawn = vectors[rng.integers(len(vectors), size=2 * MIDDLES)].astype(np.float64) / jpeg.level
    return moved_by(before_jpeg(drawn, jpeg, rng), jpeg)


def moved_by(ends: Array, jpeg: Jpeg) -> tuple[Array, Array]:
    """Return the same for pictures (2 * n, dimension) in grey levels that went through no JPEG yet, and n middles of two."""
    half = len(ends) // 2
    arrived = through_jpeg(ends, jpeg)
    middles = through_jpeg(0.5 * (ends[:half] + ends[half:]), jpeg) - 0.5 * (arrived[:half] + arrived[half:])
    return jpeg.level * (arrived - ends), jpeg.level * middles
