"""Files in a format other than the native one: as records of Kafka, several events each, to the same results."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import detector
from detector.clock import HeldClock
from detector.config import Config, EngineSection, IngestSection, TopicSection
from detector.errors import ConfigError
from detector.ingest.formats.decoder import Record
from detector.offline import replay as replaying
from detector.testing import LATER_MS, traffic
from tests.ingest.formats.paired import CLIENT, dumped, paired, unpaired

CLOCK = HeldClock(LATER_MS)
FILES = ("alerts.jsonl", "decisions.jsonl", "clients.jsonl")


def config(**ingest: Any) -> Config:
    return Config(ingest=IngestSection(**ingest), engine=EngineSection(seed=3, learning_events=64))


def run(log: Path, settings: Config, out: Path, **options: Any) -> dict[str, bytes]:
    replaying.replay([str(log)], out, settings, None, clock=CLOCK, **options)
    return {name: (out / name).read_bytes() for name in FILES}


def write(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@pytest.fixture
def records() -> list[Record]:
    return paired(traffic(queries=120))


def test_the_same_events_give_the_same_results(tmp_path: Path, records: list[Record], paired_format: str) -> None:
    """Client from a header, model from the topic, two events a record: byte for byte as the native log, however it is cut."""
    native = run(write(tmp_path / "native.jsonl", unpaired(records)), config(), tmp_path / "a")
    assert native["decisions.jsonl"]
    log = write(tmp_path / "dump.jsonl", [dumped(record) for record in records])
    settings = config(format=paired_format, envelope="kcat")
    assert run(log, settings, tmp_path / "b") == native
    assert run(log, settings, tmp_path / "c", batch_size=1) == native
    by_topic = config(envelope="kcat", topics={"model": TopicSection(format=paired_format)})
    assert run(log, by_topic, tmp_path / "d", partitions=3) == run(
        tmp_path / "native.jsonl", config(), tmp_path / "e", partitions=3
    )


def test_each_event_has_a_place_of_its_own(tmp_path: Path, records: list[Record], paired_format: str) -> None:
    """What is refused of a record names the event, whether the decoder, the assembler or the engine refused it."""
    late = records[-1]._replace(time_ms=(records[0].time_ms or 0) - 3_600_000)
    wrong = Record(
        json.dumps({"id": "w", "rows": [["x"], [1e39] * 12], "answers": [0, 0]}).encode(),
        headers=[(CLIENT, b"client-0")],
        topic="model",
        time_ms=late.time_ms,
    )
    lines = [dumped(record) for record in [*records, late, wrong]]
    log = write(tmp_path / "dump.jsonl", [*lines, b"{"])
    run(log, config(format=paired_format, envelope="kcat"), tmp_path / "out")
    dead_letters = [json.loads(line) for line in (tmp_path / "out/dead-letters.jsonl").read_bytes().splitlines()]
    count = len(records)
    assert [(dead_letter["line"], dead_letter.get("index"), dead_letter["reason"]) for dead_letter in dead_letters] == [
        (count + 1, None, "late"),
        (count + 1, 1, "late"),
        (count + 2, None, "schema"),
        (count + 2, 1, "not_finite"),
        (count + 3, None, "json"),
    ]
    kept = [base64.b64decode(dead_letter["record"]) for dead_letter in dead_letters]
    assert kept == [lines[-2], b"", lines[-1], b"", b"{"]  # a record is kept once


def test_refused_events_of_one_record_count_each(tmp_path: Path, records: list[Record], paired_format: str) -> None:
    """They are not repeats of each other."""
    body = {"id": "w" * 300, "rows": [["x"], ["x"]], "answers": [0, 0]}
    wrong = records[-1]._replace(value=json.dumps(body).encode())
    log = write(tmp_path / "dump.jsonl", [dumped(record) for record in [*records, wrong, wrong]])
    run(log, config(format=paired_format, envelope="kcat"), tmp_path / "out")
    clients = [json.loads(line) for line in (tmp_path / "out/clients.jsonl").read_bytes().splitlines()]
    (found,) = [entry for entry in clients if entry["client"] == wrong.header(CLIENT)]
    assert found["refused"] == {"schema": 2}


def test_responses_to_a_client(tmp_path: Path, records: list[Record], paired_format: str) -> None:
    """Responses are read again from the log by the same format."""
    log = write(tmp_path / "dump.jsonl", [dumped(record) for record in records])
    results = detector.replay(log, config(format=paired_format, envelope="kcat"))
    responses = results.responses("thief-0")
    rows = [row for record in records if record.header(CLIENT) == "thief-0" for row in json.loads(record.value)["rows"]]
    np.testing.assert_allclose(responses.inputs, rows, rtol=1e-6)


def test_a_format_that_does_not_exist(tmp_path: Path) -> None:
    """It is an error before the results of an earlier run are replaced."""
    log = write(tmp_path / "log.jsonl", traffic(queries=1))
    run(log, config(), tmp_path / "out")
    before = (tmp_path / "out/summary.json").read_bytes()
    for wrong in (config(format="csv"), config(topics={"log": TopicSection(format="csv")})):
        with pytest.raises(ConfigError, match="no log format 'csv'; known: apisix"):
            run(log, wrong, tmp_path / "out")
    assert (tmp_path / "out/summary.json").read_bytes() == before
