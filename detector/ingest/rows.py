"""Rows: decoded events, packed one by one, and the columns that many of them make."""

import math
import struct
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from detector.ingest.batch import LABEL_ALONE, LABEL_CHANGED, Batch, Sender, join
from detector.ingest.formats.decoder import Outcome
from detector.ingest.formats.event import Refusal
from detector.ingest.packing import BoundedCache, Packers, label_code, size_of, top_two

_LARGEST = float(np.finfo(np.float32).max)

Description: TypeAlias = tuple[str | None, bool | None, str | None, str | None, str | None]
Row: TypeAlias = tuple[int, str | float, str, str, bytes, str | int | None, bytes, float, int, Sender, str | None]
"""Place among the outcomes, time (ms, an integer), client, event id, vector (float32), label, probabilities (float64),
weight, how the answer was perturbed (see `Batch`), sender, version.

The numbers are packed at once: as bytes they stay small and warm, and the decoded list is free for the next event.
"""


class Rows:
    """Packs events and makes columns of them; it holds caches of bounded size, and no event.

    With `as_told` events are taken as clients were told them (see `Batch.told`), and not as the model said.
    """

    def __init__(self, *, as_told: bool) -> None:
        self._as_told = as_told
        self._codes: BoundedCache[str | int | None, int] = BoundedCache()
        self._senders: BoundedCache[Description, Sender] = BoundedCache()
        self._float32 = Packers("f")
        self._float64 = Packers("d")

    def pack(
        self, outcomes: Iterable[Outcome], refused: dict[int, Refusal], left: Sequence[int] | None = None
    ) -> tuple[dict[tuple[str, int], list[Row]], int]:
        """Pack events, grouped by model and dimension; return them, and how many outcomes there were.

        `left`, where given, are the places of the outcomes.
        """
        float32, float64, senders = self._float32, self._float64, self._senders
        groups: dict[tuple[str, int], list[Row]] = {}
        place = -1
        numbered = enumerate(outcomes) if left is None else zip(left, outcomes, strict=True)
        for place, event in numbered:  # the last one is the number of outcomes less one
            if isinstance(event, Refusal):
                refused[place] = event
                continue
            query, answer, model, client = event.input, event.output, event.model, event.client
            numbers = query.vector
            if numbers is None:
                vector = query.vector_b64 or b""
            else:
                try:
                    vector = float32[len(numbers)](*numbers)
                except struct.error:  # a missing value
                    vector = float32[len(numbers)](*(math.nan if number is None else number for number in numbers))
            changed = answer.perturbed is not None and not answer.only_marked()
            perturbed = 0 if not changed else LABEL_CHANGED if answer.misleads() else LABEL_ALONE
            if changed and not self._as_told:
                answer = answer.said()
            key = model.id, len(vector) // 4
            rows = groups.get(key)
            if rows is None:
                rows = groups[key] = []
            chances = answer.probabilities
            described = (client.type, client.trusted, client.organization, client.ip, client.user_agent)
            rows.append(
                (
                    place,
                    event.time,
                    client.id,
                    event.event_id,
                    vector,
                    answer.label,
                    b"" if chances is None else float64[len(chances)](*chances),
                    event.sampled_rate or 1.0,
                    perturbed,
                    senders.get(described) or self._sender(described),
                    model.version,
                )
            )
        return groups, place + 1

    def columns(
        self, model: str, dimension: int, rows: list[Row], first_sequence: int, latest: int, scanned: Batch | None = None
    ) -> tuple[Batch, list[Row]]:
        """Make a batch of the good rows and the `scanned` ones; the columns also show which are bad, and these are returned."""
        if scanned is not None:
            if not rows:
                return scanned, []
            batch, bad = self.columns(model, dimension, rows, first_sequence, latest)
            return join([scanned, batch]), bad
        places, times, clients, event_ids, vectors, labels, probabilities, weights, changed, senders, versions = zip(
            *rows, strict=True
        )
        time = np.array(times, dtype=np.int64)
        # A bytearray, because an array over bytes cannot be written to and is another type to a compiled kernel.
        vector = np.frombuffer(bytearray().join(vectors), dtype=np.float32).reshape(len(rows), dimension)
        top_class, confidence, runner_up = top_two(probabilities)
        batch = Batch(
            model=model,
            sequence=np.array(places, dtype=np.int64) + first_sequence,
            time=time,
            client=clients,
            event_id=event_ids,
            vector=vector,
            label=self._label_codes(labels, top_class),
            confidence=confidence,
            runner_up=runner_up,
            weight=np.minimum(np.array(weights), _LARGEST).astype(np.float32),
            sender=senders,
            version=versions,
            refused=np.zeros(len(rows), np.uint8),
            digest=np.zeros(len(rows), np.uint64),
            perturbed=np.array(changed, np.uint8),
            told=probabilities if self._as_told else None,
        )
        if dimension and np.isfinite(vector).all() and time.max() <= latest:  # nearly always
            return batch, []
        good = ~np.isinf(vector).any(axis=1) & ~np.isnan(vector).all(axis=1) & (time <= latest)
        if good.all():
            return batch, []
        return batch.take(np.flatnonzero(good)), [rows[row] for row in np.flatnonzero(~good).tolist()]

    def sender_of(self, described: Description) -> Sender:
        """Return the sender of this description: kind of client, trust, organisation, address, user agent."""
        return self._senders.get(described) or self._sender(described)

    def _label_codes(self, labels: Sequence[str | int | None], top_class: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        known = labels
        if None in labels:
            known = [int(top) if label is None else label for label, top in zip(labels, top_class, strict=True)]
        codes = self._codes
        try:
            return np.array([codes[label] for label in known], dtype=np.int32)
        except KeyError:
            seen = set(known)
            codes.make_room(sum(map(size_of, seen - codes.keys())))
            codes.update((label, label_code(label)) for label in seen if label is not None)
            return np.array([codes[label] for label in known], dtype=np.int32)

    def _sender(self, described: Description) -> Sender:
        """Keep one object for the same description, so that a million events hold a few thousand of them."""
        self._senders.make_room(sum(map(size_of, described)))
        kind, trusted, organization, ip, user_agent = described
        sender = self._senders[described] = Sender(kind, trusted, organization, ip, user_agent)
        return sender
