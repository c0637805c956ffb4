"""The columns of inputs: what a learner takes them for, and that they stay the same from the log to the live events."""

import json
from pathlib import Path

import pytest

from detector.baseline.store import load, save
from detector.config import Config
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.learning import MOST_CATEGORIES, SchemaLearner
from detector.ingest.schema import UNKNOWN, InputSchema
from detector.offline import replay as replaying

COUNTRIES = ("FR", "DE", "US", "PL")


def test_kinds_and_names_are_what_most_clients_send() -> None:
    learner = SchemaLearner()
    for client in range(6):
        for n in range(5):
            learner.note(
                "m",
                f"c{client}",
                {
                    "amount": f"{n}.5",
                    "country": COUNTRIES[(client + n) % 4],
                    "note": f"transfer number {n} of client {client}",
                    "at": f"2026-05-0{n + 1}T10:00:00Z",
                    "id": f"x-{client}-{n}",
                    "empty": None,
                    "flag": True,
                },
            )
    for n in range(1000):
        learner.note("m", "loud", {"amount": "many", "country": 7.5, "own": n})
    schema = learner.schemas()["m"]
    assert dict(zip(schema.names, schema.kinds, strict=True)) == {
        "amount": "number",
        "country": "category",
        "note": "text",
        "at": "time",
        "id": "ignore",
        "empty": "number",
        "flag": "number",
    }
    assert set(schema.codes["country"]) == set(COUNTRIES)
    assert schema.dimension == 1 + 1 + 64 + 1 + 0 + 1 + 1
    assert schema.categorical == (1,)


def test_one_client_cannot_fill_the_categories() -> None:
    learner = SchemaLearner()
    for n in range(3 * MOST_CATEGORIES):
        learner.note("m", "loud", {"country": f"made up {n}"})
    for client in range(5):
        learner.note("m", f"c{client}", {"country": COUNTRIES[client % 2]})
    schema = learner.schemas()["m"]
    assert schema.kinds == ("category",)
    assert set(schema.codes["country"]) == {"FR", "DE"}
    assert schema.code("country", "made up 1") == UNKNOWN


def test_more_categories_than_may_be_kept_are_ignored() -> None:
    learner = SchemaLearner()
    for client in range(40):
        for n in range(MOST_CATEGORIES // 10):
            learner.note("m", f"c{client}", {"id": f"{client // 2}-{n}", "amount": n})
    assert learner.schemas()["m"].kinds == ("ignore", "number")


def test_declared_columns_keep_their_kinds_and_learn_their_codes() -> None:
    learner = SchemaLearner({"m": InputSchema(("code", "amount"), ("category", "number"))})
    for client in ("a", "b"):
        learner.note("m", client, {"amount": 1.0, "code": 3, "other": "x"})
    schema = learner.schemas()["m"]
    assert (schema.names, schema.kinds) == (("code", "amount"), ("category", "number"))
    assert schema.code("code", "3") == 1.0


def test_a_schema_comes_back_from_json() -> None:
    schema = InputSchema(("b", "a"), ("category", "text"), {"b": {"x": 1}})
    assert InputSchema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_configured_columns_keep_their_order() -> None:
    columns = {"zebra": "number", "country": "category", "age": "number"}
    config = Config.model_validate({"models": {"m": {"columns": columns}}})
    assert list(config.models["m"].columns.items()) == list(columns.items())
    with pytest.raises(ValueError, match="leave out categorical"):
        Config.model_validate({"models": {"m": {"columns": columns, "categorical": [1]}}})


def _record(client: int, n: int) -> str:
    fields = {"amount": n * 1.5 if n % 5 else None, "country": COUNTRIES[(client + n) % 4], "channel": "web" if n % 2 else ""}
    minute = client * 20 + n
    return json.dumps(
        {
            "id": f"{client}-{n}",
            "t": f"2026-05-04T{minute // 60:02}:{minute % 60:02}:00Z",
            "who": f"c{client}",
            "in": fields,
            "label": n % 2,
        }
    )


def test_a_table_of_texts_is_encoded_the_same_from_the_log_to_the_live_events(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(_record(client, n) + "\n" for client in range(12) for n in range(12)))
    mapping = {"id": "id", "time": "t", "client": "who", "input": "in", "label": "label"}
    config = Config.model_validate({"ingest": {"format": "mapping", "model": "m", "mapping": mapping}})
    fitted = replaying.fit([str(log)], config)
    save(fitted, tmp_path / "baseline")
    known = load(tmp_path / "baseline")
    assert known.version == fitted.version
    assert known.schemas == fitted.schemas
    assert known.schemas["m"].kinds == ("number", "category", "category")
    assert known.models["m"].reference.categorical.tolist() == [1, 2]

    other_order = json.loads(_record(0, 7))
    other_order["in"] = {"country": "Atlantis", "more": 1, "amount": "2.5"}
    decoder = decoder_of_files(config, known.schemas)
    event = decoder.decode(Record(json.dumps(other_order).encode()))
    (event,) = event if isinstance(event, list) else [event]
    assert isinstance(event, DecodedEvent)
    assert event.input.vector == [2.5, UNKNOWN, None]

    done = replaying.replay([str(log)], tmp_path / "out", config, known)
    assert done.summary["events"] == 144
    assert done.summary["invalid"] == 0
