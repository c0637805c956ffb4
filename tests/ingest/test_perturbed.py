"""Perturbed answers: evidence reads what the model said, and what it did not say is left out."""

import json
from typing import Any

import msgspec
import numpy as np
import pytest

from detector.baseline.fit import fit_baseline
from detector.baseline.settings import engine_settings
from detector.config import Config
from detector.contracts import PredictionEvent
from detector.ingest.batch import LABEL_ALONE, LABEL_CHANGED, Batch, join
from detector.perturb import How, output_fields, perturb
from detector.service.kafka.codec import decode, encode
from detector.testing import batches, traffic, watch

VECTOR = [1.0, 2.5]


def line(output: Any, event_id: str = "e1") -> bytes:
    return json.dumps(
        {
            "event_id": event_id,
            "time": "2026-05-04T10:31:07Z",
            "client": {"id": "acme"},
            "model": {"id": "fraud"},
            "input": {"vector": VECTOR},
            "output": output,
        }
    ).encode()


def read(output: Any) -> Batch:
    (batch,) = batches([line(output)])
    return batch


ANSWER = {"label": "yes", "probabilities": [0.27, 0.73]}
TOLD = {"label": "yes", "probabilities": [0.3, 0.7], "perturbed": {"mode": "top1"}}


@pytest.mark.parametrize(
    ("original", "label", "confidence"),
    [
        ({"label": "yes", "probabilities": [0.27, 0.73]}, "yes", 0.73),
        ({"probabilities": [0.27, 0.73]}, "yes", 0.73),  # its label is the one told, of the same kind as in other events
        ({"label": "yes"}, "yes", None),
        ({}, "yes", None),
        (None, "yes", None),
    ],
)
def test_what_evidence_reads(original: Any, label: str, confidence: float | None) -> None:
    """The original where the log has it; else the label, and no probabilities that the model did not give."""
    seen, plain = read({**TOLD, "original": original}), read({"label": label, "probabilities": [0.27, 0.73]})
    assert (seen.label == plain.label).all()
    assert seen.perturbed.tolist() == [1]
    assert plain.perturbed.tolist() == [0]
    assert np.isnan(seen.confidence[0]) if confidence is None else seen.confidence[0] == np.float32(confidence)


def test_a_misled_label_is_not_taken_for_the_models() -> None:
    """The original's says what the model saw."""
    misled = {**TOLD, "label": "no", "perturbed": {"mode": "mislead", "key_id": "k"}, "original": ANSWER}
    assert (read(misled).label == read(ANSWER).label).all()


@pytest.mark.parametrize(
    ("told", "original", "misled"),
    [
        ({"label": "no"}, {"label": "yes"}, True),
        ({"label": "yes"}, {"label": "yes"}, False),
        ({"label": "no"}, None, False),  # nothing else is known than what was told
        ({"probabilities": [0.8, 0.2]}, {"probabilities": [0.3, 0.7]}, True),
        ({"probabilities": [0.2, 0.8]}, {"probabilities": [0.3, 0.7]}, False),
        ({"label": "no", "probabilities": [0.8, 0.2]}, {"probabilities": [0.3, 0.7]}, True),
        ({"label": "no"}, {"probabilities": [0.3, 0.7]}, True),
    ],
)
def test_who_was_told_another_label_is_noted(told: dict[str, Any], original: Any, misled: bool) -> None:
    """A client learns from what it was told; other modes than one keep the label."""
    output = {**told, "perturbed": {"mode": "mislead", "key_id": "k"}, "original": original}
    assert read(output).perturbed.tolist() == [LABEL_CHANGED if misled else LABEL_ALONE]
    assert read({**output, "perturbed": {"mode": "label"}}).perturbed.tolist() == [LABEL_ALONE]


def test_the_reference_reads_the_same() -> None:
    """A record that only the slow path accepts keeps what was said of the perturbation."""
    slow = json.loads(line({**TOLD, "original": ANSWER}))
    slow["time"] = "2026-06-30T23:59:60Z"  # a leap second
    (batch,) = batches([json.dumps(slow).encode()])
    assert batch.perturbed.tolist() == [1]
    assert batch.confidence[0] == np.float32(0.73)


