"""Files of Parquet: each row is a JSON object by column name. Needs pyarrow, the extra ``parquet``.

Numbers stay numbers, binary becomes base64, times become RFC 3339; a time without a zone has none. One row group is unpacked at
a time, so its size decides what memory the reading takes.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

from detector.errors import SourceError
from detector.ingest.lines import Chunk, Damaged

__all__ = ["is_parquet", "read_rows"]

_MAGIC = b"PAR1"
_ROWS = 500  # a chunk; their lists and texts are all in memory


def is_parquet(first: bytes) -> bool:
    """Tell whether a file that begins with these bytes is Parquet."""
    return first.startswith(_MAGIC)


def read_rows(
    name: str, file: BinaryIO | io.FileIO, max_record_bytes: int, ended: Callable[[], bool]
) -> Iterator[tuple[float, Chunk]]:
    """Give the rows of a file, numbered from 1, each chunk with the share of the file that is read after it.

    Raises `SourceError` where the file is damaged or pyarrow is missing.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise SourceError(
            f"{name}: to read Parquet, pyarrow must be installed: pip install 'model-extraction-detector[parquet]'"
        ) from error
    encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode
    number = 1
    try:
        table = pq.ParquetFile(file)
        rows = max(table.metadata.num_rows, 1)
        for batch in table.iter_batches(batch_size=_ROWS):
            if ended():
                return
            records = [encode(row) for row in _in_microseconds(pa, batch).to_pylist(maps_as_pydicts="lossy")]
            share = (number - 1 + len(records)) / rows
            for chunk in _chunks(name, number, records, max_record_bytes):
                yield share, chunk
            number += len(records)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise SourceError(f"{name}: the Parquet file cannot be read, after row {number - 1}: {error}") from error


def _in_microseconds(pa: Any, batch: Any) -> Any:
    """Return rows whose times Python can hold: nanoseconds are cut."""
    for at, field in enumerate(batch.schema):
        if pa.types.is_timestamp(field.type) and field.type.unit == "ns":
            cut = batch.column(at).cast(pa.timestamp("us", field.type.tz), safe=False)
            batch = batch.set_column(at, field.name, cut)
    return batch


def _chunks(name: str, first: int, records: list[bytes], limit: int) -> Iterator[Chunk]:
    start = 0
    for at, record in enumerate(records):
        if len(record) > limit:
            detail = f"{len(record)} bytes, more than the limit of {limit}"
            damaged = Damaged(first + at, "oversized", detail, record[:limit])
            yield Chunk(name, first + start, records[start:at], damaged)
            start = at + 1
    if start < len(records):
        yield Chunk(name, first + start, records[start:])
