"""State as records: one per client, several where it is large, and one mark per partition that says how far the state goes.

Kafka takes records up to a limit, and the state of a model that is being learned from wide inputs goes far beyond: 512 images
of 224 by 224 pixels are 300 MB. Such a value is cut into parts under keys of their own. The first lies under the key itself
and says in a header how many there are; parts that a later, shorter value leaves behind are not read, and are deleted. Since
all records of a checkpoint are committed together, a reader never meets a mixture.

The *mark* is written with every checkpoint of a partition: the offset that the state has seen, and over how many partitions
clients were dealt. By it a new owner knows that the state is there, that it is whole, and that it belongs to these partitions.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from detector.errors import SnapshotError

PART_BYTES = 4 * 1024 * 1024
PARTS = "parts"  # header with the number of parts, where there are several
MARK_VERSION = 2
MARK = ("", "")  # no model has an empty name

Key = tuple[str, str]  # model and client


class Mark(msgspec.Struct, array_like=True, frozen=True):
    """How far the state of a partition goes: `offset` is the next to process; `partitions` is how many there were.

    `deployment` says under which settings it was written, as `deployment.Deployment` is written.
    """

    version: int
    offset: int
    partitions: int
    deployment: str = ""


class StateRecord(NamedTuple):
    """What lies in the topic; `value` None deletes."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


class State(NamedTuple):
    """The state of a partition as it was read: the values by key, the mark, and how many parts the large values have."""

    values: dict[Key, bytes]
    mark: Mark | None
    parts: dict[Key, int]


def mark_record(offset: int, partitions: int, deployment: str = "") -> StateRecord:
    """Return the record of a mark."""
    return StateRecord(_packed(MARK, 0), msgspec.msgpack.encode(Mark(MARK_VERSION, offset, partitions, deployment)), [])


def records_of(key: Key, value: bytes, before: int = 1) -> list[StateRecord]:
    """Return the records of a value, of which `before` parts are in the topic; an empty value deletes.

    >>> [len(record.value or b"") for record in records_of(("m", "c"), bytes(9_000_000))]
    [4194304, 4194304, 611392]
    >>> [record.value for record in records_of(("m", "c"), b"", before=2)]
    [None, None]
    """
    pieces: list[bytes | None] = [value[at : at + PART_BYTES] for at in range(0, len(value), PART_BYTES)] or [None]
    headers = [(PARTS, str(len(pieces)).encode())] if len(pieces) > 1 else []
    left = [None] * (before - len(pieces))
    return [
        StateRecord(_packed(key, number), piece, headers if number == 0 else [])
        for number, piece in enumerate([*pieces, *left])
    ]


class Reading:
    """Puts a partition's state together from its records, in the order they lie in the topic."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._held: dict[tuple[str, str, int], bytes] = {}
        self._counts: dict[Key, int] = {}

    def take(self, key: bytes, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> None:
        """Take the next record.

        Raises `SnapshotError` when it is not one of ours.
        """
        try:
            model, client, number = msgspec.msgpack.decode(key, type=tuple[str, str, int])
        except msgspec.MsgspecError as error:
            raise SnapshotError(f"a record is not a part of the state: {error}") from error
        if value is None:
            self._held.pop((model, client, number), None)
        else:
            self._held[model, client, number] = value
        if number == 0:
            self._counts[model, client] = next((int(text or b"1") for name, text in headers if name == PARTS), 1)

    def done(self) -> State:
        """Return the state.

        Raises `SnapshotError` when a part is missing, or the mark is of another version.
        """
        firsts = {(model, client): value for (model, client, number), value in self._held.items() if number == 0}
        parts = {key: count for key in firsts if (count := self._counts[key]) > 1}
        values = firsts | {key: b"".join(self._pieces(key, count)) for key, count in parts.items()}
        packed = values.pop(MARK, None)
        return State(values, None if packed is None else _mark(packed), parts)

    def _pieces(self, key: Key, count: int) -> Iterator[bytes]:
        for number in range(count):
            piece = self._held.get((*key, number))
            if piece is None:
                raise SnapshotError(f"part {number + 1} of {count} of the state of model {key[0]!r} is missing")
            yield piece


def _packed(key: Key, number: int) -> bytes:
    return msgspec.msgpack.encode((*key, number))


def _mark(packed: bytes) -> Mark:
    try:
        version: Any = msgspec.msgpack.decode(packed, type=list[Any])[0]
        if version == MARK_VERSION:
            return msgspec.msgpack.decode(packed, type=Mark)
    except (msgspec.MsgspecError, IndexError) as error:
        raise SnapshotError(f"the mark of the state is damaged: {error}") from error
    raise SnapshotError(
        f"the saved state has a mark of version {version}, this version reads {MARK_VERSION}: "
        "run the version that wrote it, or start without saved state"
    )
