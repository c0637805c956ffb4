"""The command: settings, messages, a real process and its end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from detector.cli import app
from detector.clock import SystemClock
from detector.config import load
from detector.errors import ConfigError, EndpointError
from detector.testing import traffic
from tests.gate.decisions import value
from tests.servers.gate import LocalGate

LATER_MS = 4_000_000_000_000


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "detector", "gate", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=os.environ | {"COLUMNS": "200"} | environment
    )


def test_without_a_source_it_says_what_to_set() -> None:
    done = run()
    assert done.returncode == 2
    assert "set [kafka] bootstrap_servers" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"IDENTITY": "mapping"}, "need each other"),
        ({"CLIENT_HEADER": "X Client"}, "no name of an HTTP header"),
        ({"MODEL_PATTERN": "("}, "no regular expression"),
        ({"MODEL_PATTERN": "x"}, "a group named model"),
        ({"MODEL_PATTERN": "(?P<model>x)", "MODEL_HEADER": "X-Model"}, "not both"),
        ({"REQUESTS_PER_SECOND": "0"}, "greater than 0"),
        ({"COLOUR": "red"}, "no such key"),
    ],
)
def test_a_setting_that_is_wrong_is_named(settings: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in settings.items():
        monkeypatch.setenv(f"DETECTOR_GATE__{name}", text)
    with pytest.raises(ConfigError, match=said) as caught:
        load(None)
    assert "DETECTOR_GATE" in str(caught.value)


def test_it_answers_and_ends_in_order(tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl"
    file.write_bytes(value(expires_ms=LATER_MS) + b"\n")
    with LocalGate({"decisions_file": str(file), "snapshot_file": str(tmp_path / "kept")}) as gate:
        gate.wait_until_ready()
        assert gate.action("acme") == "block"
        assert gate.action("other") == "allow"
        assert gate.metric('detector_gate_decisions{action="block"}') == 1.0
        taken = run("--decisions", str(file), "--port", str(gate.port))
        assert taken.returncode == 1
        assert "set [gate] port" in taken.stderr
        process: Any = gate._process
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        said = gate.log_file.read_text()
        assert "Traceback" not in said
        assert "acme" not in said, "the log shows digests of clients"
        assert '"left_out"' in said
        file.unlink()
        gate.stop()
        gate.start()
        gate.wait_until_ready()
        assert gate.action("acme") == "block", "the snapshot answers"
        assert "degraded" in gate.ask("/readyz")[2]


def test_it_obeys_what_a_replay_on_the_same_machine_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorded log in, a thief refused: no Kafka, no service."""
    now_ms = SystemClock().now_ms()
    lines = [json.loads(line) for line in traffic(innocents=2, thieves=1, queries=100)]
    log = tmp_path / "log.jsonl"
    log.write_text(
        "".join(json.dumps(line | {"time": now_ms - 1000 * (len(lines) - at)}) + "\n" for at, line in enumerate(lines))
    )
    monkeypatch.setenv("DETECTOR_POLICY__SHADOW", "false")
    monkeypatch.setenv("DETECTOR_POLICY__TRUST_CLIENTS", "true")
    monkeypatch.setenv("DETECTOR_ENGINE__SEED", "5")
    done = CliRunner().invoke(app, ["replay", str(log), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    with LocalGate({"decisions_file": str(tmp_path / "out" / "decisions.jsonl")}) as gate:
        gate.wait_until_ready()
        path = "/auth/v1/models/model:predict"
        assert gate.ask(path, {"X-Client-Id": "thief-0"})[0] == 403
        assert gate.action("client-0", path) == "allow"


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["127.0.0.1:1/"], ConfigError, "http://host:port/path"),
        (["http://127.0.0.1:1/"], EndpointError, "cannot be asked: Connection refused"),
        (["http://127.0.0.1:1/", "--blocked", "key"], ConfigError, "written as a header"),
    ],
)
def test_a_check_that_cannot_be_made_says_why(arguments: list[str], error: type[Exception], said: str) -> None:
    done = CliRunner().invoke(app, ["gate", "check", *arguments])
    assert isinstance(done.exception, error)
    assert said in str(done.exception)


def test_a_configuration_before_the_word_check_is_read(tmp_path: Path) -> None:
    """Its header and canary are those of the gate that is checked."""
    done = CliRunner().invoke(app, ["gate", "-c", str(tmp_path / "nowhere.toml"), "check", "http://127.0.0.1:1/"])
    assert isinstance(done.exception, ConfigError)
    assert "nowhere.toml" in str(done.exception)


def test_help_says_what_to_do() -> None:
    said = CliRunner().invoke(app, ["gate", "--help"]).output
    assert "/auth/nginx" in said
    assert "deploy/gateways" in said
