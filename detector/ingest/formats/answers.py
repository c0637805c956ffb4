"""Answers of servers: labels, probabilities and scores of each instance, however the server writes them.

Known are the V1 and V2 protocols, Seldon's tensors, TensorFlow Serving's outputs, lists and objects of predictions, CSV and
texts. A number is a label where it is whole, a score where it lies between 0 and 1. Probabilities may be a list, an object by
class, percents, or logits, which are taken through the softmax. Another number is a regression: two digits of it are the label,
unless the baseline knows better (`outputs`), for which `EventOutput.value` keeps every single number.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from detector.contracts.limits import TEXT_CHARACTERS
from detector.ingest.formats.bodies import matrix_in, named_tensors, parsed, tensor_rows
from detector.ingest.formats.call import Payload
from detector.ingest.formats.event import EventOutput, UnusableError
from detector.ingest.formats.fields import number as finite
from detector.ingest.formats.generated import digest_of, generated_of, generated_text, token_chances

__all__ = ["answer_of", "answers_of"]

_LABELS: Final = (
    "predicted_label",
    "label",
    "class",
    "prediction",
    "predicted_class",
    "predict",
    "pred",
    "category",
    "classes",
    "value",
    "output",
)
_SCORES: Final = (
    "probabilities",
    "probability",
    "predict_proba",
    "proba",
    "probs",
    "prob",
    "scores",
    "score",
    "confidence",
    "confidences",
    "logits",
)
_FLOAT: Final = frozenset({float})
_SLACK: Final = 0.02  # rounding of probabilities that sum to 1
_WHOLE: Final = 2**53


def answers_of(payload: Payload, *, label: str | None = None, score: str | None = None, queries: int = 1) -> list[EventOutput]:
    """Return the answers in a response, one for each query. Raises `UnusableError` where there are none.

    `label` and `score` name the outputs to use where the server gave several; else their names and shapes tell. Where a
    language model gave several choices for each of so many `queries`, the first one is the answer.

    >>> answers_of(Payload('{"predictions": [{"score": 0.75, "predicted_label": 1}]}'))
    [EventOutput(label=1, probabilities=[0.25, 0.75])]
    >>> [answer.probabilities for answer in answers_of(Payload([[0.1, 0.9], [0.8, 0.2]]))]
    [[0.1, 0.9], [0.8, 0.2]]
    """
    if label is None and score is None and (rows := matrix_in(payload)) is not None:
        return list(map(_of_numbers, rows))
    body = parsed(payload)
    values = _values(body) if (generated := generated_of(body, queries)) is None else generated
    if score is None and len(values) > 0 and type(values[0]) is dict and len(values[0]) == 1:
        values = _bare(values)
    found = [answer_of(value, label=label, score=score) for value in values]
    if not found:
        raise UnusableError("unanswered", "response: no prediction in it")
    return found


def _bare(values: Sequence[Any]) -> Sequence[Any]:
    """Return the scores themselves where each answer is a score under one and the same name, as V2 tensors are."""
    (name,) = values[0]
    if name not in _SCORES:
        return values
    rows = [value.get(name) if type(value) is dict and len(value) == 1 else None for value in values]
    return values if None in rows else rows


def _values(body: Any) -> Sequence[Any]:
    """Return what a response holds for each query."""
    if isinstance(body, dict):
        return _of_object(body)
    if isinstance(body, list):
        return body
    return [] if body is None else [body]


def _of_object(body: Mapping[str, Any]) -> Sequence[Any]:
    if "predictions" in body:
        return _rows(body["predictions"])
    if isinstance(body.get("data"), dict) and not body["data"].keys().isdisjoint({"ndarray", "tensor"}):
        data = body["data"]
        tensor = data.get("tensor")
        rows = data.get("ndarray") if not isinstance(tensor, dict) else tensor_rows(tensor.get("values"), tensor.get("shape"))
        return _rows(rows)
    outputs = body.get("outputs")
    if isinstance(outputs, list) and outputs and all(isinstance(entry, dict) and "data" in entry for entry in outputs):
        return _side_by_side(named_tensors(outputs))
    if outputs is not None:
        return _side_by_side(outputs) if isinstance(outputs, dict) else _rows(outputs)
    if isinstance(body.get("data"), list) and body["data"]:
        return list(body["data"])
    if "results" in body:
        return _rows(body["results"])
    return _side_by_side(body)


def _rows(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return _side_by_side(value)
    return value if isinstance(value, list) else [] if value is None else [value]


def _side_by_side(columns: Mapping[str, Any]) -> Sequence[Any]:
    """Turn outputs by name, each with a row for every query, into an object a query; an object of single values is one."""
    columns = {str(name): value for name, value in columns.items() if name in (*_LABELS, *_SCORES)} or dict(columns)
    lengths = {len(value) for value in columns.values() if isinstance(value, list)}
    if len(lengths) != 1 or any(not isinstance(value, list) for value in columns.values()):
        return [columns] if columns else []
    (length,) = lengths
    if (
        any(isinstance(value[0], list) for value in columns.values() if value)
        or len(columns) > 1
        or not columns.keys() & set(_SCORES)
    ):
        return [{name: value[at] for name, value in columns.items()} for at in range(length)]
    return [columns]  # one list of probabilities


def answer_of(value: Any, *, label: str | None = None, score: str | None = None) -> EventOutput:
    """Return one answer as label and probabilities. Raises `UnusableError` where it is neither."""
    if type(value) is list and len(value) > 1 and set(map(type, value)) == _FLOAT:
        return _of_numbers(value)
    if isinstance(value, dict):
        return _of_mapping(value, label, score)
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list):
        if value and isinstance(value[0], dict):
            return _of_detections(value)
        return EventOutput(None, _probabilities(value))
    return _of_scalar(value)


def _of_numbers(values: list[float]) -> EventOutput:
    if min(values) >= 0.0 and max(values) <= 1.0 and math.isfinite(sum(values)):  # NaN makes the sum NaN
        return EventOutput(None, values)
    return EventOutput(None, _probabilities(values))


def _of_mapping(value: Mapping[str, Any], label: str | None, score: str | None) -> EventOutput:
    told = value.get(label) if label else _first(value, _LABELS)
    chances = value.get(score) if score else _first(value, _SCORES)
    if told is None and chances is None:
        if (text := generated_text(value)) is not None:
            return EventOutput(digest_of(text), token_chances(value.get("logprobs")))
        if (
            value
            and all(isinstance(number, int | float) and not isinstance(number, bool) for number in value.values())
            and len(value) > 1
        ):
            ordered = sorted(value)
            best = max(ordered, key=lambda name: value[name])
            return EventOutput(best[:TEXT_CHARACTERS], _probabilities([value[name] for name in ordered]))
        if len(value) == 1:
            (only,) = value.values()
            return answer_of(only)
        raise UnusableError("schema", "response: neither a label nor a score that is known; [ingest] label_output names it")
    if told is None:
        return answer_of(chances)
    while isinstance(told, list) and len(told) == 1:
        told = told[0]
    if isinstance(told, list | dict):  # `classes` beside `scores`: names of all classes
        return answer_of(chances if chances is not None else told)
    found = _of_scalar(told)
    if chances is not None:
        found.probabilities = answer_of(chances).probabilities
    return found


def _first(value: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)


def _of_scalar(value: Any) -> EventOutput:
    if isinstance(value, bool):
        return EventOutput(int(value), None)
    if isinstance(value, int):
        return (
            EventOutput(value, None, float(value)) if abs(value) < _WHOLE else EventOutput(str(value)[:TEXT_CHARACTERS], None)
        )
    if isinstance(value, str):
        number = finite(value, least=-math.inf)
        if number is None:
            return EventOutput(value.strip()[:TEXT_CHARACTERS], None)
        return _of_scalar(int(value) if value.strip().lstrip("+-").isdecimal() and len(value) < 20 else number)
    if isinstance(value, float) and math.isfinite(value):
        if 0.0 <= value <= 1.0:
            return EventOutput(None, [1.0 - value, value], value)
        if value.is_integer() and abs(value) < 1000:
            return EventOutput(int(value), None, value)
        return EventOutput(f"{value:.1e}", None, value)
    raise UnusableError(
        "not_finite" if isinstance(value, float) else "schema", "response: not a label, score or list of probabilities"
    )


def _probabilities(values: Sequence[Any]) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        raise UnusableError("schema", "response: probabilities that are not numbers") from None
    if not numbers or not all(map(math.isfinite, numbers)):
        raise UnusableError("not_finite", "response: probabilities that are not finite")
    if min(numbers) >= 0.0:
        total = sum(numbers)
        if max(numbers) <= 1.0 + 1e-6:
            return [min(number, 1.0) for number in numbers]
        if abs(total - 100.0) <= 100.0 * _SLACK:
            return [number / 100.0 for number in numbers]
    largest = max(numbers)
    powers = [math.exp(number - largest) for number in numbers]
    total = sum(powers)
    return [power / total for power in powers]


def _of_detections(values: Sequence[Any]) -> EventOutput:
    """Return the classes of an object detector's answer, sorted, as one label; or the best of a list of label and score."""
    labels = [_first(value, _LABELS) for value in values if isinstance(value, dict)]
    scores = [_first(value, _SCORES) for value in values if isinstance(value, dict)]
    if not labels or any(found is None for found in labels):
        raise UnusableError("schema", "response: a list of objects without a label")
    chances = [score for score in scores if isinstance(score, float) and 0.0 <= score <= 1.0]
    if len(chances) == len(labels) and len(set(map(str, labels))) == len(labels) and abs(sum(chances) - 1.0) <= _SLACK:
        ordered = sorted(zip(map(str, labels), chances, strict=True))
        best = max(ordered, key=lambda pair: pair[1])[0]
        return EventOutput(best[:TEXT_CHARACTERS], [chance for _, chance in ordered])
    return EventOutput(",".join(sorted(map(str, labels)))[:TEXT_CHARACTERS], None)
