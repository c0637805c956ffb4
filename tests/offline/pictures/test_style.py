"""The canvas: the style of the caller is left alone, and what cannot be written is refused."""

from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import pytest

from detector.errors import OutputError
from detector.offline.pictures import BENIGN, evidence_picture
from detector.offline.pictures.style import canvas
from detector.offline.trace import Trace


def test_the_style_of_the_caller_neither_shows_nor_changes(make_trace: Callable[..., Trace], tmp_path: Path) -> None:
    """A dark style around the call gives the same bytes, and is as it was afterwards."""
    traces = [make_trace("thief", "attack", hits=6), make_trace("reader", BENIGN)]
    evidence_picture(traces, tmp_path / "light.png")
    with mpl.rc_context({"axes.facecolor": "black", "text.color": "white", "lines.linewidth": 9.0}):
        before = dict(mpl.rcParams)
        evidence_picture(traces, tmp_path / "dark.png")
        assert dict(mpl.rcParams) == before
    assert (tmp_path / "light.png").read_bytes() == (tmp_path / "dark.png").read_bytes()


def test_a_picture_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The folder is not there."""
    with pytest.raises(OutputError, match="cannot write the picture"), canvas(tmp_path / "missing" / "picture.png", 1, 1):
        pass
