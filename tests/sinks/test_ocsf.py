"""OCSF findings: every attribute is one that the published schema has, of its type and from its list."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from detector.contracts import Alert, Decision
from detector.sinks import ocsf
from detector.sinks.formats import encoder
from detector.sinks.message import Document
from detector.sinks.sample import sample_alert, sample_decision

PLAIN: dict[str, tuple[type, ...]] = {
    "boolean_t": (bool,),
    "integer_t": (int,),
    "long_t": (int,),
    "float_t": (int, float),
    "string_t": (str,),
    "json_t": (dict, list, str, int, float, bool),
}


class Schema:
    """The published attribute lists; `faults` names what in a document goes against them."""

    def __init__(self, path: Path) -> None:
        self._content = json.loads(path.read_bytes())
        self.version: str = self._content["version"]

    def faults(self, finding: dict[str, Any]) -> list[str]:
        """Return one line per fault of a finding."""
        found = self._content["classes"]["detection_finding"]
        faults = list(self._object(finding, found, "detection_finding"))
        uid = 1000 * found["category_uid"] + found["uid"]
        if finding["class_uid"] != uid or finding["category_uid"] != found["category_uid"]:
            faults.append("class or category")
        if finding["type_uid"] != uid * 100 + finding["activity_id"]:
            faults.append("type_uid")
        return faults

    def _object(self, value: Any, described: dict[str, Any], where: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{where}: not an object"]
        known = described["attributes"]
        faults = [f"{where}.{name}: unknown" for name in value if name not in known]
        faults += [f"{where}.{name}: missing" for name, entry in known.items() if entry.get("required") and name not in value]
        one_of = described.get("constraints", {}).get("at_least_one", ())
        if one_of and not set(one_of) & set(value):
            faults.append(f"{where}: none of {one_of}")
        for name in value.keys() & known.keys():
            faults += self._attribute(value, name, known[name], f"{where}.{name}")
        return faults

    def _attribute(self, owner: dict[str, Any], name: str, entry: dict[str, Any], where: str) -> list[str]:
        value = owner[name]
        if entry.get("array"):
            if not isinstance(value, list) or not value:
                return [f"{where}: not a list with something in it"]
            return [fault for item in value for fault in self._one(item, entry, where)]
        faults = self._one(value, entry, where)
        captions, caption = entry.get("enum"), entry.get("caption_in")
        if captions is not None and captions.get(str(value)) is None:
            faults.append(f"{where}: {value} is not in the list")
        elif captions is not None and caption in owner and owner[caption] != captions[str(value)]:
            faults.append(f"{where}: {owner[caption]!r} is not the caption of {value}")
        return faults

    def _one(self, value: Any, entry: dict[str, Any], where: str) -> list[str]:
        kind = entry["type"]
        if kind == "object":
            return [] if isinstance(value, dict) else [f"{where}: not an object"]
        if kind in self._content["objects"]:
            return self._object(value, self._content["objects"][kind], where)
        described = self._content["types"][kind]
        allowed = PLAIN[kind if kind in PLAIN else described["type"] if described["type"] in PLAIN else "long_t"]
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            return [f"{where}: {value!r} is no {kind}"]
        if "regex" in described and re.search(described["regex"], str(value)) is None:
            return [f"{where}: {value!r} does not look like {kind}"]
        return []


@pytest.fixture(scope="module")
def schema(golden: Path) -> Schema:
    """Return the published lists."""
    return Schema(golden / "ocsf-1.7.0.json")


def test_every_finding_keeps_to_the_published_schema(documents: list[Document], schema: Schema) -> None:
    """No unknown attribute, none missing, types and lists as published, captions that fit their numbers."""
    assert schema.version == ocsf.VERSION
    for document in documents:
        finding = ocsf.render(document)
        assert schema.faults(finding) == []
        assert finding["metadata"]["version"] == schema.version


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"verdict": 1}, "unknown"),
        ({"severity_id": 7}, "not in the list"),
        ({"severity_id": 3}, "not the caption"),
        ({"time": "now"}, "is no timestamp_t"),
        ({"finding_info": {"title": "x"}}, "finding_info.uid: missing"),
        ({"evidences": [{"name": "x"}]}, "none of"),
        ({"type_uid": 200402}, "type_uid"),
        ({"is_alert": 1}, "is no boolean_t"),
    ],
)
def test_the_schema_refuses_what_is_wrong(schema: Schema, change: dict[str, Any], fault: str) -> None:
    """The check of the test above is not blind."""
    faults = schema.faults(ocsf.render(sample_alert()) | change)
    assert any(fault in one for one in faults)


def test_golden(documents: list[Document], golden: Path) -> None:
    """The same documents give the same bytes as ever."""
    lines = (golden / "ocsf.jsonl").read_bytes().splitlines()
    assert [encoder("ocsf")(document) for document in documents] == lines


def test_nothing_that_an_analyst_needs_is_left_out() -> None:
    """Client, model, evidence with its figures, examples and features are in the finding of an alert."""
    alert = sample_alert()
    text = json.dumps(ocsf.render(alert))
    wanted = [
        alert.user.id,
        alert.service.name,
        alert.event.reason,
        "203.0.113.7",
        "7f1c-0",
        "31.2",
        "near_duplicate_rate",
        "16",
    ]
    assert [part for part in wanted if part not in text] == []


def test_shadow_mode_is_observed_and_logged(documents: list[Document]) -> None:
    """Whatever the action, in shadow mode the finding says observed and logged, and only then."""
    for document in documents:
        finding = ocsf.render(document)
        shadow = document.detector.shadow if isinstance(document, Alert) else document.simulated
        assert ((finding["action_id"], finding["disposition_id"]) == (3, 17)) == shadow


def test_a_decision_updates_the_finding_of_its_alert() -> None:
    """It bears the alert's id; a person's lift closes the matter as a false alarm or as resolved."""
    finding = ocsf.render(sample_decision())
    assert finding["finding_info"]["uid"] == ocsf.render(sample_alert())["finding_info"]["uid"]
    assert finding["activity_name"] == "Update"
    lifted: dict[str, Any] = {"action": "allow", "origin": "manual", "actor": "soc:j.doe"}
    for code, status in (("manual.false_positive", "Suppressed"), ("manual.agreed", "Resolved")):
        assert ocsf.render(sample_decision(**lifted, reason={"code": code, "admin": "x"}))["status"] == status
    assert ocsf.render(sample_decision(origin="manual", actor="soc:j.doe"))["status"] == "In Progress"


def test_a_decision_is_there_as_it_was(documents: list[Document]) -> None:
    """What the schema has no attribute for is kept: the decision can be read back."""
    for document in documents:
        if isinstance(document, Decision):
            kept = ocsf.render(document)["unmapped"]["decision"]
            assert Decision.model_validate_json(json.dumps(kept)) == document
