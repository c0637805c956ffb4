"""The picture of many clients: a file of the right size, the same bytes every time, from one group to nine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detector.offline.pictures import BENIGN, evidence_picture
from detector.offline.trace import Trace


def test_evidence_is_drawn_the_same_every_time(
    make_trace: Callable[..., Trace], size_of: Callable[[Path], tuple[int, int]], tmp_path: Path
) -> None:
    """With and without benign clients, from one group to nine, pictures are 1400 by 900, and repeat."""
    for groups in (1, 5, 6, 9):
        traces = [make_trace(f"thief-{i}-{j}", f"attack {i}", hits=2 * i + j) for i in range(groups) for j in range(2)]
        traces += [make_trace(f"reader-{i}", BENIGN, queries=30 + i) for i in range(3 * (groups % 2))]
        for name in ("one.png", "two.png"):
            evidence_picture(traces, tmp_path / name)
        assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
        assert size_of(tmp_path / "one.png") == (1400, 900)


def test_a_client_without_a_look_can_be_drawn(
    make_trace: Callable[..., Trace], size_of: Callable[[Path], tuple[int, int]], tmp_path: Path
) -> None:
    """A single query, no novelty."""
    evidence_picture([make_trace("short", "attack", queries=1)], tmp_path / "alone.png")
    assert size_of(tmp_path / "alone.png") == (1400, 900)


def test_nothing_is_not_drawn(tmp_path: Path) -> None:
    """Without traces there is no picture."""
    with pytest.raises(ValueError, match="nothing to draw"):
        evidence_picture([], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