def test_what_the_record_says_is_in_the_contract() -> None:
    """The fields that a server writes for a perturbed answer make a valid event."""
    how = How("mislead", secret=b"0123456789abcdef")
    output = output_fields([0.27, 0.73], perturb([0.27, 0.73], how), how, ["no", "yes"])
    event = PredictionEvent.model_validate_json(line(output))
    assert event.output.perturbed is not None
    assert event.output.original is not None
    assert (event.output.perturbed.key_id, event.output.original.label) == (how.key_id, "yes")


def test_the_mark_survives_the_way_through_kafka() -> None:
    """And records of a version that did not know it are read as before."""
    wrong = {**TOLD, "label": "no", "perturbed": {"mode": "mislead", "key_id": "k"}, "original": ANSWER}
    outputs = (ANSWER, {**TOLD, "original": ANSWER}, wrong)
    both = join([batch for i, output in enumerate(outputs) for batch in batches([line(output, f"e{i}")])])
    records = encode(both)
    (back,), unreadable = decode(records, [0, 1, 2])
    assert not unreadable
    assert back.perturbed.tolist() == both.perturbed.tolist() == [0, LABEL_ALONE, LABEL_CHANGED]
    for unknown, marks in ((1, [0, LABEL_ALONE, LABEL_ALONE]), (2, [0, 0, 0])):
        fields = [msgspec.msgpack.decode(record)[:-unknown] for record in records]
        (before,), unreadable = decode([msgspec.msgpack.encode(some) for some in fields], [0, 1, 2])
        assert not unreadable
        assert before.perturbed.tolist() == marks


def with_probabilities(record: bytes) -> bytes:
    """The same event of a model that says how sure it is."""
    event = json.loads(record)
    share = 1.0 / (1.0 + float(np.exp(-sum(event["input"]["vector"]) + len(event["input"]["vector"]) / 2)))
    event["output"] = {"label": event["output"]["label"], "probabilities": [1.0 - share, share]}
    return json.dumps(event).encode()


def perturbed(record: bytes, how: How) -> bytes:
    """The same event, told otherwise."""
    event = json.loads(record)
    output = event["output"]
    told = perturb(output["probabilities"], how, event["model"]["id"])
    label = output.get("label", max(range(len(told)), key=output["probabilities"].__getitem__))
    event["output"] = {
        "label": label,
        "probabilities": told,
        "perturbed": {"mode": how.mode},
        "original": {name: output[name] for name in ("label", "probabilities") if name in output},
    }
    return json.dumps(event).encode()


def test_a_thief_is_found_all_the_same() -> None:
    """Perturbing does not blind the detector, where the log has the original."""
    log = list(map(with_probabilities, traffic(seed=1, innocents=3, thieves=1)))
    seen = watch([perturbed(record, How("label")) for record in log])
    plain = watch(log)
    assert [(d.subject.id, d.action) for d in seen.decided] == [(d.subject.id, d.action) for d in plain.decided]
    assert seen.decided


def test_no_baseline_learns_from_it() -> None:
    """A baseline is the same with perturbed events in the log and without them."""
    log = list(map(with_probabilities, traffic(seed=3, innocents=10, thieves=0, queries=16)))
    settings = engine_settings(Config())

    def fitted(lines: list[bytes]) -> str:
        return fit_baseline(lambda: batches(lines), settings).version

    others = [perturbed(record.replace(b'"event_id": "', b'"event_id": "p-'), How("label")) for record in log[:40]]
    assert fitted([*log, *others]) == fitted(log)


def test_what_is_only_marked_is_read_as_told() -> None:
    """A thief follows what he is told; under a mode as well the original is read."""
    mark = {"id": "9c1f4a77d20b3e58", "subject": "client:c", "epoch": "1"}
    told = {"label": "no", "probabilities": [0.55, 0.45], "perturbed": {"mode": "none", "mark": mark}, "original": ANSWER}
    seen, plain = read(told), read({"label": "no", "probabilities": [0.55, 0.45]})
    assert seen.perturbed.tolist() == [0]
    assert seen.label.tolist() == plain.label.tolist()
    assert seen.confidence.tolist() == plain.confidence.tolist()
    both = read({**told, "perturbed": {"mode": "top1", "mark": mark}})
    assert both.perturbed.tolist() == [LABEL_CHANGED]
    assert both.label.tolist() == read(ANSWER).label.tolist()
