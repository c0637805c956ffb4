"""A receiver of the configuration, made ready: what it is sent, how that is written for it, and the way to it.

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
    """An alert or a decision: `data` are its bytes as its topic or file has them, `document` is read from them once needed."""

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
    """Where documents go: `open` makes a way there, which the one thread that uses it has to close.

    `write` makes the message that this receiver is sent of a record; one attempt carries `at_once` of them.
    """

    section: DeliverySection
    write: Callable[[DeliveryRecord], Message]
    open: Callable[[], Delivery]
    at_once: int = MOST_AT_ONCE

    @property
    def name(self) -> str:
        """What it is called in the configuration."""
        return self.section.name

    def wants(self, kind: Kind) -> bool:
        """Tell whether it is sent records of a kind."""
        return f"{kind}s" in self.section.send

    def message(self, record: DeliveryRecord) -> Message | None:
        """Return what it is sent, or None where it is not meant to have the record.

        Raises `NoDocumentError` where the record is not what its kind says.
        """
        if not self.wants(record.kind):
            return None
        least = self.section.min_severity
        if least != "low" and not passes(record.document, least):
            return None
        return self.write(record)


@dataclass(frozen=True, slots=True)
class SinkKind:
    """A sink as the registry knows it: the section of its settings, and what makes a receiver ready.

    `build` connects to nothing yet; it raises `ConfigError` when a secret or a certificate cannot be read.
    """

    section: type[DeliverySection]
    build: Callable[[Any], Receiver]


def rendered(encode: Callable[[Document], bytes]) -> Callable[[DeliveryRecord], Message]:
    """Return what makes the message of a record where a receiver wants it rendered as one line."""
    return lambda record: message(record.document, encode(record.document))
