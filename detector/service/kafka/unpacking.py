"""Bounded decompression of what Kafka delivers: a batch may grow a thousandfold when it is decompressed.

The client decompresses a whole batch of any size: 300 KB become a record of 300 MB, and 1 MB a gigabyte. So batches are
decompressed here, up to `LARGEST_BATCH`. The size of one poll is bounded as well, since a fetch may hold thousands of batches.
A batch that is too large, or cannot be read, comes out as one record at its last offset. The value of that record is `Packed`:
the compressed batch with its description. It is neither JSON nor a record of ours, so it becomes a dead letter, and reading
continues after it.
"""

import zlib
from collections.abc import Iterator
from typing import Any, Final, Literal

import zstandard
from kafka import KafkaConsumer
from kafka import codec as codecs
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.legacy_records import LegacyRecord, LegacyRecordBatch

from detector.errors import BatchTooLargeError
from detector.service.kafka.topics import LARGEST_RECORD

LARGEST_BATCH: Final = 4 * LARGEST_RECORD  # bytes decompressed; our topics accept a quarter of it, compressed
ENOUGH_BYTES: Final = LARGEST_RECORD  # of keys and values per poll; the record that exceeds it is the last
_CHUNK: Final = 1024 * 1024
_LAYOUT: Final = ()  # no fields of our own, so that the class of the client's batch can be changed to ours
_GZIP: Final = 31  # zlib's window bits for a gzip header and trailer


class Packed(bytes):
    """A batch that was not decompressed, as it is in the topic: `first` is its first offset, `detail` says why."""

    first: int
    reason: Literal["oversized", "encoding"]
    detail: str


def unpacked(codec: int, data: bytes, most: int = LARGEST_BATCH) -> bytearray:
    """Return the records of a batch, decompressed.

    Raises `BatchTooLargeError` beyond `most` bytes, without keeping more in memory; `CorruptRecordError` for damaged data;
    `UnsupportedCodecError` where the library for the codec is not installed.

    >>> import gzip
    >>> unpacked(1, gzip.compress(b"abc"), most=3)
    bytearray(b'abc')
    >>> unpacked(1, gzip.compress(b"abcd"), most=3)
    Traceback (most recent call last):
    detector.errors.BatchTooLargeError: it unpacks to more than 3 bytes
    """
    out = bytearray()
    try:
        for piece in _pieces(codec, data, most):
            out += piece
            if len(out) > most:
                raise BatchTooLargeError(f"it unpacks to more than {most:,} bytes")  # noqa: TRY301
    except (BatchTooLargeError, CorruptRecordError, UnsupportedCodecError):
        raise
    except zstandard.ZstdError as error:
        if "too much memory" in str(error):  # zstd's window is as large as the content, where its size is known
            raise BatchTooLargeError(f"it unpacks to more than {most:,} bytes") from error
        raise CorruptRecordError(f"it cannot be unpacked: {error}") from error
    except Exception as error:  # each library has errors of its own
        raise CorruptRecordError(f"it cannot be unpacked: {error}") from error
    return out


def _pieces(codec: int, data: bytes, most: int) -> Iterator[bytes]:
    if codec == DefaultRecordBatch.CODEC_GZIP:
        yield from _gunzipped(data)
    elif codec == DefaultRecordBatch.CODEC_ZSTD:
        # A larger window would need more memory than the limit allows.
        reader = zstandard.ZstdDecompressor(max_window_size=most + _CHUNK)
        with reader.stream_reader(data, read_across_frames=True) as stream:
            while piece := stream.read(_CHUNK):
                yield piece
    elif codec == DefaultRecordBatch.CODEC_LZ4 and codecs.lz4 is not None:
        decompressor = codecs.lz4.LZ4FrameDecompressor()
        piece = decompressor.decompress(data, max_length=_CHUNK)
        while piece or not (decompressor.eof or decompressor.needs_input):
            yield piece
            piece = b"" if decompressor.eof else decompressor.decompress(b"", max_length=_CHUNK)
    elif codec == DefaultRecordBatch.CODEC_SNAPPY and codecs.has_snappy():
        if _snappy_length(data) > most:
            raise BatchTooLargeError(f"it unpacks to more than {most:,} bytes")
        yield codecs.snappy_decode(data)
    else:
        names = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
        raise UnsupportedCodecError(
            f"compression {names.get(codec, codec)} is not installed here: pip install lz4 or python-snappy, or set another "
            "compression.type for the topic"
        )


def _gunzipped(data: bytes) -> Iterator[bytes]:
    """Yield the content of gzip data, member by member."""
    while data:
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            piece = member.decompress(data, _CHUNK)
            data = member.unconsumed_tail
            if not piece and not data and not member.eof:
                raise CorruptRecordError("it cannot be unpacked: it ends too early")
            yield piece
        data = member.unused_data


def _snappy_length(data: bytes) -> int:
    """Return the size that snappy declares for its content, of one block or of all blocks of the xerial format."""
    if not codecs._detect_xerial_stream(data):  # noqa: SLF001  # there is no public way
        return _varint(data)
    total, at = 0, 16
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big", signed=True)
        if size <= 0:
            raise CorruptRecordError("it cannot be unpacked: a block of no length")
        total += _varint(data[at + 4 : at + 14])
        at += 4 + size
    return total


def _varint(data: bytes) -> int:
    value = 0
    for place, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value
    raise CorruptRecordError("it cannot be unpacked: it does not begin with its length")


