"""Usual native records -> batches, by the compiled scanner; the others are left to the decoder."""

import json
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from detector.ingest.batch import Batch, Sender
from detector.ingest.packing import label_code
from detector.ingest.scanning import cells as at
from detector.ingest.scanning.record import CONFIDENCE, RUNNER_UP, WEIGHT
from detector.ingest.scanning.scan import PADDING, TABLES, scan
from detector.ingest.scanning.texts import ESCAPED

__all__ = ["Scanner", "scan_once"]

V = TypeVar("V")

_TRUST: Final = (None, False, True)

_Description: TypeAlias = tuple[str | None, bool | None, str | None, str | None, str | None]
_Cells: TypeAlias = npt.NDArray[np.int64]


class Scanner:
    """Scans records; holds nothing between calls.

    `sender_of` makes the sender of a description, `takes` tells whether vectors of that length are taken for a model: if not,
    their records are left.
    """

    def __init__(self, sender_of: Callable[[_Description], Sender], takes: Callable[[str, int], bool], limit: int) -> None:
        """Leave records of more than `limit` bytes."""
        self._sender_of = sender_of
        self._takes = takes
        self._limit = limit

    def scan(self, values: Sequence[bytes], first_sequence: int, latest: int) -> tuple[list[Batch], list[int]]:
        """Return the events of usual records, one batch for each model and dimension, and which records are left.

        A record that is left may be anything. Nothing that a record may hold raises.
        """
        n = len(values)
        joined = b"\0".join((*values, bytes(PADDING)))
        found = _scanned(joined, values, latest, self._limit)
        texts = _Texts(joined, wide=bool(found.cells[:, at.HOLDS].any()))
        batches, left = [], np.ones(n, np.bool_)
        for (model, dimension), rows in _groups(found.cells, texts).items():
            if self._takes(model, dimension):
                batches.append(self._batch(model, dimension, rows, found, texts, first_sequence))
                left[rows] = False
        return batches, np.flatnonzero(left).tolist()

    def _batch(
        self, model: str, dimension: int, rows: npt.NDArray[np.intp], found: "_Found", texts: "_Texts", first_sequence: int
    ) -> Batch:
        everything = len(rows) == len(found.cells)
        cells = found.cells if everything else found.cells[rows]
        rates = found.rates if everything else found.rates[rows]
        n, offset = len(rows), cells[:, at.OFFSET]
        numbers = found.values
        if offset[-1] - offset[0] == (n - 1) * dimension:
            vector = numbers[offset[0] : offset[0] + n * dimension].reshape(n, dimension).copy()
        else:
            vector = numbers[offset[:, None] + np.arange(dimension)]
        return Batch(
            model=model,
            sequence=rows.astype(np.int64) + first_sequence,
            time=cells[:, at.TIME].copy(),
            client=texts.of(cells, at.CLIENT),
            event_id=texts.of(cells, at.EVENT),
            vector=vector,
            label=texts.label_codes(cells),
            confidence=rates[:, CONFIDENCE].copy(),
            runner_up=rates[:, RUNNER_UP].copy(),
            weight=rates[:, WEIGHT].copy(),
            sender=self._senders(cells, found.cells, texts),
            version=_versions(cells, found.cells, texts),
            refused=np.zeros(n, np.uint8),
            digest=np.zeros(n, np.uint64),
        )

    def _senders(self, cells: _Cells, every: _Cells, texts: "_Texts") -> list[Sender]:
        def sender(row: int) -> Sender:
            if row < 0:
                return self._sender_of((None, None, None, None, None))
            kind, organization, ip, agent = (texts.one(every[row], column) for column in range(at.TYPE, at.AGENT + 1, 2))
            return self._sender_of((kind, _TRUST[every[row, at.TRUSTED]], organization, ip, agent))

        return _of_each(cells[:, at.SAME_SENDER].tolist(), sender)


class _Found(NamedTuple):
    """What the scanner wrote: see `scanning.scan`."""

    cells: _Cells
    rates: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32]


