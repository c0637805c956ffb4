from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread

from tests.quality.curves import draw, found_by


def _cell(cover: float, *queries: int | None) -> dict[str, Any]:
    moments = [None if at is None else {"queries": at} for at in queries]
    detectors = {"ours/stop": {"moments": moments}, "ours/alert": {"moments": moments}}
    return {"kind": "theft", "disguise": {"cover": cover}, "cover": cover, "asked": [600], "detectors": detectors}


def test_every_attack_weighs_the_same() -> None:
    """Two attacks with different numbers of thieves count alike, and a curve never falls."""
    cells = [_cell(0.0, 10, 10, 10, None), _cell(0.0, 100)]
    assert found_by(cells, "ours/stop", [9, 10, 100]) == [0.0, 0.375, 0.875]


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    """Each share of cover has a panel; without any theft there is an empty one."""
    draw([_cell(0.0, 10, None), _cell(0.5, 40), {"kind": "innocence"}], tmp_path / "two.png")
    draw([], tmp_path / "none.png")
    two, none = imread(tmp_path / "two.png"), imread(tmp_path / "none.png")
    assert two.shape[1] == 2 * none.shape[1]
    assert np.ptp(two) > 0.5
