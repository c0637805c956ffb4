"""Pattern: a search is told from a change of intensity, also through a JPEG; and that change is excused."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.clients import ClientTable
from detector.engine.evidence.bisect import CHANNEL
from detector.engine.evidence.pattern import bent_part, contents_of, halves_pattern, is_free, may_be_bent
from detector.engine.evidence.registry import BISECT
from detector.engine.fitting.reference import fit_reference
from detector.engine.judge import Judge
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models.novelty import Novelty
from detector.engine.models.reference import Reference
from detector.engine.policy import PolicySettings, thresholds_for
from detector.testing import Events, batches
from tests.engine.jpegs import compressed, scenes

Vector = npt.NDArray[np.float64]
QUALITY = 85
NOISE = 6.0
EXTENT = 212.0


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fit_reference(compressed(scenes(1, 1500), QUALITY)[0], 2, seed=1)


def evidence(reference: Reference, ask: Callable[[Callable[[Vector], int]], None]) -> float:
    """Return the evidence of a client that asks a model through a JPEG; the model looks at one slow wave and the brightness."""
    idle = Novelty(None)
    judge = Judge(thresholds_for(PolicySettings(), None, None), PolicySettings(), idle)
    table = ClientTable("m", reference, idle, judge, max_clients=9, lateness_ms=1)
    events = Events("m")
    asked = 0

    def answer(picture: Vector) -> int:
        nonlocal asked
        seen = compressed(np.rint(np.clip(picture, 0.0, 255.0))[None].astype(np.float32), QUALITY)[0][0]
        rows = seen.reshape(20, 20)
        label = int(rows[:, :10].mean() - rows[:, 10:].mean() + 0.4 * (seen.mean() - 125.0) > 0.0)
        (batch,) = batches([events.line("c", seen, label)], first_sequence=asked)
        asked += 1
        table.process(batch)
        return label

    ask(answer)
    return float(table.columns.evidence.peak[0, BISECT])


def halve(answer: Callable[[Vector], int], near: Vector, far: Vector, halvings: int) -> None:
    label = answer(near)
    if answer(far) == label:
        return
    for _ in range(halvings):
        middle = 0.5 * (near + far)
        if answer(middle) == label:
            near = middle
        else:
            far = middle


def test_a_search_through_a_jpeg_is_seen(reference: Reference) -> None:
    """Between pictures with contents, once a few halvings exceed what the JPEG moves."""
    pictures = scenes(2, 20).astype(np.float64)

    def search(answer: Callable[[Vector], int]) -> None:
        for one, other in zip(pictures[::2], pictures[1::2], strict=True):
            halve(answer, one, other, 8)

    assert evidence(reference, search) > CHANNEL.floor


@pytest.mark.parametrize(
    "tone",
    [
        lambda x, much: x + 120.0 * (much - 0.5),
        lambda x, much: 40.0 + 170.0 * much + 0.6 * (x - x.mean()),
        lambda x, much: 255.0 * (x / 255.0) ** (2.0 ** (1.0 - 2.0 * much)),
    ],
    ids=["brightness", "brightness at little contrast", "gamma"],
)
def test_who_looks_for_the_intensity_that_turns_the_answer_is_excused(
    reference: Reference, tone: Callable[[Vector, float], Vector]
) -> None:
    """A tester halves it as a thief halves his intervals."""

    def search(answer: Callable[[Vector], int]) -> None:
        for picture in scenes(3, 8).astype(np.float64):
            low, high = 0.0, 1.0
            label = answer(tone(picture, low))
            answer(tone(picture, high))
            for _ in range(7):
                middle = 0.5 * (low + high)
                low, high = (middle, high) if answer(tone(picture, middle)) == label else (low, middle)

    assert evidence(reference, search) < CHANNEL.floor / 4.0


@given(st.integers(0, 10**6), st.floats(-500.0, 500.0), st.floats(0.3, 2.0))
def test_a_straight_function_of_a_picture_has_the_same_contents(seed: int, brighter: float, contrast: float) -> None:
    """But for the contrast; so it halves no pattern."""
    rng = np.random.default_rng(seed)
    plain = np.stack([rng.normal(size=COORDINATES) * 300.0, rng.normal(size=COORDINATES)])
    plain[1] /= np.linalg.norm(plain[1])
    first = rng.normal(size=COORDINATES) * 1000.0
    second = contrast * (first + plain[0]) + brighter * plain[1] - plain[0]
    of_first, of_second = np.empty((2, COORDINATES))
    contents_of(first, plain, of_first)
    contents_of(second, plain, of_second)
    np.testing.assert_allclose(of_second, contrast * of_first, atol=1e-6)
    middle = 0.5 * (of_first + of_second)
    way = float(np.square(second - first).sum())
    assert not halves_pattern(of_first, of_second, middle, way, 0.5, 0.12, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_of_the_brightness_is_told_from_another_picture(seed: int) -> None:
    """A gamma leaves what a square and a cube of the brightness explain; another picture leaves more than that."""
    rng = np.random.default_rng(seed)
    first = np.rint(rng.uniform(60.0, 190.0, SAMPLED))
    curved = np.rint(255.0 * (first / 255.0) ** 1.7)
    other = np.rint(first + rng.normal(size=SAMPLED) * 12.0)
    for second, bent in ((curved, True), (other, False)):
        slope, _ = bent_part(first, second, float(first.mean()), float(first.std()))
        rest = second - second.mean() - slope * (first - first.mean())
        share = float(np.square(rest).sum())
        assert may_be_bent(first.astype(np.uint8), second.astype(np.uint8), NOISE, share, EXTENT) == bent
    assert may_be_bent(first.astype(np.uint8), first.astype(np.uint8), NOISE, 1.0, EXTENT)


def test_values_near_an_end_may_be_clipped() -> None:
    """In either picture, at either end."""
    middle = np.full(SAMPLED, 100, np.uint8)
    for value, free in ((100, True), (24, False), (231, False), (40, True)):
        other = middle.copy()
        other[3] = value
        assert is_free(middle, other, 5.0, 21.0, 233.0) == free
        assert is_free(other, middle, 5.0, 21.0, 233.0) == free
