"""The codec of normalised events in `detector.queries`: MessagePack, vectors as 32-bit floats.

An event holds what the engine needs and nothing else. A native event, which is JSON, is not a normalised event and is refused;
a log that is already keyed by client is read with ``[kafka] keyed``.

A program with write access to the topic, or a faulty version of the ingest stage, can write anything. So every field has the
range of the native format, and a record outside of it is refused like one that cannot be decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from detector.contracts.dead_letter import REASONS
from detector.contracts.event import PROBABILITY_SLACK
from detector.contracts.limits import ID_CHARACTERS, TEXT_CHARACTERS, USER_AGENT_CHARACTERS
from detector.contracts.moment import LAST_MS
from detector.ingest.batch import LABEL_ALONE, LABEL_CHANGED, Batch, Sender

WIRE_VERSION = 2  # 2: adds refused queries, and clients whose trust is unknown
DETAIL_CHARACTERS = 200

_Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARACTERS)]
_Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)] | None
_UserAgent: TypeAlias = Annotated[str, msgspec.Meta(max_length=USER_AGENT_CHARACTERS)] | None
_LARGEST = float(np.finfo(np.float32).max)


class WireSender(NamedTuple):
    """What the record says of its client beyond the id; see `Sender`."""

    type: _Text
    trusted: bool | None
    organization: _Text
    ip: _Text
    user_agent: _UserAgent


class WireEvent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One encoded event, `wire` being the version of this format; see `Batch` for the other fields."""

    wire: int
    event_id: Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS)]
    time_ms: Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)]
    client: _Id
    model: _Id
    version: _Text
    vector: bytes
    label: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
    confidence: float
    runner_up: float
    weight: Annotated[float, msgspec.Meta(ge=1, le=_LARGEST)]
    sender: WireSender
    refused: Annotated[int, msgspec.Meta(ge=0, le=len(REASONS))]
    digest: Annotated[int, msgspec.Meta(ge=0)]
    perturbed: bool = False  # left out by versions that did not know it, and not read by them
    misled: bool = False  # likewise


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is not a normalised event: its place among the records, and the reason."""

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
        batch.perturbed.tolist(),
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
                bool(perturbed),
                perturbed == LABEL_CHANGED,
            )
        )
        for i, (time_ms, label, confidence, runner_up, weight, refused, digest, perturbed) in enumerate(numbers)
    ]


def _described(sender: Sender) -> WireSender:
    return WireSender(sender.type, sender.trusted, sender.organization, sender.ip, sender.user_agent)


def decode(records: Sequence[bytes], sequences: Sequence[int]) -> tuple[list[Batch], list[Unreadable]]:
    """Return the events of `records` as batches, one per model and dimension, and what could not be read.

    `sequences` are the records' positions in the stream. No content of a record raises. A missing number in a vector is NaN
    and accepted; an infinity is refused.
    """
    groups: dict[tuple[str, int], list[tuple[int, WireEvent]]] = {}
    refused: dict[int, str] = {}
    for place, record in enumerate(records):
        try:
            event = _decoder.decode(record)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            refused[place] = _why_not(record, error)
            continue
        if (fault := _broken_rule(event)) is not None:
            refused[place] = fault
            continue
        groups.setdefault((event.model, len(event.vector) // 4), []).append((place, event))
    batches = []
    for (model, dimension), rows in groups.items():
        vector = (
            np.frombuffer(b"".join(event.vector for _, event in rows), "<f4").reshape(len(rows), dimension).astype(np.float32)
        )
        batch = _columns(model, vector, [(sequences[place], event) for place, event in rows])
        infinite = np.isinf(vector).any(axis=1)
        if infinite.any():
            refused.update((rows[row][0], "vector: holds an infinity") for row in np.flatnonzero(infinite).tolist())
            batch = batch.take(np.flatnonzero(~infinite))
        if len(batch):
            batches.append(batch)
    return batches, [Unreadable(place, detail) for place, detail in sorted(refused.items())]


def _broken_rule(event: WireEvent) -> str | None:
    """Return the rule that a decoded event breaks, beyond those that the types check."""
    if event.wire != WIRE_VERSION:
        return _of_version(event.wire)
    if bool(event.vector) == bool(event.refused):
        return "vector: empty" if not event.refused else "vector: a refused query has none"
    if not (event.event_id or event.refused):
        return "event_id: empty"
    if len(event.vector) % 4:
        return f"vector: {len(event.vector)} bytes are not a whole number of float32"
    for name, chance in (("confidence", event.confidence), ("runner_up", event.runner_up)):
        if chance < -PROBABILITY_SLACK or chance > 1 + PROBABILITY_SLACK:  # NaN passes: the log holds labels only
            return f"{name}: {chance:g} is no probability"
    return None


def other_version(record: bytes, place: int, own: int) -> int | None:
    """Return the version at this place of a record that cannot be decoded, None where it is our `own` or cannot be read.

    Other versions may have other fields, so that is the first thing to look at.
    """
    try:
        version = msgspec.msgpack.decode(record, type=list[msgspec.Raw])[place]
        found = msgspec.msgpack.decode(version, type=int)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
        return None
    return None if found == own else found


def _why_not(record: bytes, error: Exception) -> str:
    """Return why a record cannot be decoded."""
    other = other_version(record, 0, WIRE_VERSION)
    return f"not a normalised event: {error}"[:DETAIL_CHARACTERS] if other is None else _of_version(other)


def _of_version(found: int) -> str:
    return f"a normalised event of version {found}; this version reads {WIRE_VERSION}"


def _perturbed(event: WireEvent) -> int:
    return LABEL_CHANGED if event.misled else LABEL_ALONE if event.perturbed else 0


def _columns(model: str, vector: npt.NDArray[np.float32], rows: list[tuple[int, WireEvent]]) -> Batch:
    events = [event for _, event in rows]
    known: dict[WireSender, Sender] = {}
    return Batch(
        model=model,
        sequence=np.array([sequence for sequence, _ in rows], np.int64),
        time=np.array([event.time_ms for event in events], np.int64),
        client=[event.client for event in events],
        event_id=[event.event_id for event in events],
        vector=vector,
        label=np.array([event.label for event in events], np.int32),
        confidence=np.array([event.confidence for event in events], np.float32),
        runner_up=np.array([event.runner_up for event in events], np.float32),
        weight=np.array([event.weight for event in events], np.float32),
        sender=[known.setdefault(event.sender, Sender(*event.sender)) for event in events],
        version=[event.version for event in events],
        refused=np.array([event.refused for event in events], np.uint8),
        digest=np.array([event.digest for event in events], np.uint64),
        perturbed=np.array([_perturbed(event) for event in events], np.uint8),
    )
