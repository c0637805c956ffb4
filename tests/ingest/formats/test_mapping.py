"""Logs of any shape: the fields are where the configuration says."""

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from detector.config.ingest import IngestSection, MappingSection
from detector.ingest.formats.decoder import Decoder, Record, Surroundings, several
from detector.ingest.formats.event import DecodedEvent, Refusal
from detector.ingest.formats.registry import format_named
from detector.ingest.source import read_lines

FRAME = Path(__file__).parent / "serving_logs" / "frame-csv"


def decoder(mapping: dict[str, Any], **settings: Any) -> Decoder:
    section = IngestSection(format="mapping", mapping=MappingSection(**mapping), **settings)
    return format_named("mapping").build(Surroundings(dt.UTC, section))


def decoded(reader: Decoder, document: Any) -> DecodedEvent:
    (event,) = several(reader.decode(Record(json.dumps(document).encode())))
    assert isinstance(event, DecodedEvent), event
    return event


def test_a_table_of_predictions() -> None:
    """A frame written as CSV, with a byte order mark: all rows but the two that hold no numbers."""
    expected = json.loads((FRAME / "expected.json").read_text())
    columns = ["amount", "age", "income", "tenure_months", "dti", "country", "card_present", "velocity_1h"]
    mapping = {
        "id": "prediction_id",
        "time": "ts",
        "client": "user",
        "label": "prediction",
        "score": "score",
        "columns": columns,
    }
    reader = decoder(mapping, model="fraud", missing="refuse")
    events, refused = [], {}
    for chunk in read_lines(FRAME / "predictions.csv", max_record_bytes=1 << 20):
        for at, line in enumerate(chunk.lines):
            for outcome in several(reader.decode(Record(line))):
                if isinstance(outcome, Refusal):
                    refused[chunk.origin(at).line] = outcome
                else:
                    events.append(outcome)
    assert len(events) == expected["events"]
    assert Counter(event.client.id for event in events) == expected["clients"]
    assert Counter(event.model.id for event in events) == expected["models"]
    assert {len(event.input.values()) for event in events} == {expected["dimension"]}
    assert sorted(refused) == [letter["line"] for letter in expected["dead_letters"]]
    assert [(refused[line].reason, refused[line].detail) for line in sorted(refused)][1] == (
        "schema",
        "input.age: not a number",
    )
    first = events[0]
    assert (first.event_id, first.time, first.output.label) == ("p0", 1_777_890_602_000, "ok")
    assert first.output.probabilities == pytest.approx([1 - 0.070358, 0.070358])


def test_the_fields_of_an_object() -> None:
    """Nested fields, lists in texts, numbers as texts, and all that is known of the client."""
    reader = decoder(
        {
            "id": "meta.id",
            "time": "meta.at",
            "client": "who[0]",
            "model": "meta.model",
            "version": "meta.version",
            "input": "x",
            "probabilities": "p",
            "label": "y",
            "status": "meta.status",
            "latency_ms": "meta.ms",
            "sampled_rate": "meta.rate",
            "ip": "meta.ip",
        }
    )
    meta = {
        "id": 7,
        "at": 1_777_890_667.5,
        "model": "m",
        "version": 3,
        "status": "200",
        "ms": "12.5",
        "rate": "4",
        "ip": "203.0.113.7",
    }
    event = decoded(reader, {"meta": meta, "who": ["acme"], "x": "[1, 2.5]", "p": {"b": "0.75", "a": "0.25"}, "y": "b"})
    assert (event.event_id, event.time, event.client.id, event.client.ip) == ("7", 1_777_890_667_500, "acme", "203.0.113.7")
    assert (event.model.id, event.model.version, event.status, event.latency_ms, event.sampled_rate) == (
        "m",
        "3",
        200,
        12.5,
        4.0,
    )
    assert (event.input.values().tolist(), event.output.label, event.output.probabilities) == ([1.0, 2.5], "b", [0.25, 0.75])


@pytest.mark.parametrize(
    ("answer", "label", "probabilities"),
    [
        ({"y": "ok", "s": "1"}, "ok", [0.0, 1.0]),
        ({"y": "", "s": 0.25}, None, [0.75, 0.25]),
        ({"s": 1234.5}, "1.2e+03", None),
        ({"y": 3}, 3, None),
        ({"y": 3, "s": "nan"}, 3, None),
    ],
)
def test_label_and_score(answer: dict[str, Any], label: Any, probabilities: Any) -> None:
    """A score is the probability of the second class, and where it is none and alone a number that is predicted."""
    reader = decoder({"time": "t", "client": "c", "input": "x", "label": "y", "score": "s"}, model="m")
    event = decoded(reader, {"t": 1_777_890_667_000, "c": "acme", "x": {"a": 1}, **answer})
    assert (event.output.label, event.output.probabilities) == (label, probabilities)


def test_without_an_answer_it_is_refused_with_its_owner() -> None:
    """What no answer can be found for counts for its client."""
    reader = decoder({"time": "t", "client": "c", "input": "x", "label": "y"}, model="m")
    (refusal,) = several(reader.decode(Record(b'{"t": 1777890667000, "c": "acme", "x": [1]}')))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "unanswered"
    assert refusal.owner is not None
    assert refusal.owner.client == "acme"
