"""One bulk request: which documents were written, which existed already, which are refused for good, and which to retry.

Data streams take only ``create``. Since ids are fixed, a second ``create`` gets status 409: the document exists already. That
holds only in the index that is written to; after a rollover the id of an older document would be accepted again. So `known`
searches for ids before documents are written that may have been written before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch
from elasticsearch.helpers import streaming_bulk

from detector.config import ElasticsearchSection
from detector.errors import ElasticError
from detector.sinks.elastic.documents import ElasticDocument
from detector.sinks.elastic.faults import explain, explain_item

CHUNK = 500
CHUNK_BYTES: Final = 5 * 1024 * 1024
_OVERSIZED = 413
_NO_PIPELINE = "pipeline with id"  # an error of the template, not of the document


@dataclass(slots=True)
class BulkOutcome:
    """The outcome by place of the document: `refused` for good, or `left` to be tried again because of `fault`."""

    written: int = 0
    repeated: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    fault: ElasticError | None = None


class Bulk:
    """Writes documents through one client."""

    def __init__(self, client: Elasticsearch, section: ElasticsearchSection) -> None:
        self.section = section
        self._client = client

    def write(self, documents: Sequence[ElasticDocument], places: Iterable[int] | None = None) -> BulkOutcome:
        """Write the documents at `places` (None: all) and return the outcome; never raises for an error of the server."""
        outcome = BulkOutcome()
        todo = list(range(len(documents)) if places is None else places)
        self._write(documents, todo, outcome)
        outcome.left.sort()
        return outcome

    def _write(self, documents: Sequence[ElasticDocument], todo: list[int], outcome: BulkOutcome) -> None:
        actions = ((_create(documents[place]), documents[place].source) for place in todo)
        done = 0
        try:
            for place, (_, answer) in zip(todo, self._bulk(actions), strict=False):
                self._take(place, answer["create"], outcome)
                done += 1
        except ApiError as error:
            rest = todo[done:]
            if not _concerns_a_document(error):
                self._fail(rest, explain(self.section, error), outcome)
            elif len(rest) > 1:
                half = len(rest) // 2
                self._write(documents, rest[:half], outcome)
                self._write(documents, rest[half:], outcome)
            else:
                outcome.refused[rest[0]] = str(explain(self.section, error))
        except TransportError as error:
            self._fail(todo[done:], explain(self.section, error), outcome)

    def _bulk(self, actions: Iterable[tuple[dict[str, Any], bytes]]) -> Iterable[tuple[bool, dict[str, Any]]]:
        # The caller retries: the helper would sleep without a way to wake it.
        return streaming_bulk(
            self._client,
            actions,  # type: ignore[arg-type]  # as the callback takes them
            expand_action_callback=lambda action: action,  # type: ignore[arg-type,return-value]
            chunk_size=CHUNK,
            max_chunk_bytes=CHUNK_BYTES,
            raise_on_error=False,
            raise_on_exception=True,
            max_retries=0,
            require_data_stream=True,
            timeout=f"{max(int(self.section.timeout_seconds * 500), 1)}ms",
        )

    def _take(self, place: int, answer: dict[str, Any], outcome: BulkOutcome) -> None:
        status = answer["status"]
        fault = answer.get("error") or {}
        if status == 201 and answer.get("failure_store") != "used":
            outcome.written += 1
        elif status == 409:
            outcome.repeated += 1
        elif status in {201, 400} and _NO_PIPELINE not in str(fault.get("reason")):
            reason = (
                f"{fault.get('type')}: {fault.get('reason')}" if fault else "it went to the failure store of the data stream"
            )
            outcome.refused[place] = reason[:500]
        else:
            self._fail([place], explain_item(self.section, status, fault), outcome)

    @staticmethod
    def _fail(places: list[int], fault: ElasticError, outcome: BulkOutcome) -> None:
        outcome.left += places
        outcome.fault = outcome.fault or fault

    def known(self, documents: Sequence[ElasticDocument]) -> set[int]:
        """Return the places of documents that exist already, in any index of their data stream.

        What was written a moment ago may be missing; `write` finds it. Raises what the client raises.
        """
        places: dict[tuple[str, str], list[int]] = {}
        for place, document in enumerate(documents):
            places.setdefault((document.stream, document.id), []).append(place)
        found: set[int] = set()
        for stream in {document.stream for document in documents}:
            names = sorted({document.id for document in documents if document.stream == stream})
            for at in range(0, len(names), CHUNK):
                part = names[at : at + CHUNK]
                answer = self._client.search(
                    index=stream,
                    query={"ids": {"values": part}},
                    source=False,
                    size=len(part),
                    ignore_unavailable=True,
                    # An index that cannot be searched, as after a restart, must not count as empty.
                    allow_partial_search_results=False,
                )
                for hit in answer["hits"]["hits"]:
                    found.update(places.get((stream, hit["_id"]), ()))
        return found


def _create(document: ElasticDocument) -> dict[str, Any]:
    return {"create": {"_index": document.stream, "_id": document.id}}


def _concerns_a_document(error: ApiError) -> bool:
    """Whether a whole request failed because of one of its documents."""
    body = error.body
    kind = body["error"].get("type") if isinstance(body, dict) and isinstance(body.get("error"), dict) else None
    return error.status_code == _OVERSIZED or (error.status_code == 400 and kind == "action_request_validation_exception")
