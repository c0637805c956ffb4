"""What a baseline learned of inputs and answers, from the log through its file to events that come later, by whatever way."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import detector
from detector.baseline import store
from detector.baseline.sealing import seal, unseal
from detector.baseline.store import Baseline, load, save
from detector.clock import HeldClock
from detector.config import Config
from detector.errors import BaselineError
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.event import DecodedEvent
from detector.ingest.formats.routing import decoder_of_files
from detector.ingest.schema import WHOLE
from detector.offline import replay as replaying
from detector.offline.stream import Detector
from detector.redteam.texts import plan, worded
from detector.testing import LATER_MS

CLIENTS, QUERIES = 12, 12
RNG = np.random.default_rng(0)
NOTES = [worded(plan(int(RNG.integers(5)), RNG), RNG) for _ in range(CLIENTS * QUERIES)]


def event(client: int, n: int, **changes: Any) -> dict[str, Any]:
    """Return an event of a model that prices what is described."""
    at, minute = client * QUERIES + n, client * 20 + n
    fields = {
        "event_id": f"{client}-{n}",
        "time": f"2026-05-04T{minute // 60:02}:{minute % 60:02}:00Z",
        "client": {"id": f"c{client}"},
        "model": {"id": "price"},
        "input": {"columns": {"size": f"{n}.5" if n % 5 else None, "kind": ("flat", "house")[at % 2], "note": NOTES[at]}},
        "output": {"value": 1000.0 * np.exp(0.05 * (7 * at % 101))},
    }
    return fields | changes


def texts(client: int, n: int) -> dict[str, Any]:
    """Return an event of a model of texts alone."""
    return event(client, n, model={"id": "topics"}, input={"text": NOTES[client * QUERIES + n]}, output={"label": n % 3})


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("learned") / "log.jsonl"
    with path.open("w") as file:
        for client in range(CLIENTS):
            for n in range(QUERIES):
                file.write(
                    json.dumps(event(client, n)) + "\n" + json.dumps(texts(client, n) | {"event_id": f"t{client}-{n}"}) + "\n"
                )
    return path


@pytest.fixture(scope="module")
def fitted(log: Path) -> Baseline:
    return replaying.fit([str(log)], Config())


def decoded(known: Baseline | None, fields: Mapping[str, Any]) -> DecodedEvent:
    found = decoder_of_files(Config(), known.schemas if known else None).decode(Record(json.dumps(fields).encode()))
    (outcome,) = found if isinstance(found, list) else [found]
    assert isinstance(outcome, DecodedEvent)
    return outcome


def test_texts_and_numbers_come_back_from_the_file_as_they_were_learned(fitted: Baseline, tmp_path: Path) -> None:
    price, topics = fitted.schemas["price"], fitted.schemas["topics"]
    assert dict(zip(price.names, price.kinds, strict=True)) == {"size": "number", "kind": "category", "note": "text"}
    assert list(price.reductions) == ["note"]
    assert list(topics.reductions) == [WHOLE]
    assert len(price.edges) == 9
    assert topics.edges == ()
    save(fitted, tmp_path)
    known = load(tmp_path)
    assert (known.version, known.schemas) == (fitted.version, fitted.schemas)
    assert decoded(known, event(3, 4)) == decoded(fitted, event(3, 4))
    assert fitted.models["price"].reference.dimension == price.dimension
    assert fitted.models["topics"].reference.dimension == topics.text_width(WHOLE)


def test_predicted_numbers_fall_into_the_bins_of_the_baseline(fitted: Baseline) -> None:
    """Without a baseline two digits are the label. What is not among the usual numbers falls into the outer bins."""
    assert decoded(None, event(0, 3)).output.label == f"{event(0, 3)['output']['value']:.1e}"
    labels = [decoded(fitted, event(client, n)).output.label for client in range(CLIENTS) for n in range(QUERIES)]
    counts = np.bincount(np.array(labels, np.int64))
    assert len(counts) == 10
    assert counts.min() >= 0.5 * counts.mean()
    for value, label in ((-5, 0), (0.25, 0), (1e9, 9), (12, 0)):
        answer = decoded(fitted, event(0, 3, output={"value": value})).output
        assert (answer.label, answer.probabilities) == (label, None)
    assert decoded(fitted, event(0, 3, output={"label": "cheap", "value": 1e9})).output.label == "cheap"


def test_a_stream_in_this_process_encodes_as_the_baseline_says(fitted: Baseline, log: Path, tmp_path: Path) -> None:
    """As a replay of the same log does."""
    clock = HeldClock(LATER_MS)
    watching = Detector(fitted, Config(), clock=clock)
    watching.observe(log.read_text())
    assert list(watching.refused) == []
    done = replaying.replay([str(log)], tmp_path / "out", Config(), fitted, clock=clock)
    assert (done.summary["events"], done.summary["invalid"]) == (2 * CLIENTS * QUERIES, 0)


def test_responses_are_read_again_as_the_baseline_says(fitted: Baseline, log: Path) -> None:
    results = detector.replay(log, baseline=fitted)
    responses = results.responses("c3", "price")
    expected = [decoded(fitted, event(3, n)).input.values() for n in range(QUERIES)]
    np.testing.assert_array_equal(responses.inputs, np.array(expected, np.float64))
    assert responses.outputs.shape[1] <= 10


def rewritten(folder: Path, change: Any) -> None:
    """Change the arrays in the sealed files of a baseline."""
    seed = store.seed_in(folder)
    assert seed is not None
    for file in folder.glob("*.sealed"):
        with np.load(io.BytesIO(unseal(file.read_bytes(), seed))) as stored:
            arrays = {name: stored[name] for name in stored.files}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **change(arrays))
        file.write_bytes(seal(buffer.getvalue(), seed))


def test_a_file_from_before_schemas_is_read(fitted: Baseline, tmp_path: Path) -> None:
    """Such a file has neither columns nor texts, and its version did not count them; plain vectors are what it is for."""
    save(fitted, tmp_path)
    about = json.loads((tmp_path / "baseline.json").read_bytes())
    about["version"] = store.version_of(fitted.models)
    (tmp_path / "baseline.json").write_text(json.dumps(about))
    rewritten(tmp_path, lambda arrays: {name: array for name, array in arrays.items() if not name.startswith("schema")})
    known = load(tmp_path)
    assert (known.schemas, list(known.models)) == ({}, ["price", "topics"])


def test_a_file_with_columns_alone_is_read(fitted: Baseline, tmp_path: Path) -> None:
    """As versions wrote it that knew columns and categories, but neither spaces of texts nor bins."""
    plain = {model: type(schema)(schema.names, schema.kinds, schema.codes) for model, schema in fitted.schemas.items()}
    save(Baseline(store.version_of(fitted.models, plain), fitted.models, fitted.notes, fitted.seed, plain), tmp_path)
    schema = load(tmp_path).schemas["price"]
    assert set(schema.to_dict()) == {"columns", "codes"}
    assert schema.dimension == 2 + 64


@pytest.mark.parametrize("name", ["schema.text.0.directions", "schema.text.0.mean", "schema"])
def test_damage_is_found(fitted: Baseline, tmp_path: Path, name: str) -> None:
    save(fitted, tmp_path)

    def lost(arrays: dict[str, Any]) -> dict[str, Any]:
        return {key: array[:-1] if key == name else array for key, array in arrays.items()}

    rewritten(tmp_path, lost)
    with pytest.raises(BaselineError, match="damaged"):
        load(tmp_path)
