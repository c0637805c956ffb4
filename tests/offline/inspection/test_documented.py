"""What the documentation shows of an inspection is what it says."""

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detector.cli import app
from tests.ingest.formats.serving_logs import HERE

PAGE = Path(__file__).parents[3] / "docs/pages/log-formats/index.md"


def test_the_page_shows_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command, what it prints, and the file that it writes."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(HERE / "sagemaker-csv-in-json-out/fraud-endpoint", "capture/fraud-endpoint")
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"```console\n\$ detector (logs inspect .*)\n(?s:(.*?))```\n(?s:.*?)```toml\n(?s:(.*?))```", page)
    assert shown is not None
    done = CliRunner().invoke(app, shown[1].split())
    assert done.stdout == shown[2]
    assert Path("detector.toml").read_text(encoding="utf-8") == shown[3]
