"""The picture of one client: a file of the right size, the same bytes every time, whoever it shows."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.image import imread

from detector.engine.memory.reservoir import COORDINATES
from detector.offline.explain import Explanation
from detector.offline.pictures import client_picture


def test_a_client_is_drawn_the_same_every_time(
    explained: Callable[[str], Explanation], size_of: Callable[[Path], tuple[int, int]], tmp_path: Path
) -> None:
    """A stopped client and one that did nothing make valid pictures of 1400 by 800, byte for byte the same twice."""
    drawn = []
    for client, levels in (("client-1", {"perturb", "block"}), ("client-4", {"allow"})):
        found = explained(client)
        assert found.level in levels
        for name in ("one.png", "two.png"):
            client_picture(found, tmp_path / name)
        assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
        assert size_of(tmp_path / "one.png") == (1400, 800)
        assert imread(tmp_path / "one.png").shape[:2] == (800, 1400)
        drawn.append((tmp_path / "one.png").read_bytes())
    assert drawn[0] != drawn[1]


def test_any_id_can_be_drawn(
    explained: Callable[[str], Explanation], size_of: Callable[[Path], tuple[int, int]], tmp_path: Path
) -> None:
    """Formulas, control characters, letters without a glyph and great length do not stop the drawing."""
    found = explained("client-1")
    for client in ("$x^2", "$\\frac{", "a\x1b[2Jb\n", "客户 😀", "x" * 256):
        odd = dataclasses.replace(found, trace=dataclasses.replace(found.trace, client=client))
        client_picture(odd, tmp_path / "odd.png")
        assert size_of(tmp_path / "odd.png") == (1400, 800)


def test_a_single_query_can_be_drawn(
    explained: Callable[[str], Explanation], size_of: Callable[[Path], tuple[int, int]], tmp_path: Path
) -> None:
    """No evaluation, no population, one dot."""
    found = explained("client-4")
    short = dataclasses.replace(
        found.trace,
        escalations=(),
        event_ids=found.trace.event_ids[:1],
        **{name: getattr(found.trace, name)[:1] for name in ("queries", "time_ms", "z", "ratio", "peak")},
        **{name: getattr(found.trace, name)[:0] for name in ("evaluations", "novelty", "rows")},
    )
    client_picture(dataclasses.replace(found, trace=short, population=np.empty((0, COORDINATES))), tmp_path / "short.png")
    assert size_of(tmp_path / "short.png") == (1400, 800)
