"""Packing: the state of a model itself, to bytes and back.

The bytes are plain data in MessagePack, no code. They are checked when they are read (see `saved`), before anything uses them.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from detector.engine.learning import Unknown, Waiting
from detector.engine.saved import arrays_from, check_batch
from detector.engine.state import SNAPSHOT_VERSION
from detector.errors import SnapshotError
from detector.ingest.batch import Batch, Sender


def pack_unknown(unknown: Unknown) -> dict[str, Any]:
    """Return what is known of a model's versions as plain data."""
    return {
        "variants": [[dimension, key] for dimension, key in unknown.variants.items()],
        "settled": [[version, dimension] for version, dimension in unknown.settled.items()],
        "waiting": [
            [
                version,
                [[dimension, dict(voters)] for dimension, voters in waiting.votes.items()],
                [waiting.events, waiting.refused, waiting.first_ms],
                [_pack_batch(batch) for batch in waiting.batches],
            ]
            for version, waiting in unknown.waiting.items()
        ],
    }


_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
_Length: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**31)]


class _SavedUnknown(msgspec.Struct):
    """The form that `pack_unknown` writes."""

    variants: list[tuple[_Length, str]]
    settled: list[tuple[str | None, _Length]]
    waiting: list[
        tuple[str | None, list[tuple[_Length, dict[str, _Count]]], tuple[_Count, _Count, _Count], list[dict[str, Any]]]
    ]


def unpack_unknown(model: str, packed: Mapping[str, Any]) -> Unknown:
    """Restore what `pack_unknown` returned; raises `SnapshotError` where waiting events are not valid events."""
    saved = msgspec.convert(packed, _SavedUnknown)
    unknown = Unknown(variants=dict(saved.variants), settled=dict(saved.settled))
    for version, votes, (events, refused, first_ms), batches in saved.waiting:
        waiting = unknown.waiting[version] = Waiting(
            votes={dimension: Counter(voters) for dimension, voters in votes}, events=events, refused=refused, first_ms=first_ms
        )
        waiting.remember([check_batch(_unpack_batch(model, batch)) for batch in batches])
    return unknown


def pack(content: dict[str, Any]) -> bytes:
    """Return plain data as bytes, after the version of the format."""
    return msgspec.msgpack.encode([SNAPSHOT_VERSION, content])


def unpack(data: bytes) -> dict[str, Any]:
    """Return what `pack` was given; raises `SnapshotError` for damaged bytes and other versions."""
    try:
        version, content = msgspec.msgpack.decode(data, type=tuple[int, dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"the saved state of a model is damaged: {error}") from error
    if version != SNAPSHOT_VERSION:
        raise SnapshotError(f"the saved state has format {version}, this version reads format {SNAPSHOT_VERSION}")
    return content


def pack_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return (kind, shape, bytes) of each array, for `saved.arrays_from`."""
    return {name: [array.dtype.str, list(array.shape), np.ascontiguousarray(array).tobytes()] for name, array in arrays.items()}


_COLUMNS = ("sequence", "time", "vector", "label", "confidence", "runner_up", "weight", "refused", "digest", "perturbed")


def _pack_batch(batch: Batch) -> dict[str, Any]:
    return {
        "arrays": pack_arrays({name: getattr(batch, name) for name in _COLUMNS}),
        "client": list(batch.client),
        "event_id": list(batch.event_id),
        "version": list(batch.version),
        "sender": [[s.type, s.trusted, s.organization, s.ip, s.user_agent] for s in batch.sender],
    }


def _unpack_batch(model: str, packed: Mapping[str, Any]) -> Batch:
    arrays = arrays_from(packed["arrays"])
    return Batch(
        model=model,
        client=packed["client"],
        event_id=packed["event_id"],
        version=packed["version"],
        sender=[Sender(*fields) for fields in packed["sender"]],
        told=None,
        **arrays,
    )
