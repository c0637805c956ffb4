"""Bodies of requests: how the servers that are common write inputs, whatever log they stand in.

Known are the V1 and V2 protocols of KServe, the data frames of MLflow, TensorFlow Serving's rows and columns, Seldon's
tensors, CSV, bare lists and objects, and the messages of language models. What a body holds is seen from its keys, not from
its source.
"""

import base64
import binascii
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from detector.ingest.formats.call import Payload
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.jsontext import read_json
from detector.ingest.formats.matrices import matrix_of
from detector.ingest.formats.nesting import flat
from detector.ingest.formats.pictures import LARGEST_ARRAY
from detector.ingest.formats.prompts import prompts_of, texts_of
from detector.ingest.formats.streamed import is_stream, joined
from detector.ingest.formats.tensors import with_binary_tensors
from detector.ingest.values import is_number

__all__ = ["Instance", "instances_of", "matrix_in", "named_tensors", "parsed"]

Instance: TypeAlias = Sequence[Any] | Mapping[str, Any] | str
"""The input of one query: values in order, values by name, or a text."""

_ROWS: Final = frozenset({list, dict})
_INT: Final = frozenset({int})
_NUMBERS: Final = frozenset({int, float})
_LONGEST_CELL: Final = 131_072  # characters that the reader of CSV takes
_MOST_DIMENSIONS: Final = 32
_TEXTS: Final = ("messages", "prompt", "input", "query", "question", "text")


def parsed(payload: Payload) -> Any:
    """Return what a body means: lists, objects and texts; of an answer that was streamed, the whole.

    Raises `UnusableError` where it cannot be read.

    >>> parsed(Payload(b'{"instances": [[1, 2.5]]}')), parsed(Payload("1,2.5", "text/csv"))
    ({'instances': [[1, 2.5]]}, [['1', '2.5']])
    """
    content = payload.content
    if payload.cut:
        raise UnusableError("truncated", "the log holds only the beginning of the body")
    if payload.base64 and isinstance(content, str | bytes):
        try:
            content = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise UnusableError("encoding", f"body: not base64: {error}") from None
    if isinstance(content, bytes | bytearray):
        if payload.json_bytes is not None:
            return with_binary_tensors(bytes(content), payload.json_bytes)
        if "csv" not in payload.content_type:
            try:
                return read_json(bytes(content))
            except (ValueError, RecursionError):
                pass  # what is wrong with it is said below
        try:
            content = bytes(content).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UnusableError("encoding", f"body: byte {error.start} is not UTF-8 ({error.reason})") from None
    if not isinstance(content, str):
        return content
    if is_stream(content, payload.content_type):
        return joined(content)
    if "csv" in payload.content_type:
        return _rows(content)
    try:
        return read_json(content)
    except RecursionError:
        raise UnusableError("json", "body: nested too deep") from None
    except ValueError as error:
        if content.lstrip()[:1] in {"{", "["}:
            if _ends_early(error, content):
                raise UnusableError("truncated", "body: cut off") from None
            raise UnusableError("json", f"body: {error}") from None
        if not content.strip():
            raise UnusableError("json", "body: empty") from None
        return _rows(content)


def _ends_early(error: ValueError, content: str) -> bool:
    return isinstance(error, json.JSONDecodeError) and (
        error.pos >= len(content.rstrip()) or error.msg.startswith("Unterminated")
    )


def _rows(content: str) -> list[list[str]]:
    if len(content) < _LONGEST_CELL and '"' not in content and "\r" not in content:
        return [line.split(",") for line in content.split("\n") if line]
    try:
        return [row for row in csv.reader(io.StringIO(content)) if row]
    except csv.Error as error:
        raise UnusableError("schema", f"body: not CSV: {error}") from None


