"""Response bodies of model servers: where the answers are in them.

Known are the protocols V1 and V2 (KServe, TensorFlow Serving, Triton, MLServer), Seldon, MLflow, APIs in the style of OpenAI,
and plain lists and objects. What else a body holds passes, as long as it has no number with a fraction.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, Final

from detector.errors import UnknownBodyError
from detector.perturb.marks import Marking
from detector.perturb.modes import How, is_distribution
from detector.perturb.rows import DEEPEST, Rows, has_fraction

__all__ = ["LOGPROBS", "rewritten", "without_logprobs"]

LOGPROBS: Final = frozenset({"logprobs", "top_logprobs", "prompt_logprobs", "token_logprobs"})
_FLOATS: Final = frozenset({"FP16", "FP32", "FP64", "BF16"})


def rewritten(document: Any, how: How, model: str = "", marking: Marking | None = None) -> tuple[Any, int]:
    """Return a response as it is told, and how many answers in it were changed; `marking` is shown them all.

    Raises `UnknownBodyError` where it holds numbers that cannot be told from the answer.
    """
    rows = Rows(how, model, marking)
    return _document(document, rows), rows.changed


def without_logprobs(document: Any, depth: int = 0) -> Any:
    """Return a request or a response without the probabilities of tokens.

    Raises `UnknownBodyError` where it is nested too deep to look into.

    >>> without_logprobs({"model": "m", "logprobs": True, "top_logprobs": 5})
    {'model': 'm'}
    """
    if depth > 2 * DEEPEST and isinstance(document, dict | list):
        raise UnknownBodyError("nesting", "lists or objects nested too deep")
    if isinstance(document, dict):
        return {
            name: _include(value) if name == "include" else without_logprobs(value, depth + 1)
            for name, value in document.items()
            if name.casefold() not in LOGPROBS  # some servers take names in any case
        }
    if isinstance(document, list):
        return [without_logprobs(value, depth + 1) for value in document]
    return document


def _include(value: Any) -> Any:
    """Return OpenAI's list of what a response shall include, such as ``message.output_text.logprobs``, without these."""
    return [entry for entry in value if "logprobs" not in str(entry).casefold()] if isinstance(value, list) else value


def _document(document: Any, rows: Rows) -> Any:
    if not isinstance(document, dict):
        return rows.row(document)
    if isinstance(document.get("choices"), list) or document.get("object") == "response" or _is_text_event(document):
        return without_logprobs(document)
    for name, read in (("outputs", _outputs), ("predictions", _instances), ("data", _seldon)):
        if isinstance(document.get(name), list | dict):
            rest = {other: _meta(value) for other, value in document.items() if other != name}
            if has_fraction(rest):
                raise UnknownBodyError("numbers", f"numbers beside {name}")
            told = read(document[name], rows)
            return {other: told if other == name else rest[other] for other in document}
    return rows.record(document)


def _is_text_event(document: Mapping[str, Any]) -> bool:
    """Tell whether this is an event of a language model's stream, in the style of OpenAI's responses or of Anthropic."""
    return str(document.get("type", "")).startswith(("response.", "message_", "content_block_"))


def _meta(value: Any) -> Any:
    """Return what a server says of itself without its own measurements, which are of no use to a caller."""
    return {name: [] if name == "metrics" else entry for name, entry in value.items()} if isinstance(value, dict) else value


def _instances(value: Any, rows: Rows) -> Any:
    """Return predictions, one entry for each instance: numbers are scores of their own here, even if they sum to 1."""
    return [rows.row(entry) for entry in value] if isinstance(value, list) else rows.record(value)


def _outputs(value: Any, rows: Rows) -> Any:
    if isinstance(value, list) and value and all(isinstance(entry, dict) and "datatype" in entry for entry in value):
        return _tensors(value, rows)
    if isinstance(value, list):
        return _instances(value, rows)
    return {name: _instances(entry, rows) if isinstance(entry, list) else rows.row(entry) for name, entry in value.items()}