class _Texts:
    """The texts of the records, by their spans."""

    def __init__(self, joined: bytes, *, wide: bool) -> None:
        """Read `joined`; `wide` where a text may hold escapes or characters beyond ASCII."""
        self._joined = joined
        self._plain = None if wide else joined.decode("latin-1")

    def of(self, cells: _Cells, column: int) -> list[str]:
        """Return a text that each row has."""
        spans = cells[:, column : column + 2].tolist()
        plain = self._plain
        if plain is not None:
            return [plain[start:end] for start, end in spans]
        joined = self._joined
        return [
            _unescaped(joined[start:end]) if holds & ESCAPED else joined[start:end].decode()
            for (start, end), holds in zip(spans, cells[:, at.HOLDS].tolist(), strict=True)
        ]

    def label_codes(self, cells: _Cells) -> npt.NDArray[np.int32]:
        """Return the code of the label of each row."""
        codes = cells[:, at.CODE].astype(np.int32)
        for row in np.flatnonzero(cells[:, at.LABEL]).tolist():
            start, end = cells[row, at.LABEL : at.LABEL + 2].tolist()
            codes[row] = label_code(_unescaped(self._joined[start:end]))
        return codes

    def one(self, row: npt.NDArray[np.int64], column: int) -> str | None:
        """Return a text of one row, None where it has none."""
        start, end = int(row[column]), int(row[column + 1])
        if start == 0:
            return None
        raw = self._joined[start:end]
        return _unescaped(raw) if int(row[at.HOLDS]) & ESCAPED else raw.decode()


def scan_once() -> None:
    """Load the machine code of the scanner, or compile it where there is none, before the first record that matters."""
    _scanned(bytes(PADDING + 1), [b""], 0, 0)


def _scanned(joined: bytes, values: Sequence[bytes], latest: int, limit: int) -> _Found:
    n = len(values)
    starts = np.zeros(n + 1, np.int64)
    np.cumsum(np.fromiter(map(len, values), np.int64, n) + 1, out=starts[1:])
    cells = np.zeros((n, at.WIDTH), np.int64)
    rates = np.empty((n, 3), np.float32)
    numbers = np.empty(len(joined) // 2 + 1, np.float32)
    mask = (1 << (2 * n).bit_length()) - 1
    tables = np.zeros((TABLES, mask + 1), np.int64)
    base, *addresses = (array.ctypes.data for array in (np.frombuffer(joined, np.uint8), starts, cells, rates, numbers, tables))
    scan(base, addresses[0], n, *addresses[1:], mask, latest, limit)
    return _Found(cells, rates, numbers)


def _groups(cells: _Cells, texts: _Texts) -> dict[tuple[str, int], npt.NDArray[np.intp]]:
    """Return the rows of each model and dimension, in the order in which they first appear."""
    rows = np.flatnonzero(cells[:, at.SEEN])
    if not len(rows):
        return {}
    models, lengths = cells[rows, at.SAME_MODEL], cells[rows, at.LENGTH]
    if (models == models[0]).all() and (lengths == lengths[0]).all():
        return {(texts.one(cells[models[0]], at.MODEL) or "", int(lengths[0])): rows}
    named = {row: texts.one(cells[row], at.MODEL) or "" for row in dict.fromkeys(models.tolist())}
    groups: dict[tuple[str, int], list[int]] = {}
    for row, model, length in zip(rows.tolist(), models.tolist(), lengths.tolist(), strict=True):
        groups.setdefault((named[model], length), []).append(row)
    return {key: np.array(members, np.intp) for key, members in groups.items()}


def _versions(cells: _Cells, every: _Cells, texts: _Texts) -> list[str | None]:
    return _of_each(cells[:, at.SAME_VERSION].tolist(), lambda row: texts.one(every[row], at.VERSION) if row >= 0 else None)


def _of_each(like: Sequence[int], read: Callable[[int], V]) -> list[V]:
    """Return what `read` gives for the row that each row is like; it is called once for rows that are alike."""
    known = {row: read(row) for row in set(like)}
    return list(known.values()) * len(like) if len(known) == 1 else [known[row] for row in like]


def _unescaped(raw: bytes) -> str:
    text: str = json.loads(b'"' + raw + b'"')
    return text
