"""`detector bench` as people start it: a function, a server and a file of their own, gates, and work that is cut short."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from detector.cli import app
from detector.cli.bench import _settings, _tell
from detector.console import Console
from detector.errors import BaselineError, ConfigError, ModelError, OutputError
from detector.hardening.bench import Plan, Row, Tally
from detector.hardening.honest import Honest
from detector.hardening.report import honest_table, markdown, thefts_tables
from detector.hardening.stops import Stop
from detector.hardening.theft import Copy
from detector.redteam.conversation import Array
from detector.redteam.targets import Target, named
from tests.redteam.test_opened import softmax_onnx
from tests.servers.model_server import serving

QUICK = ["--no-detector", "--budgets", "20,60", "--attacks", "random,line_search", "--defences", "none,label"]
OWN = """
import numpy as np
W = np.random.default_rng(5).normal(size=(6, 3))
def proba(X):
    e = np.exp(X @ W)
    return e / e.sum(axis=1, keepdims=True)
def random(X):
    return np.random.default_rng().dirichlet(np.ones(3), len(X))
asked = 0
def breaks(X):
    global asked
    asked += len(X)
    if asked > 900:
        raise RuntimeError("out of order")
    return proba(X)
"""


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bench", *arguments])


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a model and inputs of one's own."""
    (tmp_path / "mymodel.py").write_text(OWN, encoding="utf-8")
    X = np.round(np.random.default_rng(0).normal(size=(200, 6)), 2)
    W = np.random.default_rng(5).normal(size=(6, 3))
    np.savez(tmp_path / "pool.npz", X=X, y=(X @ W).argmax(axis=1))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mymodel", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


