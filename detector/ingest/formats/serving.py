"""Logs of real servers -> events: what all their formats share once a record is read into calls.

A call becomes an event for each of its instances, with the id ``<id>#<n>`` where there are several. Halves of calls are
joined, the client is found by rule, bodies are taken apart. What cannot be used is refused with its owner, so that it counts.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from itertools import count
from typing import Any, Final, TypeAlias

import msgspec

from detector.contracts.dead_letter import Reason
from detector.contracts.limits import ID_CHARACTERS, TEXT_CHARACTERS
from detector.contracts.moment import event_ms
from detector.ingest.formats.answers import answers_of
from detector.ingest.formats.bodies import instances_of
from detector.ingest.formats.call import Call, Caller, Kept, Skip
from detector.ingest.formats.decoder import Decoder, Outcome, Record, Surroundings
from detector.ingest.formats.embeddings import Embeddings
from detector.ingest.formats.event import (
    DecodedEvent,
    EventClient,
    EventInput,
    EventModel,
    Refusal,
    UnusableError,
    refuse,
)
from detector.ingest.formats.fields import cut
from detector.ingest.formats.identity import Identity
from detector.ingest.formats.joining import Half, Joiner
from detector.ingest.formats.jsontext import read_json
from detector.ingest.formats.moments import Moments
from detector.ingest.formats.outputs import Outputs
from detector.ingest.owner import Owner

__all__ = ["Found", "ServingDecoder", "parse_json", "time_text"]

_SURPRISES: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What odd values lead to where no check has found them before: the record is refused, and the stream goes on."""

Found: TypeAlias = Call | Kept | Skip | Refusal

NOBODY = "nothing says who asked: name a header, a path or a constant in [[ingest.clients]]"
NO_TIME = 'nothing says when it was asked: [ingest] missing_time = "file" takes the time at which the file was written'


def parse_json(value: bytes) -> Any:
    r"""Return what a record means as JSON, of objects on a line each the list; raises `UnusableError` where it is neither.

    >>> parse_json(b'{"a": 1}'), parse_json(b'{"a": 1}\n{"a": 2}')
    ({'a': 1}, [{'a': 1}, {'a': 2}])
    """
    try:
        return read_json(value)
    except (ValueError, RecursionError):
        return _read_forgiving(value)


def _read_forgiving(value: bytes) -> Any:
    """Read what is nearly JSON, or say what is wrong with it."""
    try:
        text = value.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableError(
            "encoding", f"byte {error.start}: 0x{value[error.start]:02x} is not UTF-8 ({error.reason})"
        ) from None
    if not text.strip():
        raise UnusableError("json", "empty record")
    try:
        return read_json(text.strip().removesuffix(","))
    except RecursionError:
        raise UnusableError("json", "nested too deep") from None
    except ValueError as error:
        if (objects := _line_by_line(text)) is not None:
            return objects
        raise UnusableError("json", str(error)) from None


def _line_by_line(text: str) -> list[Any] | None:
    """Return the objects on the lines of a text, as loggers send batches; None where a line holds anything else."""
    objects: list[Any] = []
    for line in text.split("\n"):
        if line.strip():
            if not line.lstrip().startswith("{"):
                return None
            try:
                objects.append(read_json(line.encode()))
            except (ValueError, RecursionError):
                return None
    return objects


def time_text(text: str) -> str:
    """Return a time as RFC 3339 writes it: with ``T``, and ``Z`` where it ends in UTC.

    >>> time_text("2026-05-04 10:31:07.412 UTC"), time_text("2026-05-04 10:31")
    ('2026-05-04T10:31:07.412Z', '2026-05-04T10:31:00')
    """
    text = text.strip()
    for suffix in (" UTC", " Z", "+0000", "+00"):
        if text.endswith(suffix):
            text = text.removesuffix(suffix) + "Z"
            break
    if text[10:11] in {" ", "_"}:
        text = text[:10] + "T" + text[11:]
    if len(text) > 6 and text[-5] in "+-" and text[-4:].isdigit() and ":" in text:
        text = f"{text[:-2]}:{text[-2:]}"
    return text + ":00" if len(text) == 16 and text[13:14] == ":" else text


