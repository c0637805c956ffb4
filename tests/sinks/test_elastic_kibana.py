"""What goes to Kibana: well formed, fields that exist, put in place once however often; against a server that records."""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jsonschema
import pytest

from detector.config import ElasticsearchSection
from detector.errors import ConfigError, ElasticError
from detector.sinks.elastic.install import assets
from detector.sinks.elastic.kibana import Kibana, rule, saved_objects

SECTION = ElasticsearchSection(hosts=("http://h:1",), username="ann", password="pässword")

OBJECT = {
    "type": "object",
    "required": ["id", "type", "attributes", "references", "coreMigrationVersion", "typeMigrationVersion"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "pattern": "^detector-[a-z-]+$"},
        "type": {"enum": ["index-pattern", "visualization", "search", "dashboard"]},
        "attributes": {"type": "object", "required": ["title"]},
        "references": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "type", "id"],
                "additionalProperties": False,
                "properties": {name: {"type": "string"} for name in ("name", "type", "id")},
            },
        },
        "coreMigrationVersion": {"type": "string"},
        "typeMigrationVersion": {"type": "string"},
    },
}
RULE = {
    "type": "object",
    "required": [
        "rule_id",
        "name",
        "description",
        "type",
        "query",
        "language",
        "index",
        "risk_score",
        "severity",
        "interval",
        "from",
    ],
    "properties": {
        "type": {"const": "query"},
        "language": {"enum": ["kuery", "lucene"]},
        "severity": {"enum": ["low", "medium", "high", "critical"]},
        "risk_score": {"type": "integer", "minimum": 0, "maximum": 100},
        "interval": {"pattern": "^[0-9]+[smhd]$"},
        "from": {"pattern": "^now-[0-9]+[smhd]$"},
        "enabled": {"const": False},
        "severity_mapping": {
            "items": {
                "required": ["field", "operator", "value", "severity"],
                "properties": {"operator": {"const": "equals"}, "value": {"type": "string"}},
            }
        },
        "alert_suppression": {
            "required": ["group_by"],
            "properties": {
                "group_by": {"type": "array", "minItems": 1, "maxItems": 3},
                "duration": {"required": ["value", "unit"], "properties": {"unit": {"enum": ["s", "m", "h"]}}},
                "missing_fields_strategy": {"enum": ["suppress", "doNotSuppress"]},
            },
        },
        "threat": {
            "items": {
                "required": ["framework", "tactic"],
                "properties": {"tactic": {"required": ["id", "name", "reference"]}, "technique": {"type": "array"}},
            }
        },
    },
}


def fields(stream: str) -> set[str]:
    """Return the fields that the templates of a stream map."""
    by_name = {asset.name: asset.content for asset in assets()}
    found: set[str] = set()

    def walk(properties: dict[str, Any], path: str) -> None:
        for name, field in properties.items():
            found.add(f"{path}{name}")
            walk(field.get("properties", {}), f"{path}{name}.")

    for name in by_name[stream]["composed_of"]:
        walk(by_name.get(name, {}).get("template", {}).get("mappings", {}).get("properties", {}), "")
    return found


STREAMS = {
    "detector-alerts": "logs-detector.alert",
    "detector-decisions": "logs-detector.decision",
    "detector-clients": "metrics-detector.client",
}


def test_saved_objects_are_well_formed() -> None:
    """Each has the form of an export, an id of its own, and refers to objects that are there."""
    found = saved_objects()
    for entry in found:
        jsonschema.validate(entry, OBJECT)
    present = {(entry["type"], entry["id"]) for entry in found}
    assert len(present) == len(found)
    for entry in found:
        assert all((reference["type"], reference["id"]) in present for reference in entry["references"])
        names = [reference["name"] for reference in entry["references"]]
        assert len(set(names)) == len(names)
        meta = entry["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}")
        assert json.loads(meta).get("indexRefName") in {None, *names}


def test_fields_of_dashboards_exist() -> None:
    """Every field that a picture draws is mapped, and by a type that can be drawn so."""
    for entry in saved_objects():
        if entry["type"] not in {"visualization", "search"}:
            continue
        known = fields(STREAMS[entry["references"][0]["id"]])
        used = set(entry["attributes"].get("columns", ()))
        if "visState" in entry["attributes"]:
            state = json.loads(entry["attributes"]["visState"])
            used |= {aggregation["params"]["field"] for aggregation in state["aggs"] if "field" in aggregation["params"]}
            numbers = [aggregation["id"] for aggregation in state["aggs"]]
            assert len(set(numbers)) == len(numbers)
        assert used <= known, entry["id"]


def test_dashboards_hold_what_they_refer_to() -> None:
    """Each panel has its reference and its place, and no two overlap."""
    [board] = [entry for entry in saved_objects() if entry["type"] == "dashboard"]
    panels = json.loads(board["attributes"]["panelsJSON"])
    names = {reference["name"]: reference for reference in board["references"]}
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        reference = names.pop(f"{panel['panelIndex']}:{panel['panelRefName']}")
        assert reference["type"] == panel["type"]
        grid = panel["gridData"]
        mine = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not mine & cells
        assert max(x for x, _ in mine) < 48
        cells |= mine
    assert not names


