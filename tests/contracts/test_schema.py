"""Schemas, models and golden examples agree with each other."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from detector.contracts import Alert, Decision, PredictionEvent, to_json
from detector.contracts.document import Document, Wire
from detector.contracts.moment import READINGS
from detector.contracts.schema import CONTRACTS, export, schemas

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "contracts"
EXAMPLES = {
    "events.jsonl": "prediction-event.v1.json",
    "alerts.jsonl": "alert.v1.json",
    "decisions.jsonl": "decision.v1.json",
    "dead-letters.jsonl": "dead-letter.v1.json",
    "audit.jsonl": "audit.v1.json",
}
REFUSED = {"events-refused.jsonl": "prediction-event.v1.json", "decisions-refused.jsonl": "decision.v1.json"}
VALIDATORS = {
    name: Draft202012Validator(json.loads((ROOT / "schemas" / name).read_text(encoding="utf-8"))) for name in CONTRACTS
}


def lines(file: str) -> list[str]:
    """The lines of a golden file."""
    return (GOLDEN / file).read_text(encoding="utf-8").splitlines()


GOOD = [
    pytest.param(schema, line, id=f"{file}:{n}") for file, schema in EXAMPLES.items() for n, line in enumerate(lines(file), 1)
]
BAD = [
    pytest.param(schema, json.loads(line), id=f"{file}:{n}")
    for file, schema in REFUSED.items()
    for n, line in enumerate(lines(file), 1)
]


def accepts(model: type[Wire], record: Any) -> bool:
    """Whether the model reads the record."""
    try:
        model.model_validate_json(json.dumps(record))
    except ValidationError:
        return False
    return True


def test_schemas_on_disk_are_what_the_models_say(tmp_path: Path) -> None:
    """A change of a model without its schema fails, and so does a schema without its model."""
    written = {path.name: path.read_bytes() for path in export(tmp_path / "new")}
    shipped = {path.name: path.read_bytes() for path in (ROOT / "schemas").glob("*.json")}
    assert written == shipped
    assert set(written) == set(CONTRACTS)


@pytest.mark.parametrize("name", CONTRACTS)
def test_schemas_are_valid_and_named(name: str) -> None:
    """Each schema is valid 2020-12 and says what it is."""
    schema = schemas()[name]
    Draft202012Validator.check_schema(schema)
    assert list(schema)[:2] == ["$schema", "$id"]
    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize(("schema", "line"), GOOD)
def test_golden_examples_are_valid(schema: str, line: str) -> None:
    """Every example is accepted by the model and by the shipped schema, and writing it again changes no content.

    Documents that we write come back to the very same bytes.
    """
    model = CONTRACTS[schema]
    made = model.model_validate_json(line)
    VALIDATORS[schema].validate(json.loads(line))
    again = to_json(made)
    VALIDATORS[schema].validate(json.loads(again))
    assert model.model_validate_json(again) == made
    if issubclass(model, Document):
        assert again.decode() == line


@pytest.mark.parametrize(("schema", "case"), BAD)
def test_golden_refusals_are_refused(schema: str, case: dict[str, Any]) -> None:
    """Every broken example is refused by the model, and by the schema wherever JSON Schema can tell."""
    assert not accepts(CONTRACTS[schema], case["record"])
    assert VALIDATORS[schema].is_valid(case["record"]) is not case["schema_refuses"]


_numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([0.5, 1.0000005, 1.1, -0.5, 1e39, 2**63, -(2**63), 3.4028235e38, 253402300799999]),
)
_junk = st.one_of(st.none(), st.booleans(), st.sampled_from(["", "a", "1", "x" * 256, "x" * 257]), _numbers)
_arrays = st.lists(st.one_of(st.floats(0, 1), _junk), max_size=3) | st.just([None, None])
_rankings = st.lists(st.one_of(st.sampled_from(["a", "b", "1", 1, 2]), _junk), max_size=3)
_coded = st.sampled_from(["AACAPw==", "AACAPwAAAEA=", "AAAA", "AACAPw", ""])
_times = st.one_of(
    *(st.integers(first - 2, end + 2) | st.sampled_from([first - 1, first, end - 1, end]) for first, end in READINGS),
    st.integers(0, 10**13),
    st.sampled_from(["2026-05-04T10:31:07Z", "2026-05-04T10:31:07.5+02:00", "2026-05-04T10:31:07", "2026-05-04"]),
)


def _maybe(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_events = _maybe(
    {
        "event_id": st.one_of(st.just("e"), _junk),
        "time": st.one_of(_times, _junk),
        "client": st.one_of(_maybe({"id": st.just("c"), "type": _junk, "trusted": _junk, "ip": _junk, "other": _junk}), _junk),
        "model": st.one_of(_maybe({"id": _junk, "version": _junk}), _junk),
        "input": st.one_of(_maybe({"vector": st.one_of(_arrays, _junk), "vector_b64": st.one_of(_coded, _junk)}), _junk),
        "output": st.one_of(
            _maybe({"label": _junk, "probabilities": st.one_of(_arrays, _junk), "ranking": st.one_of(_rankings, _junk)}), _junk
        ),
        "latency_ms": _junk,
        "status": _junk,
        "sampled_rate": _junk,
        "other": _junk,
    }
)
_EVENT: dict[str, Any] = json.loads(lines("events.jsonl")[1])


@settings(max_examples=400)
@given(_events, st.sets(st.sampled_from(sorted(_EVENT)), min_size=6))
def test_model_and_schema_agree_on_events(changes: dict[str, Any], kept: set[str]) -> None:
    """The model and the schema accept the same events, good and bad.

    A drawn event takes some fields from a valid one, so that a good share is valid or wrong in one place only. Whole
    floats beyond 64 bits are drawn, smaller ones are not: to JSON Schema they are integers.
    """
    record = changes | {field: _EVENT[field] for field in kept}
    assert accepts(PredictionEvent, record) == VALIDATORS["prediction-event.v1.json"].is_valid(record)


_words = st.sampled_from(["throttle", "manual", "HIGH", "client", "denied", "2026-05-04T10:31:07Z", "AA=="])
_others: st.SearchStrategy[Any] = st.one_of(_junk, st.just([]), st.just({}), _words).filter(
    lambda part: not (isinstance(part, float) and part.is_integer())
)
_DECISIONS: list[dict[str, Any]] = [json.loads(line) for line in lines("decisions.jsonl")]
_ALERTS: list[dict[str, Any]] = [json.loads(line) for line in lines("alerts.jsonl")]


def _paths(node: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    parts = list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ())
    return [path] * bool(path) + [deeper for key, part in parts for deeper in _paths(part, (*path, key))]


@settings(max_examples=400)
@given(st.data())
def test_model_and_schema_agree_on_our_documents(data: st.DataObject) -> None:
    """Replace or remove any one part of a decision or an alert: model and schema give the same verdict.

    Left out is what JSON Schema cannot tell: addresses from other text, and whole floats from integers.
    """
    schema, model, examples = data.draw(
        st.sampled_from([("decision.v1.json", Decision, _DECISIONS), ("alert.v1.json", Alert, _ALERTS)])
    )
    record: Any = json.loads(json.dumps(data.draw(st.sampled_from(examples))))
    *way, last = data.draw(st.sampled_from(_paths(record)))
    node: Any = record
    for key in way:
        node = node[key]
    if data.draw(st.booleans()):
        del node[last]
    else:
        node[last] = data.draw(_others)
        assume(not ("ip" in (*way, last) and isinstance(node[last], str)))
    assert accepts(model, record) == VALIDATORS[schema].is_valid(record)
