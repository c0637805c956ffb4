"""What is scanned is what the decoder makes of it, and the reference: the same columns, the same refusals."""

import ast
import ctypes
import json
import mmap
import os
import random
from collections.abc import Sequence
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.clock import HeldClock
from detector.engine.kernels import compiling
from detector.ingest.assemble import Assembled, Assembler
from detector.ingest.batch import Batch
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.dump import Dump
from detector.ingest.formats.native import NativeDecoder
from detector.ingest.lines import Chunk, Damaged
from detector.ingest.scanner import scan_once
from detector.ingest.scanning import cells, machine
from detector.ingest.scanning.scan import PADDING, scan
from tests.ingest.formats.mutations import mutants
from tests.ingest.native_records import NOW, changed, records

NEVER = 1 << 62
CHANGED = 3000
SCANNED = int(os.environ.get("DETECTOR_FUZZ_SCANNED", "20000"))
AT_ONCE = 100
LIMIT = 4096


class _Reference(NativeDecoder):
    """Reads by the reference alone."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = self.read_slowly
        self.native = False


class _Three:
    """The scanner, the decoder without it, and the reference, shown the same records."""

    def __init__(self) -> None:
        clock = HeldClock(NOW + 10_000)
        options: dict[str, Any] = {"max_record_bytes": LIMIT, "dimensions": {"spam": 3}}
        self.scanning = Assembler(clock, scan_after=0, **options)
        self.decoding = Assembler(clock, scan_after=NEVER, **options)
        self.again = Assembler(clock, scan_after=0, **options)  # an assembler remembers how far the stream has come
        self.reference = Assembler(clock, decoder=_Reference(), **options)
        self.shown = self.scanned = 0

    def show(self, values: Sequence[bytes]) -> None:
        """Fail unless all three make the same of the records."""
        first = self.shown
        same(_assembled(self.scanning, values, first), _assembled(self.decoding, values, first))
        self.show_scanned(values, self.again)

    def show_scanned(self, values: Sequence[bytes], decoding: Assembler | None = None) -> None:
        """Fail unless all three make the same of the records that are scanned: what is left is decoded as ever."""
        kept = self._kept(values)
        found = _assembled(self.again, kept, self.shown)
        same(found, _assembled(self.reference, kept, self.shown))
        same(found, _assembled(decoding or self.decoding, kept, self.shown))
        assert not found.rejections
        self.shown += len(values)
        self.scanned += len(kept)

    def _kept(self, values: Sequence[bytes]) -> list[bytes]:
        scanner = self.scanning._scanner
        if scanner is None:
            _assembled(self.scanning, values[:1], 0)
            return self._kept(values)
        _, left = scanner.scan(values, 0, NOW + 310_000)
        others = set(left)
        return [value for place, value in enumerate(values) if place not in others]


def _assembled(assembler: Assembler, values: Sequence[bytes], first: int) -> Assembled:
    return assembler.assemble(values, "log", first_line=1, first_sequence=first)


def same(found: Assembled, expected: Assembled) -> None:
    """Fail unless the batches are the same to the last byte, and the refusals to the last letter."""
    assert found.rejections == expected.rejections
    assert len(found.places) == len(expected.places)
    assert [len(batch) for batch in found.batches] == [len(batch) for batch in expected.batches]
    for one, other in zip(found.batches, expected.batches, strict=True):
        same_batch(one, other)


def same_batch(one: Batch, other: Batch) -> None:
    """Fail unless two batches are the same to the last byte."""
    for column in fields(Batch):
        a, b = getattr(one, column.name), getattr(other, column.name)
        if isinstance(b, np.ndarray):
            assert (a.dtype, a.shape, a.flags.c_contiguous, a.flags.writeable) == (b.dtype, b.shape, True, b.flags.writeable)
            assert a.tobytes() == b.tobytes(), column.name
        else:
            assert (a if a is None or isinstance(a, str) else [*a]) == (b if b is None or isinstance(b, str) else [*b])


def test_changed_records_are_read_as_by_the_decoder_and_the_reference() -> None:
    """Columns and refusals are the same, whatever is done to the bytes."""
    rng = random.Random(7)
    three = _Three()
    stream = records(rng)
    while three.shown < CHANGED:
        three.show([changed(rng, line) for line in islice(stream, AT_ONCE)])
    assert three.scanned > three.shown // 8


def test_what_is_scanned_is_valid_and_means_what_the_reference_says() -> None:
    """`make fuzz` shows 1,000,000 changed records."""
    rng = random.Random(SCANNED)
    three = _Three()
    stream = records(rng)
    while three.shown < SCANNED:
        lines = [*islice(stream, AT_ONCE // 4)]
        three.show_scanned([changed(rng, line) for line in lines for _ in range(8)])
    assert three.scanned > three.shown // 8
    print(f"{three.shown:,} records, {three.scanned:,} of them scanned, no difference")  # noqa: T201


def test_changed_structures_are_read_as_by_the_decoder() -> None:
    """Wrong types, nesting, other encodings, repeated keys and texts within texts."""
    rng = random.Random(11)
    samples = [Record(line) for line in islice(records(rng), 40)]
    three = _Three()
    stream = mutants(rng, samples, CHANGED // 10)
    while part := [record.value for record in islice(stream, AT_ONCE)]:
        three.show(part)


def _line(number: int = 0, **changes: Any) -> bytes:
    event = {
        "event_id": f"e{number}",
        "time": NOW + number,
        "client": {"id": f"c{number % 3}"},
        "model": {"id": "fraud"},
        "input": {"vector": [0.1, number]},
        "output": {"label": number % 2},
    }
    return json.dumps(event | changes).encode()


def _left(lines: Sequence[bytes]) -> list[int]:
    """Return which of the records are left, once all assemblers have made the same of them."""
    three = _Three()
    three.show(lines)
    scanner = three.scanning._scanner
    assert scanner is not None
    return scanner.scan(lines, 0, NOW + 310_000)[1]


@pytest.mark.parametrize(
    "changes",
    [
        {
            "client": {
                "id": "a",
                "type": "api_key",
                "trusted": True,
                "organization": "Müller 😀",
                "ip": "::1",
                "user_agent": 'x/1 "y"',
            }
        },
        {"client": {"id": "客户", "more": {"deep": [[1, {"a": None}]]}}, "request_id": "7f1c", "tags": ["a\\b", 1e20, False]},
        {"model": {"id": "fraud", "version": "2026-05"}, "latency_ms": 3.5, "status": 200, "sampled_rate": 30},
        {"input": {"vector_b64": "zczMPQAAAEA="}},
        {"input": {"vector": [None, 1e-7]}},
        {"output": {"probabilities": [0.1] * 12 + [0.7]}},
        {"output": {"probabilities": [0.25]}, "sampled_rate": None},
        {"output": {"label": "böse \U0001f600", "value": -1.5}},
        {"time": "2026-05-04T12:31:07.412345+02:00"},
        {"time": 1_777_890_667.4125},
    ],
)
def test_what_is_usual_is_scanned(changes: dict[str, Any]) -> None:
    """Or one field that every record has would send every record to the decoder."""
    compact = json.dumps(json.loads(_line(1, **changes)), ensure_ascii=False, separators=(",", ":")).encode()
    assert _left([_line(0), _line(1, **changes), compact]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"input": {"columns": {"a": 1}}},
        {"output": {"value": 3.5}},
        {"output": {"label": 1, "perturbed": {"mode": "top1"}}},
        {"time": "2026-05-04T10:31:07"},
        {"time": NOW + 400_000},
        {"event_id": "x" * 257},
        {"padding": "x" * LIMIT},
        {"model": {"id": "spam"}},
    ],
)
def test_what_is_unusual_leaves_its_own_record_only(changes: dict[str, Any]) -> None:
    """The records around it are scanned all the same, and all come out in order."""
    assert _left([_line(0), _line(1, **changes), _line(2)]) == [1]


def test_several_models_and_lengths_are_told_apart() -> None:
    """Each makes its batch, in the order of the first record of each, scanned or not."""
    lines = [
        _line(0, model={"id": "a"}, output={"value": 1.5}),
        *(_line(n, model={"id": "ab"[n % 2]}, input={"vector": [1.5] * (1 + n % 3)}) for n in range(1, 20)),
        _line(20, model={"id": "\\u0061"}),
    ]
    lines[-1] = lines[-1].replace(b"\\\\", b"\\")
    assert _left(lines) == [0]


@pytest.mark.parametrize("n", [1, 2, 257])
def test_many_descriptions_are_told_apart(n: int) -> None:
    """Also where the table of those that are known has no room for another."""
    lines = [
        _line(i, client={"id": "c", "ip": str(i % n), "trusted": i % 2 == 0}, model={"id": f"m{i % n}"}) for i in range(600)
    ]
    assert _left(lines) == []


def test_scanning_begins_after_some_records() -> None:
    """A short log goes without compiled code; a log of another format, or what clients were told, is never scanned."""
    lines = [_line(n) for n in range(8)]
    few = Assembler(HeldClock(NOW + 10_000), scan_after=8)
    _assembled(few, lines, 0)
    assert few._scanner is None
    _assembled(few, lines, 8)
    assert few._scanner is not None
    told = Assembler(HeldClock(NOW + 10_000), scan_after=0, as_told=True)
    _assembled(told, lines, 0)
    assert told._scanner is None
    sure = Assembler(HeldClock(NOW + 10_000), scan_after=0, decoder=Dump(NativeDecoder()))
    _assembled(sure, lines, 0)
    assert sure._scanner is None


def test_records_within_records_are_found() -> None:
    """Where lines may hold records of Kafka, those that hold an event of their own are scanned."""
    lines = [
        _line(0),
        json.dumps({"topic": "t", "partition": 0, "offset": 1, "key": None, "payload": _line(1).decode()}).encode(),
        _line(2),
    ]
    found, expected = (
        _assembled(Assembler(HeldClock(NOW + 10_000), scan_after=after, decoder=Dump(NativeDecoder(), sure=False)), lines, 0)
        for after in (0, NEVER)
    )
    same(found, expected)
    assert [len(batch) for batch in found.batches] == [3]


def test_a_damaged_record_comes_after_what_is_scanned() -> None:
    """It is refused for what it is, and never scanned."""
    chunk = Chunk("log", 1, [_line(0), b"{", _line(2)], Damaged(4, "truncated", "the log ends here", _line(3)))
    found, expected = (
        Assembler(HeldClock(NOW + 10_000), scan_after=after).assemble_chunk(chunk, first_sequence=7) for after in (0, NEVER)
    )
    same(found, expected)
    assert [rejection.reason for rejection in found.rejections] == ["json", "truncated"]


def test_nothing_is_read_beyond_the_padding() -> None:
    """Records lie before memory that must not be touched, cut off at every place: a process that reads there is killed."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(base + page), page, 0) == 0
    whole = _line(
        1, time="2026-05-04T10:31:07.412+02:00", latency_ms=0.12345678, note="ü\\", input={"vector_b64": "zczMPQAAAEA="}
    )
    cells_, rates, values, tables = (
        np.zeros(cells.WIDTH, np.int64),
        np.zeros(3, np.float32),
        np.zeros(page, np.float32),
        np.zeros(12, np.int64),
    )
    for size in range(len(whole) + 1):
        at = page - PADDING - size
        memory[at:page] = whole[:size] + bytes(PADDING)
        starts = np.array([0, size + 1])
        cells_[:], tables[:] = 0, 0
        addresses = (array.ctypes.data for array in (cells_, rates, values, tables))
        found = scan(base + at, starts.ctypes.data, 1, *addresses, 3, 1 << 60, 1 << 20)
        assert found == (size == len(whole))


