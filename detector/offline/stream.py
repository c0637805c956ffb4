"""The detector over a stream of events, in this process: no Kafka, no files.

For a service that already holds its events, for tests, and for trying things out. The engine is that of the service.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from detector.baseline.store import Baseline
from detector.clock import Clock, SystemClock
from detector.config import Config, IngestSection
from detector.contracts import Alert, DeadLetter, Decision
from detector.errors import SourceError
from detector.ingest.formats.native import to_line
from detector.ingest.formats.routing import decoder_for
from detector.ingest.lines import Chunk
from detector.offline.files import set_up
from detector.offline.frames import is_frame, rows
from detector.offline.pipeline import BATCH_SIZE, Pipeline, cut
from detector.sinks.memory import MemorySink

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Detector", "Events"]

SOURCE = "events"

Events: TypeAlias = "Mapping[str, Any] | bytes | str | Iterable[Mapping[str, Any] | bytes | str] | pd.DataFrame"


class Detector:
    """Watches a stream of prediction events and returns the alerts and decisions that they lead to.

    State of clients is kept in memory, of as many as ``[engine] max_clients`` says, and is lost with the object: for state that
    outlives a process, and for more than one core, run the service. One thread at a time may use it.

    `baseline` is a baseline or the folder of one; without it the one that `config` names is used, and without any each model is
    learned from its first events. `config` is a configuration or the file of one. Times are those of the events: the wall clock
    (`clock`) only decides which events are dated too far ahead to be believed. So the same events lead to the same alerts and
    decisions as `detector.replay` of a log that holds them, in however many calls they are given.

    >>> import detector
    >>> from detector.testing import traffic
    >>> watching = detector.Detector()
    >>> alerts, decisions = watching.observe(traffic(queries=200))
    >>> alerts[0].user.id, decisions[0].subject.id, watching.refused
    ('thief-0', 'thief-0', [])
    >>> watching.observe({"event_id": "e1", "client": {"id": "acme"}})
    ([], [])
    >>> [(refused.line, refused.reason, refused.detail) for refused in watching.refused]
    [(1001, 'schema', 'time: Field required')]

    Raises `BaselineError` and `ConfigError` when baseline or configuration cannot be used.
    """

    def __init__(
        self,
        baseline: Baseline | str | Path | None = None,
        config: Config | str | Path | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        """Begin with an empty stream."""
        settings, known = set_up(config, baseline)
        self._found = MemorySink()
        native = settings.model_copy(update={"ingest": IngestSection(missing=settings.ingest.missing, envelope="none")})
        decoder = decoder_for(native, known.schemas if known else None)
        self._pipeline = Pipeline(settings, known, self._found, clock or SystemClock(), decoder=decoder)
        self._line = 1
        self._ended = False

    @property
    def refused(self) -> Sequence[DeadLetter]:
        """What could not be used of the last call, with its reason and detail; `line` counts events from 1 over all calls.

        An event that waits for its model to be learned may be refused in a later call.
        """
        return self._found.dead

    def observe(self, events: Events) -> tuple[list[Alert], list[Decision]]:
        """Process events in their order, and return what they led to.

        `events` have the native form (``schemas/prediction-event.v1.json``):

        - mappings, in which arrays of numpy may stand for lists, datetimes for times, and NaN in ``input.vector`` for a missing
          value; or one of them
        - lines of JSON, bytes or text; or all of them as one text, as a file of JSON Lines holds them
        - a pandas data frame with a row an event, and the columns that `pandas.json_normalize` makes of events: ``event_id``,
          ``time``, ``client.id``, ``model.id``, ``input.vector``, ``output.label`` and so on. In place of ``input.vector`` the
          values may stand in columns of their own: ``input.vector.0``, ``input.vector.1``, ... Empty cells are absent fields,
          and missing values of the input.

        What cannot be used is in `refused`. Call it with as many events at once as there are: a call costs a millisecond or so
        whatever it brings.

        Raises TypeError or ValueError for what is no event in any of these forms, `SourceError` after `finish`. Then nothing
        was observed.
        """
        if self._ended:
            raise SourceError("the stream has ended: make a new Detector")
        lines = list(_lines(events))
        self._found.forget()
        for piece in cut(Chunk(SOURCE, self._line, lines), BATCH_SIZE):
            self._pipeline.feed(piece)
        self._line += len(lines)
        return self._found.raised, self._found.decided

    def finish(self) -> tuple[list[Alert], list[Decision]]:
        """End the stream, and return what is found only then: of a model that was still being learned, for instance."""
        self._found.forget()
        if not self._ended:
            self._ended = True
            self._pipeline.finish()
        return self._found.raised, self._found.decided


def _lines(events: Events) -> Iterator[bytes]:
    if isinstance(events, str | bytes):
        text = _encoded(events)
        yield from text.removesuffix(b"\n").split(b"\n") if text else ()
        return
    whole: Iterable[Any] = [events] if isinstance(events, Mapping) else events
    for entry in rows(events) if is_frame(events) else whole:
        if isinstance(entry, str | bytes):
            yield _encoded(entry).removesuffix(b"\n")
        elif isinstance(entry, Mapping):
            try:
                yield to_line(entry)
            except RecursionError:
                raise ValueError("an event is nested too deeply") from None
        else:
            raise TypeError(f"an event is a mapping or a line of JSON, not {type(entry).__name__}")


def _encoded(text: str | bytes) -> bytes:
    return text.encode(errors="surrogatepass") if isinstance(text, str) else text
