"""A change of brightness, contrast or gamma is told from a blend of two pictures."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.tone import is_toned
from detector.engine.memory.reservoir import SAMPLED
from detector.engine.models.reference import C_HIGHEST, C_LEVELS, C_LOWEST, C_UNIT

Vector = npt.NDArray[np.float64]


def step_of(before: Vector, after: Vector) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return the step between two pictures (values in [0, 1], sent in 8 bits), and the first one, as the memory has them."""
    first, second = (
        np.rint(np.rint(np.clip(values, 0.0, 1.0) * 255) / 255 * C_LEVELS + C_LOWEST) for values in (before, after)
    )
    return ((second - first) * C_UNIT).astype(np.float32), first.astype(np.uint8)


def looks_toned(before: Vector, after: Vector) -> bool:
    delta, first = step_of(before, after)
    return bool(is_toned(delta, first, C_UNIT, C_LOWEST, C_HIGHEST))


def picture(seed: int) -> Vector:
    """Return the sampled values of a picture of all greys."""
    return np.random.default_rng(seed).random(SAMPLED)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    "tone",
    [
        lambda x, much: x + 0.3 * much,
        lambda x, much: 0.5 + (1.0 - 0.6 * much) * (x - 0.5),
        lambda x, much: 0.5 + (1.0 + 0.8 * much) * (x - 0.5),
        lambda x, much: x ** (1.0 + much),
    ],
    ids=["brightness", "less contrast", "more contrast", "gamma"],
)
def test_a_change_of_intensity_is_told(seed: int, tone: Callable[[Vector, float], Vector]) -> None:
    """Brightness, contrast and gamma, also where they clip: a person who moves a slider makes no search."""
    for less, more in ((0.0, 1.0), (0.4, 0.5), (1.0, 0.2)):
        assert looks_toned(tone(picture(seed), less), tone(picture(seed), more))


@pytest.mark.parametrize("seed", range(10))
def test_a_blend_of_two_pictures_is_no_change_of_intensity(seed: int) -> None:
    """It makes dark values brighter and bright ones darker, as less contrast does, but unevenly."""
    one, other = picture(seed), picture(seed + 100)
    for share in (1.0, 0.5, 0.1):
        assert not looks_toned(one, one + share * (other - one))


def test_values_at_the_ends_of_the_range_decide_where_there_are_no_others() -> None:
    """A black and white picture has one step for each of the two; whatever follows that is a change of intensity."""
    drawn = (picture(3) > 0.5).astype(np.float64)
    assert looks_toned(drawn, 0.2 + 0.6 * drawn)
    assert not looks_toned(drawn, drawn + 0.3 * (picture(4) - drawn))
