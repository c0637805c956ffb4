"""``detector logs inspect``: what a log holds, and the configuration to go on with."""

import json
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from detector.cli import app
from tests.ingest.formats.test_registry import samples


def written(tmp_path: Path, name: str) -> Path:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"".join(record.value.replace(b"\n", b"") + b"\n" for record, _ in samples(name)))
    return log


def test_a_log_is_recognised_and_its_configuration_written(tmp_path: Path) -> None:
    """The file is not replaced unless that is asked for."""
    log, config = written(tmp_path, "apisix"), tmp_path / "detector.toml"
    call = ["logs", "inspect", str(log), "--json", "--write", str(config)]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert list(found["formats"]) == ["apisix"]
    assert found["clients"]["count"] > 0
    assert tomllib.loads(config.read_text())["ingest"]["format"] == "apisix"
    assert CliRunner().invoke(app, call).exit_code != 0
    assert CliRunner().invoke(app, [*call, "--force"]).exit_code == 0


def test_a_rule_is_proposed_where_nothing_says_who_asked(tmp_path: Path) -> None:
    """A header that few values fill in most records; one that is different in each record is none."""
    log = tmp_path / "log.jsonl"
    (record, _), *_ = samples("apisix")
    entry = json.loads(record.value)
    entry = entry[0] if isinstance(entry, list) else entry
    entry.pop("consumer", None)
    with log.open("w") as file:
        for at in range(20):
            entry["request"]["headers"] = {"x-tenant": f"t{at % 3}", "x-user-nonce": str(at)}
            file.write(json.dumps(entry) + "\n")
    done = CliRunner().invoke(app, ["logs", "inspect", str(log), "--json"])
    assert done.exit_code == 1
    rules = tomllib.loads(json.loads(done.stdout)["configuration"])["ingest"]["clients"]
    assert rules == [{"header": "x-tenant"}]


def test_a_log_of_no_known_format(tmp_path: Path) -> None:
    """It says so, and control characters do not reach the terminal."""
    log = tmp_path / "log.jsonl"
    log.write_text('{"hello": "\\u001b[31m"}\n\x1b[31m\n')
    done = CliRunner().invoke(app, ["logs", "inspect", str(log)])
    assert done.exit_code == 1
    assert "no format is recognised" in done.stdout
    assert "\x1b" not in done.stdout
