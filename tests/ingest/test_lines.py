"""Cutting text into numbered lines."""

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.ingest.lines import LineCutter


@settings(deadline=None)
@given(st.data())
def test_cutting_does_not_depend_on_the_blocks(data: st.DataObject) -> None:
    """However a text is cut into blocks, lines, numbers and damage are those of the text."""
    line = st.binary(max_size=9).filter(lambda line: b"\n" not in line)
    lines = data.draw(st.lists(line, max_size=12))
    text = b"\n".join(lines)
    limit = data.draw(st.integers(1, 6))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    cutter = LineCutter("log", limit)
    chunks = [chunk for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True) for chunk in cutter.cut(text[start:end])]
    chunks += cutter.finish()
    found: list[bytes | None] = []
    for chunk in chunks:
        assert chunk.first_line == len(found) + 1
        found += chunk.lines
        if chunk.damaged is not None:
            found.append(None)
            assert chunk.damaged.line == len(found)
            assert chunk.damaged.reason == "oversized"
            assert chunk.damaged.record == lines[len(found) - 1][:limit]
    if lines and not lines[-1]:
        lines.pop()
    whole = [line.removesuffix(b"\r") for line in lines]
    assert found == [line if len(line) <= limit else None for line in whole]


def test_an_oversized_line_takes_no_memory() -> None:
    """Of a line without an end, the cutter holds one byte more than the limit."""
    cutter = LineCutter("log", 1000)
    for _ in range(50):
        assert list(cutter.cut(b"z" * 100_000)) == []
        assert len(cutter.kept) <= 1001
