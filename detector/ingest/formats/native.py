"""One record of the native format: bytes -> event, or the reason why not.

Nearly every record takes the fast path: typed decoding in a single pass. A record with a missing value or a text beyond its
length, or with columns, a text or a picture for its input, takes a second pass with wider types, so that a client cannot make
its records expensive by a header. What neither accepts is read again, slowly, with the reference definition of the format
(`PredictionEvent`), which has the last word: it names what is wrong, or accepts the rare record that only the fast
path refuses (a leap second, a repeated key whose first value has a wrong type).
"""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import numpy as np
from pydantic import ValidationError

from detector.contracts.event import ALL_MISSING, PredictionEvent, Query
from detector.contracts.limits import TEXT_CHARACTERS, USER_AGENT_CHARACTERS
from detector.contracts.moment import MILLISECOND_READINGS, event_ms
from detector.ingest.formats.answers import answer_of
from detector.ingest.formats.decoder import Decoder, Format, Outcome, Record, Surroundings
from detector.ingest.formats.event import (
    DecodedEvent,
    EventClient,
    EventInput,
    EventMark,
    EventModel,
    EventOriginal,
    EventOutput,
    EventPerturbed,
    Refusal,
    UnusableError,
    refuse,
)
from detector.ingest.formats.inputs import Inputs
from detector.ingest.formats.moments import Moments
from detector.ingest.formats.native_refusals import breaks_rule, malformed, refusal_of
from detector.ingest.formats.outputs import Outputs
from detector.ingest.formats.pictures import file_vector
from detector.ingest.owner import Owner, read_owner

__all__ = ["FORMAT", "NativeDecoder", "to_line"]

LONG: Final = 65_536  # bytes from which the decoder itself says what is wrong: the reference would name every wrong number

_FIRST_READING, _END_OF_READINGS = MILLISECOND_READINGS

_Short: TypeAlias = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)] | None
_UserAgent: TypeAlias = Annotated[str, msgspec.Meta(max_length=USER_AGENT_CHARACTERS)] | None


class _Time(msgspec.Struct, gc=False):
    time: str | int | float


class _UsualClient(EventClient, gc=False):
    type: _Short = None
    organization: _Short = None
    ip: _Short = None
    user_agent: _UserAgent = None


class _UsualModel(EventModel, gc=False):
    version: _Short = None


class _UsualQuery(EventInput, gc=False):
    vector: Annotated[list[float], msgspec.Meta(min_length=1)] | None = None  # type: ignore[assignment]  # read only
    columns: None = None
    text: None = None
    image_b64: None = None


class _UsualEvent(DecodedEvent, gc=False):
    """What nearly every event is: no text is too long, and no value is missing, which is faster to decode."""

    client: _UsualClient
    model: _UsualModel
    input: _UsualQuery


