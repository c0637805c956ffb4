"""Binary tensors of the V2 protocol."""

import json
from typing import Any

import numpy as np
import pytest

from detector.ingest.formats.bodies import instances_of
from detector.ingest.formats.call import Payload
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.tensors import json_bytes_of, with_binary_tensors

BYTES = b"\x02\0\0\0ab\x01\0\0\0c"
CASES: list[tuple[str, bytes, list[Any]]] = [
    ("BOOL", b"\x01\0", [True, False]),
    ("UINT8", b"\xff\x01", [255, 1]),
    ("INT64", np.array([-1, 7], "<i8").tobytes(), [-1, 7]),
    ("FP16", np.array([0.5, 2], "<f2").tobytes(), [0.5, 2.0]),
    ("BF16", b"\x80\x3f\x00\xc0", [1.0, -2.0]),
    ("FP64", np.array([0.25, -1], "<f8").tobytes(), [0.25, -1.0]),
    ("BYTES", BYTES, ["ab", "c"]),
]


def body(datatype: str, packed: bytes, shape: list[int]) -> tuple[bytes, int]:
    """Return a body with one binary tensor, and the length of its JSON."""
    tensor = {"name": "x", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(packed)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + packed, len(head)


@pytest.mark.parametrize(("datatype", "packed", "values"), CASES)
def test_datatypes(datatype: str, packed: bytes, values: list[Any]) -> None:
    """Each datatype is read from its own layout."""
    assert with_binary_tensors(*body(datatype, packed, [2]))["inputs"][0]["data"] == values


def test_a_body_gives_instances() -> None:
    """A body in base64 with the length of its JSON gives a row for each query."""
    content, length = body("FP32", np.array([1, 2, 3, 4], "<f4").tobytes(), [2, 2])
    assert instances_of(Payload(content, json_bytes=length)) == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("datatype", "packed", "cut", "reason"),
    [
        ("FP32", b"\0" * 8, 3, "truncated"),
        ("FP32", b"\0" * 7, 0, "schema"),
        ("FP8", b"\0", 0, "schema"),
        ("BYTES", b"\xff\0\0\0a", 0, "truncated"),
        ("FP32", b"\0" * 8, 60, "truncated"),
    ],
)
def test_what_does_not_fit_is_refused(datatype: str, packed: bytes, cut: int, reason: str) -> None:
    """A cut body, a wrong size and an unknown datatype are refused with their reason."""
    content, length = body(datatype, packed, [2])
    with pytest.raises(UnusableError) as refused:
        with_binary_tensors(content[: len(content) - cut], length)
    assert refused.value.reason == reason


def test_header() -> None:
    """Only a whole number counts as a length."""
    assert json_bytes_of({"inference-header-content-length": "12"}) == 12
    assert json_bytes_of({"inference-header-content-length": "-1"}) is None
    assert json_bytes_of({}) is None
