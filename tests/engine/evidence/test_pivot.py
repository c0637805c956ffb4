"""A fade keeps a level that is known beforehand; a search towards a plain picture keeps any."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.pivot import OWN, USUAL, keeps_odd_level, keeps_usual_level

LOWEST, HIGHEST = 0.0, 250.0
NOISE = 2.0 * (1.0 + 1.0) / 12.0  # the memory's rounding and that of 8 bits
PLACES = 48


def picture(seed: int) -> npt.NDArray[np.float64]:
    """A picture of dark values, with some contrast."""
    return np.random.default_rng(seed).uniform(40.0, 110.0, PLACES)


def stored(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """The picture as it is retained."""
    return np.rint(np.clip(values, LOWEST, HIGHEST)).astype(np.uint8)


def odd(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> bool:
    """Whether the way between the two is odd, either way round."""
    found = {bool(keeps_odd_level(stored(a), stored(b), NOISE, LOWEST, HIGHEST)) for a, b in ((first, second), (second, first))}
    assert len(found) == 1
    return found.pop()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_a_search_towards_a_plain_picture_is_odd(seed: int, share: float) -> None:
    """Its interval shrinks by a half, and the level that it keeps is that of the plain picture."""
    first, plain = picture(seed), np.full(PLACES, 180.0)
    assert odd(first, share * first + (1.0 - share) * plain)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("slope", [0.1, 0.5, 0.75])
def test_usual_changes_of_intensity_are_not(seed: int, slope: float) -> None:
    """Less light, more exposure, less contrast about grey, the picture's mean or its background; brightness alone."""
    first = picture(seed)
    for level in (LOWEST, HIGHEST, 0.5 * (LOWEST + HIGHEST), first.mean(), np.median(first), first.min(), first.max()):
        assert not odd(first, level + slope * (first - level))
    assert not odd(first, first + 60.0)


@pytest.mark.parametrize("seed", range(20))
def test_faint_pictures_that_are_dimmed_tell_nothing(seed: int) -> None:
    """Of contents of a grey level or two rounding makes others, and a straight function of them keeps any level."""
    faint = 120.0 + np.random.default_rng(seed).normal(size=PLACES)
    for light in (0.1, 0.5, 0.85, 0.92):
        assert not odd(faint, LOWEST + light * (faint - LOWEST))


def test_what_is_too_faint_or_clipped_tells_nothing() -> None:
    """Two plain pictures differ in brightness, and of a clipped one most values are at an end of the range."""
    first = picture(1)
    assert not odd(100.0 + 0.02 * first, np.full(PLACES, 180.0))
    assert not odd(np.where(np.arange(PLACES) % 3 == 0, first, 0.0), np.full(PLACES, 180.0))


@pytest.mark.parametrize(("level", "usual"), [(180.0, False), (20.0, True), (235.0, True), (125.0, True)])
def test_levels_that_devices_keep_are_usual(level: float, *, usual: bool) -> None:
    """Black and white are not exactly the ends of the range in every encoding."""
    values = stored(np.full(PLACES, 70.0))
    assert keeps_usual_level(level, values, 70.0, LOWEST, HIGHEST) == usual
    assert keeps_usual_level(70.0 + 0.9 * OWN * HIGHEST, values, 70.0, LOWEST, HIGHEST)
    assert not keeps_usual_level(70.0 + 1.1 * OWN * HIGHEST, values, 70.0, LOWEST, HIGHEST)
    assert OWN < USUAL