def instances_of(payload: Payload) -> list[Instance]:
    """Return the inputs of a request, one for each query in it. Raises `UnusableError` where there are none.

    >>> instances_of(Payload({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}}))
    [{'a': 1, 'b': 2}, {'a': 3, 'b': 4}]
    >>> instances_of(Payload({"age": [52, 34], "income": [1.5, 2.5]}))
    [{'age': 52, 'income': 1.5}, {'age': 34, 'income': 2.5}]
    """
    if _may_be_matrix(payload) and (rows := matrix_of(payload.content, answer=False)) is not None:
        return list(rows)
    body = parsed(payload)
    found = _of_object(body) if isinstance(body, dict) else _of_list(body)
    if not found:
        raise UnusableError("schema", "request: no input in it")
    return found


def _may_be_matrix(payload: Payload) -> bool:
    """Say whether a body can be what `matrix_of` reads; a look at its text keeps other bodies from being parsed twice."""
    if payload.cut or payload.base64 or payload.json_bytes is not None or "csv" in payload.content_type:
        return False
    content = payload.content
    return b'"shape"' in content if isinstance(content, bytes) else isinstance(content, str) and '"shape"' in content


def matrix_in(payload: Payload) -> list[list[float]] | None:
    """Return the rows of an answer that is one matrix of the V2 protocol, None for any other."""
    return matrix_of(payload.content, answer=True) if _may_be_matrix(payload) else None


def _of_object(body: Mapping[str, Any]) -> list[Instance]:
    if "instances" in body:
        return _of_list(body["instances"])
    if "dataframe_records" in body:
        return _of_list(body["dataframe_records"])
    for key in ("dataframe_split", "split"):
        if isinstance(body.get(key), dict):
            return _frame(body[key])
    if "columns" in body and "data" in body:
        return _frame(body)
    if isinstance(body.get("data"), dict) and not body["data"].keys().isdisjoint({"ndarray", "tensor"}):
        return _seldon(body["data"])
    if "jsonData" in body or "strData" in body:
        return _of_list(body.get("jsonData", body.get("strData")))
    if "inputs" in body:
        return _inputs(body["inputs"])
    if (isinstance(body.get("messages"), list) or isinstance(body.get("instructions"), str)) and (asked := prompts_of(body)):
        return list(asked)
    for key in _TEXTS:
        if key in body and (texts := texts_of(body[key])):
            return list(texts)
    for key in ("data", "features", "input", "values"):
        if isinstance(body.get(key), list):
            return _of_list(body[key])
    return _columns(body)


def _of_list(body: Any) -> list[Instance]:
    if isinstance(body, np.ndarray):
        return [row.tolist() for row in body] if body.ndim > 1 else [body.tolist()]
    if isinstance(body, str):
        return [body]
    if isinstance(body, dict):
        return [body]
    if isinstance(body, bool | int | float):
        return [[body]]
    if not isinstance(body, list):
        return []
    kinds = set(map(type, body))
    if kinds <= _ROWS:
        return body
    if kinds <= _NUMBERS:
        return [body]
    if body and all(isinstance(entry, dict | list | np.ndarray) for entry in body):
        return [dict(entry) if isinstance(entry, dict) else entry for entry in body]
    if body and all(isinstance(entry, str) for entry in body) and not all(map(is_number, body)):
        return list(body)
    return [body] if body else []


def _frame(body: Mapping[str, Any]) -> list[Instance]:
    columns, data = body.get("columns"), body.get("data")
    if not isinstance(data, list):
        raise UnusableError("schema", "request: data frame without data")
    if not isinstance(columns, list) or not all(isinstance(row, list) for row in data):
        return _of_list(data)
    if any(len(row) != len(columns) for row in data):
        raise UnusableError("schema", "request: a row of the data frame is not as long as its columns")
    return [dict(zip(map(str, columns), row, strict=True)) for row in data]


def _seldon(data: Mapping[str, Any]) -> list[Instance]:
    names, rows = data.get("names"), data.get("ndarray")
    if rows is None:
        tensor = data.get("tensor")
        if not isinstance(tensor, dict):
            raise UnusableError("schema", "request: neither ndarray nor tensor")
        rows = tensor_rows(tensor.get("values"), tensor.get("shape"))
    found = _of_list(rows)
    if isinstance(names, list) and found and all(isinstance(row, list) and len(row) == len(names) for row in found):
        return [dict(zip(map(str, names), row, strict=True)) for row in found if isinstance(row, list)]
    return found


