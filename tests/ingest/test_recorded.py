"""Recorded logs: what the configuration says of them holds, and each record knows its place."""

import json
from pathlib import Path

from detector.config import Config, IngestSection
from detector.ingest.recorded import read, records_of
from detector.testing import Events


def test_records_come_by_time_and_know_their_place(tmp_path: Path) -> None:
    """Two logs of a folder are merged; topic and place of a record are those of its log."""
    events = Events("alpha")
    lines = [events.line("client", [float(i)], 0) for i in range(6)]
    (tmp_path / "odd.jsonl").write_bytes(b"\n".join(lines[1::2]) + b"\n")
    (tmp_path / "even.jsonl").write_bytes(b"\n".join(lines[::2]) + b"\n")
    problems: list[str] = []
    records = [record for chunk in read([str(tmp_path)], Config(), problems) for record in records_of(chunk)]
    assert [record.value for record in records] == lines
    assert {Path(record.topic).name for record in records} == {"odd.jsonl", "even.jsonl"}
    assert [getattr(record.place, "line", None) for record in records] == [1, 1, 2, 2, 3, 3]
    assert problems == []


def test_a_wrapping_is_taken_off(tmp_path: Path) -> None:
    """As [ingest] envelope says."""
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"log": '{"a": 1}\n', "stream": "stdout", "time": "2026-05-04T10:31:07Z"}) + "\n")
    config = Config(ingest=IngestSection(envelope="docker"))
    (record,) = [record for chunk in read([str(log)], config, []) for record in records_of(chunk)]
    assert json.loads(record.value) == {"a": 1}
