"""`detector odometer` as people start it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from detector.baseline.store import Baseline, load, save, version_of
from detector.cli import app
from detector.errors import BaselineError, ConfigError, SourceError
from detector.testing import Events

QUERIES = 70


def asked(client: str, events: Events, seed: int, queries: int = QUERIES, **changes: Any) -> list[bytes]:
    """Return lines of one client of the model of `generated_baseline`."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(queries):
        x = rng.random(9)
        chance = float(1.0 / (1.0 + np.exp(-6.0 * (x.sum() - 4.5))))
        line = events.line(client, x, int(chance > 0.5), probabilities=[1.0 - chance, chance])
        event = json.loads(line)
        event["client"] |= changes
        lines.append(json.dumps(event).encode())
    return lines


@pytest.fixture
def folder(generated_baseline: Baseline, tmp_path: Path) -> Path:
    save(generated_baseline, tmp_path / "baseline")
    return tmp_path / "baseline"


def written(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["odometer", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def test_it_tells_who_holds_how_much(folder: Path, tmp_path: Path) -> None:
    """Clients and organisations, their leads, what budgets stop and what they cost."""
    events = Events("alpha")
    lines = [
        *asked("heavy", events, 1, 300),
        *asked("key-1", events, 2, 40, organization="acme"),
        *asked("key-2", events, 3, 40, organization="acme"),
        *asked("light", events, 4, 10),
    ]
    log = written(tmp_path / "log.jsonl", lines)
    found = told(str(log), "--baseline", str(folder), "--budget", "0.3", "--budget", "1")
    model = found["models"]["alpha"]
    clients = {entry["id"]: entry for entry in model["clients"]}
    assert {name: entry["queries"] for name, entry in clients.items()} == {"heavy": 300, "key-1": 40, "key-2": 40, "light": 10}
    assert clients["light"]["lead"] is None
    assert clients["heavy"]["lead"] > 0.5
    assert clients["heavy"]["lead_low"] <= clients["heavy"]["lead"] <= clients["heavy"]["lead_high"]
    assert clients["heavy"]["measured_at"] <= 300
    (acme,) = model["organizations"]
    assert (acme["id"], acme["queries"]) == ("acme", 80)
    assert 32 <= acme["measured_at"] <= 79
    low, high = model["budgets"]
    met = clients["heavy"]["reached"]["0.3"]
    assert 32 <= met < 300
    assert low["clients_met"] == sum(entry["reached"]["0.3"] is not None for entry in clients.values())
    assert low["queries_after"] >= 300 - met
    assert high["clients_met"] == 0
    text = run(str(log), "--baseline", str(folder))
    assert "heavy" in text
    assert "too few" in text
    assert "acme" in text
    assert "of innocent clients" in text


def test_budgets_that_read_alike_are_one(folder: Path, tmp_path: Path) -> None:
    """Two that differ in the seventh digit would have one name."""
    log = written(tmp_path / "log.jsonl", asked("one", Events("alpha"), 1))
    found = told(str(log), "--baseline", str(folder), "--budget", "0.3", "--budget", "0.30000001")["models"]["alpha"]
    assert [cost["budget"] for cost in found["budgets"]] == [0.3]
    assert list(found["clients"][0]["reached"]) == ["0.3"]


def test_a_model_of_other_inputs_is_not_measured(folder: Path, tmp_path: Path) -> None:
    """It is said, and the command fails."""
    log = written(tmp_path / "log.jsonl", [Events("alpha").line("a", [0.5] * 8, 1)])
    with pytest.raises(BaselineError, match="inputs with 9 values"):
        run(str(log), "--baseline", str(folder))


def test_other_clients_change_nothing(folder: Path, tmp_path: Path) -> None:
    """A client's readings are the same alone, and among others in whatever order these come."""
    own = asked("one", Events("alpha"), 5)
    other = [line.replace(b'"alpha-', b'"other-') for line in asked("two", Events("alpha"), 6)]

    def lead(name: str, lines: Sequence[bytes]) -> Any:
        found = told(str(written(tmp_path / name, lines)), "--baseline", str(folder))
        return next(entry for entry in found["models"]["alpha"]["clients"] if entry["id"] == "one")

    alone = lead("alone.jsonl", own)
    assert alone["lead"] is not None
    assert lead("before.jsonl", [*other, *own]) == alone
    assert lead("between.jsonl", [line for pair in zip(own, other, strict=True) for line in pair]) == alone


def test_what_was_told_counts(folder: Path, tmp_path: Path) -> None:
    """A client that was told something else than the model said does not hold what the model said."""
    events = Events("alpha")
    honest = [json.loads(line) for line in asked("one", events, 7, 300)]
    lied = []
    for i, event in enumerate(honest):
        label = [1, 0][i % 2]
        told_instead = {"label": label, "probabilities": [1.0 - label, float(label)]}
        output = {**told_instead, "perturbed": {"mode": "mislead"}, "original": event["output"]}
        lied.append(json.dumps(event | {"output": output}).encode())
    plain = written(tmp_path / "plain.jsonl", [json.dumps(event).encode() for event in honest])
    perturbed = written(tmp_path / "perturbed.jsonl", lied)
    leads = [told(str(log), "--baseline", str(folder))["models"]["alpha"]["clients"][0]["lead"] for log in (plain, perturbed)]
    assert leads[1] < leads[0] - 0.3


def test_an_older_baseline_is_silent(generated_baseline: Baseline, folder: Path, tmp_path: Path) -> None:
    """A baseline without reference inputs still loads; the command says what to do."""
    known = generated_baseline.models["alpha"]
    older = replace(generated_baseline, models={"alpha": replace(known, reference_set=None)})
    older = replace(older, version=version_of(older.models))
    assert older.version == generated_baseline.version, "older detectors read a newer baseline"
    save(older, tmp_path / "older")
    assert load(tmp_path / "older").models["alpha"].reference_set is None
    assert load(folder).models["alpha"].reference_set is not None
    log = written(tmp_path / "log.jsonl", asked("one", Events("alpha"), 1))
    with pytest.raises(BaselineError, match=r"no model of the log can be measured.*no reference inputs.*fit it again"):
        run(str(log), "--baseline", str(tmp_path / "older"))


def test_what_cannot_be_measured_is_said(folder: Path, tmp_path: Path) -> None:
    """No baseline, an empty log, an unknown model, an impossible budget, a missing log."""
    log = written(tmp_path / "log.jsonl", asked("one", Events("alpha"), 1))
    with pytest.raises(ConfigError, match="needs a baseline"):
        run(str(log))
    with pytest.raises(ConfigError, match=r"--budget 1\.5"):
        run(str(log), "--baseline", str(folder), "--budget", "1.5")
    with pytest.raises(ConfigError, match="--budget 0"):
        run(str(log), "--baseline", str(folder), "--budget", "0")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with pytest.raises(SourceError, match="no event"):
        run(str(tmp_path / "empty.jsonl"), "--baseline", str(folder))
    with pytest.raises(SourceError, match="no such file"):
        run(str(tmp_path / "nowhere.jsonl"), "--baseline", str(folder))
    other = written(tmp_path / "other.jsonl", asked("one", Events("beta"), 1))
    with pytest.raises(BaselineError, match="does not know this model"):
        run(str(other), "--baseline", str(folder))
    both = told(str(log), str(other), "--baseline", str(folder))
    assert list(both["models"]) == ["alpha"]
    assert list(both["silent"]) == ["beta"]


def test_it_can_be_interrupted(folder: Path) -> None:
    """Ctrl-C ends it without a traceback and without half a result."""
    command = [sys.executable, "-m", "detector", "odometer", "-", "--baseline", str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    # More than a pipe holds: once all is written, the command is reading.
    process.stdin.write(b"\n".join(asked("one", Events("alpha"), 1, 3000)) + b"\n")
    process.stdin.flush()
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"interrupted" in err
    assert b"Traceback" not in err
    assert out == b""
