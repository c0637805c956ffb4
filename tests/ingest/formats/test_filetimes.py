"""``[ingest] missing_time = "file"``: records without a time get that of their file."""

import json
import os
from pathlib import Path

import pytest

from detector.config import Config, IngestSection
from detector.ingest.formats.decoder import Record, several
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.routing import decoder_of_files

WRITTEN_MS = 1_777_890_667_412
ROW = {"who": "acme", "a": 1, "b": 2, "answer": 1}
FIELDS = {"client": "who", "time": "ts", "columns": ["a", "b"], "label": "answer"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    file = tmp_path / "log.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    os.utime(file, ns=(WRITTEN_MS * 1_000_000,) * 2)
    return file


def decoded(topic: str, row: object, missing_time: str = "file", ts: int | None = None) -> DecodedEvent | Refusal:
    section = IngestSection(format="mapping", model="m", mapping=FIELDS, missing_time=missing_time)
    decoder = decoder_of_files(Config(ingest=section))
    record = Record(json.dumps(row).encode(), topic=topic, time_ms=ts)
    (found,) = several(decoder.decode(record))
    assert decoder.time_of(record) == (found.time if isinstance(found, DecodedEvent) else None)
    return found


def test_the_time_of_the_file(log: Path) -> None:
    """Only where nothing nearer has one: the record itself, or what is around it."""
    for row, ts, expected in (
        (ROW, None, WRITTEN_MS),
        ({**ROW, "ts": "2026-05-04T10:31:08Z"}, None, 1_777_890_668_000),
        (ROW, 1_777_890_669_000, 1_777_890_669_000),
    ):
        found = decoded(str(log), row, ts=ts)
        assert isinstance(found, DecodedEvent)
        assert found.time == expected


def test_a_dump_has_times_of_its_own(log: Path) -> None:
    """What kcat wrote holds the time of each record."""
    dumped = {"topic": "t", "partition": 0, "offset": 1, "ts": 1_777_890_669_000, "payload": json.dumps(ROW)}
    found = decoded(str(log), dumped)
    assert isinstance(found, DecodedEvent)
    assert found.time == 1_777_890_669_000


def test_without_the_setting_or_a_file_the_record_is_refused(log: Path) -> None:
    """It says which setting takes the file's time."""
    for found in (
        decoded(str(log), ROW, "refuse"),
        decoded("-", ROW),
        decoded("a\0b", ROW),
        decoded(str(log.parent / "no"), ROW),
    ):
        assert isinstance(found, Refusal)
        assert found.reason == "schema"
        assert 'missing_time = "file"' in found.detail
