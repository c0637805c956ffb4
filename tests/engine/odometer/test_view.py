"""What a copy of the service learns from, against its formula in plain numpy."""

import numpy as np
import pytest

from detector.engine.memory.reservoir import LABEL_TOLD, MARGIN_LEVELS, MISLED, NO_MARGIN, OUTDATED
from detector.engine.odometer.view import Retained, view_of
from tests.engine.odometer.learned import LABELS, judge, queries


@pytest.mark.parametrize("table", [False, True])
def test_lessons_are_what_the_retained_queries_were_told(table: bool) -> None:
    """Margins become probabilities to the last bit; what was told otherwise is a label alone, or none that is known."""
    rng = np.random.default_rng(7)
    z, c = queries(64, 3)
    z[0] = 32_000  # farther than copies look
    label = rng.choice([*LABELS, 999], 64).astype(np.int32)
    mark = rng.choice([0, 0, 0, LABEL_TOLD, MISLED, OUTDATED], 64).astype(np.uint8)
    margin = rng.integers(-50, 2000, 64).astype(np.int16)
    margin[::5] = NO_MARGIN
    view = view_of(judge(table=table))
    found = view.lessons(Retained(z, c, label, mark, margin))

    rows = np.flatnonzero((mark & OUTDATED) == 0)
    known = view.judge.classes - 1
    own = np.where(mark[rows] & MISLED, known, view.judge.class_of(label[rows]))
    wanted = np.eye(known + 1, dtype=np.float32)[own]
    sure = np.flatnonzero((margin[rows] != NO_MARGIN) & ((mark[rows] & (LABEL_TOLD | MISLED)) == 0) & (own < known))
    chance = 1.0 / (1.0 + np.exp(-np.maximum(margin[rows][sure], 0) / np.float32(MARGIN_LEVELS)))
    wanted[sure, :known] = ((1.0 - chance) / (known - 1))[:, None]
    wanted[sure, own[sure]] = chance
    assert found.targets.tobytes() == wanted.tobytes()
    assert found.inputs.tobytes() == view.judge.scaled(z[rows], c[rows])[:, view.columns].tobytes()
    assert {0, known} < set(own.tolist())
    assert 0 < len(sure) < len(rows) < 64
