"""From a server's log to a decision, one command a step: look at it, fit a baseline, replay the day, explain who was found.

Whatever the inputs are: tables with texts and missing values, files of pictures, prompts.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.baseline.store import load
from detector.ingest.schema import WHOLE
from tests.serving import pictures, prompts, tables

pytestmark = pytest.mark.slow


def detector(*arguments: str) -> str:
    """Run a command to its end, and return what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "detector", *arguments],
        capture_output=True,
        check=False,
        timeout=600,
        env={**os.environ, "DETECTOR_ENGINE__SEED": "7"},  # `baseline fit` makes another one each time
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def found(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


@pytest.fixture(scope="module", params=[tables, pictures, prompts], ids=["tables", "pictures", "prompts"])
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Take every step once."""
    kind, folder = request.param, tmp_path_factory.mktemp("serving")
    write: Callable[[Path, Path], None] = kind.written
    history, live, config = folder / "history.jsonl", folder / "live.jsonl", folder / "detector.toml"
    write(history, live)
    detector("logs", "inspect", str(history), "--write", str(config))
    detector("baseline", "fit", str(history), "--config", str(config), "--out", str(folder / "baseline"))
    detector("replay", str(live), "--config", str(config), "--baseline", str(folder / "baseline"), "--out", str(folder / "out"))
    return kind, folder


def test_thieves_are_found_and_nobody_else(stand: tuple[Any, Path]) -> None:
    kind, folder = stand
    summary = json.loads((folder / "out" / "summary.json").read_bytes())
    assert (summary["invalid"], summary["problems"]) == (0, [])
    thieves = {f"thief-{name}" for name in kind.THIEVES}
    assert {entry["user"]["id"] for entry in found(folder / "out", "alerts.jsonl")} == thieves
    decided = {entry["subject"]["id"] for entry in found(folder / "out", "decisions.jsonl")}
    assert decided
    assert decided <= thieves


def test_a_thief_is_explained(stand: tuple[Any, Path]) -> None:
    kind, folder = stand
    thief = f"thief-{next(iter(kind.THIEVES))}"
    config, picture = str(folder / "detector.toml"), folder / "thief.png"
    told = detector("explain", thief, "--from", str(folder / "out"), "--config", config, "--picture", str(picture))
    assert thief in told
    assert picture.stat().st_size > 0


def test_the_baseline_knows_the_inputs(stand: tuple[Any, Path]) -> None:
    kind, folder = stand
    schemas = load(folder / "baseline").schemas
    if kind is tables:
        (schema,) = schemas.values()
        kinds = dict(zip(schema.names, schema.kinds, strict=True))
        assert {name for name, is_a in kinds.items() if is_a == "number"} == {*tables.NUMBERS, "male"}
        assert {name for name, is_a in kinds.items() if is_a == "category"} == tables.census().codes.keys() - {"sex"}
        assert len(schema.codes["education"]) == 16
    if kind is prompts:
        assert schemas["support"].text_width(WHOLE) <= 64
        assert list(schemas["support"].reductions) == [WHOLE]
    if kind is pictures:
        assert schemas == {}
