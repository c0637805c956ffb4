"""Client state: one row per client in each of a few dozen arrays, and the snapshot of one row.

Each family of features or evidence declares its columns (`LAYOUT`) and owns them; here they are allocated, grown, cleared and
packed. A snapshot is the bytes of one client's row, without the places of the memory that are still empty, behind a header
that names the version of the format, the layout and the reference, so that a row is never read with another meaning. It
holds no code and no pickle, and it travels through Kafka.
"""

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from detector.contracts.limits import ID_CHARACTERS
from detector.engine.bounds import check_rows
from detector.engine.evidence import accumulate, cooccur, select
from detector.engine.evidence.accumulate import CHANNELS, Evidence
from detector.engine.evidence.cooccur import Together
from detector.engine.evidence.registry import EVIDENCE
from detector.engine.evidence.select import Selection
from detector.engine.features import coverage, distances, outputs, rate
from detector.engine.features.coverage import Coverage
from detector.engine.features.outputs import Outputs
from detector.engine.features.rate import Rate
from detector.engine.features.row import NAMES
from detector.engine.memory import admission, checksums, conduct
from detector.engine.memory.admission import Admission
from detector.engine.memory.checksums import Checksums
from detector.engine.memory.conduct import Conduct
from detector.engine.memory.reservoir import ANCHORS, Memory
from detector.engine.memory.reservoir import LAYOUT as REMEMBERED
from detector.errors import SnapshotError

SNAPSHOT_VERSION = 2  # 2: keyed by the secret seed; ids with their content; what could not be used
ID_BYTES = 16  # of an id that is remembered: its key, its event time and its content
NOVELTY = len(CHANNELS)  # place of novelty behind the channels, in `Standing`
PLACES = tuple(EVIDENCE)  # types of evidence in the order of `Standing.reached`

FAMILIES = ("admission", "conduct", "rate", "coverage", "memory", "outputs", "evidence", "standing")

Layout = Mapping[str, tuple[str, tuple[int, ...]]]


class Standing(NamedTuple):
    """Per client: what was decided so far, and the last look.

    `reached` (see `PLACES`) is the highest action each kind of evidence has led to, `reached_at` the query count then, of
    channels and novelty; `held` the action of the latest decision and `held_until_ms` its end; `revision` the number of
    decisions; `highest` the highest action ever; `strange` how many looks in a row were beyond the bar of novelty; `row`
    the features at the last look and `novelty` the score there.
    """

    reached: npt.NDArray[np.uint8]
    reached_at: npt.NDArray[np.uint32]
    held: npt.NDArray[np.uint8]
    held_until_ms: npt.NDArray[np.int64]
    revision: npt.NDArray[np.uint32]
    highest: npt.NDArray[np.uint8]
    strange: npt.NDArray[np.uint8]
    novelty: npt.NDArray[np.float32]
    row: npt.NDArray[np.float32]


STANDING: Layout = {
    "reached": ("u1", (len(PLACES),)),
    "reached_at": ("u4", (NOVELTY + 1,)),
    "held": ("u1", ()),
    "held_until_ms": ("i8", ()),
    "revision": ("u4", ()),
    "highest": ("u1", ()),
    "strange": ("u1", ()),
    "novelty": ("f4", ()),
    "row": ("f4", (len(NAMES),)),
}
PER_ANCHOR = {
    "z": 1,
    "c": 0,
    "label": 0,
    "order": 0,
    "depth": 0,
    "mark": 0,
    "margin": 0,
    "crowd": 0,
    "shown": 0,
    "total": 0,
    "weighed": 0,
    "run": 0,
}  # which axis of a row counts the anchors


