"""The codec of `detector.sketches`: what the search for links gets of each query, and how far each partition has come.

There are two kinds of records, in MessagePack. *Sketches* are queries of one model and one partition of the queries topic, up
to `MOST_ROWS` of them: columns of numbers as little-endian bytes, and tables of the texts that repeat. A query takes about 170
bytes, and the length of its event id. *Progress* says up to when everything that was written to partitions of the queries topic
has been processed, so that who reads sketches knows that no earlier ones will come.

A query's place is the offset of its record in the queries topic, and the number of the event among those of the same model in
that record. `source` is the id that Kafka gave the queries topic, since offsets begin again in a topic that is made anew.

A program with write access to the topic, or a faulty version, can write anything. So the stages seal each record (see
`state.seal`), and every field is checked here: lengths, ranges, and that codes are in their tables. No content raises anything
but `SketchesError`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from detector.contracts.limits import ID_CHARACTERS, TEXT_CHARACTERS
from detector.contracts.moment import LAST_MS
from detector.engine.links.sketch import Sketches
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.errors import SketchesError
from detector.ingest.batch import LABEL_CHANGED, Sender
from detector.service.kafka.codec import WireSender, other_version

WIRE_VERSION = 1
MOST_ROWS = 1000
MOST_PARTITIONS = 100_000
ACCOUNT_CHARACTERS = ID_CHARACTERS + 64  # the id of a client, and the network and marks of one that is not vouched for
DETAIL_CHARACTERS = 200
SOURCE_BYTES = 16
PURPOSE = "links"  # of the seal of these records
COLUMNS = {
    "time": "<i8",
    "z": f"({COORDINATES},)<i2",
    "c": f"({SAMPLED},)u1",
    "total": "<u4",
    "weighed": "<u4",
    "content": "<u8",
    "label": "<i4",
    "confidence": "<f4",
    "runner_up": "<f4",
    "perturbed": "<u1",
}

T = TypeVar("T")
_Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MOST_PARTITIONS)]
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=MOST_PARTITIONS)]
_Time: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LAST_MS)]
_Source: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=SOURCE_BYTES, max_length=SOURCE_BYTES)]
_Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_CHARACTERS)]
_EventId: TypeAlias = Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS)]
_Account: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=ACCOUNT_CHARACTERS)]
_Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)]


class _WireSketches(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="sketches"):
    wire: int
    source: _Source
    partition: _Number
    model: _Id
    reference: Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS)]
    offset: bytes
    index: bytes
    written: bytes
    columns: dict[str, bytes]
    event_id: Annotated[list[_EventId], msgspec.Meta(min_length=1, max_length=MOST_ROWS)]
    accounts: list[_Account]
    account: bytes
    senders: list[WireSender]
    sender: bytes
    versions: list[_Text | None]
    version: bytes


class _WireProgress(msgspec.Struct, array_like=True, frozen=True, gc=False, tag="progress"):
    wire: int
    source: _Source
    partitions: _Count
    reached: Annotated[list[tuple[_Number, _Time]], msgspec.Meta(max_length=MOST_PARTITIONS)]


@dataclass(frozen=True, slots=True, eq=False)
class PlacedSketches:
    """Sketches of one partition of the queries topic, in its order; columns have n entries, as in `Sketches`.

    `offset` and `index` are the place of each in the partition, `written` when its record was written there, in milliseconds
    since 1970. `reference` names the reference that reduced the inputs: those of two references cannot be compared.
    """

    sketches: Sketches
    source: bytes
    partition: int
    reference: str
    offset: npt.NDArray[np.int64]
    index: npt.NDArray[np.int64]
    written: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of sketches."""
        return len(self.offset)

    def written_by(self, moment: int) -> "PlacedSketches":
        """Return the sketches with no time of writing later than `moment`."""
        return self if self.written.max() <= moment else replace(self, written=np.minimum(self.written, moment))

    def take(self, rows: npt.NDArray[np.intp]) -> "PlacedSketches":
        """Return the sketches at `rows`, in that order."""
        return replace(
            self,
            sketches=self.sketches.take(rows),
            offset=self.offset[rows],
            index=self.index[rows],
            written=self.written[rows],
        )


class Progress(NamedTuple):
    """Up to when everything written to partitions of the queries topic was processed; there are `partitions` with clients.

    `reached` maps a partition to milliseconds since 1970, in the time of those who write to the topic.
    """

    source: bytes
    partitions: int
    reached: dict[int, int]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_WireSketches | _WireProgress)


_ROWS = [field.name for field in fields(Sketches) if field.name != "model"]


def joined(parts: Sequence[Sketches]) -> Sketches:
    """Return the sketches of one model, one or more parts, one after the other."""

    def column(name: str) -> Any:
        found = [getattr(part, name) for part in parts]
        return np.concatenate(found) if isinstance(found[0], np.ndarray) else [value for values in found for value in values]

    return Sketches(**{"model": parts[0].model} | {name: column(name) for name in _ROWS})


def pieces(placed: PlacedSketches) -> Iterator[PlacedSketches]:
    """Yield the sketches in pieces that fit into one record each."""
    for begin in range(0, len(placed), MOST_ROWS):
        yield placed if len(placed) <= MOST_ROWS else placed.take(np.arange(begin, min(begin + MOST_ROWS, len(placed))))