def test_numbers_are_the_nearest_float32_of_the_nearest_double() -> None:
    """Of every size, in every notation, and in the middle between two float32, where one digit decides."""
    rng = np.random.default_rng(3)
    some = rng.standard_normal(4000)
    single = some.astype(np.float32)
    middle = (single.astype(np.float64) + np.nextafter(single, np.float32(np.inf)).astype(np.float64)) / 2
    scaled = some * 10.0 ** rng.integers(-44, 38, len(some))
    texts = [
        *(f"{x!r}" for part in (some, single.astype(np.float64), scaled, middle) for x in part.tolist()),
        *(f"{x:.{digits}e}" for x, digits in zip(scaled.tolist(), rng.integers(18, size=len(some)).tolist(), strict=True)),
        *(f"{x:.{digits}f}" for x, digits in zip(some.tolist(), rng.integers(1, 19, size=len(some)).tolist(), strict=True)),
        *(f"{whole}E{power}" for whole, power in rng.integers([-(10**17), -60], [10**17, 20], (4000, 2)).tolist()),
    ]
    line = _line(0).replace(b"[0.1, 0]", f"[{','.join(texts)}]".encode())
    assembler = Assembler(HeldClock(NOW + 10_000), scan_after=0)
    (batch,) = _assembled(assembler, [line], 0).batches
    assert assembler._scanner is not None
    assert assembler._scanner.scan([line], 0, NOW + 310_000)[1] == []
    expected = np.array([float(text) for text in texts]).astype(np.float32)
    assert batch.vector.tobytes() == expected.tobytes()


def test_machine_code_is_kept_and_warmed_up() -> None:
    """Loading the scanner twice compiles nothing the second time, and there is a folder for its code on this machine."""
    compiled: list[str] = []
    scan_once()
    with compiling(compiled.append):
        scan_once()
    assert compiled == []
    assert machine._folder() is not None


def test_what_is_compiled_asserts_nothing() -> None:
    """An assertion would be compiled in, and is no part of the digest that names the folder."""
    for source in Path(machine.__file__).parent.glob("*.py"):
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(source.read_text())))
