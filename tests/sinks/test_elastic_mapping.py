"""On a real server: the mapping is the intended one to the last field, and Elastic's own rule finds the alerts."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from detector.config import ElasticsearchSection
from detector.contracts import to_json
from detector.sinks.elastic.bulk import Bulk
from detector.sinks.elastic.documents import ElasticDocument, documents
from detector.sinks.elastic.install import ASSETS, install, streams_to_roll
from detector.sinks.message import Kind
from detector.sinks.sample import sample_alert, sample_decision
from tests.servers.elastic_settings import ROLES

NOW = "2026-05-04T10:31:08.000Z"
EXTERNAL_ALERTS = "event.kind:alert and not event.module:(endgame or endpoint or cloud_defend)"

# Every field of a full alert that is not a keyword.
TYPES = {
    "@timestamp": "date",
    "message": "text",
    "event.severity": "long",
    "event.risk_score": "float",
    "event.risk_score_norm": "float",
    "event.start": "date",
    "event.end": "date",
    "event.created": "date",
    "event.ingested": "date",
    "source.ip": "ip",
    "client.ip": "ip",
    "related.ip": "ip",
    "detector.queries": "long",
    "detector.score": "float",
    "detector.look": "integer",
    "detector.evidence.value": "float",
    "detector.evidence.weight": "float",
    "detector.evidence.text": "text",
    "detector.evidence.baseline.low": "float",
    "detector.evidence.baseline.median": "float",
    "detector.evidence.baseline.high": "float",
    "detector.evidence.baseline.threshold": "float",
    "detector.features": "flattened",
    "detector.odometer.queries": "long",
    "detector.odometer.lead": "float",
    "detector.odometer.low": "float",
    "detector.odometer.high": "float",
    "detector.cost.leaked": "double",
    "detector.cost.low": "double",
    "detector.cost.high": "double",
    "detector.cost.paid": "double",
    "detector.cost.price.lead": "float",
    "detector.cost.price.queries": "long",
    "detector.cost.price.amount": "double",
    "detector.cost.price.reached": "boolean",
    "detector.shadow": "boolean",
    "detector.decision.schema_version": "integer",
    "detector.decision.revision": "long",
    "detector.decision.parameters.requests_per_minute": "long",
    "detector.decision.parameters.retry_after_seconds": "long",
    "detector.decision.parameters.decimals": "integer",
    "detector.decision.parameters.labels_only": "boolean",
    "detector.decision.parameters.status_code": "integer",
    "detector.decision.issued_at": "date",
    "detector.decision.expires_at": "date",
    "detector.decision.reason.admin": "text",
    "detector.decision.reason.user": "text",
    "detector.decision.risk.score": "float",
    "detector.decision.simulated": "boolean",
}


@pytest.fixture
def client(elastic: str) -> Iterator[Elasticsearch]:
    """Return a client of the shared server, with the templates in place."""
    with Elasticsearch(elastic, request_timeout=60) as made:
        install(made)
        yield made


@pytest.fixture
def bulk(client: Elasticsearch, elastic: str) -> Bulk:
    """Return a writer."""
    return Bulk(client, ElasticsearchSection(hosts=(elastic,), timeout_seconds=60))


@pytest.fixture
def namespace() -> str:
    """Return a namespace that no other test uses."""
    return f"t{uuid.uuid4().hex[:8]}"


def leaves(content: Any, path: str = "") -> set[str]:
    """Return the paths of a document's values; a feature's value is its object's."""
    if isinstance(content, dict) and path != "detector.features":
        return {leaf for name, part in content.items() for leaf in leaves(part, f"{path}.{name}".lstrip("."))}
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return {leaf for part in content for leaf in leaves(part, path)}
    return {path}


def typed(properties: dict[str, Any], path: str = "") -> dict[str, str]:
    """Return the type of each field of a mapping, by its path."""
    found: dict[str, str] = {}
    for name, field in properties.items():
        place = f"{path}.{name}".lstrip(".")
        if "properties" in field:
            found |= typed(field["properties"], place)
        else:
            found[place] = field.get("type", "object")
    return found


def mapping(client: Elasticsearch, stream: str) -> dict[str, str]:
    """Return the types in a data stream that has one index."""
    [index] = client.indices.get_mapping(index=stream).values()
    return typed(index["mappings"]["properties"])


def write(bulk: Bulk, kind: Kind, namespace: str, *records: bytes) -> list[ElasticDocument]:
    """Write records and check that all were taken."""
    made = [document for record in records for document in documents(kind, record, namespace, NOW)]
    outcome = bulk.write(made)
    assert (outcome.written, outcome.refused, outcome.left) == (len(made), {}, []), outcome
    return made


@pytest.mark.parametrize(("kind", "stream"), [("alert", "logs-detector.alert"), ("decision", "logs-detector.decision")])
def test_every_field_has_the_type_that_was_meant(
    bulk: Bulk, client: Elasticsearch, namespace: str, kind: Kind, stream: str
) -> None:
    """Each field of a full document is mapped as listed; the mapping before and after it is the same: nothing was guessed."""
    record = to_json(sample_alert()) if kind == "alert" else to_json(sample_decision(supersedes="a", actor="b"))
    name = f"{stream}-{namespace}"
    client.create(index=name, id="bare", document={"@timestamp": NOW})
    before = mapping(client, name)
    document = write(bulk, kind, namespace, record)[0]
    after = mapping(client, name)
    assert after == before
    fields = leaves(json.loads(document.source))
    assert {field: after.get(field) for field in fields} == {field: TYPES.get(field, "keyword") for field in fields}
    assert {field for field in after if field.startswith("detector.")} <= set(TYPES) | {
        field for field in after if after[field] == "keyword"
    }