class NativeDecoder(Decoder):
    """Decodes records one by one. Keeps a small cache of the seconds it has read, so one per thread."""

    def __init__(
        self, naive_zone: dt.tzinfo | None = None, inputs: Inputs | None = None, outputs: Outputs | None = None
    ) -> None:
        """Start with an empty cache; text without an offset is local time of `naive_zone`, and refused where that is None.

        `inputs` makes vectors of inputs that are columns, texts or pictures, `outputs` labels of predicted numbers.
        """
        self._zone = naive_zone
        self._inputs = inputs or Inputs({})
        self._outputs = outputs or Outputs({})
        self._usual: Callable[[bytes], DecodedEvent] = msgspec.json.Decoder(_UsualEvent).decode
        self._time = msgspec.json.Decoder(_Time).decode
        self._any = msgspec.json.Decoder(DecodedEvent).decode
        self._milliseconds = Moments(naive_zone).of
        self.plain = self.decode_value
        self.native = True

    def decode(self, record: Record) -> Outcome:
        """Decode the value of a record; nothing else of it counts."""
        return self.decode_value(record.value)

    def owner(self, record: Record) -> Owner | None:
        """Return whose query a refused record is."""
        return read_owner(record.value, self._zone)

    def explain(self, record: Record) -> Refusal | None:
        """Say what is wrong with the numbers of a record, by the reference."""
        found = self.read_slowly(record.value)
        return found if isinstance(found, Refusal) else None

    def from_fields(self, fields: Mapping[str, Any]) -> Outcome:
        """Decode an event that is given as the fields of the native format: what another format maps its own to.

        Never raises. A refusal says whose query it was. See `to_line` for what values may be.

        >>> NativeDecoder().from_fields({"event_id": "e1", "client": {"id": "acme"}, "model": {"id": "fraud"}})
        Refusal(reason='schema', detail='time: Field required')
        """
        try:
            line = to_line(fields)
        except (TypeError, ValueError, RecursionError) as error:
            return refuse("schema", f"record: {error}")
        found = self.decode_value(line)
        return replace(found, owner=read_owner(line, self._zone)) if isinstance(found, Refusal) else found

    def decode_value(self, record: bytes) -> Outcome:
        """Decode one record, without its line end. Never raises, whatever the bytes are.

        Inside unknown fields the limits are those of the parser at hand, so the reference may refuse what is accepted
        here: nesting beyond 200 levels (the interpreter stops some hundred later), integers of thousands of digits. A record
        of more than `LONG` bytes that repeats a key is refused where the first value has a wrong type.

        >>> decoder = NativeDecoder()
        >>> decoder.decode_value(b'{"event_id": "e1", "time": "yesterday"}')
        Refusal(reason='schema', detail='time: not an RFC 3339 time with an offset')
        >>> event = decoder.decode_value(
        ...     b'{"event_id": "e1", "time": "2026-05-04T10:31:07Z", "client": {"id": "acme"},'
        ...     b' "model": {"id": "fraud"}, "input": {"vector": [1, 2.5]}, "output": {"label": 0}}'
        ... )
        >>> event.time, event.input.vector
        (1777890667000, [1.0, 2.5])
        """
        try:
            if not record.isascii():
                record.decode()  # the decoder does not check the text of unknown fields
            try:
                event = self._usual(record)
            except msgspec.ValidationError:
                event = self._cut(record)
            time = event.time
            if isinstance(time, str):
                event.time = self._milliseconds(time)
            elif not (_FIRST_READING <= time < _END_OF_READINGS and isinstance(time, int)):
                event.time = event_ms(time)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            if isinstance(error, msgspec.ValidationError) and len(record) > LONG:
                return refusal_of(error)
            return self.read_slowly(record)
        query, answer = event.input, event.output
        packed = query.vector_b64
        if packed is not None:
            whole = len(packed) > 0 and len(packed) % 4 == 0
            if not whole or (query.vector is not None and _unusable(packed)):
                return self.read_slowly(record)
        elif query.vector is None and query.columns is None and query.text is None and query.image_b64 is None:
            return self.read_slowly(record)
        if answer.ranking is not None or answer.ranking_scores is not None:
            problem = answer.rank()
            if problem is not None:
                return refuse("schema", problem) if len(record) > LONG else self.read_slowly(record)
        if answer.label is None and answer.probabilities is None:
            if answer.value is None:
                return self.read_slowly(record)
            event.output = self._settled(event.model.id, event.client.id, answer.value)
            event.output.perturbed, event.output.original = answer.perturbed, answer.original
        return event if query.vector is not None or packed is not None else self._encoded(event)

    def time_of(self, record: Record) -> int | None:
        """Return the time of a record in milliseconds, None where it has no valid one; nothing else of it is looked at.

        Costs a small part of what `decode` does. Never raises.
        """
        try:
            time = self._time(record.value).time
            if isinstance(time, int) and _FIRST_READING <= time < _END_OF_READINGS:
                return time
            return self._milliseconds(time) if isinstance(time, str) else event_ms(time)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return None

    def read_slowly(self, record: bytes) -> Outcome:
        """Read one record by the reference: an event where it accepts it, else the exact reason. Never raises."""
        refusal = malformed(record)
        if refusal is not None:
            return refusal
        try:
            return self._event(PredictionEvent.model_validate_json(record, context={"zone": self._zone}))
        except ValidationError as error:
            return breaks_rule(error.errors(include_url=False, include_context=False))
        except UnusableError as error:
            return refuse(error.reason, error.detail)

    def _cut(self, record: bytes) -> DecodedEvent:
        """Decode a record whose texts may be too long, which are cut, and whose input may be anything, with missing values."""
        event = self._any(record)
        client, model = event.client, event.model
        query = event.input
        given = (query.vector or query.vector_b64, query.columns, query.text, query.image_b64)
        if sum(value is not None for value in given) != 1:
            raise ValueError("none or several of them")  # the reference says it
        if event.input.vector is not None and not any(number is not None for number in event.input.vector):
            raise ValueError(ALL_MISSING)
        client.type, client.organization, client.ip = map(_short, (client.type, client.organization, client.ip))
        client.user_agent = client.user_agent and client.user_agent[:USER_AGENT_CHARACTERS]
        model.version = _short(model.version)
        return event

    def _encoded(self, event: DecodedEvent) -> Outcome:
        try:
            event.input = EventInput(vector=self._vector(event.model.id, event.client.id, event.input))
        except UnusableError as error:
            return refuse(error.reason, error.detail)
        return event

    def _vector(self, model: str, client: str, query: EventInput | Query) -> list[float | None]:
        """Make a vector of columns, a text or a picture."""
        if query.image_b64 is not None:
            return list(file_vector(query.image_b64))
        return self._inputs.vector(model, query.columns if query.columns is not None else query.text or "", client)

    def _event(self, event: PredictionEvent) -> DecodedEvent:
        client = event.client
        return DecodedEvent(
            event_id=event.event_id,
            time=event_ms(event.time, self._zone),
            client=EventClient(client.id, client.type, client.trusted, client.organization, client.ip, client.user_agent),
            model=EventModel(event.model.id, event.model.version),
            input=self._input(event),
            output=self._output(event),
            latency_ms=event.latency_ms,
            status=event.status,
            sampled_rate=event.sampled_rate,
        )

    def _input(self, event: PredictionEvent) -> EventInput:
        query = event.input
        if query.vector is None and query.vector_b64 is None:
            return EventInput(vector=self._vector(event.model.id, event.client.id, query))
        return EventInput(vector_b64=event.values().astype("<f4").tobytes())

    def _output(self, event: PredictionEvent) -> EventOutput:
        answer, changed, before = event.output, event.output.perturbed, event.output.original
        if answer.label is None and answer.probabilities is None:
            first = None if answer.ranking is None else answer.ranking[0]
            found = EventOutput(first) if first is not None else self._settled(event.model.id, event.client.id, answer.value)
        else:
            found = EventOutput(answer.label, answer.probabilities)
        mark = None if changed is None or changed.mark is None else changed.mark
        named = None if mark is None else EventMark(mark.id, mark.subject, mark.epoch)
        found.perturbed = None if changed is None else EventPerturbed(changed.mode, changed.key_id, named)
        found.original = None if before is None else EventOriginal(before.label, before.probabilities)
        return found

    def _settled(self, model: str, client: str, value: float | None) -> EventOutput:
        answer = answer_of(value)
        self._outputs.settle(model, client, answer)
        return answer