def test_a_function_of_ones_own_and_a_hardened_second_one(own: Path) -> None:
    """Rows for both models, files in the folder, and nothing beyond what was asked."""
    softmax_onnx(own / "second.onnx", np.random.default_rng(5).normal(size=(6, 3)))
    done = run(
        "mymodel:proba", "--against", "second.onnx", "--data", "pool.npz", "--labels", "y", "--tabular", *QUICK,
        "--price", "2", "--rate", "60", "--out", "found", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {(row["model"], row["defence"], row["attack"]) for row in found["thefts"]} == {
        (model, defence, attack)
        for model in ("mymodel:proba", "second.onnx")
        for defence in ("none", "label")
        for attack in ("random", "line_search")
    }
    theft = found["thefts"][0]
    assert [copy["queries"] for copy in theft["copies"]] == [20, 25, 50, 60]
    assert all(level["queries"] is None or level["money"] == level["queries"] * 0.002 for level in theft["reached"])
    assert theft["stop"] is None
    ends = [row["copies"][-1]["fidelity"] for row in found["thefts"] if row["attack"] == "random" and row["defence"] == "none"]
    assert ends == pytest.approx([1.0, 1.0], abs=0.1)
    assert found["honest"][0]["accuracy"] == 1.0
    assert found["honest"][1]["changed"] == 1.0
    assert json.loads((own / "found" / "bench.json").read_text(encoding="utf-8")) == found
    assert "| mymodel:proba | none | random |" in (own / "found" / "bench.md").read_text(encoding="utf-8")
    assert (own / "found" / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_gate_fails_where_the_copy_is_too_good(own: Path) -> None:
    """And passes where it is not; budgets that were not reached are told, not guessed."""
    arguments = ["mymodel:proba", "--data", str(own / "pool.npz"), "--tabular", "--no-detector", "--attacks", "random"]
    failed = run(*arguments, "--budgets", "20,500", "--defences", "none", "--fail-above", "0.5", "--json")
    assert failed.exit_code == 1
    found = json.loads(failed.stdout)
    assert found["failed"] == [{"model": "mymodel:proba", "defence": "none", "attack": "random"}]
    assert found["thefts"][0]["nothing_left_to_ask"]
    assert max(copy["queries"] for copy in found["thefts"][0]["copies"]) == 80
    assert any("had nothing left to ask after 80 queries" in warning for warning in found["warnings"])
    assert "a copy of" in failed.stderr
    passed = run(*arguments, "--budgets", "20", "--defences", "none", "--fail-above", "1.0")
    assert passed.exit_code == 0
    assert "at 20" in passed.stdout


def test_a_server_is_asked_over_http_and_refuses_for_haste(tmp_path: Path) -> None:
    """Both protocols give the same figures, also where the server slows us down."""
    digits = named("digits")
    np.save(tmp_path / "pool.npy", digits.test[:80])
    found = []
    with serving(digits.predict, too_many=2) as served:
        for url in (served.v1, served.v2):
            done = run(url, "--data", str(tmp_path / "pool.npy"), *QUICK, "--defences", "none", "--json")
            assert done.exit_code == 0, done.output
            assert "thieves ask at most 120 queries" in done.stderr
            told = sum(int(number) for number in re.findall(r"(?:each of|at most) (\d+)", done.stderr))
            assert served.rows <= told + 2  # to learn how it answers
            served.rows = 0
            found.append(json.loads(done.stdout))
        assert served.too_many == 0
    figures = [[(row["attack"], row["defence"], row["copies"]) for row in one["thefts"]] for one in found]
    assert figures[0] == figures[1]
    asked = run("http://example.org/v1/models/m:predict", "--data", "digits")
    assert isinstance(asked.exception, ConfigError)
    assert "--i-own-this" in str(asked.exception)


def test_the_detector_is_not_asked_of_a_server_without_a_baseline(tmp_path: Path) -> None:
    """Since that would cost queries; the reason is told."""
    digits = named("digits")
    np.save(tmp_path / "pool.npy", digits.test[:60])
    with serving(digits.predict) as served:
        arguments = [
            served.v1,
            "--data",
            str(tmp_path / "pool.npy"),
            "--budgets",
            "20",
            "--attacks",
            "random",
            "--defences",
            "none",
        ]
        done = run(*arguments)
        assert done.exit_code == 0
        assert "name one with --baseline" in done.stderr
        lacking = run(*arguments, "--baseline", str(tmp_path))
        assert isinstance(lacking.exception, BaselineError)


def test_a_model_that_breaks_keeps_the_rows_that_are_finished(own: Path) -> None:
    """The error names attack, query and input."""
    done = run("mymodel:breaks", "--data", "pool.npz", "--tabular", *QUICK, "--out", "found")
    assert isinstance(done.exception, ModelError)
    assert "query" in str(done.exception)
    assert "out of order" in str(done.exception)
    found = json.loads((own / "found" / "bench.json").read_text(encoding="utf-8"))
    assert found["interrupted"]
    assert 0 < len(found["thefts"]) < 4
    assert "Interrupted" in (own / "found" / "bench.md").read_text(encoding="utf-8")


def test_a_model_that_answers_at_random_is_told(own: Path) -> None:
    """It does not agree with itself."""
    assert own
    done = run("mymodel:random", "--data", "pool.npz", *QUICK[:3], "--attacks", "random", "--defences", "none", "--json")
    found = json.loads(done.stdout)
    assert found["honest"][0]["agrees"] < 0.7
    assert "another answer when asked again" in found["warnings"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digits", "--budgets", "many"], "--budgets takes whole numbers"),
        (["digits", "--budgets", "0"], "of 1 or more"),
        (["digits", "--attacks", "fog"], "there is no attack 'fog'"),
        (["loans", "--attacks", "knockoff_random"], "takes image data"),
        (["digits", "--defences", ""], "names none"),
        (["digits", "--defences", "fog"], "there is no defence 'fog'"),
        (["digits", "--labels", "y"], "which is not given"),
        (["digits", "--against", "tree:iris"], "tells 3 classes"),
        (["json:loads"], "--data"),
        (["digits", "--token-env", "DETECTOR_NO_SUCH"], "which is not set"),
        (["digits", "--price", "inf"], "--price takes a number"),
        (["digits", "--rate", "inf"], "--rate takes a number"),
    ],
)
def test_a_mistake_is_told_before_anything_is_asked(arguments: list[str], said: str) -> None:
    """With the option that it is in."""
    done = run(*arguments)
    assert isinstance(done.exception, ConfigError)
    assert said in str(done.exception)


def test_a_folder_that_cannot_be_written_is_told_first(tmp_path: Path) -> None:
    """Before minutes of measuring."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = run("digits", *QUICK, "--out", str(tmp_path / "file" / "found"))
    assert isinstance(done.exception, OutputError)
    assert callable(_tell)
    assert _settings(None, None).policy.trust_clients is True


def test_interrupted_work_keeps_its_rows(tmp_path: Path) -> None:
    """Ctrl-C after the first row: files and table are there, the exit status is 130."""
    digits: Target = named("digits")
    np.save(tmp_path / "pool.npy", digits.test)
    release = threading.Event()
    asked = 0

    def slowly(X: Array) -> Array:
        nonlocal asked
        asked += len(X)
        if asked > 1250:  # in the middle of the second theft
            release.wait(60.0)
        return digits.predict(X)

    with serving(slowly) as served:
        command = [sys.executable, "-m", "detector", "bench", served.v1, "--data", str(tmp_path / "pool.npy"), "--no-detector"]
        command += ["--attacks", "uniform", "--defences", "none,label", "--budgets", "300", "--out", str(tmp_path / "found")]
        bench = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
        try:
            deadline = time.monotonic() + 120.0
            while asked <= 1250 and time.monotonic() < deadline and bench.poll() is None:
                time.sleep(0.05)
            bench.send_signal(signal.SIGINT)
            stdout, stderr = bench.communicate(timeout=60)
        finally:
            bench.kill()
            release.set()
    assert bench.returncode == 130, stderr
    assert "interrupted" in stderr
    assert "uniform" in stdout
    found = json.loads((tmp_path / "found" / "bench.json").read_text(encoding="utf-8"))
    assert found["interrupted"]
    assert [row["defence"] for row in found["thefts"]] == ["none"]


def test_tables_fit_a_narrow_terminal() -> None:
    """No figure is broken; prices, times and stops stand below."""
    copies = {100: Copy(0.57, 0.55), 1600: Copy(0.67, 0.66)}
    stops = (Stop(54, None, None, None, 0), Stop(7, 24, "perturb", "extraction.offset", 0))
    rows = [
        Row("mymodel:predict", "none", name, 1600, False, copies, stop, Copy(0.57, 0.5))
        for name, stop in zip(("knockoff_random", "line_search"), stops, strict=True)
    ]
    plan = Plan([], [], [], [100, 400, 1600], 1.5, 60.0)
    console = Console(width=80, file=io.StringIO())
    for table in thefts_tables(plan, Tally(rows, [], [])):
        console.print(table)
    said = console.file.getvalue()  # type: ignore[attr-defined]  # it is the one above
    assert "> 1,600 / > 1,600 / > 1,600" in said
    assert "knockoff_random: > 2.40, > 27 min, not stopped; throttled at 54" in said
    assert "line_search: > 2.40, > 27 min, perturb at 24, with 57%" in said


@pytest.mark.parametrize("accuracy", [None, 0.9])
def test_by_what_calibration_was_measured_is_told(accuracy: float | None) -> None:
    """Without true labels by the model's own, which is no calibration of the model."""
    one = Honest("m", "top1", accuracy, None if accuracy is None else 0.0, 0.151, 0.0, 1.0, 1.0, ())
    tally = Tally([], [one], [])
    console = Console(width=200, file=io.StringIO())
    console.print(honest_table(tally))
    printed = console.file.getvalue()  # type: ignore[attr-defined]  # it is the one above
    written = markdown(Plan([], [], [], [100], None, None), tally, "not asked", interrupted=False)
    assert [("against the model's own labels" in text) for text in (printed, written)] == [accuracy is None] * 2