def test_what_a_later_version_adds_is_kept_and_not_indexed(bulk: Bulk, client: Elasticsearch, namespace: str) -> None:
    """A new field under our object stays in the document and gets no mapping."""
    content = json.loads(to_json(sample_alert()))
    content["detector"]["novel"] = {"start": "not a date", "usage": "much"}
    write(bulk, "alert", namespace, json.dumps(content).encode())
    name = f"logs-detector.alert-{namespace}"
    assert not [field for field in mapping(client, name) if "novel" in field]
    client.indices.refresh(index=name)
    assert client.search(index=name)["hits"]["hits"][0]["_source"]["detector"]["novel"]["usage"] == "much"


def test_figures_of_clients_are_numbers(bulk: Bulk, client: Elasticsearch, namespace: str) -> None:
    """Each feature is a float, whole numbers too, and can be averaged."""
    content = json.loads(to_json(sample_alert()))
    content["detector"]["features"] = {"rate": 2, "near_duplicate_rate": 0.5}
    write(bulk, "alert", namespace, json.dumps(content).encode())
    name = f"metrics-detector.client-{namespace}"
    found = mapping(client, name)
    assert {field: kind for field, kind in found.items() if field.startswith("detector.features")} == {
        "detector.features.rate": "float",
        "detector.features.near_duplicate_rate": "float",
    }
    client.indices.refresh(index=name)
    answer = client.search(index=name, size=0, aggs={"mean": {"avg": {"field": "detector.features.rate"}}})
    assert answer["aggregations"]["mean"]["value"] == 2.0


def test_the_rule_for_alerts_of_others_finds_ours(bulk: Bulk, client: Elasticsearch, namespace: str) -> None:
    """The query of Elastic's rule "External Alerts" finds alerts, with name, severity and risk where it takes them from."""
    alerts = [sample_alert(alert_id=f"a-{namespace}"), sample_alert(alert_id=f"b-{namespace}", severity="low", client="other")]
    write(bulk, "alert", namespace, *map(to_json, alerts))
    write(bulk, "decision", namespace, to_json(sample_decision()))
    client.indices.refresh(index="logs-*")
    query = {"query_string": {"query": EXTERNAL_ALERTS.replace(" and not ", " AND NOT ").replace(" or ", " OR ")}}
    mine = {"term": {"data_stream.namespace": namespace}}
    hits = client.search(index="logs-*", query={"bool": {"must": query, "filter": mine}})["hits"]["hits"]
    found = {hit["_id"]: hit["_source"] for hit in hits}
    assert set(found) == {alert.event.id for alert in alerts}
    first = found[f"a-{namespace}"]
    assert first["message"] == "Suspected model extraction: client acme-batch on model fraud-scorer"
    assert (first["event"]["severity"], first["event"]["risk_score"]) == (99, 97.4)
    assert found[f"b-{namespace}"]["event"]["severity"] == 21
    late = client.search(index="logs-*", query={"bool": {"filter": [mine, {"range": {"event.ingested": {"gte": NOW}}}]}})
    assert late["hits"]["total"]["value"] == 3


def test_installing_again_changes_nothing(client: Elasticsearch, bulk: Bulk, namespace: str) -> None:
    """The second time all is as it should be; a dry run touches nothing and tells what differs; streams to roll are named."""
    assert {step.state for step in install(client)} == {"as it should be"}
    write(bulk, "alert", namespace, to_json(sample_alert()))
    assert f"logs-detector.alert-{namespace}" in streams_to_roll(client)
    client.cluster.put_component_template(
        name="detector@settings", template={"settings": {"index": {"refresh_interval": "9s"}}}
    )
    for dry_run, expected in ((True, "changed"), (True, "changed"), (False, "changed"), (True, "as it should be")):
        states = {step.what: step.state for step in install(client, dry_run=dry_run)}
        assert states.pop("component template detector@settings") == expected
        assert set(states.values()) == {"as it should be"}


def test_roles_are_those_that_are_tried() -> None:
    """The roles to import are the ones with which the local server is used."""
    for file, name in (("detector-ship", "shipper"), ("detector-install", "installer")):
        role = json.loads((ASSETS / "elasticsearch" / "roles" / f"{file}.json").read_text(encoding="utf-8"))
        assert role == ROLES[name]


def test_retention_is_set(client: Elasticsearch) -> None:
    """Each stream says how long it keeps its documents, and comes before the stock templates."""
    for name, days in (("logs-detector.alert", "365d"), ("logs-detector.decision", "365d"), ("metrics-detector.client", "90d")):
        [found] = client.indices.get_index_template(name=name)["index_templates"]
        template = found["index_template"]
        assert template["template"]["lifecycle"]["data_retention"] == days
        assert template["priority"] == 500
