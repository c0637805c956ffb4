"""Logs that are no JSON Lines: what was written is what is read, however the text is cut into blocks."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import SourceError
from detector.ingest import source
from detector.ingest.containers import Form, form_of
from detector.ingest.lines import Chunk, Cutter, Damaged
from detector.ingest.objects import ObjectCutter
from detector.ingest.source import read_lines
from detector.ingest.tables import RowCutter

LIMIT = 1 << 20

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=6,
)
objects = st.lists(st.dictionaries(st.text(max_size=5), values, max_size=4), min_size=1, max_size=6)


def cut(cutter: Cutter, text: bytes, size: int) -> list[tuple[int, bytes | Damaged]]:
    """All records with their line, from blocks of `size` bytes."""

    def chunks() -> Iterator[Chunk]:
        for start in range(0, len(text), size):
            yield from cutter.cut(text[start : start + size])
        yield from cutter.finish()

    return numbered(list(chunks()))


def numbered(chunks: Sequence[Chunk]) -> list[tuple[int, bytes | Damaged]]:
    found: list[tuple[int, bytes | Damaged]] = []
    for chunk in chunks:
        records: list[bytes | Damaged] = [*chunk.lines, *([] if chunk.damaged is None else [chunk.damaged])]
        found += [(chunk.origin(at).line, record) for at, record in enumerate(records)]
        assert len(chunk) == len(records) > 0
        assert chunk.part(0, len(records)) == chunk
    return found


def read(path: Path, text: bytes, limit: int = LIMIT) -> list[tuple[int, bytes | Damaged]]:
    path.write_bytes(text)
    return numbered(list(read_lines(path, max_record_bytes=limit)))


def good(found: Sequence[tuple[int, bytes | Damaged]]) -> list[Any]:
    return [json.loads(record) for _, record in found if isinstance(record, bytes)]


@settings(deadline=None)
@given(
    written=objects,
    indent=st.none() | st.integers(0, 3),
    ascii_only=st.booleans(),
    size=st.integers(1, 50),
)
def test_an_array_gives_its_objects(written: list[Any], indent: int | None, ascii_only: bool, size: int) -> None:
    """Compact or pretty, in any encoding of letters; each record has the line in which it begins."""
    text = json.dumps(written, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    found = cut(ObjectCutter("log", LIMIT), text, size)
    assert good(found) == written
    assert found == cut(ObjectCutter("log", LIMIT), text, len(text))
    lines = text.split(b"\n")
    assert all(lines[number - 1].lstrip(b" [").startswith(b"{") for number, _ in found)


@settings(deadline=None)
@given(
    written=objects,
    between=st.sampled_from(["", "\n", " ", ",", ",\n", "\r\n\r\n"]),
    indent=st.none() | st.integers(0, 2),
    size=st.integers(1, 50),
)
def test_objects_one_after_the_other(written: list[Any], between: str, indent: int | None, size: int) -> None:
    """With or without anything between them."""
    text = between.join(json.dumps(one, indent=indent) for one in written).encode()
    assert good(cut(ObjectCutter("log", LIMIT, array=False), text, size)) == written


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(st.text(max_size=8), min_size=3, max_size=3), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(1, 50),
)
def test_a_table_gives_its_rows(rows: list[list[str]], delimiter: str, end: str, size: int) -> None:
    """Cells with quotes, delimiters and line ends in them; carriage returns alone are no part of it."""
    rows = [["x" + cell.encode(errors="replace").decode().replace("\r", "").replace("\0", "") for cell in row] for row in rows]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows([["a", "b", "c"], *rows])
    found = cut(RowCutter("log", LIMIT, delimiter), file.getvalue().encode(), size)
    assert good(found) == [dict(zip("abc", row, strict=True)) for row in rows]


@settings(deadline=None)
@given(text=st.text('[]{}",:\\ \n1a', max_size=60), size=st.integers(1, 10), limit=st.integers(5, 40), array=st.booleans())
def test_broken_text_gives_the_same_whatever_the_blocks(text: str, size: int, limit: int, array: bool) -> None:
    """Nothing raises, nothing given is over the limit."""
    found = cut(ObjectCutter("log", limit, array=array), text.encode(), size)
    for _, record in found:
        assert len(record if isinstance(record, bytes) else record.record) <= limit
    rows = cut(RowCutter("log", limit, ","), text.encode(), size)
    assert rows == cut(RowCutter("log", limit, ","), text.encode(), 1000)


BROKEN = [
    (b'[\n  {"a": 1},\n  {"a": oops},\n  {"a": 3}\n]', [{"a": 1}, {"a": 3}], 3),
    (b'[{"a": 1}, {"a": oops}, {"a": 3}]', [{"a": 1}, {"a": 3}], 1),
    (b'{\n"a": 1}\n{\n"a": 2,}\n{\n"a": 3}\n', [{"a": 1}, {"a": 3}], 3),
    (b'{"a": 1}{"a": }{"a": 3}', [{"a": 1}, {"a": 3}], 1),
    (b'[\n  {\n    "a": "x\n  },\n  {\n    "b": 2\n  }\n]', [], 2),
]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(("text", "expected", "line"), BROKEN)
def test_reading_goes_on_after_a_broken_object(text: bytes, expected: list[Any], line: int, size: int) -> None:
    """What is broken is one damaged record with its line, and the objects after it are read."""
    array = text.startswith(b"[")
    found = cut(ObjectCutter("log", LIMIT, array=array), text, size)
    assert [one for one in expected if one not in good(found)] == []
    damaged = [(number, record) for number, record in found if isinstance(record, Damaged)]
    assert [number for number, _ in damaged] == [line]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_objects_over_the_limit_are_left_out_in_bounded_memory(size: int) -> None:
    """The size is told, and what follows is read."""
    large = b'{"a": "' + b'x\\"}' * 100 + b'", "b": [{}]}'
    found = cut(ObjectCutter("log", 50), b'[{"a": 1},\n' + large + b',\n{"a": 3}]', size)
    assert good(found) == [{"a": 1}, {"a": 3}]
    assert found[1] == (2, Damaged(2, "oversized", f"{len(large)} bytes, more than the limit of 50", large[:50]))


def test_rows_that_do_not_fit_are_refused() -> None:
    """Ragged rows, broken text and open quotes, each with its line; the rows around them are read."""
    text = b'a,b\n1,2\n3\n4,5,6\n\xff,7\n8,9\n"open,1\n2,3\n'
    found = cut(RowCutter("log", LIMIT, ","), text, 1000)
    assert good(found) == [{"a": "1", "b": "2"}, {"a": "8", "b": "9"}, {"a": "2", "b": "3"}]
    assert [(number, record.reason) for number, record in found if isinstance(record, Damaged)] == [
        (3, "schema"),
        (4, "schema"),
        (5, "encoding"),
        (7, "schema"),
    ]


FORMS = [
    (b'{"a": 1}\n{"a": 2}\n', "lines"),
    (b'{"a": 1}', "lines"),
    (b'{"a": 1, "b\n{"a": 2}\n', "lines"),
    (b'{"a": 1,\n{"a": 2}\n', "lines"),
    (b"oops, not json\n{}\n", "lines"),
    (b'[{"a": 1}]\n[{"a": 2}]\n', "lines"),
    (b"[1, 2]\n", "lines"),
    (b"[2026-05-04 10:00] text\n", "lines"),
    (b'2026-05-04T10:31:07Z stdout F {"a": 1, "b": 2}\n', "lines"),
    (b"1,2,3\n4,5,6\n", "lines"),
    (b'[{"a": 1}]', "array"),
    (b'[{"a": 1},\n{"a": 2}]', "array"),
    (b'[{"a": 1}, {"a": 2}]\n', "array"),
    (b'[\n  {\n    "a": 1\n  }\n]\n', "array"),
    (b'{\n  "a": 1\n}\n', "objects"),
    (b'{"a": [\n1]}\n', "objects"),
    (b'{"a": 1}{"a": 2}', "objects"),
    (b'{"a": 1},\n{"a": 2},\n', "objects"),
    (b"a,b\n1,2\n", "table"),
    (b'"a";"b,c"\r\n1;2\r\n', "table"),
    (b"id\tscore\n", "table"),
    (b"a|b\n1|2", "table"),
    (b",a,b\n0,1,2\n", "table"),
]


@pytest.mark.parametrize(("text", "shape"), FORMS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_the_form_is_seen_from_the_text(text: bytes, shape: str, mark: bytes) -> None:
    """Whole or piece by piece, with a byte order mark or without: never another one."""
    assert (form_of(mark + text, ended=True) or Form("lines")).shape == shape
    for end in range(len(text) + 1):
        form = form_of(mark + text[:end], ended=False)
        assert form is None or form.shape == shape


@pytest.mark.parametrize("block", [1, 5, 1 << 18])
def test_files_are_read_by_their_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """The same two records, whatever the file is."""
    monkeypatch.setattr(source, "_BLOCK", block)
    texts = [
        b'{"a": "1"}\n{"a": "2"}\n',
        b'[{"a": "1"}, {"a": "2"}]',
        b'{"a": "1"}{"a": "2"}',
        b'{\n"a": "1"\n}\n{\n"a": "2"\n}\n',
        b'[\n  {"a": "1"},\n  {"a": "2"}\n]\n',
    ]
    for text in texts:
        assert good(read(tmp_path / "log", text)) == [{"a": "1"}, {"a": "2"}], text
        assert good(read(tmp_path / "log", b"\xef\xbb\xbf" + text)) == [{"a": "1"}, {"a": "2"}], text
    assert good(read(tmp_path / "log", b"\xef\xbb\xbfa;b\r\n1;2\r\n")) == [{"a": "1", "b": "2"}]
    arrays = b'[{"a": 1}]\n[{"a": 2}]\n'
    assert good(read(tmp_path / "log", arrays)) == [[{"a": 1}], [{"a": 2}]]


def test_parquet(tmp_path: Path) -> None:
    """Numbers stay numbers, times are RFC 3339, binary is base64; damage and pipes are told."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    moment = pa.array([1_777_890_667_412_000_001, None], pa.timestamp("ns", "UTC"))
    table = pa.table(
        {"n": [1, 2], "x": [0.5, None], "t": moment, "b": [b"\xff", b""], "l": [[1.0], []], "m": pa.array([{"k": "v"}, {}])}
    )
    path = tmp_path / "log"
    pq.write_table(table, path)
    found = good(read(path, path.read_bytes()))
    assert [type(row["n"]) for row in found] == [int, int]
    assert (found[0]["x"], found[1]["x"], found[0]["b"], found[0]["l"]) == (0.5, None, "/w==", [1.0])
    assert found[0]["t"].startswith("2026-05-04T10:31:07.412")
    assert found[0]["t"].endswith("Z")
    with pytest.raises(SourceError, match="Parquet file cannot be read"):
        read(path, path.read_bytes()[:-20])
