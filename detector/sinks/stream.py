"""Alerts and decisions as JSON Lines on a stream, as they are made; and a sink that feeds two sinks."""

from collections.abc import Iterable
from typing import Any, Protocol

from detector.contracts import Alert, DeadLetter, Decision, to_json
from detector.contracts.document import Document
from detector.errors import OutputError
from detector.sinks.sink import Sink


class Stream(Protocol):
    """The target of the lines."""

    def write(self, data: bytes, /) -> int:
        """Write bytes."""

    def flush(self) -> None:
        """Flush what was written."""


class StreamSink:
    """Writes each alert and decision as one line and flushes; ignores clients and dead letters.

    Raises `OutputError` when the stream cannot be written.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def _write(self, documents: Iterable[Document]) -> None:
        try:
            for document in documents:
                self._stream.write(to_json(document) + b"\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write results: {error.strerror or error}") from error

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Write alerts."""
        self._write(alerts)

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Write decisions."""
        self._write(decisions)

    def dead_letters(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Leave dead letters out."""

    def clients(self, clients: Iterable[dict[str, Any]]) -> None:
        """Leave clients out."""


class Both:
    """Passes everything to two sinks."""

    def __init__(self, first: Sink, second: Sink) -> None:
        self._sinks = (first, second)

    def alerts(self, alerts: Iterable[Alert]) -> None:
        """Pass alerts on."""
        listed = list(alerts)
        for sink in self._sinks:
            sink.alerts(listed)

    def decisions(self, decisions: Iterable[Decision]) -> None:
        """Pass decisions on."""
        listed = list(decisions)
        for sink in self._sinks:
            sink.decisions(listed)

    def dead_letters(self, dead_letters: Iterable[DeadLetter]) -> None:
        """Pass dead letters on."""
        listed = list(dead_letters)
        for sink in self._sinks:
            sink.dead_letters(listed)

    def clients(self, clients: Iterable[dict[str, Any]]) -> None:
        """Pass clients on."""
        listed = list(clients)
        for sink in self._sinks:
            sink.clients(listed)