def _inputs(inputs: Any) -> list[Instance]:
    """Read V2 tensors, TensorFlow Serving's columns or rows, and the `inputs` of MLflow."""
    if isinstance(inputs, list) and inputs and all(isinstance(entry, dict) and "data" in entry for entry in inputs):
        return _tensors(named_tensors(inputs))
    if isinstance(inputs, dict):
        return _columns(inputs)
    return _of_list(inputs)


def _tensors(tensors: Mapping[str, list[Any]]) -> list[Instance]:
    if len(tensors) == 1:
        ((name, rows),) = tensors.items()
        if all(not isinstance(row, list) for row in rows):  # one column of a data frame, or one vector
            return [row if isinstance(row, str) else {name: row} for row in rows]
        return list(rows)
    return _columns(tensors)


def named_tensors(tensors: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the rows of each tensor of a V2 body by name. Raises `UnusableError` where shape and data do not fit.

    >>> named_tensors([{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}])
    {'x': [[1, 2], [3, 4]]}
    """
    found: dict[str, list[Any]] = {}
    for tensor in tensors:
        name = str(tensor.get("name", len(found)))
        rows = tensor_rows(tensor.get("data"), tensor.get("shape"))
        parameters = tensor.get("parameters")
        if tensor.get("datatype") == "BYTES" and isinstance(parameters, dict) and parameters.get("content_type") == "base64":
            rows = [_unpacked(row) for row in rows]
        found[name] = rows
    return found


def _unpacked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpacked(entry) for entry in value]
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError, TypeError, AttributeError):
        return value


def tensor_rows(data: Any, shape: Any) -> list[Any]:
    """Return the rows of a tensor, whose data are nested or flat in row-major order.

    Raises `UnusableError` where there are not as many values as the shape says.
    """
    if not isinstance(data, list) or not data:
        raise UnusableError("schema", "a tensor without data")
    values = data if list not in set(map(type, data)) else None
    if not _is_shape(shape):
        return data if values is None else [data]
    if len(shape) > _MOST_DIMENSIONS:  # the product of thousands of sizes takes minutes
        raise UnusableError("schema", f"a tensor of {len(shape)} dimensions")
    values = list(flat(data)) if values is None else values
    if not shape or math.prod(shape) != len(values):
        raise UnusableError("schema", f"a tensor of shape {shape} with {len(values)} values")
    if len(shape) == 1:
        return values
    if len(shape) > 2 and len(values) > LARGEST_ARRAY * shape[0]:  # a picture, which is reduced by its rows and columns
        rows: list[Any] = np.array(values, object).reshape(shape).tolist()
        return rows
    width = len(values) // shape[0]
    return [values[start : start + width] for start in range(0, len(values), width)]


def _is_shape(shape: Any) -> bool:
    if not isinstance(shape, list):
        return False
    usual = set(map(type, shape)) == _INT
    return (usual or all(isinstance(size, int) for size in shape)) and min(shape, default=0) >= 0


def _columns(body: Mapping[str, Any]) -> list[Instance]:
    """Read an object whose values are columns of one length, or the values of one row."""
    lengths = {len(value) for value in body.values() if isinstance(value, list)}
    if not body or any(isinstance(value, dict) for value in body.values()):
        return []
    if not lengths:
        return [dict(body)]
    if len(lengths) > 1 or any(not isinstance(value, list) for value in body.values()):
        raise UnusableError("schema", "request: columns of different lengths")
    values = list(body.values())
    if len(body) == 1 and any(isinstance(entry, list) for entry in values[0]):
        return list(values[0])
    rows = [dict(zip(body, row, strict=True)) for row in zip(*values, strict=True)]
    if rows and any(isinstance(value, list) for value in rows[0].values()):  # columns of vectors are laid side by side
        return [list(flat(list(row.values()))) for row in rows]
    return [
        {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in row.items()}
        for row in rows
    ]
