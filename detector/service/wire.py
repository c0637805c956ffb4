"""The normalised event as it lies in `detector.queries`: MessagePack, vectors as 32-bit floats.

It holds what the engine needs and nothing else, and `detector.queries` takes nothing but this form. A topic that is native and
keyed by client is read in its place with `[kafka] keyed`, without the ingest stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import numpy as np

from detector.ingest.batch import Batch, Sender

WIRE_VERSION = 2  # 2: refused queries, and clients of whom it is not said whether they are vouched for


Described: TypeAlias = tuple[str | None, bool | None, str | None, str | None, str | None]


class WireEvent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One event on the wire; see `Batch` for what the fields mean."""

    wire: int
    event_id: str
    time_ms: int
    client: str
    model: str
    version: str | None
    vector: bytes
    label: int
    confidence: float
    runner_up: float
    weight: float
    sender: Described
    refused: int
    digest: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is no normalised event: its place among the records, and why."""

    place: int
    detail: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(WireEvent)


def encode(batch: Batch) -> list[bytes]:
    """Return one record per event of the batch."""
    vectors = np.ascontiguousarray(batch.vector, "<f4")
    numbers = zip(
        batch.time.tolist(),
        batch.label.tolist(),
        batch.confidence.tolist(),
        batch.runner_up.tolist(),
        batch.weight.tolist(),
        batch.refused.tolist(),
        batch.digest.tolist(),
        strict=True,
    )
    return [
        _encoder.encode(
            WireEvent(
                WIRE_VERSION,
                batch.event_id[i],
                time_ms,
                batch.client[i],
                batch.model,
                batch.version[i],
                vectors[i].tobytes(),
                label,
                confidence,
                runner_up,
                weight,
                _described(batch.sender[i]),
                refused,
                digest,
            )
        )
        for i, (time_ms, label, confidence, runner_up, weight, refused, digest) in enumerate(numbers)
    ]


def _described(sender: Sender) -> Described:
    return (sender.type, sender.trusted, sender.organization, sender.ip, sender.user_agent)


def decode(records: Sequence[bytes], sequences: Sequence[int]) -> tuple[list[Batch], list[Unreadable]]:
    """Return the events of `records` as batches, one per model and dimension, and what could not be read.

    `sequences` are the records' positions in the stream.
    """
    groups: dict[tuple[str, int], list[tuple[int, WireEvent]]] = {}
    unreadable = []
    for place, record in enumerate(records):
        try:
            event = _decoder.decode(record)
        except (msgspec.MsgspecError, RecursionError) as error:
            unreadable.append(Unreadable(place, f"not a normalised event: {error}"[:200]))
            continue
        if event.wire != WIRE_VERSION or len(event.vector) % 4 or bool(event.vector) == bool(event.refused):
            unreadable.append(
                Unreadable(place, f"a normalised event of version {event.wire}; this version reads {WIRE_VERSION}")
            )
            continue
        groups.setdefault((event.model, len(event.vector) // 4), []).append((sequences[place], event))
    return [_columns(model, dimension, rows) for (model, dimension), rows in groups.items()], unreadable


def _columns(model: str, dimension: int, rows: list[tuple[int, WireEvent]]) -> Batch:
    events = [event for _, event in rows]
    known: dict[Described, Sender] = {}
    return Batch(
        model=model,
        sequence=np.array([sequence for sequence, _ in rows], np.int64),
        time=np.array([event.time_ms for event in events], np.int64),
        client=[event.client for event in events],
        event_id=[event.event_id for event in events],
        vector=np.frombuffer(b"".join(event.vector for event in events), "<f4")
        .reshape(len(rows), dimension)
        .astype(np.float32),
        label=np.array([event.label for event in events], np.int32),
        confidence=np.array([event.confidence for event in events], np.float32),
        runner_up=np.array([event.runner_up for event in events], np.float32),
        weight=np.array([event.weight for event in events], np.float32),
        sender=[known.setdefault(event.sender, Sender(*event.sender)) for event in events],
        version=[event.version for event in events],
        refused=np.array([event.refused for event in events], np.uint8),
        digest=np.array([event.digest for event in events], np.uint64),
    )
