import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from detector.errors import ConfigError
from tests.quality import transfer
from tests.quality.history import Past
from tests.quality.made_cells import theft
from tests.quality.matches import Size
from tests.quality.scenario import Scenario
from tests.quality.transfer import cells_for, priced
from tests.quality.worlds import HELD_OUT

TINY = Size(Past(teaching=2, queries=100, lesson=0), instances=2, sessions=2, budget=60, copied=1, compared=False)


def _command(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(transfer.command)
    return CliRunner().invoke(app, list(arguments))


def test_worlds_halves_and_names_choose_cells() -> None:
    """One world, one half, and patterns among them; what is no name is refused."""
    assert {cell.data for cell in cells_for(["bananas"], None, [])} == {"bananas"}
    assert {cell.data for cell in cells_for([], "held-out", [])} == HELD_OUT
    assert cells_for([], "open", ["*.evasion.weaving_columns"])[0].id == "bananas-boosting.evasion.weaving_columns"


@pytest.mark.parametrize(
    ("worlds", "half", "only"),
    [(["nowhere"], None, []), ([], "shut", []), ([], None, ["nobody"]), (["phishing"], "held-out", [])],
    ids=["world", "half", "cell", "none"],
)
def test_names_that_are_none_are_refused(worlds: list[str], half: str | None, only: list[str]) -> None:
    """The message says what there is."""
    with pytest.raises(ConfigError, match=r"no world|a half is|no cell"):
        cells_for(worlds, half, only)


def test_a_price_needs_the_plain_attack() -> None:
    """Whoever plays an evasion alone learns no price."""
    plain, evasive = theft("bananas", "construction", 6), theft("bananas", "design-aware", 6, evasion="weaving")
    evasive["copy_whole"] = 0.5
    assert priced([plain, evasive])[1]["price"] == pytest.approx(0.25)
    assert priced([evasive])[0]["price"] is None
    assert "price" not in priced([plain])[0]


@pytest.mark.parametrize(("fallen", "status"), [(False, 0), (True, 1)])
def test_the_command_fails_where_the_held_out_half_falls_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, fallen: bool, status: int
) -> None:
    """The table is printed and written; the reason is told with its numbers."""
    found = [theft("phishing", "construction", 6, 6), theft("solar", "construction", 6, None if fallen else 6)]
    monkeypatch.setattr(transfer, "measure", lambda *_arguments, **_options: found)
    told = _command("--out", str(tmp_path), "--only", "*.line_search")
    assert told.exit_code == status
    assert "## Construction, stopped" in told.stdout
    assert ("construction, stopped within 16: held out 50% (1 of 2), open 100% (2 of 2)" in told.stderr) == fallen
    assert (tmp_path / "worlds.md").read_text(encoding="utf-8").strip() == told.stdout.strip()
    assert len((tmp_path / "worlds.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_what_goes_wrong_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name that is none is a usage error; a cell that failed, or a folder that cannot be written, is a failure."""
    assert _command("--out", str(tmp_path), "--world", "nowhere").exit_code == 2
    monkeypatch.setattr(transfer, "measure", lambda *_arguments, **_options: [{"id": "x", "error": "no pictures"}])
    failed = _command("--out", str(tmp_path), "--world", "bananas")
    assert failed.exit_code == 1
    assert "x: no pictures" in failed.stderr
    (tmp_path / "file").write_text("")
    assert _command("--out", str(tmp_path / "file"), "--world", "bananas").exit_code == 1


@pytest.mark.slow
def test_a_world_is_played_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A few real cells of a world: with wire and price, and taken from the folder the second time."""
    names = ["line_search", "evasion.shallow", "innocent.tab_price_grid"]
    names = [f"bananas-boosting.{name}" for name in names]
    monkeypatch.setattr(transfer, "QUICK", TINY)
    arguments = ["--out", str(tmp_path), "--quick", "--jobs", "1", *(part for name in names for part in ("--only", name))]
    told = _command(*arguments)
    assert told.exit_code == 0, told.stderr
    cells = [json.loads(line) for line in (tmp_path / "worlds.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {cell["id"] for cell in cells} == set(names)
    assert {cell["wire"] for cell in cells} == {"grid / full"}
    assert all(cell["price"] is not None for cell in cells if cell.get("evasion"))
    played: list[Sequence[Scenario]] = []
    monkeypatch.setattr("tests.quality.quality._play", lambda *arguments: played.append(arguments))
    assert _command(*arguments).exit_code == 0
    assert played == []
