"""Lines that a collector wrapped: the records within, whatever was cut."""

import json
from collections.abc import Sequence

import pytest

from detector.ingest.lines import Chunk, Damaged
from detector.ingest.wrappers import Wrapper, unwrapped, wrapper_of

RECORDS = [b'{"event_id": "e1"}', '{"event_id": "ü\\n"}'.encode()]


def wrapped(kind: Wrapper) -> list[bytes]:
    if kind == "cri":
        return [b"2026-05-04T10:31:07.123456789Z stdout F " + record for record in RECORDS]
    if kind == "docker":
        return [
            json.dumps({"log": record.decode() + "\n", "stream": "stdout", "time": "2026-05-04T10:31:07Z"}).encode()
            for record in RECORDS
        ]
    return [json.dumps({"@timestamp": "2026-05-04T10:31:07Z", "message": record.decode()}).encode() for record in RECORDS]


def taken(lines: Sequence[bytes], limit: int = 1000, parts: int = 1) -> list[tuple[int, bytes | Damaged]]:
    chunks = iter([Chunk("log", start + 1, list(lines[start : start + parts])) for start in range(0, len(lines), parts)])
    found: list[tuple[int, bytes | Damaged]] = []
    for chunk in unwrapped(chunks, "auto", limit):
        records: list[bytes | Damaged] = [*chunk.lines, *([chunk.damaged] if chunk.damaged else [])]
        found += [(chunk.origin(at).line, record) for at, record in enumerate(records)]
    return found


@pytest.mark.parametrize("kind", ["docker", "cri", "beats"])
@pytest.mark.parametrize("parts", [1, 10])
def test_records_are_taken_out(kind: Wrapper, parts: int) -> None:
    """Recognised by the first lines, where one may be something else; that one stays as it is."""
    lines = [b"started", *wrapped(kind)]
    assert wrapper_of(lines) == kind
    assert taken(lines, parts=10) == [(1, b"started"), (2, RECORDS[0]), (3, RECORDS[1])]
    assert [record for _, record in taken(wrapped(kind), parts=parts)] == RECORDS


@pytest.mark.parametrize(
    "line",
    [RECORDS[0], b'[{"log": "x"}]', b'{"@timestamp": 1, "message": "no record"}', b'{"log": "x", "stream": 1}', b"", b"\xff"],
)
def test_other_lines_are_left_alone(line: bytes) -> None:
    """Chunks go on as they are."""
    assert wrapper_of([line]) is None
    assert taken([line, line]) == [(1, line), (2, line)]


def test_parts_are_joined_within_bounds() -> None:
    """Those of the two outputs apart; too much is one damaged record, and so is what never ends."""
    head = b"2026-05-04T10:31:07Z "
    lines = [
        head + b'stdout P {"a": ',
        head + b"stderr F error",
        head + b"stdout F 1}",
        head + b"stdout P " + b"x" * 30,
        head + b"stdout F x",
        head + b"stdout P left",
    ]
    assert taken(lines, limit=30) == [
        (2, b"error"),
        (1, b'{"a": 1}'),
        (4, Damaged(4, "oversized", "31 bytes, more than the limit of 30", b"x" * 30)),
        (6, Damaged(6, "truncated", "the last part of this line is missing", b"left")),
    ]
    text = "y" * 20_000
    parts = [{"log": text[:16_384], "stream": "stdout"}, {"log": text[16_384:] + "\n", "stream": "stdout"}]
    assert taken([json.dumps(part).encode() for part in parts], limit=30_000) == [(1, text.encode())]
