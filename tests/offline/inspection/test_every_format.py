"""Every format's own sample and every log of a real server: recognised, and read by the configuration that is proposed."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from detector.cli import app
from detector.ingest.formats.auto import AUTO
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.registry import FORMATS
from tests.ingest.formats.serving_logs import HERE, LOGS
from tests.ingest.formats.test_registry import samples

NO_SIGN = {AUTO, "mapping"}
RECOGNISED = [name for name in FORMATS if name not in NO_SIGN]
NO_PAYLOADS = {"rayserve", "kong", "envoy"}  # access logs: queries count for their clients, and none can be used
FOLDERS = sorted({log.folder: log for log in LOGS})


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def golden(name: str, folder: Path) -> Path:
    """Write a format's samples as a file: as kcat does where a record is more than its value."""
    records = [record for record, _ in samples(name)]
    dumped = any(record.key or record.headers or record.topic or record.time_ms for record in records)
    log = folder / f"{name}.jsonl"
    log.write_bytes(b"".join(line(record, dumped=dumped) + b"\n" for record in records))
    return log


def line(record: Record, *, dumped: bool) -> bytes:
    if not dumped:
        return record.value.replace(b"\n", b" ")
    headers = [text for name, value in record.headers for text in (name, (value or b"").decode())]
    entry = {
        "topic": record.topic,
        "partition": 0,
        "offset": 0,
        "ts": record.time_ms,
        "headers": headers,
        "key": None if record.key is None else record.key.decode(),
        "payload": record.value.decode(),
    }
    return json.dumps(entry).encode()


def goes_on(log: Path, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inspect a log, check the configuration as it was written, and replay with it; return what both say."""
    config, out = folder / "detector.toml", folder / "out"
    inspected = invoke("logs", "inspect", str(log), "--json", "--write", str(config))
    assert config.exists(), inspected.output
    found: dict[str, Any] = json.loads(inspected.stdout)
    assert config.read_text(encoding="utf-8") == found["configuration"]
    assert invoke("config", "check", "--config", str(config)).exit_code == 0
    replayed = invoke("replay", "--config", str(config), str(log), "--out", str(out))
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    assert inspected.exit_code == replayed.exit_code == (0 if summary["events"] else 1)
    return found, summary


@pytest.mark.parametrize("name", RECOGNISED)
def test_a_format_is_recognised_by_its_own_sample(name: str, tmp_path: Path) -> None:
    """By no other format; what is proposed gives the events that the inspection showed."""
    found, summary = goes_on(golden(name, tmp_path), tmp_path)
    assert list(found["formats"]) == [name]
    assert found["formats"][name]["sign"]
    assert bool(summary["events"]) == (name not in NO_PAYLOADS)
    assert summary["events"] + summary["duplicates"] == found["events"]


@pytest.mark.parametrize("name", sorted(NO_SIGN))
def test_a_log_that_is_no_format_alone(name: str, tmp_path: Path) -> None:
    """Of a log of any shape the fields are guessed, and of a mixed one each record is taken by itself.

    Inputs of two lengths of one model are told: the engine takes one of them.
    """
    found, summary = goes_on(golden(name, tmp_path), tmp_path)
    lengths = [len(about["values"]) for about in found["models"].values()]
    assert 0 < summary["events"] <= found["events"]
    assert (summary["events"] == found["events"]) == (lengths == [1])
    assert any("several lengths" in said for said in found["advice"]) == (lengths != [1])
    assert f'format = "{name}"' in found["configuration"]


def test_eighteen_formats_of_servers_are_recognised() -> None:
    """As many as the documentation lists, our own not counted."""
    assert len(set(RECOGNISED) - {"native"}) == 18


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_log_of_a_real_server(folder: str, tmp_path: Path) -> None:
    """The folder as it is given, but for what is expected of it: at least the events of a hand-written configuration."""
    expected = json.loads((HERE / folder / "expected.json").read_text(encoding="utf-8"))
    copied = tmp_path / "log"
    for file in (HERE / folder).rglob("*"):
        if file.is_file() and file.name != "expected.json":
            target = copied / file.relative_to(HERE / folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    found, summary = goes_on(copied, tmp_path)
    (log, *_) = [log for log in LOGS if log.folder == folder]
    assert list(found["formats"]) == ([] if log.format == "mapping" else [log.format])
    assert summary["events"] >= expected["events"]
    assert len(found["clients"]["largest"]) == len(expected["clients"])
    if log.format != "mapping":
        assert set(found["models"]) == set(expected["models"])
    clients = [json.loads(line) for line in (tmp_path / "out/clients.jsonl").read_bytes().splitlines()]
    assert {client["model"] for client in clients} == set(found["models"])
