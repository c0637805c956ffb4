"""Accounts of a campaign that show by themselves what they do."""

from pathlib import Path

import numpy as np
import pytest
import typer

from tests.quality.campaigns import alone
from tests.quality.observed import Found, Log


def test_accounts_are_counted_by_parts_of_the_theft() -> None:
    """Of forty queries, the tenth is the first after a quarter."""
    log = Log((), {}, {}, np.zeros(40, np.int64), np.zeros(40, np.bool_), np.zeros(40, np.bool_))
    found = {"thief-0": Found(9, "offset"), "thief-1": Found(10, "offset"), "thief-2": Found(39, "bisect")}
    assert alone.stopped_by(log, found) == (1, 2, 3)
    assert alone.stopped_by(log, {}) == (0, 0, 0)


def test_an_unknown_world_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those that there are."""
    with pytest.raises(typer.Exit) as refused:
        alone.command(tmp_path, world=["nowhere"])
    assert refused.value.exit_code == 2
    assert "there is no world 'nowhere'" in capsys.readouterr().err
