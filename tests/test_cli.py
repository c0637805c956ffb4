"""The command line as people use it: arguments, messages, exit statuses."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from detector.engine.kernels import cache_folder
from detector.ingest.scanning import machine
from detector.testing import traffic

LIVE = {"DETECTOR_POLICY__SHADOW": "false", "DETECTOR_POLICY__TRUST_CLIENTS": "true"}
STARTED = 60.0  # seconds a first start may take on a busy machine, kernels compiled


def detector(
    *arguments: str, given: bytes | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "detector", *arguments],
        input=given,
        capture_output=True,
        check=False,
        timeout=800,
        env={**os.environ, **(env or {})},
    )


def write(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a log with a thief in it."""
    return write(tmp_path_factory.mktemp("log") / "log.jsonl", traffic(seed=1, innocents=6, thieves=1))


def test_version_and_help() -> None:
    """The version is shown in one line; help lists every command; nothing at all gives the help."""
    assert detector("version").stdout.startswith(b"detector 0.")
    for arguments in (["--help"], ["-h"]):
        told = detector(*arguments)
        assert told.returncode == 0
        for command in (b"demo", b"replay", b"run", b"baseline", b"explain", b"schema", b"config", b"warm-up"):
            assert command in told.stdout


def test_replay_writes_and_summarises(log: Path, tmp_path: Path) -> None:
    """Results are files and one line, or JSON; shadow mode is said; progress stays out of a pipe."""
    told = detector("replay", str(log), "--out", str(tmp_path / "out"))
    assert told.returncode == 0
    assert b"alerts" in told.stdout
    assert b"(simulated)" in told.stdout
    assert b"shadow mode" in told.stderr
    assert b"\x1b" not in told.stdout + told.stderr
    assert b"seed: none" in told.stderr
    refused = detector("replay", str(log), "--out", str(tmp_path / "none"), env=LIVE)
    assert refused.returncode == 2
    assert b"there is no secret seed" in refused.stderr
    assert not (tmp_path / "none").exists()
    as_json = detector("replay", str(log), "--out", str(tmp_path / "out"), "--json", env=LIVE | {"DETECTOR_ENGINE__SEED": "5"})
    assert b"seed" not in as_json.stderr
    assert json.loads(as_json.stdout) == json.loads((tmp_path / "out" / "summary.json").read_bytes())
    assert json.loads(as_json.stdout)["shadow"] is False
    assert b"decisions are real" in as_json.stderr


