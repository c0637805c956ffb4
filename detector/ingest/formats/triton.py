"""Triton's trace with level TENSORS: entries of one id hold the model, the times and the tensors of a request.

It is off by default, logs one request of 1,000 unless ``rate`` says otherwise, and knows no client: ``[[ingest.clients]]``
with a constant, so that it serves to watch a model and not its clients. Set ``[ingest] sampled_rate`` to the ``rate`` of the
trace. Times are those of the server's monotonic clock where nothing else is given; the record's own time is used then. Source:
Triton, "Triton Inference Server Trace".
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from detector.contracts.moment import event_ms
from detector.ingest.formats.bodies import tensor_rows
from detector.ingest.formats.call import Call, Payload, Skip
from detector.ingest.formats.decoder import Format, Outcome, Record, Surroundings
from detector.ingest.formats.event import UnusableError
from detector.ingest.formats.fields import text
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_MOST_TRACES: Final = 1000
_INPUT: Final = "TENSOR_QUEUE_INPUT"
_OUTPUT: Final = "TENSOR_BACKEND_OUTPUT"
_WHOLE: Final = "REQUEST_END"
_NAMING: Final = frozenset({"id", "model_name", "model_version"})  # of the entry that a trace begins with


@dataclass(slots=True)
class _Trace:
    record: Record
    model: str | None = None
    version: str | None = None
    start: int | None = None
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)


class TritonDecoder(ServingDecoder):
    """Decodes entries of the trace; a request is whole when its outputs are there and the next entries are of its end."""

    def __init__(self, known: Surroundings) -> None:
        """Begin without a trace."""
        super().__init__(known)
        self._traces: OrderedDict[str, _Trace] = OrderedDict()

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Take one entry in; return the call that it completes."""
        if not isinstance(document, Mapping) or (trace_id := text(document.get("id"))) is None:
            raise UnusableError("schema", "id: missing")
        if len(self._traces) >= _MOST_TRACES and trace_id not in self._traces:
            yield self._call(*self._traces.popitem(last=False))
        trace = self._traces.setdefault(trace_id, _Trace(record))
        trace.model = text(document.get("model_name")) or trace.model
        trace.version = text(document.get("model_version")) or trace.version
        tensor = document.get("tensor")
        activity = text(document.get("activity"))
        if isinstance(tensor, Mapping) and (name := text(tensor.get("name"))) and activity in {_INPUT, _OUTPUT}:
            (trace.inputs if activity == _INPUT else trace.outputs)[name] = tensor
        stamps = document.get("timestamps")
        names = [text(stamp.get("name")) for stamp in stamps if isinstance(stamp, Mapping)] if isinstance(stamps, list) else []
        if trace.start is None and isinstance(stamps, list):
            trace.start = next((stamp["ns"] for stamp in stamps if isinstance(stamp, Mapping) and "ns" in stamp), None)
        if _WHOLE in names:
            yield self._call(trace_id, self._traces.pop(trace_id))
        else:
            yield Skip("a part of a trace")

    def flush(self) -> Sequence[Outcome]:
        """Return what the traces that are not at their end hold."""
        outcomes = list(super().flush())
        while self._traces:
            trace_id, trace = self._traces.popitem(last=False)
            outcomes += self.events(trace.record, self._call(trace_id, trace))
        return outcomes

    def held(self) -> Collection[Hashable]:
        """Return where the entries stand that wait for their request's end."""
        return [trace.record.place for trace in self._traces.values()]

    def forget(self, gone: Callable[[Hashable], bool]) -> None:
        """Forget traces whose first record is `gone`."""
        self._traces = OrderedDict((key, trace) for key, trace in self._traces.items() if not gone(trace.record.place))

    def time_of(self, record: Record) -> int | None:
        """Return the record's own time: that of an entry is of another clock."""
        return record.time_ms

    def _call(self, trace_id: str, trace: _Trace) -> Call:
        return Call(
            id=trace_id,
            time=_wall(trace.start),
            model=trace.model,
            version=trace.version,
            request=_payload("inputs", trace.inputs),
            response=_payload("outputs", trace.outputs),
        )


def _wall(nanoseconds: Any) -> int | None:
    """Return a time in nanoseconds where it can be one of the wall clock."""
    if not isinstance(nanoseconds, int) or isinstance(nanoseconds, bool):
        return None
    try:
        event_ms(nanoseconds)
    except ValueError:
        return None
    return nanoseconds


def _payload(key: str, tensors: Mapping[str, Any]) -> Payload | None:
    return Payload({key: {name: _rows(tensor) for name, tensor in tensors.items()}}) if tensors else None


def _rows(tensor: Mapping[str, Any]) -> list[Any]:
    """Read a tensor whose data and shape are texts: ``"0.1,2.0"`` and ``"1,2"``."""
    data, shape = tensor.get("data"), tensor.get("shape")
    if isinstance(data, str):
        data = data.split(",") if data else []
    if isinstance(shape, str):
        shape = [int(size) for size in shape.split(",") if size.strip().isdecimal() and len(size) < 10]
    rows = tensor_rows(data, shape)
    return rows if rows and isinstance(rows[0], list) else [rows]


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if not isinstance(document, Mapping) or "id" not in document:
        return None
    tensor = isinstance(document.get("tensor"), Mapping) and "activity" in document
    stamps = document.get("timestamps")
    stamped = isinstance(stamps, list) and bool(stamps) and isinstance(stamps[0], Mapping) and "ns" in stamps[0]
    named = _NAMING <= document.keys() <= _NAMING | {"parent_id", "request_id"}
    return "entries of Triton's trace" if tensor or stamped or named else None


FORMAT = Format("triton", "Triton's trace with level TENSORS", TritonDecoder, _recognize)