def _native(known: Surroundings) -> NativeDecoder:
    return NativeDecoder(known.naive_zone, known.inputs(), Outputs(known.schemas, known.learner))


_PARTS: Final = ("event_id", "client", "model", "input", "output")


def _recognize(record: Record, document: Any) -> str | None:
    del record
    if not isinstance(document, Mapping) or sum(part in document for part in _PARTS) < 4:
        return None
    objects = [part for part in ("client", "model", "input", "output") if isinstance(document.get(part), Mapping)]
    return "event_id, client, model, input and output, as the native format has them" if len(objects) >= 2 else None


FORMAT = Format("native", "one JSON object an event; see `detector schema export`", _native, _recognize)


def to_line(fields: Mapping[str, Any]) -> bytes:
    """Write the fields of an event as the line that the native format has for it.

    Arrays and numbers of numpy may stand for lists and numbers, a datetime for its text, and NaN in ``input.vector`` for a
    missing value. Nothing is checked: that is the decoder's.

    Raises TypeError and ValueError for what JSON cannot hold, and RecursionError.

    >>> to_line({"input": {"vector": np.array([1.5, np.nan])}})
    b'{"input":{"vector":[1.5,null]}}'
    """
    query = fields.get("input")
    if isinstance(query, Mapping) and (vector := query.get("vector")) is not None:
        numbers = vector.tolist() if isinstance(vector, np.ndarray) else vector
        if isinstance(numbers, list | tuple):
            numbers = [None if isinstance(number, float) and number != number else number for number in numbers]  # noqa: PLR0124
        fields = {**fields, "input": {**query, "vector": numbers}}
    return json.dumps(fields, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__} is not JSON")


def _short(text: str | None) -> str | None:
    return text and text[:TEXT_CHARACTERS]


def _unusable(packed: bytes) -> bool:
    values = np.frombuffer(packed, "<f4")
    return bool(np.isinf(values).any() or np.isnan(values).all())