def _tensors(tensors: list[dict[str, Any]], rows: Rows) -> list[dict[str, Any]]:
    """Return tensors of protocol V2. Tensors of labels stay as they are; where labels mislead, they must be whole numbers."""
    told: list[dict[str, Any]] = []
    before: list[int] = []
    after: list[int] = []
    for tensor in tensors:
        data = tensor.get("data")
        if has_fraction({name: entry for name, entry in tensor.items() if name != "data"}) or not isinstance(data, list):
            raise UnknownBodyError("binary", "a tensor whose data is not in the body")
        if tensor["datatype"] not in _FLOATS:
            if has_fraction(data) or any(isinstance(entry, str) and _is_classification(entry) for entry in _flat(data)):
                raise UnknownBodyError("text", "numbers written as text in a tensor")
            told.append(dict(tensor))
            continue
        shape, flat = tensor.get("shape"), _flat(data)
        width = _width(shape, flat)
        if width == 1:
            told.append({**tensor, "data": _like(data, [rows.score(float(entry)) for entry in flat])})
            continue
        parts = [flat[at : at + width] for at in range(0, len(flat), width)]
        changed = [rows.chances(part) for part in parts]
        before += [part.index(max(part)) for part in parts]
        after += [part.index(max(part)) for part in changed]
        told.append({**tensor, "data": _like(data, [entry for part in changed for entry in part])})
    if before != after:
        _follow(told, before, after)
    return told


def _width(shape: Any, flat: list[Any]) -> int:
    """Return how many numbers are one answer: the last dimension, or all of one dimension where they are probabilities."""
    whole = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    if not whole or not shape or prod(shape) != len(flat) or not all(type(entry) in {int, float} for entry in flat):
        raise UnknownBodyError("shape", "a tensor whose data does not fit its shape")
    if len(shape) == 1:
        return len(flat) if is_distribution(flat) else 1
    return max(int(shape[-1]), 1)


def _flat(data: list[Any]) -> list[Any]:
    while data and all(isinstance(entry, list) for entry in data):
        data = [value for entry in data for value in entry]
    return data


def _like(data: list[Any], values: Sequence[float]) -> list[Any]:
    """Return values nested as `data` is."""
    rest = iter(values)

    def fill(entry: Any) -> Any:
        return [fill(part) for part in entry] if isinstance(entry, list) else next(rest)

    nested: list[Any] = fill(data)
    return nested


def _is_classification(text: str) -> bool:
    """Tell whether a text is Triton's ``score:class:name``."""
    score, colon, _ = text.partition(":")
    return bool(colon) and has_fraction(score)


def _follow(tensors: list[dict[str, Any]], before: list[int], after: list[int]) -> None:
    """Let tensors of labels say what those of probabilities now say. Raises `UnknownBodyError` where they cannot."""
    for tensor in tensors:
        if tensor["datatype"] in _FLOATS:
            continue
        if _flat(tensor["data"]) != before:
            raise UnknownBodyError("label", "labels that cannot be changed along")
        tensor["data"] = _like(tensor["data"], after)


def _seldon(value: Any, rows: Rows) -> Any:
    """Return Seldon's data; a list is that of OpenAI's embeddings, or of an API of its own."""
    if isinstance(value, list):
        return _instances(value, rows)
    tensor = value.get("tensor")
    rest: Mapping[str, Any] = {name: entry for name, entry in value.items() if name not in {"tensor", "ndarray"}}
    if has_fraction(rest):
        raise UnknownBodyError("numbers", "numbers beside the tensor")
    if isinstance(tensor, dict) and isinstance(tensor.get("values"), list):
        (told,) = _tensors([{"datatype": "FP64", "shape": tensor.get("shape"), "data": tensor["values"]}], rows)
        return {**value, "tensor": {**tensor, "values": told["data"]}}
    if isinstance(value.get("ndarray"), list):
        return {**value, "ndarray": _instances(value["ndarray"], rows)}
    return rows.record(value)
