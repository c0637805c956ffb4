"""Blocks: estimates of a gradient are seen through a JPEG, and what else changes a block, or all of them a little, is not."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.clients import ClientTable
from detector.engine.evidence.blocks import SIBLINGS, changed_blocks, is_one_block, probed_in_block
from detector.engine.evidence.probe import CHANNEL
from detector.engine.evidence.registry import PROBE
from detector.engine.fitting.reference import fit_reference
from detector.engine.judge import Judge
from detector.engine.memory.reservoir import SAMPLED
from detector.engine.models.novelty import Novelty
from detector.engine.models.reference import Reference
from detector.engine.policy import PolicySettings, thresholds_for
from detector.testing import Events, batches
from tests.engine.jpegs import SIDE, Floats, compressed, scenes

QUALITY = 85
STEP = 3.0  # grey levels by which a probe moves one value: 1% of the range
BLOCKS = np.repeat(np.arange(4, dtype=np.int16), SAMPLED // 4)
NOISE = 12.0


@pytest.fixture(scope="module")
def reference() -> Reference:
    return fit_reference(compressed(scenes(1, 1500), QUALITY)[0], 2, seed=1)


def evidence(reference: Reference, asked: Floats) -> float:
    """Return the evidence of a client that sends these pictures (n, SIDE * SIDE) as JPEGs."""
    idle = Novelty(None)
    judge = Judge(thresholds_for(PolicySettings(), None, None), PolicySettings(), idle)
    table = ClientTable("m", reference, idle, judge, max_clients=9, lateness_ms=1)
    events = Events("m")
    arrived = compressed(np.rint(np.clip(asked, 0.0, 255.0)), QUALITY)[0]
    (batch,) = batches([events.line("c", picture, 0) for picture in arrived])
    table.process(batch)
    return float(table.columns.evidence.peak[0, PROBE])


def differences(picture: Floats, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield a picture, and then both sides of its values in random order."""
    yield picture
    for value in rng.permutation(picture.size):
        for side in (STEP, -STEP):
            probe = picture.copy()
            probe[value] += side
            yield probe


@pytest.mark.parametrize("cover", [0, 1, 3])
def test_an_estimate_of_a_gradient_is_seen_through_a_jpeg(reference: Reference, cover: int) -> None:
    """Though no single value arrives as it was sent; also among other pictures, `cover` of them for each probe."""
    rng = np.random.default_rng(2)
    others = iter(scenes(3))
    asked = []
    for probe in list(differences(scenes(4, 1)[0], rng))[:120]:
        asked += [probe, *(next(others) for _ in range(cover))]
    assert evidence(reference, np.stack(asked)) > CHANNEL.floor


@pytest.mark.parametrize("kind", ["noise", "faint", "dots", "squares", "line", "gain", "one lamp"])
def test_other_versions_of_a_picture_are_no_probes(reference: Reference, kind: str) -> None:
    """Noise of a sensor, large and faint; dots, squares and a faint line that are drawn; gain; and one value that flickers."""
    rng = np.random.default_rng(5)
    asked = []
    for picture in scenes(6, 4):
        for turn in range(40):
            version = picture.copy()
            if kind == "noise":
                version += 2.0 * rng.standard_normal(picture.size)
            elif kind == "faint":
                version += rng.choice([-1.0, 0.0, 1.0], picture.size, p=[0.02, 0.96, 0.02])
            elif kind == "dots":
                version[rng.integers(picture.size)] = 255.0
            elif kind == "squares":
                top, left = rng.integers(SIDE - 4, size=2)
                version.reshape(SIDE, SIDE)[top : top + 4, left : left + 4] = 128.0
            elif kind == "line":
                version.reshape(SIDE, SIDE)[SIDE // 2, : turn % SIDE] += STEP
            elif kind == "gain":
                version *= 1.0 + 0.002 * (turn - 20)
            else:
                version[123] += rng.choice([-STEP, 0.0, STEP])
            asked.append(version)
    assert evidence(reference, np.stack(asked)) < 0.5 * CHANNEL.floor


@given(st.sets(st.integers(0, SAMPLED - 1), max_size=SAMPLED), st.integers(1, 9), st.floats(0.1, 90.0))
def test_changes_are_told_by_block(moved: set[int], size: int, little: float) -> None:
    """The bits are those of the blocks that changed, unless these changed by more than little."""
    start = np.full(SAMPLED, 100, np.uint8)
    values = start.copy()
    values[list(moved)] += np.uint8(size)
    blocks = {int(BLOCKS[j]) for j in moved}
    few = len(moved) * size**2 <= little * sum(int(block) in blocks for block in BLOCKS)
    assert changed_blocks(start, values, BLOCKS, little) == (sum(1 << block for block in blocks) if few else 0)
    assert is_one_block(start, values, BLOCKS) == (len(blocks) == 1)


def star(changes: list[list[int]], size: int = 2) -> npt.NDArray[np.uint8]:
    """Return the sampled values of a picture, and of others in which these blocks differ from it in a value each."""
    c = np.full((1 + len(changes), SAMPLED), 100, np.uint8)
    for place, blocks in enumerate(changes, 1):
        for block in blocks:
            c[place, np.flatnonzero(block == BLOCKS)[place]] += np.uint8(size)
    return c


@pytest.mark.parametrize(
    ("changes", "size", "middle"),
    [
        ([[0], [1], [0], [2]], 2, 0),
        ([[0], [1], [0]], 2, -1),
        ([[0], [0], [0], [0]], 2, -1),
        ([[0], [0], [1], [1]], 2, -1),
        ([[0], [1], [0], [1, 2], [2]], 2, -1),
        ([[0], [1], [0], [2]], 8, -1),
    ],
    ids=["star", "too few", "one block", "two ends", "one of several blocks", "large"],
)
def test_a_star_has_several_pictures_in_several_blocks(changes: list[list[int]], size: int, middle: int) -> None:
    """The query is the last of them."""
    assert SIBLINGS == 3
    c = star(changes, size)
    assert probed_in_block(c[-1], c, np.arange(len(changes)), 0, BLOCKS, NOISE) == middle
