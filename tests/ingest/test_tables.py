"""Rows of tables, where quotes are not closed and names are not unique."""

from detector.ingest.lines import Chunk
from detector.ingest.tables import MOST_READS, RowCutter


def cut(text: bytes, limit: int) -> list[Chunk]:
    cutter = RowCutter("log.csv", max_record_bytes=limit, delimiter=",")
    return [*cutter.cut(text), *cutter.finish()]


def test_lines_that_stay_open_are_read_a_few_times_only() -> None:
    """Each line of such a log is refused, once and with its number; reading them all again for each would never end."""
    lines = 3000
    chunks = cut(b"id,note\n" + b'b"c,"d\n' * lines + b'x"c,"' + b"y" * 15_000, limit=16_000)
    refused = [chunk.damaged for chunk in chunks if chunk.damaged is not None]
    assert not any(chunk.lines for chunk in chunks)
    assert sorted(found.line for found in refused) == list(range(2, lines + 3))


def test_one_stray_quote_costs_its_own_line_only() -> None:
    """The rows after it are read again, and in their order."""
    rows = b"".join(b"e%d,fine\n" % number for number in range(40))
    chunks = cut(b'id,note\nx,"never closed\n' + rows, limit=100)
    assert [line for chunk in chunks for line in chunk.lines] == [
        b'{"id":"e%d","note":"fine"}' % number for number in range(40)
    ]
    assert [chunk.damaged.line for chunk in chunks if chunk.damaged is not None] == [2]
    assert MOST_READS > 1


def test_columns_of_one_name_are_told_apart() -> None:
    """However many there are."""
    names = b",".join([b"a"] * 5000)
    (chunk,) = cut(names + b"\n" + b",".join([b"1"] * 5000) + b"\n", limit=200_000)
    assert chunk.lines[0].startswith(b'{"a":"1","a.1":"1","a.2":"1"')
    assert b'"a.4999":"1"' in chunk.lines[0]