@pytest.mark.slow
def test_what_is_missing_is_compiled_once(log: Path, tmp_path: Path) -> None:
    """`run` says in one line that it compiles, `warm-up` compiles the rest, and then nothing is left, for a replay neither."""
    kept = Path(json.loads(detector("warm-up", "--json").stdout)["folder"])
    cold = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    folder = tmp_path / "cache" / "detector"
    for code in (cache_folder(), machine._folder()):
        assert code is not None
        assert code.parent == kept
        shutil.copytree(code, folder / code.name)
    for file in (*folder.rglob("ledger.*"), *folder.rglob("network.*")):  # a run needs the one, only readings need the other
        file.unlink()
    told = detector("run", str(log), env=cold)
    assert told.returncode == 0
    assert told.stderr.count(b"compiling, once for this version") == 1
    assert list(folder.rglob("ledger.*"))
    assert not list(folder.rglob("network.*"))
    told = detector("warm-up", env=cold)
    assert told.stdout.startswith(b"compiled ")
    assert told.stderr == b""
    assert list(folder.rglob("network.*"))
    before = sorted(folder.rglob("*"))
    told = detector("warm-up", env=cold)
    assert sorted(path.name.split("-")[0] for path in folder.iterdir()) == ["kernels", "scanner"]
    assert told.stdout == f"everything is compiled already, in {folder}\n".encode()
    assert json.loads(detector("warm-up", "--json", env=cold).stdout) == {"compiled": 0, "folder": str(folder)}
    told = detector("replay", str(log), "--out", str(tmp_path / "out"), env=cold)
    assert b"compil" not in told.stderr
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["replay", "LOG"], 2, "--out"),
        (["replay", "--out", "OUT"], 2, "LOG"),
        (["replay", "missing.jsonl", "--out", "OUT"], 1, "missing.jsonl: no such file"),
        (["replay", "LOG", "--out", "OUT", "-c", "missing.toml"], 2, "missing.toml: cannot read the configuration"),
        (["replay", "LOG", "--out", "OUT", "-c", "BROKEN"], 2, "broken.toml:2: not valid TOML"),
        (["replay", "LOG", "--out", "OUT", "-c", "WRONG"], 2, "wrong.toml:3: policy.shadwo: there is no such key"),
        (["replay", "LOG", "--out", "OUT", "--baseline", "nowhere"], 1, "nowhere: no baseline here"),
        (["replay", "LOG", "--out", "OUT", "--batch-size", "0"], 2, "--batch-size"),
        (["replay", "LOG", "--out", "LOG"], 1, "cannot write results"),
        (["run", "--follow"], 2, "--follow takes exactly one file"),
        (["run", "missing.jsonl"], 1, "missing.jsonl: no such file"),
        (["baseline", "fit", "-", "--out", "OUT"], 2, "cannot come from standard input"),
        (["baseline", "fit", "EMPTY", "--out", "OUT"], 1, "no valid event"),
        (["baseline", "show", "nowhere"], 1, "nowhere: no baseline here"),
        (["explain", "acme", "--from", "nowhere"], 1, "nowhere"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_mistakes_are_told(arguments: list[str], status: int, words: str, log: Path, tmp_path: Path) -> None:
    """Each mistake has its sentence and its exit status, and no traceback."""
    (tmp_path / "broken.toml").write_text("[policy]\nshadow = \n")
    (tmp_path / "wrong.toml").write_text("# a comment\n[policy]\nshadwo = true\n")
    (tmp_path / "empty.jsonl").touch()
    names = {
        "LOG": str(log),
        "OUT": str(tmp_path / "out"),
        "BROKEN": str(tmp_path / "broken.toml"),
        "WRONG": str(tmp_path / "wrong.toml"),
        "EMPTY": str(tmp_path / "empty.jsonl"),
    }
    told = detector(*(names.get(argument, argument) for argument in arguments))
    assert told.returncode == status
    assert words in " ".join(told.stderr.decode().split())
    assert b"Traceback" not in told.stderr


def test_a_damaged_log_is_used_and_reported(log: Path, tmp_path: Path) -> None:
    """Exit status 1, the file named, and results of what could be read."""
    whole = gzip.compress(log.read_bytes())
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    told = detector("replay", str(tmp_path / "cut.gz"), "--out", str(tmp_path / "out"))
    assert told.returncode == 1
    assert b"cut.gz" in told.stderr
    assert (tmp_path / "out" / "summary.json").exists()


def test_refused_records_are_told(log: Path, tmp_path: Path) -> None:
    """The reasons, the first place and what to do; quiet where nothing was refused; nothing usable is an error."""
    lines = log.read_bytes().splitlines()
    mixed = write(tmp_path / "mixed.jsonl", [*lines[:40], *[b'{"\\u001b[2J": NaN}'] * 30])
    (tmp_path / "other.csv").write_bytes(b"a,b\n" * 30)
    out = str(tmp_path / "out")
    for arguments in (["replay", str(mixed), "--out", out], ["run", str(mixed)], ["run", "-"]):
        told = detector(*arguments, given=mixed.read_bytes())
        assert told.returncode == 0
        said = told.stderr.decode()
        name = "-" if arguments[-1] == "-" else str(mixed)
        assert f"refused as not_finite: 30 of 70 records (43%); the first at {name}:41: " in said
        assert "\x1b" not in said
    for arguments in (["replay", str(tmp_path / "other.csv"), "--out", out], ["run", str(tmp_path / "other.csv")]):
        told = detector(*arguments)
        assert told.returncode == 1
        assert b"none of the 29 records could be used" in told.stderr
        assert b"schema export" in told.stderr
    assert b"refused" not in detector("replay", str(log), "--out", out).stderr


def test_several_logs_are_merged(log: Path, tmp_path: Path) -> None:
    """Replicas' logs, one of them on standard input, give what the whole log gives."""
    lines = log.read_bytes().splitlines()
    one, other = write(tmp_path / "one", lines[::2]), write(tmp_path / "other", lines[1::2])
    whole = detector("run", str(log)).stdout
    assert whole
    assert detector("run", str(one), str(other)).stdout == whole
    assert detector("run", "-", str(one), given=other.read_bytes()).stdout == whole


def test_what_auto_recognises_is_told(log: Path, tmp_path: Path) -> None:
    """Each format once, on standard error, by replay and run alike; a folder is as good as its files."""
    folder = tmp_path / "logs"
    folder.mkdir()
    for name in ("a.jsonl", "b.jsonl"):
        (folder / name).write_bytes(log.read_bytes())
    out = str(tmp_path / "out")
    for command in (["replay", "--out", out], ["run"]):
        told = detector(*command, str(folder), "--format", "auto")
        assert told.returncode == 0
        assert told.stderr.count(b"recognised by") == 1
        assert f"{folder}/a.jsonl: format native, recognised by event_id".encode() in told.stderr
        assert b"recognised by" not in detector(*command, str(log)).stderr


def test_an_inspection_replaces_no_file(log: Path, tmp_path: Path) -> None:
    """A mistake in the call, as others are; what it writes is a configuration."""
    config = tmp_path / "detector.toml"
    for status in (0, 2):
        told = detector("logs", "inspect", str(log), "--write", str(config))
        assert (told.returncode, b"is there already" in told.stderr) == (status, status == 2)
    assert detector("config", "check", "--config", str(config)).returncode == 0


def test_run_reads_standard_input(log: Path, tmp_path: Path) -> None:
    """Alerts and decisions go to standard output as JSON Lines, the same that replay writes."""
    told = detector("run", "--out", str(tmp_path / "run"), given=log.read_bytes())
    assert told.returncode == 0
    documents = [json.loads(line) for line in told.stdout.splitlines()]
    assert {"thief-0"} == {document["user"]["id"] for document in documents if "user" in document}
    detector("replay", str(log), "--out", str(tmp_path / "replay"))
    for name in ("alerts.jsonl", "decisions.jsonl", "clients.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "replay" / name).read_bytes()


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_run_follows_a_growing_file_until_asked_to_stop(asked: signal.Signals, tmp_path: Path) -> None:
    """Lines that come later are seen while the command runs; a signal ends it in order, with complete results."""
    lines = traffic(seed=1, innocents=6, thieves=1)
    path = write(tmp_path / "live.jsonl", lines[: len(lines) // 2])
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-m", "detector", "run", str(path), "--follow", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "DETECTOR_ENGINE__LEARNING_EVENTS": "64"},
    ) as process:
        with path.open("ab") as file:
            file.writelines(line + b"\n" for line in lines[len(lines) // 2 :])
        assert process.stdout is not None
        first = process.stdout.readline()  # comes while the command still runs
        assert json.loads(first)
        deadline = time.monotonic() + STARTED
        while (out / "alerts.jsonl").stat().st_size == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(asked)
        _, said = process.communicate(timeout=STARTED)
    assert process.returncode == 0, said
    assert json.loads((out / "summary.json").read_bytes())["alerts"] >= 1


def test_a_reader_that_leaves_is_no_crash(log: Path) -> None:
    """`detector run | head -1` ends without a traceback."""
    told = subprocess.run(
        f"{sys.executable} -m detector run {log} | head -c 10 >/dev/null",
        shell=True,
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert b"Traceback" not in told.stderr


def test_baselines_are_fitted_shown_and_used(tmp_path: Path) -> None:
    """A baseline from a benign log can be shown, as words and as JSON, and a replay names its version."""
    benign = write(tmp_path / "benign.jsonl", traffic(seed=3, innocents=30, thieves=0))
    folder = str(tmp_path / "baseline")
    fitted = detector("baseline", "fit", str(benign), "--out", folder, "--json")
    assert fitted.returncode == 0, fitted.stderr
    shown = json.loads(detector("baseline", "show", folder, "--json").stdout)
    assert {**shown, "reasons": {}} == json.loads(fitted.stdout)
    words = detector("baseline", "show", folder).stdout.decode()
    assert shown["version"] in words
    assert "acts at" in words
    told = detector("replay", str(benign), "--out", str(tmp_path / "out"), "--baseline", folder, "--json")
    assert json.loads(told.stdout)["baseline_version"] == shown["version"]


def test_config_check_shows_what_results(tmp_path: Path) -> None:
    """File, environment and defaults are merged; the secret seed is masked."""
    (tmp_path / "detector.toml").write_text("[engine]\nseed = 12345\n[policy]\nfalse_alerts_per_1000 = 2.5\n")
    told = detector("config", "check", "-c", str(tmp_path / "detector.toml"), "--json", env=LIVE)
    content = json.loads(told.stdout)
    assert content["policy"]["false_alerts_per_1000"] == 2.5
    assert content["policy"]["shadow"] is False
    assert content["engine"]["seed"] == "***"
    assert b"12345" not in told.stdout + told.stderr
    assert b"seed: from [engine] seed" in told.stderr


def test_schemas_are_exported(tmp_path: Path) -> None:
    """The exported files are those of the repository."""
    told = detector("schema", "export", "--out", str(tmp_path))
    names = {Path(name).name for name in told.stdout.decode().split()}
    kept = Path(__file__).parents[1] / "schemas"
    assert names == {path.name for path in kept.iterdir()}
    for name in names:
        assert (tmp_path / name).read_bytes() == (kept / name).read_bytes()
