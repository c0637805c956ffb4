import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from detector.distribution import install
from detector.errors import ConfigError
from tests.quality import quality
from tests.quality.history import Past
from tests.quality.matches import Size
from tests.quality.scenario import Goal, Theft
from tests.quality.scenarios import CELLS, SCENARIOS

TINY = Size(Past(teaching=2, queries=140, lesson=300), instances=2, sessions=3, budget=300, copied=1)
JBDA = next(cell for cell in CELLS if isinstance(cell, Theft) and cell.id == "digits-mlp.jbda")
PLAYED = (
    "digits-mlp.line_search",
    "digits-mlp.jbda",
    "digits-mlp.jbda.cover-50",
    "digits-mlp.jbda.accounts-5",
    "digits-mlp.innocent.steady",
    "digits-mlp.innocent.video",
    "digits-mlp.innocent.mirrored",
)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    """Play a few cells on digits; return the folder and the cells by id."""
    out = tmp_path_factory.mktemp("quality")
    found = quality.measure([SCENARIOS[name] for name in PLAYED], out, TINY)
    return out, {cell["id"]: cell for cell in found}


pytestmark = pytest.mark.slow


def test_promises_are_kept(played: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    """The targets of these cells hold at this size: thieves are stopped in time, innocents are not."""
    _, cells = played
    assert list(cells) == list(PLAYED)
    assert [name for name, cell in cells.items() if not cell["met"]] == []
    for name in PLAYED[4:]:
        assert cells[name]["detectors"]["ours/stop"]["false"]["count"] == 0


def test_a_stop_comes_before_most_has_leaked(played: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    """The copy at the stop is worse than that of the whole budget, and levels come in their order."""
    _, cells = played
    for name in PLAYED[:2]:
        found = cells[name]["detectors"]
        assert found["ours/stop"]["copy"] < cells[name]["copy_whole"]
        for alert, stop in zip(found["ours/alert"]["moments"], found["ours/stop"]["moments"], strict=True):
            assert alert["queries"] <= stop["queries"] <= 300


def test_published_detectors_play_in_every_cell(played: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    """Each is there with both thresholds, before the same thieves."""
    _, cells = played
    for cell in cells.values():
        assert len(cell["detectors"]) == 3 + 2 * 6
        for name, found in cell["detectors"].items():
            if cell["kind"] == "theft":
                assert len(found["moments"]) == cell["instances"] == 2, name


def test_what_is_finished_is_kept(played: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    """A second run plays nothing, a new target needs no new match, another thief does."""
    out, cells = played
    told: list[tuple[str, int, int]] = []
    again = quality.measure([JBDA], out, TINY, told=lambda *what: told.append(what))
    assert again == [cells[JBDA.id]]
    harder = replace(JBDA, goal=Goal("stop", 0))
    assert not quality.measure([harder], out, TINY, told=lambda *what: told.append(what))[0]["met"]
    assert told == []
    fewer = replace(JBDA, instances=1)
    assert quality.measure([fewer], out, TINY, told=lambda *what: told.append(what))[0]["instances"] == 1
    assert told == [("learning", 1, 1), ("playing", 1, 1)]


def test_a_match_is_the_same_again(played: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path) -> None:
    """Another order and other processes: the same figures, but for the seconds it took."""
    out, cells = played
    shutil.copytree(out / "state", tmp_path / "state", ignore=shutil.ignore_patterns("digits-mlp.*.json"))
    names = ["digits-mlp.innocent.video", "digits-mlp.line_search"]
    again = quality.measure([SCENARIOS[name] for name in names], tmp_path, TINY, jobs=2)
    for name, cell in zip(names, again, strict=True):
        assert cell | {"seconds": 0} == cells[name] | {"seconds": 0}


def test_a_cell_that_fails_does_not_stop_the_others(played: tuple[Path, dict[str, dict[str, Any]]]) -> None:
    """It comes back with its error, in its place."""
    out, cells = played
    broken = replace(JBDA, id="broken", attack="path_finding")
    found = quality.measure([broken, JBDA], out, TINY)
    assert "path_finding" in found[0]["error"]
    assert found[1] == cells["digits-mlp.jbda"]


def test_everything_is_published(played: tuple[Path, dict[str, dict[str, Any]]], tmp_path: Path) -> None:
    """One line a cell in the order of the table, Markdown and a picture."""
    _, cells = played
    quality.publish([*cells.values(), {"id": "x", "data": "digits", "victim": "mlp", "error": "why"}], tmp_path, "A note.")
    lines = [json.loads(line) for line in (tmp_path / "cells.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["id"] for line in lines] == [*PLAYED, "x"]
    text = (tmp_path / "quality.md").read_text(encoding="utf-8")
    assert "A note." in text
    assert "| jbda.cover-50 |" in text
    assert (tmp_path / "quality.png").stat().st_size > 10_000


def test_names_choose_cells() -> None:
    """A name chooses its cell, a pattern all that match in the order of the table, none everything."""
    assert [cell.id for cell in quality.chosen(["digits-mlp.jbda.cover-?5", "digits-mlp.uniform"])] == [
        "digits-mlp.uniform",
        "digits-mlp.jbda.cover-75",
        "digits-mlp.jbda.cover-95",
    ]
    assert len(quality.chosen([])) == len(CELLS)
    with pytest.raises(ConfigError, match="no cell is called 'jbda'"):
        quality.chosen(["jbda"])


def test_what_is_not_here_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells on data that nobody brought, or with an attack whose package is missing, say what they need."""
    real = SCENARIOS["mnist-mlp.jbda"]
    assert quality.REAL_DATA in (quality.obstacle(real, None) or "")
    assert quality.obstacle(real, Path()) is None
    assert quality.obstacle(SCENARIOS["digits-mlp.jbda"], None) is None
    monkeypatch.setattr(quality, "find_spec", lambda _name: None)
    assert quality.obstacle(SCENARIOS["digits-mlp.art_zoo"], None) == install("art")


def _command(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(quality.command)
    return CliRunner().invoke(app, list(arguments), env={quality.REAL_DATA: None})


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    """An unknown cell is a usage error; where all are left out, the table is empty and says why."""
    wrong = _command("--out", str(tmp_path), "--only", "nobody")
    assert wrong.exit_code == 2
    assert "no cell is called 'nobody'" in wrong.stderr
    empty = _command("--out", str(tmp_path), "--only", "mnist-mlp.jbda")
    assert empty.exit_code == 0
    assert "1 cells left out: mnist is not here" in empty.stderr
    assert "0 of 1 cells were played," in (tmp_path / "quality.md").read_text(encoding="utf-8")
    (tmp_path / "file").write_text("")
    assert _command("--out", str(tmp_path / "file"), "--only", "digits-mlp.jbda").exit_code == 1
