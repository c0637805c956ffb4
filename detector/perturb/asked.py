"""Requests to model servers: the inputs in them, as far as they are numbers. A mark depends on the input.

Known are V1 (``instances``), V2 (one tensor of numbers), Seldon, MLflow (``inputs``, ``dataframe_split``) and plain lists.
Inputs by name, texts and pictures are not: their answers go unmarked.
"""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["inputs_of"]

_Rows = npt.NDArray[np.float32]


def inputs_of(body: bytes) -> _Rows | None:
    """Return the inputs of a request, (n, d), NaN where a value is missing; None where they are not known. Never raises.

    >>> inputs_of(b'{"instances": [[1, 2.5], [3, null]]}').tolist()
    [[1.0, 2.5], [3.0, nan]]
    """
    try:
        return _rows(msgspec.json.decode(body))
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError):
        return None


def _rows(document: Any) -> _Rows | None:
    if isinstance(document, list):
        return _matrix(document)
    if not isinstance(document, dict):
        return None
    inputs = document.get("inputs")
    if isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict):
        return _tensor(inputs[0])
    data, split = document.get("data"), document.get("dataframe_split")
    if isinstance(data, dict):
        tensor = data.get("tensor")
        if isinstance(tensor, dict):
            return _tensor({"shape": tensor.get("shape"), "data": tensor.get("values")})
        return _matrix(data.get("ndarray"))
    if isinstance(split, dict):
        return _matrix(split.get("data"))
    return _matrix(next((document[name] for name in ("instances", "inputs", "data") if name in document), None))


def _tensor(tensor: dict[str, Any]) -> _Rows | None:
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(shape, list) or not isinstance(data, list) or not shape or not all(type(size) is int for size in shape):
        return None
    values = np.asarray(data, np.float64).reshape(shape)
    return _matrix([values.tolist()] if values.ndim == 1 else values.reshape(len(values), -1).tolist())


def _matrix(value: Any) -> _Rows | None:
    if not isinstance(value, list) or not value:
        return None
    rows = [_flat(entry) for entry in value]
    if any(row is None for row in rows):
        return None
    with np.errstate(over="ignore"):
        matrix = np.array(rows, np.float64).astype(np.float32)
    return matrix if matrix.ndim == 2 and matrix.shape[1] and not np.isinf(matrix).any() else None


def _flat(entry: Any) -> list[float | None] | None:
    """Return the numbers of an instance, None where it holds anything else; one that is a single number has one."""
    if isinstance(entry, dict) and len(entry) == 1:  # a named input of a signature that has no other
        (entry,) = entry.values()
    rest = entry if isinstance(entry, list) else [entry]
    while rest and all(isinstance(part, list) for part in rest):
        rest = [number for part in rest for number in part]
    known = all(number is None or type(number) in {int, float} for number in rest)
    return rest if rest and known else None
