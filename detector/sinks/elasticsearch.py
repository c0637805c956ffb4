"""Elasticsearch: each document once, however often its record is delivered.

A record becomes up to two documents with fixed ids. Data streams take only ``create``, so Elasticsearch reports a document that
exists already. It checks only the index that is written to. So documents that may have been delivered before, by another worker
or before a fault, are first searched for in all indices of the data stream.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import structlog
from elastic_transport import TransportError
from elasticsearch import ApiError, AuthorizationException
from pydantic import Field

from detector.clock import SystemClock
from detector.config import DeliverySection, ElasticsearchSection
from detector.config.elasticsearch import DELIVERY
from detector.contracts.moment import rfc3339
from detector.sinks.delivery import Delivery, DeliveryOutcome
from detector.sinks.elastic.bulk import Bulk, BulkOutcome
from detector.sinks.elastic.connection import connect
from detector.sinks.elastic.documents import ElasticDocument, documents
from detector.sinks.elastic.faults import explain
from detector.sinks.message import Message
from detector.sinks.receiver import DeliveryRecord, Receiver, SinkKind

AT_ONCE = 1000
_NOT_ITS_ANSWER = (KeyError, TypeError, AttributeError)  # raised when fields are missing from a JSON response

log = structlog.get_logger(__name__)


class ElasticsearchDelivery(DeliverySection, ElasticsearchSection):
    """An Elasticsearch as a delivery: one more than that of ``[elasticsearch]`` is a ``[[deliveries]]`` table of this kind."""

    kind: Literal["elasticsearch"] = Field("elasticsearch", description="what takes it")

    def secrets(self) -> tuple[str, ...]:
        """Return the password or the API key."""
        secret = self.secret()
        return () if secret is None else (secret,)


def of_table(section: ElasticsearchSection) -> ElasticsearchDelivery:
    """Return the delivery that the table ``[elasticsearch]`` defines."""
    given = {name: getattr(section, name) for name in section.model_fields_set}
    return ElasticsearchDelivery(name=DELIVERY, **given)


@dataclass(frozen=True, slots=True)
class Filed(Message):
    """A record with the documents that it becomes."""

    documents: tuple[ElasticDocument, ...] = ()


class ElasticsearchSink(Delivery):
    """Writes documents in bulk. A retry of a record writes only those of its documents that were not written before."""

    def __init__(self, section: ElasticsearchSection) -> None:
        self._section = section
        self._client = connect(section)
        self._bulk = Bulk(self._client, section)
        self._doubtful = True
        self._may_look = True
        self._settled: set[tuple[str, str]] = set()  # written documents of messages that have another document left

    def doubt(self) -> None:
        """Search for the next documents before writing them."""
        self._doubtful = True

    def deliver(self, batch: Sequence[Message]) -> DeliveryOutcome:
        """Write missing documents and return the outcome of each message; never raises for an error of the server."""
        found: list[ElasticDocument] = []
        owners: list[int] = []
        for place, message in enumerate(batch):
            todo = [document for document in _documents(message) if _key(document) not in self._settled]
            found += todo
            owners += [place] * len(todo)
        written = self._write(found)
        left = sorted({owners[place] for place in written.left})
        refused: dict[int, str] = {}
        for place, why in sorted(written.refused.items()):
            if owners[place] not in left:
                refused.setdefault(owners[place], why)
        gone = {*written.left, *written.refused}
        self._settled |= {_key(document) for place, document in enumerate(found) if place not in gone}
        self._settled &= {_key(document) for place in left for document in _documents(batch[place])}
        return DeliveryOutcome(written.written, written.repeated, refused, left, written.fault)

    def _write(self, found: Sequence[ElasticDocument]) -> BulkOutcome:
        present = set[int]()
        if self._doubtful and self._may_look:
            try:
                present = self._bulk.known(found)
            except AuthorizationException:
                self._may_look = False
                log.warning(
                    "no permission to search delivered documents: after a rollover, a repeated document may be stored twice"
                )
            except (ApiError, TransportError, *_NOT_ITS_ANSWER) as error:
                return BulkOutcome(left=list(range(len(found))), fault=explain(self._section, error))
        try:
            outcome = self._bulk.write(found, [place for place in range(len(found)) if place not in present])
        except _NOT_ITS_ANSWER as error:
            # Some may have been written; the next attempt searches for their ids.
            self._doubtful = True
            return BulkOutcome(left=list(range(len(found))), fault=explain(self._section, error))
        outcome.repeated += len(present)
        # While repeats come, an older stretch is being delivered again, so keep searching.
        self._doubtful = outcome.repeated > 0 or outcome.fault is not None
        return outcome

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _documents(message: Message) -> Sequence[ElasticDocument]:
    return message.documents if isinstance(message, Filed) else ()


def _key(document: ElasticDocument) -> tuple[str, str]:
    return document.stream, document.id


def _build(section: ElasticsearchDelivery) -> Receiver:
    connect(section).close()  # a secret or certificate that cannot be used shows now
    clock = SystemClock()

    def write(record: DeliveryRecord) -> Message:
        made = documents(record.kind, record.data, section.namespace, rfc3339(clock.now_ms()))
        return Filed(made[0].id, record.kind, clock.now_ms(), "low", record.data, tuple(made))

    return Receiver(section, write, lambda: ElasticsearchSink(section), AT_ONCE)


SINK = SinkKind(ElasticsearchDelivery, _build)
