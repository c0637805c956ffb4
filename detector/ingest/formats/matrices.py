"""Bodies of the V2 protocol that hold one matrix of numbers: what nearly all of them are, read in one pass.

Anything else (several tensors, texts, nested data, parameters, a shape that does not fit) is left to `bodies`, which reads
every form and says what is wrong.
"""

from typing import Any, Final

import msgspec

__all__ = ["matrix_of"]

_FLOATS: Final = frozenset({"FP16", "FP32", "FP64", "BF16"})


class _Tensor(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    shape: tuple[int, int]
    data: list[float]
    name: str = ""
    datatype: str = ""


class _Body(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    inputs: tuple[_Tensor] | None = None
    outputs: tuple[_Tensor] | None = None
    id: str | None = None
    model_name: str | None = None
    model_version: str | None = None


_decode = msgspec.json.Decoder(_Body).decode


def matrix_of(content: Any, *, answer: bool) -> list[list[float]] | None:
    """Return the rows of the only tensor of a request or an `answer`, None where the body is not one matrix of numbers.

    >>> matrix_of(b'{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}', answer=False)
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if not isinstance(content, bytes | str):
        return None
    try:
        body = _decode(content)
    except (ValueError, RecursionError):
        return None
    found, other = (body.outputs, body.inputs) if answer else (body.inputs, body.outputs)
    if found is None or other is not None:
        return None
    (tensor,) = found
    (rows, width), data = tensor.shape, tensor.data
    # Whole numbers of another type may be labels, and one number in a row is a label or a score.
    if rows < 1 or width < 2 or rows * width != len(data) or tensor.datatype not in _FLOATS:
        return None
    return [data] if rows == 1 else [data[at : at + width] for at in range(0, len(data), width)]
