"""Alerts as they arrive in Elasticsearch, where people look for them."""

import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from elastic_transport import TransportError
from elasticsearch import ApiError, NotFoundError

from detector.config import ElasticsearchSection
from detector.contracts.moment import parse_rfc3339, rfc3339
from detector.drill.watch import Sighting
from detector.sinks.elastic.connection import connect
from detector.sinks.elastic.documents import ALERTS
from detector.sinks.elastic.faults import explain

__all__ = ["IndexWatch"]

EVERY_S: Final = 1.0  # documents are searchable a second after they were written, so more often would show nothing sooner
MOST: Final = 100


class IndexWatch:
    """Searches the data stream of alerts for those about `clients` since a time, once a second.

    Blind to documents that are not searchable yet, and to what another index holds.
    """

    def __init__(self, section: ElasticsearchSection, clients: Collection[str], since_ms: int) -> None:
        """Search once, so that a server that cannot be asked is told before the drill. Raises `ConfigError`, `ElasticError`."""
        self.unreadable = 0
        self._section = section
        self._client = connect(section)
        self._stream = f"{ALERTS}-{section.namespace}"
        names = sorted(clients)
        about = [{"terms": {"user.id": names}}, {"terms": {"related.user": names}}]
        since = {"range": {"@timestamp": {"gte": rfc3339(since_ms)}}}
        self._query = {"bool": {"filter": [since], "should": about, "minimum_should_match": 1}}
        self._seen: set[str] = set()
        self._next_s = 0.0
        self.poll()

    def poll(self) -> Sequence[Sighting]:
        """Return what has come to be searchable since the last call; raises `ElasticError`."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return ()
        self._next_s = now_s + EVERY_S
        try:
            answer = self._client.search(
                index=self._stream, query=self._query, size=MOST, sort=[{"@timestamp": "desc"}], ignore_unavailable=True
            )
            documents = [hit["_source"] for hit in answer["hits"]["hits"]]
        except NotFoundError:
            return ()
        except (ApiError, TransportError, KeyError, TypeError, AttributeError) as error:
            raise explain(self._section, error) from error
        found = []
        for document in documents:
            sighting = _read(document)
            if sighting is None:
                self.unreadable += 1
            elif sighting.id not in self._seen:
                self._seen.add(sighting.id)
                found.append(sighting)
        return found

    def close(self) -> None:
        """Close the connections."""
        with suppress(OSError):
            self._client.close()


def _read(document: Mapping[str, Any]) -> Sighting | None:
    """Read an alert as it is stored; None where it is none."""
    try:
        about = document["detector"]
        clients = frozenset(map(str, [document["user"]["id"], *(document.get("related", {}).get("user") or ())]))
        return Sighting(
            "indexed",
            f"indexed:{document['event']['id']}",
            clients,
            about["action"],
            f"found in Elasticsearch, severity {document['event']['severity']}",
            parse_rfc3339(document["@timestamp"]),
            about["queries"],
            bool(about.get("shadow")),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
