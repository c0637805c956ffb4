import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.quality.campaigns import __main__ as campaigns
from tests.quality.campaigns.cells import Pass
from tests.quality.campaigns.found import Size
from tests.quality.campaigns.worlds import WORLDS

TINY = Size(teaching=60, calibrating=60, day=60)


def _command() -> typer.Typer:
    app = typer.Typer()
    app.command()(campaigns.command)
    return app


@pytest.mark.slow
def test_a_campaign_is_found_among_innocents() -> None:
    """A line search that five accounts share raises an alarm before it is over, and most of its accounts are named."""
    one = Pass(WORLDS["fraud-all"], "round-robin", 5, 0.0, ("path_finding",))
    innocents, theft = campaigns.played(one, TINY)
    assert theft["alarm"] is not None
    assert theft["alarm"] < 1000
    assert theft["end"]["named"]["count"] >= 3
    assert innocents["named"]["of"] >= 60
    assert innocents["groups"]["stopped"] == 0


@pytest.mark.slow
def test_the_command_writes_cells_and_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One day without a thief: its cell as JSON, and the same in the table."""
    monkeypatch.setattr(campaigns, "QUICK", TINY)
    arguments = ["--out", str(tmp_path), "--quick", "--world", "fraud-all", "--only", "benign"]
    told = CliRunner().invoke(_command(), arguments)
    assert told.exit_code == 0, told.output
    (cell,) = [json.loads(line) for line in (tmp_path / "campaigns.jsonl").read_text().splitlines()]
    assert (cell["id"], cell["kind"], cell["split"]) == ("fraud-all.benign.innocents", "innocents", None)
    assert "## fraud-all" in (tmp_path / "campaigns.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--world", "atlantis"], "there is no world 'atlantis'"),
        (["--half", "better"], "a half is open or held-out"),
        (["--only", "nothing"], "no pass has an id with 'nothing'"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 2, and what there is instead."""
    told = CliRunner().invoke(_command(), ["--out", str(tmp_path), *arguments])
    assert told.exit_code == 2
    assert said in " ".join((told.output + capsys.readouterr().err).split())
