"""The contracts as JSON Schema 2020-12, for those who read or write the documents in another language.

The files in ``schemas/`` are this module's output and a test keeps them so. They say all that JSON Schema can say;
beyond it stay the rules that need arithmetic: the calendar, the range of a time given as text, and numbers inside
base64. JSON Schema also counts 1.0 as an integer, where the models do not.
"""

import json
from pathlib import Path
from typing import Any, Final

from detector.contracts.alert import Alert
from detector.contracts.audit import Audit
from detector.contracts.dead_letter import DeadLetter
from detector.contracts.decision import Decision
from detector.contracts.document import Document, Wire
from detector.contracts.event import PredictionEvent

__all__ = ["CONTRACTS", "export", "schemas"]

CONTRACTS: Final[dict[str, type[Wire]]] = {
    "prediction-event.v1.json": PredictionEvent,
    "alert.v1.json": Alert,
    "decision.v1.json": Decision,
    "dead-letter.v1.json": DeadLetter,
    "audit.v1.json": Audit,
}
"""File name of each schema, and the model it is made from."""


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by file name."""
    return {name: _schema(name, model) for name, model in CONTRACTS.items()}


def export(directory: Path) -> list[Path]:
    """Write the schemas as indented JSON with sorted keys; creates the directory, replaces files of the same names.

    Raises OSError where that cannot be done.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, schema in schemas().items():
        path = directory / name
        path.write_text(json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _schema(name: str, model: type[Wire]) -> dict[str, Any]:
    schema = model.model_json_schema()
    own_document = issubclass(model, Document)
    for node in (schema, *schema.get("$defs", {}).values()):
        if "properties" in node:
            _tidy(node, own_document=own_document)
    stem, version, _ = name.split(".")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:detector:schema:{stem}:{version}",
        **schema,
    }


def _tidy(node: dict[str, Any], *, own_document: bool) -> None:
    """Make one object's schema say what `Wire` and `Document` do about absent fields."""
    required = set(node.get("required", ()))
    for field, rule in node["properties"].items():
        rule.pop("title", None)
        absent = "default" in rule and rule["default"] is None
        if absent or own_document:
            rule.pop("default", None)
        if not own_document:
            continue
        if not absent:
            required.add(field)
            continue
        options = [option for option in rule.pop("anyOf", ()) if option != {"type": "null"}]
        if len(options) == 1:
            rule.update(options[0])
        elif options:
            rule["anyOf"] = options
    if required:
        node["required"] = [field for field in node["properties"] if field in required]
