"""A receiver of the configuration, ready to use: which records it gets, in which format, and how to connect to it.

A new sink is one file beside this one: a section with its settings, which extends `detector.config.DeliverySection`, a
`Delivery`, and a `SinkKind` of both; and one line in `detector.sinks.registry`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detector.config import DeliverySection
from detector.contracts import Alert, to_json
from detector.errors import NoDocumentError
from detector.sinks.delivery import MOST_AT_ONCE, Delivery
from detector.sinks.formats import read
from detector.sinks.message import Document, Kind, Message, message, passes


class DeliveryRecord:
    """An alert or a decision: `data` are its bytes in the topic or file, `document` is parsed from them on demand."""

    __slots__ = ("_document", "data", "kind")

    def __init__(self, kind: Kind, data: bytes, document: Document | None = None) -> None:
        self.kind: Kind = kind
        self.data = data
        self._document = document

    @classmethod
    def of(cls, document: Document) -> "DeliveryRecord":
        """Return it for a document."""
        return cls("alert" if isinstance(document, Alert) else "decision", to_json(document), document)

    @property
    def document(self) -> Document:
        """The document; raises `NoDocumentError` when the bytes are none."""
        if self._document is None:
            try:
                self._document = read(self.kind, self.data)
            except ValueError as error:
                raise NoDocumentError("schema", f"not a document of this service: {error}") from error
        return self._document


@dataclass(frozen=True, slots=True)
class Receiver:
    """A destination of documents: `open` connects to it; the one thread that uses the connection must close it.

    `write` makes this receiver's message of a record; one attempt sends up to `at_once` messages.
    """

    section: DeliverySection
    write: Callable[[DeliveryRecord], Message]
    open: Callable[[], Delivery]
    at_once: int = MOST_AT_ONCE

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.section.name

    def wants(self, kind: Kind) -> bool:
        """Return whether it gets records of a kind."""
        return f"{kind}s" in self.section.send

    def message(self, record: DeliveryRecord) -> Message | None:
        """Return its message of a record, or None where it does not get the record.

        Raises `NoDocumentError` where the record is not of its kind.
        """
        if not self.wants(record.kind):
            return None
        least = self.section.min_severity
        if least != "low" and not passes(record.document, least):
            return None
        return self.write(record)


@dataclass(frozen=True, slots=True)
class SinkKind:
    """A kind of sink in the registry: the section of its settings, and the function that builds a receiver.

    `build` connects to nothing yet; it raises `ConfigError` when a secret or a certificate cannot be read.
    """

    section: type[DeliverySection]
    build: Callable[[Any], Receiver]


def rendered(encode: Callable[[Document], bytes]) -> Callable[[DeliveryRecord], Message]:
    """Return the function that makes a receiver's message of a record, in an encoding of one line."""
    return lambda record: message(record.document, encode(record.document))
