"""TensorFlow Serving's ``PredictionLog`` as JSON, with predict, classify and regress logs.

The stock server cannot write it: only builds with a log collector of their own do. ``client_id`` of the request is the client,
the caller's own word. Times are whole seconds, and there is no id, status or address. Source:
tensorflow_serving/apis/prediction_log.proto, logging.proto.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from detector.ingest.formats.bodies import tensor_rows
from detector.ingest.formats.call import Call, Caller, Payload
from detector.ingest.formats.decoder import Format, Record
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import mapping, text, weight_of
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_LOGS: Final = ("predictLog", "classifyLog", "regressLog")
_VALUES: Final = ("floatVal", "doubleVal", "intVal", "int64Val", "uint32Val", "uint64Val", "boolVal", "halfVal", "stringVal")
_DTYPES: Final = {
    "DT_FLOAT": "<f4",
    "DT_DOUBLE": "<f8",
    "DT_INT32": "<i4",
    "DT_INT64": "<i8",
    "DT_UINT8": "u1",
    "DT_INT8": "i1",
    "DT_INT16": "<i2",
    "DT_UINT16": "<u2",
    "DT_BOOL": "?",
    "DT_HALF": "<f2",
}
_MOST_VALUES: Final = 1_000_000
_MOST_DEPTH: Final = 32


class TfservingDecoder(ServingDecoder):
    """Decodes JSON of the protocol buffer, names in camel case or as in the definition; the model is that of ``model_spec``."""

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return the call of one log entry."""
        del record
        document = _camel(document, 0)
        if not isinstance(document, dict):
            raise UnusableError("schema", "not an object")
        about = mapping(document.get("logMetadata"))
        log = next((mapping(document[name]) for name in _LOGS if name in document), None)
        if log is None:
            raise UnusableError("schema", f"none of {', '.join(_LOGS)}")
        request, response = mapping(log.get("request")), mapping(log.get("response"))
        spec = mapping(about.get("modelSpec")) or mapping(request.get("modelSpec"))
        client = text(request.get("clientId")) or text(mapping(request.get("requestOptions")).get("clientId"))
        yield Call(
            id="",
            time=_seconds(about.get("timestampSecs")),
            model=text(spec.get("name")),
            version=text(mapping(spec.get("version")).get("value"))
            or text(spec.get("version"))
            or text(spec.get("versionLabel")),
            request=_request(request),
            response=_response(response),
            caller=Caller(id=None if client is None else _unpacked(client)),
            document=document,
            sampled_rate=weight_of(mapping(about.get("samplingConfig")).get("samplingRate")),
        )


def _seconds(value: Any) -> int | None:
    found = text(value)
    return int(found) if found is not None and found.isdecimal() and len(found) < 15 else None


def _camel(value: Any, depth: int) -> Any:
    """Return an object with the names of its fields in camel case; names of tensors are left as they are."""
    if not isinstance(value, dict) or depth > _MOST_DEPTH:
        return value
    found = {}
    for name, below in value.items():
        first, *rest = str(name).split("_")
        key = first + "".join(part[:1].upper() + part[1:] for part in rest)
        if key in {"inputs", "outputs"} and isinstance(below, dict):
            found[key] = {tensor: _camel(content, depth + 1) for tensor, content in below.items()}
        else:
            found[key] = _camel(below, depth + 1)
    return found


def _request(request: Mapping[str, Any]) -> Payload | None:
    inputs = request.get("inputs")
    if isinstance(inputs, dict) and inputs:
        return Payload({"inputs": {str(name): _rows(tensor) for name, tensor in inputs.items()}})
    examples = mapping(mapping(request.get("input")).get("exampleList")).get("examples")
    if isinstance(examples, list) and examples:
        return Payload({"instances": [_example(example) for example in examples]})
    return None


def _example(example: Any) -> dict[str, Any]:
    features = mapping(mapping(mapping(example).get("features")).get("feature"))
    found = {}
    for name, feature in features.items():
        lists = [mapping(kind).get("value") for kind in mapping(feature).values()]
        values = lists[0] if lists and isinstance(lists[0], list) else []
        found[str(name)] = values[0] if len(values) == 1 else values
    return found


def _response(response: Mapping[str, Any]) -> Payload | None:
    outputs = response.get("outputs")
    if isinstance(outputs, dict) and outputs:
        return Payload({"outputs": {str(name): _rows(tensor) for name, tensor in outputs.items()}})
    result = mapping(response.get("result"))
    classified = result.get("classifications")
    if isinstance(classified, list) and classified:
        return Payload({"predictions": [mapping(entry).get("classes") for entry in classified]})
    regressed = result.get("regressions")
    if isinstance(regressed, list) and regressed:
        return Payload({"predictions": [mapping(entry).get("value") for entry in regressed]})
    return None


def _rows(tensor: Any) -> list[Any]:
    tensor = mapping(tensor)
    sizes = mapping(tensor.get("tensorShape")).get("dim")
    shape = [int(size) for size in map(_size, sizes) if size is not None] if isinstance(sizes, list) else None
    content = text(tensor.get("tensorContent"))
    if content is not None:
        return tensor_rows(_raw(content, text(tensor.get("dtype")) or ""), shape)
    values = next((tensor[name] for name in _VALUES if isinstance(tensor.get(name), list)), None)
    if values is None:
        raise UnusableError("schema", "a tensor without values")
    total = int(np.prod(shape)) if shape and len(shape) < _MOST_DEPTH and max(shape) <= _MOST_VALUES else len(values)
    if len(values) == 1 < total <= _MOST_VALUES:
        values = values * total  # one value stands for all
    if tensor.get("stringVal") is values:
        values = [_unpacked(value) if isinstance(value, str) else value for value in values]
    return tensor_rows(values, shape)


def _size(dimension: Any) -> str | None:
    found = text(mapping(dimension).get("size"))
    return found if found is not None and found.isdecimal() and len(found) < 10 else None


def _raw(content: str, dtype: str) -> list[Any]:
    try:
        found: list[Any] = np.frombuffer(base64.b64decode(content, validate=True), _DTYPES[dtype]).tolist()
    except (binascii.Error, ValueError, KeyError):
        raise UnusableError("schema", f"tensorContent of type {dtype or 'unknown'} cannot be read") from None
    return found


def _unpacked(value: str) -> str:
    """Return bytes, which JSON of protocol buffers writes in base64, as text; a text that is none stays."""
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return value


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if not isinstance(document, dict):
        return None
    logs = {"predictLog", "predict_log", "classifyLog", "classify_log", "regressLog", "regress_log"} & document.keys()
    return f"{min(logs)}, TensorFlow Serving's PredictionLog" if logs else None


FORMAT = Format("tfserving", "TensorFlow Serving's PredictionLog as JSON", TfservingDecoder, _recognize)
