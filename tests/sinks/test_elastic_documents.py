"""From records to documents: what is added, what is kept, and what is no record of ours."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.contracts import to_json
from detector.errors import NoDocumentError
from detector.sinks.elastic.documents import documents
from detector.sinks.sample import sample_alert, sample_decision

NOW = "2026-05-04T10:31:08.000Z"


def made(kind: Any, record: bytes) -> list[tuple[str, str, dict[str, Any]]]:
    """Return streams, ids and contents."""
    found = documents(kind, record, "tenant_a", NOW)
    assert all(b"\n" not in document.source for document in found)
    return [(document.stream, document.id, json.loads(document.source)) for document in found]


def test_an_alert_stays_as_it_is() -> None:
    """Only the namespace and the time of shipping are put in; the figures become a second document."""
    alert = sample_alert()
    (stream, name, document), (samples, sample_name, sample) = made("alert", to_json(alert))
    assert (stream, samples) == ("logs-detector.alert-tenant_a", "metrics-detector.client-tenant_a")
    assert name == sample_name == alert.event.id
    assert document["event"].pop("ingested") == NOW
    assert document["data_stream"].pop("namespace") == "tenant_a"
    original = json.loads(to_json(alert))
    del original["data_stream"]["namespace"]
    assert document == original
    assert sample["detector"]["features"] == original["detector"]["features"]
    assert sample["event"]["kind"] == "metric"
    assert (sample["user"], sample["service"]) == (original["user"], original["service"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"action": "block"}, {"type": ["denied"], "shadow": "false"}),
        ({"action": "block", "simulated": True}, {"type": ["allowed"], "shadow": "true"}),
        ({"action": "allow"}, {"type": ["allowed"], "shadow": "false"}),
        ({"action": "perturb"}, {"type": ["allowed"], "shadow": "false"}),
    ],
)
def test_a_decision_can_be_found(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    """The decision is whole under its own name; it is no alert, so that no rule takes it for one."""
    decision = sample_decision(**changes)
    [(stream, name, document)] = made("decision", to_json(decision))
    assert stream == "logs-detector.decision-tenant_a"
    assert name == f"{decision.decision_id}.{decision.revision}"
    assert document["detector"]["decision"] == json.loads(to_json(decision))
    assert document["event"]["kind"] == "event"
    assert {"type": document["event"]["type"], "shadow": document["labels"]["shadow"]} == expected
    assert document["user"] == {"id": "acme-batch", "name": "acme-batch"}


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("ip", {"source": {"address": "x"}}),
        ("organization", {"organization": {"id": "x"}}),
        ("cidr", {}),
        ("api_key", {"user": {"id": "x", "name": "x"}, "related": {"user": ["x"]}}),
    ],
)
def test_other_subjects(subject: str, found: dict[str, Any]) -> None:
    """Each kind of subject stands where ECS has a place for it."""
    decision = sample_decision(subject={"type": subject, "id": "x"})
    [(_, _, document)] = made("decision", to_json(decision))
    assert {name: document[name] for name in ("user", "related", "source", "organization") if name in document} == found


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b"\xff\xfe", "json"),
        (b"[" * 100_000, "json"),
        (b'{"a":NaN}', "json"),
        (b"7", "schema"),
        (b"{}", "schema"),
        (b'{"event":{"id":1},"@timestamp":"x"}', "schema"),
        (b'{"event":{"id":"%s"},"@timestamp":"x"}' % ("ä" * 300).encode(), "schema"),
    ],
)
def test_what_is_no_alert(record: bytes, reason: str) -> None:
    """It is refused here, with the reason of a dead letter."""
    with pytest.raises(NoDocumentError) as raised:
        documents("alert", record, "default", NOW)
    assert raised.value.reason == reason


NAMES = st.sampled_from(
    [
        "event",
        "id",
        "detector",
        "features",
        "subject",
        "reason",
        "decision_id",
        "risk",
        "scope",
        "models",
        "action",
        "@timestamp",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner)
)


@given(JSON)
def test_whatever_json_comes(content: Any) -> None:
    """It becomes documents or is refused; nothing else happens."""
    record = json.dumps(content).encode()
    for kind in ("alert", "decision"):
        try:
            made(kind, record)
        except NoDocumentError:
            continue