def test_the_rule_is_well_formed() -> None:
    """It has what Kibana asks of a rule, takes fields that exist, gives all four severities, and comes with a guide."""
    content = rule()
    jsonschema.validate(content, RULE)
    known = fields("logs-detector.alert")
    used = {
        *content["alert_suppression"]["group_by"],
        content["timestamp_override"],
        content["rule_name_override"],
        *(entry["field"] for name in ("severity_mapping", "risk_score_mapping") for entry in content[name]),
        *re.findall(r"([a-z_.]+) :", content["query"]),
    }
    assert used <= known
    assert {entry["value"]: entry["severity"] for entry in content["severity_mapping"]} == {
        "21": "low",
        "47": "medium",
        "73": "high",
        "99": "critical",
    }
    for heading in ("## Triage and analysis", "### False positives", "## Response and remediation"):
        assert heading in content["note"]


class Recorder:
    """Answers as Kibana's interface does, from what it was given, and records what was asked."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Any] = {}
        self.rules: dict[str, Any] = {}
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.status = 200
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its address, with a space."""
        return f"http://127.0.0.1:{self.server.server_address[1]}/s/soc"

    def answer(self, method: str, path: str, kind: str, body: bytes) -> tuple[int, Any]:
        """Return status and content."""
        if self.status != 200:
            return self.status, {"statusCode": self.status, "message": "by the test"}
        match method, path.partition("?")[0]:
            case "POST", "/s/soc/api/saved_objects/_bulk_get":
                names = [(entry["type"], entry["id"]) for entry in json.loads(body)]
                missing = {"error": {"statusCode": 404}}
                return 200, {
                    "saved_objects": [{"type": t, "id": i} | ({} if (t, i) in self.objects else missing) for t, i in names]
                }
            case "POST", "/s/soc/api/saved_objects/_import":
                mark = kind.partition("boundary=")[2].encode()
                _, part, rest = body.split(b"--" + mark)
                head, _, content = part.partition(b"\r\n\r\n")
                assert b'name="file"; filename="dashboards.ndjson"' in head
                assert rest == b"--\r\n"
                entries = [json.loads(line) for line in content.strip().splitlines()]
                self.objects |= {(entry["type"], entry["id"]): entry for entry in entries}
                return 200, {"success": True, "successCount": len(entries)}
            case "GET", "/s/soc/api/detection_engine/rules":
                name = path.partition("rule_id=")[2]
                return (200, self.rules[name]) if name in self.rules else (404, {"message": "not found", "status_code": 404})
            case "POST" | "PATCH", "/s/soc/api/detection_engine/rules":
                content = json.loads(body)
                assert (content["rule_id"] in self.rules) == (method == "PATCH")
                self.rules.setdefault(content["rule_id"], {}).update(content)
                return 200, self.rules[content["rule_id"]]
        return 404, {"statusCode": 404}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                recorder.asked.append((self.command, self.path, dict(self.headers)))
                status, content = recorder.answer(self.command, self.path, self.headers.get("Content-Type", ""), body)
                text = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = _any  # noqa: N815  # the parent's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Say nothing."""

        return Handler


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Return a server that stands for Kibana."""
    made = Recorder()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_installing_twice_makes_everything_once(recorder: Recorder) -> None:
    """A dry run sends nothing that changes; the second install replaces; a rule that was switched on stays so."""
    kibana = Kibana(recorder.url, SECTION)
    assert {step.state for step in kibana.install(dry_run=True)} == {"new"}
    assert (recorder.objects, recorder.rules) == ({}, {})
    assert {step.state for step in kibana.install()} == {"new"}
    assert list(recorder.objects.values()) == saved_objects()
    assert recorder.rules == {"detector-model-extraction": rule()}
    recorder.rules["detector-model-extraction"]["enabled"] = True
    states = {step.what: step.state for step in kibana.install()}
    assert states.pop("detection rule detector-model-extraction") == "as it should be"
    assert set(states.values()) == {"changed"}
    recorder.rules["detector-model-extraction"]["note"] = "old"
    assert kibana.install()[-1].state == "changed"
    assert recorder.rules["detector-model-extraction"] == rule() | {"enabled": True}
    for _, _, headers in recorder.asked:
        assert headers["kbn-xsrf"] == "true"
        assert headers["Authorization"] == "Basic YW5uOnDDpHNzd29yZA=="


@pytest.mark.parametrize(
    ("status", "words"), [(401, "refuses the login"), (403, "does not let us"), (500, "answers 500: by the test")]
)
def test_what_kibana_refuses(recorder: Recorder, status: int, words: str) -> None:
    """Each refusal has its sentence."""
    recorder.status = status
    with pytest.raises(ElasticError, match=words):
        Kibana(recorder.url, SECTION).install()


def test_where_there_is_no_kibana(elastic: str) -> None:
    """Nobody there, another program there, and what is no address."""
    with pytest.raises(ElasticError, match="cannot be reached"):
        Kibana("http://127.0.0.1:1", SECTION).install()
    with pytest.raises(ElasticError, match="answers 4"):
        Kibana(elastic, ElasticsearchSection(hosts=("http://h:1",))).install()
    for wrong in ("127.0.0.1:5601", "http://ann:secret@h:5601"):
        with pytest.raises(ConfigError, match="without a login"):
            Kibana(wrong, SECTION)