class _Batch(DefaultRecordBatch):  # type: ignore[misc]  # the client ships without types
    """A batch that yields its records, or itself where it is too large or cannot be read."""

    __slots__ = _LAYOUT
    _buffer: Any
    _pos: int
    _decompressed: bool

    def __iter__(self) -> Iterator[Any]:
        whole = self._buffer
        done = self.base_offset - 1
        try:
            if not self._decompressed and self.compression_type:
                self._buffer = unpacked(self.compression_type, bytes(memoryview(whole)[self._pos :]))
                self._pos = 0
            self._decompressed = True
            for _ in range(self._num_records):
                record = self._read_msg()
                done = record.offset
                yield record
            if self._pos != len(self._buffer):
                raise CorruptRecordError(f"{len(self._buffer) - self._pos} bytes are left after the last record")  # noqa: TRY301
        except (BatchTooLargeError, CorruptRecordError, UnsupportedCodecError, ValueError, IndexError) as error:
            packed = _packed(whole, error, self.base_offset, self.last_offset, self.records_count, done)
            if done < self.last_offset:
                yield DefaultRecord(len(packed), self.last_offset, self.max_timestamp, self.timestamp_type, None, packed, [])


class _LegacyBatch(LegacyRecordBatch):  # type: ignore[misc]  # the client ships without types
    """The same for the message formats before Kafka 0.11, which old logs may still hold."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        whole = self._buffer
        done = -1
        try:
            for record in super().__iter__():
                done = record.offset
                yield record
        except (
            BatchTooLargeError,
            CorruptRecordError,
            UnsupportedCodecError,
            ValueError,
            IndexError,
            AssertionError,
        ) as error:
            packed = _packed(whole, error, self._offset, self._offset, 0, done)
            if done < self._offset:  # the offset of the last record
                yield LegacyRecord(
                    self._magic, self._offset, self._timestamp, self.timestamp_type, None, packed, 0, memoryview(b"")
                )

    def _decompress(self, key_offset: int) -> bytearray:
        at = key_offset + self.KEY_LENGTH
        size = int.from_bytes(self._buffer[key_offset:at], "big", signed=True)
        at += max(size, 0)
        size = int.from_bytes(self._buffer[at : at + self.VALUE_LENGTH], "big", signed=True)
        at += self.VALUE_LENGTH
        if self._magic == 0 and self.compression_type == self.CODEC_LZ4:
            raise UnsupportedCodecError("lz4 of Kafka before 0.10 is not read")
        return unpacked(self.compression_type, bytes(self._buffer[at : at + max(size, 0)]))


def _packed(whole: Any, error: Exception, first: int, last: int, count: int, done: int) -> Packed:
    packed = Packed(whole)
    packed.first = max(first, done + 1)
    packed.reason = "oversized" if isinstance(error, BatchTooLargeError) else "encoding"
    why = error.args[0] if error.args else type(error).__name__
    packed.detail = f"a batch of {count:,} records up to offset {last}, {len(packed):,} bytes as it lies: {why}"
    return packed


class _Batches:
    """The batches of a fetch, each changed to a bounded one."""

    def __init__(self, records: Any) -> None:
        self._records = records

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        # The memory layout is the same; only iteration differs.
        if isinstance(batch, DefaultRecordBatch):
            if not batch.is_control_batch:
                batch.__class__ = _Batch
        elif batch is not None:
            batch.__class__ = _LegacyBatch
        return batch


class _EnoughError(Exception):
    """The current poll has returned `ENOUGH_BYTES`."""


class _Records(Fetcher.PartitionRecords):  # type: ignore[misc]  # the client ships without types
    """The fetched records of a partition, returned up to a number and a size."""

    def __init__(self, room: list[int], fetch_offset: int, partition: Any, records: Any, **options: Any) -> None:
        super().__init__(fetch_offset, partition, _Batches(records), **options)
        self._room = room

    def take(self, n: int | None = None) -> list[Any]:
        """Return the next records: at most `n`, and no more than the poll has room for."""
        if self._room[0] <= 0:
            raise _EnoughError
        self._maybe_raise_next_inline_exception()
        taken: list[Any] = []
        room = self._room[0]
        try:
            for record in self.record_iterator:
                taken.append(record)
                room -= len(record.value or b"") + len(record.key or b"")
                if room <= 0 or len(taken) == n:
                    break
        except Exception as error:
            if not taken:
                raise
            self._next_inline_exception = error
        self._room[0] = room
        return taken


def bound(consumer: KafkaConsumer) -> None:
    """Make a consumer decompress batches within bounds, and return at most `ENOUGH_BYTES` plus one record per poll."""
    fetcher = consumer._fetcher  # noqa: SLF001  # there is no public way
    room = [ENOUGH_BYTES]
    fetched = fetcher.fetched_records

    def records(*given: Any, **options: Any) -> _Records:
        return _Records(room, *given, **options)

    def fetched_records(*given: Any, **options: Any) -> Any:
        room[0] = ENOUGH_BYTES
        found = fetched(*given, **options)
        waiting = fetcher._next_in_line_exception_metadata  # noqa: SLF001
        if waiting is not None and isinstance(waiting.exception, _EnoughError):
            fetcher._next_in_line_exception_metadata = None  # noqa: SLF001
            return found[0], True
        return found

    fetcher.PartitionRecords = records
    fetcher.fetched_records = fetched_records