class Columns:
    """The arrays of all families for `capacity` clients.

    What only a `table` shows, what only other inputs show, and what is only remembered `summed` has rows only there.
    Untouched rows cost address space only: the operating system gives them memory when a client first uses them.
    """

    def __init__(
        self,
        capacity: int,
        *,
        anchors: int = ANCHORS,
        window: int = distances.WINDOW,
        table: bool = False,
        summed: bool = False,
    ) -> None:
        shapes, sums = dict(REMEMBERED), dict(checksums.LAYOUT)
        for name, axis in PER_ANCHOR.items():
            columns = shapes if name in shapes else sums
            kind, shape = columns[name]
            columns[name] = (kind, (*shape[:axis], anchors, *shape[axis + 1 :]))
        shapes["window"] = ("f4", (window,))
        self.capacity = capacity
        self.admission = Admission(**_zeros(admission.LAYOUT, capacity))
        self.conduct = Conduct(**_zeros(conduct.LAYOUT, capacity))
        self.rate = Rate(**_zeros(rate.LAYOUT, capacity))
        self.coverage = Coverage(**_zeros(coverage.LAYOUT, capacity))
        self.memory = Memory(**_zeros(shapes, capacity))
        self.selection = Selection(**_zeros(select.LAYOUT, 0 if table else capacity))
        self.checksums = Checksums(**_zeros(sums, capacity if summed else 0))
        self.outputs = Outputs(**_zeros(outputs.LAYOUT, capacity))
        self.together = Together(**_zeros(cooccur.LAYOUT, capacity if table else 0))
        self.evidence = Evidence(**_zeros(accumulate.LAYOUT, capacity))
        self.standing = Standing(**_zeros(STANDING, capacity))
        self._used = (*FAMILIES, "together" if table else "selection", *(("checksums",) if summed else ()))
        digest = hashlib.sha256()
        for name, array in self._named():
            digest.update(f"{name}{array.dtype.str}{array.shape[1:]};".encode())
        self.layout = digest.hexdigest()[:16]
        self._most_anchors = anchors

    def _named(self) -> list[tuple[str, npt.NDArray[np.generic]]]:
        families = [getattr(self, family) for family in self._used]
        return [(f"{type(family).__name__}.{name}", array) for family in families for name, array in family._asdict().items()]

    @property
    def bytes_per_client(self) -> int:
        """Memory of one client's row."""
        return sum(array.nbytes // self.capacity for _, array in self._named())

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` clients; rows keep their places."""
        for family in self._used:
            columns = getattr(self, family)
            grown = {}
            for name, array in columns._asdict().items():
                larger = np.zeros((capacity, *array.shape[1:]), array.dtype)
                larger[: self.capacity] = array
                grown[name] = larger
            setattr(self, family, type(columns)(**grown))
        self.capacity = capacity

    def clear(self, slots: npt.NDArray[np.intp]) -> None:
        """Forget the clients at `slots`."""
        for _, array in self._named():
            array[slots] = 0

    def _packed(self, held: int) -> np.dtype[np.void]:
        """Return the layout of a packed row with so many anchors: their number, then the columns one after the other."""
        fields: list[tuple[str, str, tuple[int, ...]]] = [("held", "<u2", ())]
        for name, array in self._named():
            shape = array.shape[1:]
            if (axis := _anchor_axis(name)) is not None:
                shape = (*shape[:axis], held, *shape[axis + 1 :])
            fields.append((name, array.dtype.str, shape))
        return np.dtype(fields)

    def _by_anchors(self, held: npt.NDArray[np.integer]) -> Iterator[tuple[int, np.dtype[np.void], npt.NDArray[np.intp]]]:
        """Yield number of anchors, packed layout and places of the rows that hold so many."""
        for count in np.unique(held).tolist():
            yield count, self._packed(count), np.flatnonzero(held == count)

    def pack(self, slots: npt.NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of these clients' rows, empty anchors left out."""
        rows = [b""] * len(slots)
        for held, layout, places in self._by_anchors(self.memory.held[slots]):
            some = slots[places]
            packed = np.empty(len(some), layout)
            packed["held"] = held
            for name, array in self._named():
                packed[name] = array[_part(name, some, slice(0, held))]
            joined, size = packed.tobytes(), layout.itemsize
            for i, place in enumerate(places.tolist()):
                rows[place] = joined[i * size : (i + 1) * size]
        return rows

    def unpack(self, slots: npt.NDArray[np.integer], rows: Sequence[bytes]) -> None:
        """Write bytes of `pack` into the rows at `slots`, which must differ.

        Raises `SnapshotError` when their number does not fit this layout or a number in them is out of range; some rows may
        have been written then.
        """
        counts = np.array([int.from_bytes(row[:2], "little") for row in rows], np.int64)
        if len(counts) and int(counts.max()) > self._most_anchors:
            raise SnapshotError("the snapshot holds more than its layout")
        for held, layout, places in self._by_anchors(counts):
            some = [rows[place] for place in places.tolist()]
            if any(len(row) != layout.itemsize for row in some):
                longer = all(len(row) >= layout.itemsize for row in some)
                raise SnapshotError("the snapshot is longer than its layout" if longer else "the snapshot is cut off")
            packed = np.frombuffer(b"".join(some), layout)
            check_rows(packed, held, self._most_anchors)
            for name, array in self._named():
                array[_part(name, slots[places], slice(0, held))] = packed[name]
                if _anchor_axis(name) is not None and held < self._most_anchors:
                    array[_part(name, slots[places], slice(held, None))] = 0


def _anchor_axis(name: str) -> int | None:
    """Return which axis of a row of this column counts the anchors; None where none does."""
    family, _, column = name.partition(".")
    return PER_ANCHOR.get(column) if family in {"Memory", "Checksums"} else None


def _part(name: str, slots: npt.NDArray[np.integer], anchors: slice) -> tuple[Any, ...]:
    """Return the index of some clients' rows in a column, of some anchors where the column has them."""
    axis = _anchor_axis(name)
    return (slots,) if axis is None else (slots, *(slice(None),) * axis, anchors)


EventId: TypeAlias = Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS)]


class ClientSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """One client as it travels: see `dump` and `load`."""

    version: int
    layout: str
    reference: str
    model: str
    client: str
    row: bytes
    ids: bytes  # pairs of 64 bits: key, event time with content, of each id that a repeat could still bring
    check: int  # CRC-32 of the row: a damaged one would index beyond its arrays
    examples: dict[str, list[EventId]]  # channel -> ids of the latest queries that looked constructed


_decoder = msgspec.msgpack.Decoder(ClientSnapshot)


def dump(snapshot: ClientSnapshot) -> bytes:
    """Encode a snapshot (MessagePack)."""
    return msgspec.msgpack.encode(snapshot)


def load(data: bytes, layout: str, reference: str) -> ClientSnapshot:
    """Decode a snapshot and check that its row means here what it meant where it was written.

    Raises `SnapshotError` that says what differs: the format's version, the layout, or the reference.
    """
    try:
        snapshot = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse_version(data)
        raise SnapshotError(f"the snapshot is damaged: {error}") from error
    if snapshot.version != SNAPSHOT_VERSION:
        _refuse_version(data)
    if zlib.crc32(snapshot.row) != snapshot.check:
        raise SnapshotError(f"the snapshot of client {snapshot.client!r} is damaged: its check sum does not fit")
    if len(snapshot.ids) % ID_BYTES:
        raise SnapshotError(f"the snapshot of client {snapshot.client!r} is damaged: its ids are cut off")
    if snapshot.reference != reference:
        raise SnapshotError(
            f"the snapshot of client {snapshot.client!r} was written under another baseline "
            f"({snapshot.reference}, now {reference}): its memory of queries has no meaning here"
        )
    if snapshot.layout != layout:
        raise SnapshotError("the snapshot was written with another layout of client state: start without saved state")
    return snapshot


def _refuse_version(data: bytes) -> None:
    """Raise `SnapshotError` unless this is a snapshot of our version, however damaged."""
    try:
        version = msgspec.msgpack.decode(data, type=list)[0]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError, TypeError) as error:
        raise SnapshotError(f"not a client snapshot: {error}") from error
    if version != SNAPSHOT_VERSION:
        raise SnapshotError(
            f"the snapshot has format {version}, this version reads format {SNAPSHOT_VERSION}: "
            "run the version that wrote it, or start without saved state"
        )


def _zeros(layout: Layout, capacity: int) -> dict[str, Any]:
    return {name: np.zeros((capacity, *shape), kind) for name, (kind, shape) in layout.items()}
