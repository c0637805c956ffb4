"""`detector audit` as people start it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from detector.baseline.store import Baseline, save
from detector.cli import app
from detector.errors import ConfigError, OutputError, SourceError
from tests.audit.logs import decision, event, steady, written


def run(*arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["audit", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout


def told(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return written(tmp_path / "log.jsonl", steady(100))


@pytest.fixture
def decisions(tmp_path: Path) -> Path:
    return written(tmp_path / "decisions.jsonl", [decision(1, 10, 1000)])


def test_it_finds_the_gap(log: Path, decisions: Path) -> None:
    """In words, and as JSON."""
    said = run(str(log), "--decisions", str(decisions))
    assert "CRITICAL" in said
    assert "AISVS v1.0-C11.3.4" in said
    found = told(str(log), "--decisions", str(decisions))
    assert found["findings"][0]["figures"]["events"] == 89


def test_the_exit_status_is_1_for_a_finding_that_is_severe_enough(log: Path, decisions: Path) -> None:
    """And 0 without --fail-on, or below it."""
    named = (str(log), "--decisions", str(decisions))
    run(*named, "--fail-on", "critical", status=1)
    run(str(log), "--fail-on", "high")
    run(str(log), "--fail-on", "medium", status=1)
    with pytest.raises(ConfigError, match="low, medium, high, critical"):
        run(*named, "--fail-on", "severe")


def test_the_report_is_a_file(log: Path, decisions: Path, tmp_path: Path) -> None:
    """Only its owner may read it; a folder that is not there is named before the log is read."""
    out = tmp_path / "report.md"
    run(str(log), "--decisions", str(decisions), "--out", str(out))
    assert out.read_text(encoding="utf-8").startswith("# Audit of a prediction log")
    assert out.stat().st_mode & 0o777 == 0o600
    with pytest.raises(OutputError, match="no folder"):
        run(str(tmp_path / "nothing"), "--out", str(tmp_path / "none" / "report.md"))


def test_the_configuration_says_where_decisions_are(log: Path, decisions: Path, tmp_path: Path) -> None:
    """And what is only known with one is judged then."""
    config = tmp_path / "detector.toml"
    config.write_text(f'[decisions]\nfile = "{decisions}"\n', encoding="utf-8")
    found = told(str(log), "-c", str(config))
    assert found["decisions"] == 1
    assert "shadow.configuration" in [one["id"] for one in found["findings"]]


def test_the_baseline_is_compared(log: Path, generated_baseline: Baseline, tmp_path: Path) -> None:
    """Its models are, and it is new."""
    save(generated_baseline, tmp_path / "baseline")
    found = told(str(log), "--baseline", str(tmp_path / "baseline"))
    assert "baseline.models" in [one["id"] for one in found["findings"]]
    assert "baseline.age" in [one["id"] for one in found["nothing_found"]]


@pytest.mark.parametrize(("content", "said"), [(b"", "holds no event"), (b"a line\nanother\n", "no record can be used")])
def test_a_log_without_events_is_an_error(tmp_path: Path, content: bytes, said: str) -> None:
    """No report says that nothing was found in nothing."""
    log = tmp_path / "log.jsonl"
    log.write_bytes(content)
    with pytest.raises(SourceError, match=said):
        run(str(log))
    with pytest.raises(SourceError, match="no such file"):
        run(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="ghost"):
        run(str(log), "--format", "ghost")


def test_a_log_that_names_nobody_has_its_finding(tmp_path: Path) -> None:
    """It is the worst that a log can show of identities; no other check says that nothing was found."""
    lines = [
        {"request": {"instances": [[1.0, 2.5]]}, "response": {"predictions": [[0.3, 0.7]]}, "databricks_request_id": f"r{at}"}
        | {"timestamp_ms": 1_777_890_667_000 + at, "status_code": 200}
        for at in range(5)
    ]
    for line in lines:
        line |= {"request": json.dumps(line["request"]), "response": json.dumps(line["response"])}
    log = written(tmp_path / "log.jsonl", lines)
    result = CliRunner().invoke(app, ["audit", str(log), "--json"])
    assert isinstance(result.exception, SourceError)
    assert "no record can be used" in str(result.exception)
    found = json.loads(result.stdout)
    assert "identity.missing" in [one["id"] for one in found["findings"]]
    assert found["nothing_found"] == []
    assert found["problems"] == ["no record can be used"]


def test_a_damaged_log_is_audited_as_far_as_it_can_be_read(tmp_path: Path) -> None:
    """The report is printed, and the status is 1."""
    import gzip  # noqa: PLC0415

    data = gzip.compress(b"".join(json.dumps(event(number, number)).encode() + b"\n" for number in range(5000)))
    log = tmp_path / "log.jsonl.gz"
    log.write_bytes(data[: len(data) // 2])
    result = CliRunner().invoke(app, ["audit", str(log), "--json"])
    assert isinstance(result.exception, SourceError)
    found = json.loads(result.stdout)
    assert 0 < found["log"]["events"] < 5000
    assert found["problems"]


def test_logs_of_other_formats_are_recognised(tmp_path: Path) -> None:
    """As `detector logs inspect` recognises them; how to map what no format knows the configuration says."""
    samples = Path(__file__).parents[1] / "ingest" / "formats" / "samples" / "litellm.jsonl"
    records = [json.loads(line)["record"]["payload"] for line in samples.read_text(encoding="utf-8").splitlines()]
    log = tmp_path / "litellm.jsonl"
    log.write_text("\n".join(record.replace("\n", " ") for record in records), encoding="utf-8")
    found = told(str(log))
    assert found["log"]["events"] > 0
    assert found["log"]["refused"] > 0


def test_it_is_quiet_in_a_pipe_and_stops_on_request(tmp_path: Path) -> None:
    """Standard error has the recognised format only; Ctrl-C ends it with 130 and no report."""
    log = written(tmp_path / "log.jsonl", steady(3))
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "detector", "audit"]
    done = subprocess.run([*command, str(log)], capture_output=True, text=True, env=environment, check=True)
    assert len(done.stderr.splitlines()) == 1
    with subprocess.Popen(
        [*command, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None
        # More than a pipe holds: it is being read when this returns.
        process.stdin.write((json.dumps(event(0, 0)) + "\n").encode() * 2_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        process.stdin.close()
        assert process.wait(60) == 130
        assert process.stdout is not None
        assert process.stdout.read() == b""