def encode_sketches(placed: PlacedSketches) -> bytes:
    """Return the record of at most `MOST_ROWS` sketches."""
    found = placed.sketches
    accounts, account = _table(found.account)
    senders, sender = _table(found.sender)
    versions, version = _table(found.version)
    return _encoder.encode(
        _WireSketches(
            WIRE_VERSION,
            placed.source,
            placed.partition,
            found.model,
            placed.reference,
            placed.offset.astype("<i8").tobytes(),
            placed.index.astype("<u4").tobytes() if placed.index.any() else b"",
            placed.written.astype("<i8").tobytes(),
            {name: np.ascontiguousarray(getattr(found, name), np.dtype(kind).base).tobytes() for name, kind in COLUMNS.items()},
            list(found.event_id),
            accounts,
            account,
            [WireSender(one.type, one.trusted, one.organization, one.ip, one.user_agent) for one in senders],
            sender,
            versions,
            version,
        )
    )


def _table(values: Sequence[T]) -> tuple[list[T], bytes]:
    """Return the different values, and the place of each row's value among them."""
    places: dict[T, int] = {}
    codes = [places.setdefault(value, len(places)) for value in values]
    return list(places), np.array(codes, "<u2").tobytes()


def encode_progress(progress: Progress) -> bytes:
    """Return the record of a progress."""
    return _encoder.encode(_WireProgress(WIRE_VERSION, progress.source, progress.partitions, sorted(progress.reached.items())))


def decode(record: bytes) -> PlacedSketches | Progress:
    """Return what a record holds; `Sketches.sequence` is the offset.

    Raises `SketchesError` for whatever is no valid record of this version.
    """
    try:
        found = _decoder.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SketchesError(_why_not(record, error)) from error
    if found.wire != WIRE_VERSION:
        raise SketchesError(_of_version(found.wire))
    if isinstance(found, _WireProgress):
        reached = dict(found.reached)
        if any(partition >= found.partitions for partition in reached):
            raise SketchesError("reached: a partition beyond their number")
        return Progress(found.source, found.partitions, reached)
    return _placed(found)


def _placed(found: _WireSketches) -> PlacedSketches:
    n = len(found.event_id)
    if found.columns.keys() != COLUMNS.keys():
        raise SketchesError("columns: not those of a sketch")
    columns = {name: _column(found.columns[name], kind, n, name) for name, kind in COLUMNS.items()}
    offset = _column(found.offset, "<i8", n, "offset")
    index = _column(found.index, "<u4", n, "index").astype(np.int64) if found.index else np.zeros(n, np.int64)
    written = _column(found.written, "<i8", n, "written")
    _check(offset, index, written, columns)
    senders = [Sender(*one) for one in found.senders]
    sketches = Sketches(
        model=found.model,
        sequence=offset,
        account=_looked_up(found.accounts, found.account, n, "account"),
        event_id=found.event_id,
        sender=_looked_up(senders, found.sender, n, "sender"),
        version=_looked_up(found.versions, found.version, n, "version"),
        **columns,
    )
    return PlacedSketches(sketches, found.source, found.partition, found.reference, offset, index, written)


def _check(
    offset: npt.NDArray[np.int64],
    index: npt.NDArray[np.int64],
    written: npt.NDArray[np.int64],
    columns: dict[str, npt.NDArray[Any]],
) -> None:
    if offset.min() < 0 or offset.max() >= 2**62:
        raise SketchesError("offset: out of range")
    step = np.diff(offset)
    if (step < 0).any() or (np.diff(index)[step == 0] <= 0).any():
        raise SketchesError("offset: not in the order of the partition")
    for name, times in (("written", written), ("time", columns["time"])):
        if times.min() < 0 or times.max() > LAST_MS:
            raise SketchesError(f"{name}: out of range")
    for name in ("confidence", "runner_up"):
        if np.isinf(columns[name]).any():
            raise SketchesError(f"{name}: holds an infinity")
    if columns["perturbed"].max() > LABEL_CHANGED:
        raise SketchesError("perturbed: unknown value")


def _column(data: bytes, kind: str, n: int, name: str) -> npt.NDArray[Any]:
    dtype = np.dtype(kind)
    if len(data) != n * dtype.itemsize:
        raise SketchesError(f"{name}: {len(data)} bytes for {n} sketches")
    column = np.frombuffer(data, dtype)
    return column.astype(column.dtype.newbyteorder("="))


def _looked_up(table: Sequence[T], codes: bytes, n: int, name: str) -> list[T]:
    places = _column(codes, "<u2", n, name)
    if places.max() >= len(table):
        raise SketchesError(f"{name}: a code that is not in its table")
    return [table[place] for place in places.tolist()]


def _why_not(record: bytes, error: Exception) -> str:
    """Return why a record cannot be decoded."""
    other = other_version(record, 1, WIRE_VERSION)
    return f"no sketches: {error}"[:DETAIL_CHARACTERS] if other is None else _of_version(other)


def _of_version(found: int) -> str:
    return f"sketches of version {found}; this version reads {WIRE_VERSION}"
