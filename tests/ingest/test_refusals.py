"""What is said of refused records: the commonest reasons, where, and what to do."""

from collections.abc import Sequence

import pytest

from detector.clock import HeldClock
from detector.ingest.assemble import Assembler
from detector.ingest.refusals import Refusals
from detector.testing import LATER_MS, START_MS, Events


def noted(lines: Sequence[bytes], *, at_once: int = 1000) -> Refusals:
    refusals = Refusals()
    assembler = Assembler(HeldClock(LATER_MS), dimensions={"model": 2}, max_record_bytes=5000)
    for at in range(0, len(lines), at_once):
        batches, rejections, _ = assembler.assemble(lines[at : at + at_once], "log", first_line=at + 1, first_sequence=at)
        refusals.note(rejections)
        refusals.pass_by(batches)
    return refusals


def good(count: int, *, step_ms: int = 1000) -> list[bytes]:
    events = Events(step_ms=step_ms, start_ms=START_MS + 10**9)
    return [events.line("acme", [0.0, 1.0], 0) for _ in range(count)]


def test_nothing_refused_says_nothing() -> None:
    """A clean log is quiet."""
    refusals = noted(good(100))
    assert refusals.tell(100) == []
    assert refusals.reasons == {}
    assert refusals.verdict(100, 100) is None


def test_the_three_commonest_reasons_are_named() -> None:
    """Each with its count, its share and the first place; the fourth is only counted. A format that is no format is named."""
    lines = [
        *good(50),
        *[b"a,b,c"] * 40,
        *[Events().line("acme", [1.0], 0)] * 5,
        *[Events().line("acme", [1.0, 2.0], 0, time=LATER_MS + 10**9)] * 4,
        b"\xff",
    ]
    refusals = noted(lines)
    assert refusals.reasons == {"json": 40, "dimension": 5, "future": 4, "encoding": 1}
    first, hint, *others = refusals.tell(100)
    assert first == "refused as json: 40 of 100 records (40%); the first at log:51: character 0: Expecting value"
    assert "detector schema export" in hint
    assert [sentence.partition(";")[0] for sentence in others] == [
        "refused as dimension: 5 of 100 records (5%)",
        "refused as future: 4 of 100 records (4%)",
    ]
    assert noted(lines, at_once=7).tell(100) == refusals.tell(100)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (Events().line("acme", [1.0, 2.0], 0, time=123_456_789_012), "read as milliseconds since 1970 is 1973-"),
        (Events().line("acme", [1.0, 2.0], 0, time="2026-05-04T10:31:07"), "naive_time_zone"),
        (b'{"prediction": 1}', "detector schema export"),
        (Events().line("acme", [1.0, 2.0, 3.0], 0), "dimension says which length"),
        (b"x" * 6000, "max_record_bytes"),
        (Events().line("acme", [1.0, 2.0], 0, time=LATER_MS + 10**9), "local time marked as UTC"),
    ],
)
def test_many_of_a_reason_say_what_to_do(line: bytes, words: str) -> None:
    """The sentences name the setting, the unit or the command."""
    refusals = noted([line] * 10)
    assert words in " ".join(refusals.tell(10))
    verdict = refusals.verdict(0, 10)
    assert verdict is not None
    assert verdict.startswith("none of the 10 records could be used: 10 ")


def test_a_log_that_runs_backwards_is_recognised() -> None:
    """However it is cut; and neither a sorted log, nor one in some disorder, nor a short one is taken for it."""
    lines = good(200)
    for size in (1, 7, 1000):
        said = noted(lines[::-1], at_once=size).newest_first()
        assert said is not None
        assert "tac LOG" in said
    shuffled = [line for at in range(0, 200, 2) for line in (lines[at + 1], lines[at])]
    for other in (lines, shuffled, lines[5::-1], [*lines, *lines]):
        assert noted(other).newest_first() is None
