"""Binary tensors of the V2 protocol: a body that is JSON up to a length, and then the tensors' bytes one after another.

The header ``inference-header-content-length`` says how many bytes are JSON, and each tensor's ``binary_data_size`` how many are
its own. A logger that drops that header leaves such a body unreadable.
Source: the binary tensor data extension of Triton and MLServer.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.jsontext import read_json

__all__ = ["HEADER", "json_bytes_of", "with_binary_tensors"]

HEADER: Final = "inference-header-content-length"
"""Says how many bytes of a body are JSON."""

_DTYPES: Final = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}


def json_bytes_of(headers: Mapping[str, str]) -> int | None:
    """Return how many bytes of a body are JSON, by headers with names in lower case; None where they do not say."""
    text = headers.get(HEADER, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def with_binary_tensors(content: bytes, json_bytes: int) -> Any:
    """Return what a body means, each binary tensor with its values as ``data``. Raises `UnusableError` where it does not fit.

    >>> head = b'{"inputs": [{"name": "x", "datatype": "INT16", "shape": [2], "parameters": {"binary_data_size": 4}}]}'
    >>> with_binary_tensors(head + bytes([1, 0, 2, 0]), len(head))["inputs"][0]["data"]
    [1, 2]
    """
    if json_bytes > len(content):
        raise UnusableError("truncated", f"body: {len(content)} bytes, of which {json_bytes} should be JSON")
    try:
        body = read_json(content[:json_bytes])
    except RecursionError:
        raise UnusableError("json", "body: nested too deep") from None
    except ValueError as error:
        raise UnusableError("json", f"body: {error}") from None
    if not isinstance(body, dict):
        return body
    key = "inputs" if "inputs" in body else "outputs"
    tensors = body.get(key)
    if not isinstance(tensors, list):
        return body
    filled, at = [], json_bytes
    for tensor in tensors:
        size = _size(tensor)
        if size is None:
            filled.append(tensor)
            continue
        if at + size > len(content):
            raise UnusableError("truncated", "body: cut off within a binary tensor")
        filled.append({**tensor, "data": _values(tensor.get("datatype"), content[at : at + size])})
        at += size
    return {**body, key: filled}


def _size(tensor: Any) -> int | None:
    parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    return size if isinstance(size, int) and not isinstance(size, bool) and size >= 0 else None


def _values(datatype: Any, packed: bytes) -> list[Any]:
    if datatype == "BYTES":
        return _texts(packed)
    try:
        if datatype == "BF16":  # the upper half of float32
            wide = np.frombuffer(packed, "<u2").astype("<u4") << np.uint32(16)
            return list(wide.view("<f4").tolist())
        kind = _DTYPES.get(datatype) if isinstance(datatype, str) else None
        if kind is None:
            raise UnusableError("schema", "body: a binary tensor of a datatype that V2 does not have")
        return list(np.frombuffer(packed, kind).tolist())
    except ValueError:
        raise UnusableError("schema", f"body: {len(packed)} bytes are no whole number of {datatype}") from None


def _texts(packed: bytes) -> list[str]:
    """Read elements that each follow their length, of four bytes."""
    found, at = [], 0
    while at < len(packed):
        length = int.from_bytes(packed[at : at + 4], "little")
        if at + 4 + length > len(packed):
            raise UnusableError("truncated", "body: cut off within an element of BYTES")
        found.append(packed[at + 4 : at + 4 + length].decode(errors="replace"))
        at += 4 + length
    return found
