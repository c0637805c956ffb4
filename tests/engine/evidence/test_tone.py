"""A change of brightness, contrast or gamma is told from a blend of two pictures."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.tone import NOISE, halves_texture, is_toned
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
    return bool(is_toned(delta, first, C_UNIT, NOISE, C_LOWEST, C_HIGHEST))


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


def texture_halved(first: Vector, second: Vector, values: Vector, position: float = 0.5) -> bool:
    one, other, query = (
        np.rint(np.rint(np.clip(x, 0.0, 1.0) * 255) / 255 * C_LEVELS + C_LOWEST).astype(np.uint8)
        for x in (first, second, values)
    )
    return bool(halves_texture(one, other, query, position, 0.12, NOISE, C_LOWEST, C_HIGHEST))


def plain(seed: int, brightness: float) -> Vector:
    """Return the sampled values of a nearly plain surface: 2% of texture."""
    return brightness + 0.02 * np.random.default_rng(seed).normal(size=SAMPLED)


@pytest.mark.parametrize("seed", range(20))
def test_the_middle_of_two_plain_surfaces_has_half_of_their_texture(seed: int) -> None:
    """A surface under half the light lies near the middle as well, but has the texture of one end or its own."""
    first, second = plain(seed, 0.3), plain(seed + 100, 0.7)
    assert texture_halved(first, second, (first + second) / 2)
    assert texture_halved(first, second, 0.6 * first + 0.4 * second, 0.4)
    assert not texture_halved(first, second, first + 0.2)
    assert not texture_halved(first, second, second - 0.2)
    assert not texture_halved(first, second, plain(seed + 200, 0.5))


@pytest.mark.parametrize("seed", range(10))
def test_what_only_brightness_or_contrast_tells_apart_is_not_halved(seed: int) -> None:
    """Halving the light of one picture, or fading it to nothing, is no search between two."""
    one = picture(seed)
    assert not texture_halved(0.2 + 0.4 * one, 0.3 + 0.6 * one, 0.25 + 0.5 * one)
    assert not texture_halved(0.3 + 0.4 * one, np.full(SAMPLED, 0.3), 0.3 + 0.2 * one)
    assert not texture_halved(0.004 * one, 0.8 * one, 0.4 * one)


@pytest.mark.parametrize("seed", range(10))
def test_blends_of_two_pictures_of_much_texture_pass(seed: int) -> None:
    """Away from plain surfaces no change of intensity lies on the line between two pictures."""
    one, other = picture(seed), picture(seed + 100)
    assert texture_halved(one, other, (one + other) / 2)
