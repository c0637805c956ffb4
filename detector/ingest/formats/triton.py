"""Triton's trace with level TENSORS: entries of one id hold the model, the times and the tensors of a request.

It is off by default, logs one request of 1,000 unless ``rate`` says otherwise, and knows no client: ``[[ingest.clients]]``
with a constant, so that it serves to watch a model and not its clients. Set ``[ingest] sampled_rate`` to the ``rate`` of the
trace. Times are those of the server's monotonic clock where nothing else is given; the record's own time is used then. Source:
Triton, "Triton Inference Server Trace".
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from detector.contracts.moment import event_ms
from detector.ingest.formats.call import Call, Kept, Payload
from detector.ingest.formats.decoder import Format, Outcome, Record, Surroundings
from detector.ingest.formats.event import Refusal, UnusableError
from detector.ingest.formats.fields import text
from detector.ingest.formats.serving import Found, ServingDecoder

__all__ = ["FORMAT"]

_MOST_TRACES: Final = 1000
_MOST_BYTES: Final = 32 * 1024 * 1024  # of the records that the traces came in
_OVERHEAD_BYTES: Final = 4096  # of an entry besides its record
_INPUT: Final = "TENSOR_QUEUE_INPUT"
_OUTPUT: Final = "TENSOR_BACKEND_OUTPUT"
_WHOLE: Final = "REQUEST_END"
_NAMING: Final = frozenset({"id", "model_name", "model_version"})  # of the entry that a trace begins with


@dataclass(slots=True)
class _Trace:
    record: Record
    places: list[Hashable] = field(default_factory=list)
    size: int = 0
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
        self._bytes = 0

    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Take one entry in; return the call that it completes."""
        if not isinstance(document, dict) or (trace_id := text(document.get("id"))) is None:
            raise UnusableError("schema", "id: missing")
        while self._traces and (
            self._bytes > _MOST_BYTES or (len(self._traces) >= _MOST_TRACES and trace_id not in self._traces)
        ):
            yield self._taken(next(iter(self._traces)))
        trace = self._traces.setdefault(trace_id, _Trace(record))
        size = len(record.value) + _OVERHEAD_BYTES
        trace.places.append(record.place)
        trace.size += size
        self._bytes += size
        trace.model = text(document.get("model_name")) or trace.model
        trace.version = text(document.get("model_version")) or trace.version
        tensor = document.get("tensor")
        activity = text(document.get("activity"))
        if isinstance(tensor, dict) and (name := text(tensor.get("name"))) and activity in {_INPUT, _OUTPUT}:
            (trace.inputs if activity == _INPUT else trace.outputs)[name] = tensor
        stamps = document.get("timestamps")
        names = [text(stamp.get("name")) for stamp in stamps if isinstance(stamp, dict)] if isinstance(stamps, list) else []
        if trace.start is None and isinstance(stamps, list):
            trace.start = next((stamp["ns"] for stamp in stamps if isinstance(stamp, dict) and "ns" in stamp), None)
        if _WHOLE in names:
            yield self._taken(trace_id)
        else:
            yield Kept()

    def flush(self) -> Sequence[Outcome]:
        """Return what the traces that are not at their end hold."""
        outcomes = list(super().flush())
        while self._traces:
            trace_id, trace = next(iter(self._traces.items()))
            found = self.events(trace.record, self._taken(trace_id))
            outcomes += [replace(one, record=trace.record) if isinstance(one, Refusal) else one for one in found]
        return outcomes

    def held(self) -> Collection[Hashable]:
        """Return where the entries stand that wait for their request's end."""
        return [place for trace in self._traces.values() for place in trace.places]

    def forget(self, gone: Callable[[Hashable], bool]) -> None:
        """Forget traces of which a record is `gone`."""
        for trace_id in [trace_id for trace_id, trace in self._traces.items() if any(map(gone, trace.places))]:
            self._taken(trace_id)

    def time_of(self, record: Record) -> int | None:
        """Return the record's own time: that of an entry is of another clock."""
        return record.time_ms

    def _taken(self, trace_id: str) -> Call:
        """Remove a trace; return its call."""
        trace = self._traces.pop(trace_id)
        self._bytes -= trace.size
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
    return Payload({key: [_tensor(name, tensor) for name, tensor in tensors.items()]}) if tensors else None


def _tensor(name: str, tensor: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tensor as V2 has it, whose data and shape are texts: ``"0.1,2.0"`` and ``"1,2"``; one dimension is one row."""
    data, shape = tensor.get("data"), tensor.get("shape")
    if isinstance(data, str):
        data = data.split(",") if data else []
    if isinstance(shape, str):
        shape = [int(size) for size in shape.split(",") if size.strip().isdecimal() and len(size) < 10]
    if isinstance(shape, list) and len(shape) == 1:
        shape = [1, *shape]
    return {"name": name, "data": data, "shape": shape}


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if not isinstance(document, dict) or "id" not in document:
        return None
    tensor = isinstance(document.get("tensor"), dict) and "activity" in document
    stamps = document.get("timestamps")
    stamped = isinstance(stamps, list) and bool(stamps) and isinstance(stamps[0], dict) and "ns" in stamps[0]
    named = _NAMING <= document.keys() <= _NAMING | {"parent_id", "request_id"}
    return "entries of Triton's trace" if tensor or stamped or named else None


FORMAT = Format("triton", "Triton's trace with level TENSORS", TritonDecoder, _recognize, joins=True)
