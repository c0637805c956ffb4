"""Refused queries as events, so that they count for their clients."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from detector.contracts.dead_letter import Reason
from detector.ingest.batch import Batch, code_of
from detector.ingest.owner import Owner


class RefusedQueries:
    """Makes batches of the refused queries whose client and model can be read; remembers how far the stream has come.

    `secret` keys the digests of records.
    """

    def __init__(self, secret: int) -> None:
        self._secret = secret.to_bytes(8, "little")
        self._reached_ms = 0

    def batches(
        self,
        refused: Sequence["Unusable"],
        owners: Sequence[Owner | None],
        good: Sequence[Batch],
        latest_ms: int,
    ) -> list[Batch]:
        """Return a batch for each model, without inputs.

        `owners` say whose the `refused` queries were; `good` are the batches of the same stretch of the stream. A query without
        a time that is possible, at most `latest_ms`, gets that of the event before it.
        """
        if not refused:
            if good:
                last = max(good, key=lambda batch: int(batch.sequence.max()))
                self._reached_ms = int(last.time[last.sequence.argmax()])
            return []
        reached = _Reached(good, self._reached_ms)
        self._reached_ms = reached.last
        queries: dict[str, list[_Query]] = {}
        for unusable, owner in zip(refused, owners, strict=True):
            if owner is not None and owner.model is not None:
                time_ms = owner.time_ms if 0 < owner.time_ms <= latest_ms else reached.before(unusable.sequence)
                queries.setdefault(owner.model, []).append(_Query(unusable, owner, time_ms))
        return [self._batch(model, rows) for model, rows in queries.items()]

    def _digest(self, query: "Unusable") -> bytes:
        """Return what tells a repeat of a query from another one: events of one record are not repeats of each other."""
        digest = blake2b(query.record, digest_size=8, key=self._secret)
        if query.index:
            digest.update(query.index.to_bytes(8, "little"))
        return digest.digest()

    def _batch(self, model: str, rows: Sequence["_Query"]) -> Batch:
        n = len(rows)
        digests = [self._digest(row.query) for row in rows]
        return Batch(
            model=model,
            sequence=np.array([row.query.sequence for row in rows], np.int64),
            time=np.array([row.time_ms for row in rows], np.int64),
            client=[row.owner.client for row in rows],
            event_id=[row.owner.event_id for row in rows],
            vector=np.zeros((n, 0), np.float32),
            label=np.zeros(n, np.int32),
            confidence=np.full(n, np.nan, np.float32),
            runner_up=np.full(n, np.nan, np.float32),
            weight=np.ones(n, np.float32),
            sender=[row.owner.sender for row in rows],
            version=[row.owner.version for row in rows],
            refused=np.array([code_of(row.query.reason) for row in rows], np.uint8),
            digest=np.frombuffer(b"".join(digests), "<u8").astype(np.uint64),
        )


@dataclass(frozen=True, slots=True)
class Unusable:
    """A refused query: its position in the stream, why it was refused, its record, and its place among the record's events."""

    sequence: int
    reason: Reason
    record: bytes
    index: int = 0


@dataclass(frozen=True, slots=True)
class _Query:
    """A refused query whose client and model are known, and the time to count it at."""

    query: Unusable
    owner: Owner
    time_ms: int


class _Reached:
    """The event time that the stream had reached at each place, where `earlier` came before these batches."""

    def __init__(self, batches: Sequence[Batch], earlier: int) -> None:
        sequence = np.concatenate([batch.sequence for batch in batches] or [np.zeros(0, np.int64)])
        order = np.argsort(sequence)
        self._sequence = sequence[order]
        self._time = np.concatenate([np.array([earlier], np.int64), *(batch.time for batch in batches)])
        self._time[1:] = self._time[1:][order]

    def before(self, sequence: int) -> int:
        """Return the time of the last event before this place."""
        return int(self._time[np.searchsorted(self._sequence, sequence)])

    @property
    def last(self) -> int:
        """The time of the last event."""
        return int(self._time[-1])