class ServingDecoder(Decoder):
    """Decodes the records of a real server; a format says with `calls` what a record holds.

    A record that is a JSON array holds several documents. What a server's own format repeats (two halves of a call, redelivered
    records) is left to the joiner and to the rule of repeats.
    """

    def __init__(self, known: Surroundings) -> None:
        """Follow the configuration of `known`."""
        section = known.ingest
        self._zone = known.naive_zone
        self._moments = Moments(known.naive_zone)
        self._section = section
        self._identity = Identity(section)
        self._documents = known.documents
        self._inputs = known.inputs()
        self._outputs = Outputs(known.schemas, known.learner)
        self._embeddings = Embeddings(known.embedding)
        self._joiner = Joiner(int(section.join_seconds * 1000))
        self._witness = known.witness
        self._skipped = 0

    @abstractmethod
    def calls(self, record: Record, document: Any) -> Iterable[Found]:
        """Return what a document of a record holds: calls or halves of them. May raise `UnusableError`."""

    def document(self, record: Record) -> Any:
        """Parse a record; a format whose records are bodies returns None and reads the bytes itself."""
        return self.parsed(record)

    def parsed(self, record: Record) -> Any:
        """Return what a record means as JSON, where it was not parsed before. Raises `UnusableError`."""
        document = self._documents.take(record.value)
        return parse_json(record.value) if document is None else document

    def decode(self, record: Record) -> Outcome | Sequence[Outcome]:
        """Return the events of a record, and of the halves that it completes."""
        try:
            document = self.document(record)
        except UnusableError as error:
            return refuse(error.reason, error.detail)
        outcomes: list[Outcome] = []
        numbers = count()
        if isinstance(document, list):
            for entry in document:
                outcomes += self._of_document(record, entry, numbers)
            if not document:
                outcomes.append(refuse("schema", "an empty list"))
        else:
            outcomes += self._of_document(record, document, numbers)
        if len(self._joiner):
            outcomes += self._given_up(self._joiner.given_up())
        return outcomes

    def flush(self) -> Sequence[Outcome]:
        """Refuse what still waits for its other half."""
        return self._given_up(self._joiner.rest())

    def held(self) -> Collection[Hashable]:
        """Return the places of the records whose other half has not come."""
        return [record.place for record in self._joiner.held()]

    def skipped(self) -> int:
        """Return how many documents were no queries."""
        return self._skipped

    def forget(self, gone: Callable[[Hashable], bool]) -> None:
        """Forget halves whose record is `gone`."""
        self._joiner.forget(gone)

    def time_of(self, record: Record) -> int | None:
        """Read the time of the first call in a record."""
        try:
            document = self.document(record)
            self._documents.keep(record.value, document)
            for entry in document[:1] if isinstance(document, list) else [document]:
                for found in self.calls(record, entry):
                    if isinstance(found, Call):
                        return self._time(found, record)
        except (UnusableError, *_SURPRISES):
            pass
        return record.time_ms

    def _of_document(self, record: Record, document: Any, numbers: Iterator[int]) -> Iterator[Outcome]:
        empty = True
        try:
            for found in self.calls(record, document):
                empty = False
                if isinstance(found, Refusal):
                    yield found
                elif isinstance(found, Call):
                    yield from self._of_call(record, _told_apart(found, record, next(numbers)))
                elif isinstance(found, Skip):
                    self._skipped += 1
            if empty:
                yield refuse("schema", "no call in it")
        except UnusableError as error:
            yield refuse(error.reason, error.detail)
        except _SURPRISES as error:
            yield refuse("schema", f"not as expected: {type(error).__name__}: {error}")

    def _of_call(self, record: Record, call: Call) -> Iterable[Outcome]:
        if call.half is None:
            return self.events(record, call)
        time_ms: int | None = None
        try:
            if call.time is not None or record.time_ms is not None:
                time_ms = self._time(call, record)
        except ValueError as error:
            return [refuse("schema", f"time: {error}", self._owner(record, call, self._identity.caller(call)))]
        whole = self._joiner.join(Half(call, record, time_ms))
        return () if whole is None else self.events(record, whole)

    def _given_up(self, halves: Iterable[Half]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for half in halves:
            missing = "no answer came" if half.call.half == "request" else "no request came with this answer"
            owner = self._owner(half.record, half.call, self._identity.caller(half.call))
            outcomes += (replace(one, record=half.record) for one in _refused(half.call, owner, "unanswered", missing))
        return outcomes

    def events(self, record: Record, call: Call) -> Sequence[Outcome]:
        """Take a whole call apart; nothing that it may hold raises."""
        caller = self._identity.caller(call)
        if self._witness is not None:
            self._witness(call, caller, self._identity.source(call))
        if caller.id is None:
            return [refuse("unidentified", NOBODY)]
        try:
            time_ms = self._time(call, record)
        except (ValueError, TypeError, OverflowError) as error:
            return [refuse("schema", f"time: {error}", self._owner_of(record, call, caller, 0))]
        try:
            return self._taken_apart(record, call, caller, time_ms)
        except UnusableError as error:
            return _refused(call, self._owner_of(record, call, caller, time_ms), error.reason, error.detail)
        except _SURPRISES as error:
            detail = f"not as expected: {type(error).__name__}: {error}"
            return [refuse("schema", detail, self._owner_of(record, call, caller, time_ms))]

    def _taken_apart(self, record: Record, call: Call, caller: Caller, time_ms: int) -> list[Outcome]:
        section, model = self._section, self._model(call)
        if model is None:
            raise UnusableError("schema", "nothing says which model was asked: set [ingest] model")
        if call.failure is not None or (call.status is not None and not 200 <= call.status < 300):
            raise UnusableError("unanswered", call.failure or f"status {call.status}: no answer")
        if call.request is None:
            raise UnusableError("no_query", "no body of a request in the log: not a query, or its logging is off")
        if call.response is None:
            raise UnusableError("unanswered", "only the input was logged: no answer")
        instances = instances_of(call.request)
        answers = answers_of(call.response, label=section.label_output, score=section.score_output, queries=len(instances))
        if len(instances) != len(answers):
            raise UnusableError("schema", f"{len(instances)} inputs and {len(answers)} answers")
        client = EventClient(caller.id or "", caller.type, caller.trusted, caller.organization, caller.ip, caller.user_agent)
        asked = EventModel(model, _version(call))
        event_id = _id(call, record, time_ms)
        weight = call.sampled_rate or section.sampled_rate
        instances = self._embeddings.instead(call, instances)
        outcomes: list[Outcome] = []
        for instance, answer, own_id in zip(instances, answers, _ids(event_id, len(instances)), strict=True):
            try:
                vector = self._inputs.vector(model, instance, client.id)
            except UnusableError as error:
                owner = self._owner_of(record, call, caller, time_ms)
                outcomes.append(refuse(error.reason, error.detail, replace(owner, event_id=own_id)))
                continue
            self._outputs.settle(model, client.id, answer)
            outcomes.append(
                DecodedEvent(
                    event_id=own_id,
                    time=time_ms,
                    client=client,
                    model=asked,
                    input=EventInput(vector=vector),
                    output=answer,
                    latency_ms=call.latency_ms,
                    status=call.status,
                    sampled_rate=weight,
                )
            )
        return outcomes

    def _model(self, call: Call) -> str | None:
        name = call.model or self._section.model
        return None if not name else cut(name, ID_CHARACTERS)

    def _time(self, call: Call, record: Record) -> int:
        time = record.time_ms if call.time is None else call.time
        if time is None:
            raise ValueError(NO_TIME)
        if not isinstance(time, str | int | float) or isinstance(time, bool):
            raise ValueError("neither a text nor a number")  # noqa: TRY004  # as for a wrong text
        if isinstance(time, str):
            if time[10:11] == "T" and time[-1:] == "Z" and time[-2:-1].isdigit():  # as nearly all write it
                return self._moments.of(time)
            number = time.strip()
            return event_ms(int(number)) if number.isdigit() and len(number) < 25 else event_ms(time_text(time), self._zone)
        return event_ms(time, self._zone)

    def _owner(self, record: Record, call: Call, caller: Caller) -> Owner | None:
        if caller.id is None:
            return None
        try:
            time_ms = self._time(call, record)
        except (ValueError, TypeError, OverflowError):
            time_ms = 0
        return self._owner_of(record, call, caller, time_ms)

    def _owner_of(self, record: Record, call: Call, caller: Caller, time_ms: int) -> Owner:
        return Owner(caller.id or "", self._model(call), _version(call), _id(call, record, time_ms), time_ms, caller.sender)


def _version(call: Call) -> str | None:
    return None if call.version is None else cut(call.version, TEXT_CHARACTERS)


def _refused(call: Call, owner: Owner | None, reason: Reason, detail: str) -> list[Refusal]:
    """Refuse a call as a whole: each query that its request holds, so that all of them count for the client."""
    if owner is None:
        return [refuse(reason, detail)]
    queries = 1
    if call.request is not None:
        try:
            queries = len(instances_of(call.request))
        except (UnusableError, *_SURPRISES):
            pass
    first, *others = (refuse(reason, detail, replace(owner, event_id=event_id)) for event_id in _ids(owner.event_id, queries))
    return [first, *(replace(other, further=True) for other in others)]


def _ids(event_id: str, queries: int) -> Sequence[str]:
    """Return the id of each query of a call."""
    return [event_id] if queries == 1 else [f"{event_id}#{at}" for at in range(queries)]


def _id(call: Call, record: Record, time_ms: int) -> str:
    """Return the id of a call with room for ``#<n>``; without one in the log, a digest of the record and its time."""
    return cut(call.id, ID_CHARACTERS - 8) if call.id else _digest(record, time_ms, b"")


def _told_apart(call: Call, record: Record, number: int) -> Call:
    """Return a call with an id of its own where it has none and others of its record have none either."""
    if call.id or (number == 0 and call.half is None):
        return call
    return msgspec.structs.replace(call, id=_digest(record, record.time_ms or 0, number.to_bytes(4, "little")))


def _digest(record: Record, time_ms: int, more: bytes) -> str:
    digest = _begun(record.value).copy()
    digest.update(time_ms.to_bytes(8, "little", signed=True) + more)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _begun(value: bytes) -> blake2b:
    """Return the digest of a record's bytes: a record of many calls without ids is read once."""
    return blake2b(value, digest_size=12)
