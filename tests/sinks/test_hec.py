"""Events for Splunk: the envelope has the keys that the collector takes, and the document is whole inside."""

import json
from pathlib import Path

from detector.contracts import Alert, Decision, parse_rfc3339
from detector.contracts.ecs import ECS_VERSION
from detector.sinks import hec
from detector.sinks.formats import encoder, enveloped
from detector.sinks.hec import Envelope
from detector.sinks.message import Document

KEYS = {"time", "host", "source", "sourcetype", "index", "event", "fields"}


def test_the_envelope_has_only_known_keys(documents: list[Document]) -> None:
    """The keys are those that the collector documents, the time is in seconds, and the fields are flat text."""
    for document in documents:
        event = hec.render(document, Envelope(host="siem-1", index="security"))
        assert set(event) == KEYS
        assert set(hec.render(document)) == KEYS - {"host", "index"}
        at_ms = parse_rfc3339(document.timestamp) if isinstance(document, Alert) else document.issued_ms
        assert round(event["time"] * 1000) == at_ms
        assert all(isinstance(value, str) for value in event["fields"].values())


def test_the_document_is_whole_inside(documents: list[Document]) -> None:
    """What was sent can be read back as the contract has it."""
    for document in documents:
        inside = json.dumps(json.loads(encoder("hec")(document))["event"])
        kind = Alert if isinstance(document, Alert) else Decision
        assert kind.model_validate_json(inside) == document


def test_other_renderings_go_into_the_envelope(documents: list[Document]) -> None:
    """OCSF stands inside as an object, CEF as text."""
    for document in documents:
        assert json.loads(enveloped("ocsf", Envelope())(document))["event"]["class_uid"] == 2004
        assert json.loads(enveloped("cef", Envelope())(document))["event"].startswith("CEF:0|")
        assert json.loads(enveloped("ecs", Envelope())(document))["event"]["ecs"]["version"] == ECS_VERSION


def test_golden(documents: list[Document], golden: Path) -> None:
    """The same documents give the same bytes as ever."""
    lines = (golden / "hec.jsonl").read_bytes().splitlines()
    assert [encoder("hec")(document) for document in documents] == lines
