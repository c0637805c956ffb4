"""Lines to batches: values, order, refusals, and agreement with the reference definition of an event."""

import base64
import json
import math
import random
import struct
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.clock import HeldClock
from detector.contracts.event import FLOAT32_BOUND, PredictionEvent
from detector.contracts.moment import LAST_MS, READINGS
from detector.ingest.assemble import Assembler, Rejection
from detector.ingest.batch import Batch, Origin, Sender, code_of, usable
from detector.ingest.formats.decoder import Record
from detector.ingest.formats.native import NativeDecoder
from detector.ingest.lines import Chunk, Damaged
from detector.ingest.packing import label_code

NOW = 1_777_890_667_412


def _record(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "time": NOW + number,
        "client": {"id": f"c{number % 3}"},
        "model": {"id": "fraud"},
        "input": {"vector": [0.1, number]},
        "output": {"label": number % 2},
    } | changes


def _line(number: int = 0, **changes: Any) -> bytes:
    return json.dumps(_record(number, **changes)).encode()


def _everything(lines: Sequence[bytes], **options: Any) -> tuple[list[Batch], list[Rejection]]:
    assembler = Assembler(HeldClock(NOW), **options)
    batches, rejections, _ = assembler.assemble(lines, "log.jsonl", first_line=11, first_sequence=100)
    return batches, rejections


def _assemble(lines: Sequence[bytes], **options: Any) -> tuple[list[Batch], list[Rejection]]:
    """Return the usable events and what was refused."""
    batches, rejections = _everything(lines, **options)
    return usable(batches), rejections


def _one(**changes: Any) -> Batch:
    batches, rejections = _assemble([_line(**changes)])
    assert rejections == []
    (batch,) = batches
    return batch


def _b64(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def test_columns_hold_what_the_records_say() -> None:
    """Every field arrives in its column, with the type that the batch promises."""
    client = {
        "id": "acme", "type": "api_key", "trusted": False, "organization": "Acme", "ip": "192.0.2.1", "user_agent": "x",
    }  # fmt: skip
    full = _line(
        1,
        time="2026-05-04T12:31:07.4129+02:00",
        client=client,
        model={"id": "fraud", "version": "7"},
        output={"label": "b", "probabilities": [0.2, 0.5, 0.3]},
        sampled_rate=30,
        latency_ms=1.5,
        status=200,
    )
    (batch,), rejections = _assemble([full, _line(2, time=NOW + 0.9)])
    assert rejections == []
    assert batch.model == "fraud"
    assert batch.sequence.tolist() == [100, 101]
    assert batch.time.tolist() == [NOW, NOW]
    assert list(batch.client) == ["acme", "c2"]
    assert list(batch.event_id) == ["e1", "e2"]
    np.testing.assert_array_equal(batch.vector, np.array([[0.1, 1], [0.1, 2]], dtype=np.float32))
    assert batch.label.tolist() == [label_code("b"), label_code(0)]
    np.testing.assert_array_equal(batch.confidence, np.array([0.5, np.nan], dtype=np.float32))
    np.testing.assert_array_equal(batch.runner_up, np.array([0.3, np.nan], dtype=np.float32))
    assert batch.weight.tolist() == [30, 1]
    assert list(batch.sender) == [Sender("api_key", False, "Acme", "192.0.2.1", "x"), Sender()]
    assert list(batch.version) == ["7", None]
    integers = (batch.sequence.dtype.name, batch.time.dtype.name, batch.label.dtype.name)
    assert integers == ("int64", "int64", "int32")
    floats = [batch.vector, batch.confidence, batch.runner_up, batch.weight]
    assert {column.dtype for column in floats} == {np.dtype(np.float32)}
    assert batch.vector.flags.writeable
    assert batch.vector.flags.c_contiguous


@pytest.mark.parametrize(
    ("output", "label", "confidence", "runner_up"),
    [
        ({"probabilities": [0.1, 0.7, 0.2]}, 1, 0.7, 0.2),
        ({"probabilities": [0.5, 0.5]}, 0, 0.5, 0.5),
        ({"probabilities": [0.3000000001, 0.3000000002, 0.3]}, 1, 0.3, 0.3),
        ({"probabilities": [0.9]}, 0, 0.9, 0.1),
        ({"probabilities": [0.25]}, 1, 0.75, 0.25),
        ({"label": 5, "probabilities": [0.9, 0.1]}, 5, 0.9, 0.1),
        ({"label": "5"}, 5, np.nan, np.nan),
        ({"label": None, "probabilities": [1, 0]}, 0, 1, 0),
    ],
)
def test_label_and_the_two_largest_probabilities(
    output: dict[str, Any], label: int, confidence: float, runner_up: float
) -> None:
    """A logged label wins; one probability stands for two classes; a label as text and as number agree."""
    batch = _one(output=output)
    assert batch.label.tolist() == [label_code(label)]
    found = np.array([batch.confidence[0], batch.runner_up[0]])
    np.testing.assert_array_equal(found, np.array([confidence, runner_up], dtype=np.float32))


def test_probabilities_of_different_length_share_a_batch() -> None:
    """Rows with 1, 2, 3 and no probabilities keep their own answers."""
    outputs: list[dict[str, Any]] = [
        {"probabilities": [0.2, 0.8]}, {"label": 3}, {"probabilities": [0.6]}, {"probabilities": [0.1, 0.2, 0.7]},
    ]  # fmt: skip
    (batch,), _ = _assemble([_line(i, output=output) for i, output in enumerate(outputs)])
    assert batch.label.tolist() == [label_code(label) for label in (1, 3, 0, 2)]
    np.testing.assert_array_equal(batch.confidence, np.array([0.8, np.nan, 0.6, 0.7], dtype=np.float32))


@settings(deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_base64_and_numbers_give_the_same_vector(values: list[float]) -> None:
    """The two forms of an input are equal to the bit."""
    plain, packed = _one(input={"vector": values}), _one(input={"vector_b64": _b64(values)})
    assert plain.vector.tobytes() == packed.vector.tobytes() == np.array([values], dtype=np.float32).tobytes()


def test_models_and_dimensions_have_their_own_batches() -> None:
    """Batches come in order of first appearance and keep the order of the stream; undeclared dimensions are apart."""
    models = ["b", "a", "b", "a", "b"]
    vectors = [[1], [1], [1, 2], [2], [3]]
    lines = [_line(i, model={"id": m}, input={"vector": v}) for i, (m, v) in enumerate(zip(models, vectors, strict=True))]
    batches, rejections = _assemble(lines)
    assert rejections == []
    assert [(batch.model, batch.sequence.tolist(), batch.vector.tolist()) for batch in batches] == [
        ("b", [100, 104], [[1], [3]]),
        ("a", [101, 103], [[1], [2]]),
        ("b", [102], [[1, 2]]),
    ]


def test_a_declared_dimension_is_enforced() -> None:
    """Vectors of another length are refused with both lengths; other models are not concerned."""
    lines = [_line(0), _line(1, input={"vector": [1]}), _line(2, model={"id": "other"}, input={"vector": [1]})]
    batches, (rejection,) = _assemble(lines, dimensions={"fraud": 2})
    assert [batch.sequence.tolist() for batch in batches] == [[100], [102]]
    detail = "input: 1 numbers where the model takes 2"
    assert rejection == Rejection(101, Origin("log.jsonl", 12), "dimension", detail, lines[1], "c1", "fraud")


def test_bad_records_leave_the_good_ones_around_them() -> None:
    """Each bad record is refused at its own line with its own bytes, and everything between is used."""
    bad = {
        "encoding": _line(note="x").replace(b'"x"', b'"\xff"'),
        "json": b"",
        "schema": b"{}",
        "not_finite": _line(input={"vector": [FLOAT32_BOUND, 1]}),
        "dimension": _line(input={"vector": [1, 2, 3]}),
        "future": _line(time=NOW + 60_001),
        "oversized": _line(note="x" * 1000),
    }
    missing = _line(input={"vector_b64": _b64([float("nan")] * 2)})
    lines = [_line(1)]
    for record in [*bad.values(), missing]:
        lines += [record, _line(2)]
    (batch,), rejections = _assemble(lines, max_skew_ms=60_000, max_record_bytes=500, dimensions={"fraud": 2})
    assert batch.sequence.tolist() == list(range(100, 100 + len(lines), 2))
    assert [rejection.reason for rejection in rejections] == [*bad, "schema"]
    assert [rejection.sequence for rejection in rejections] == list(range(101, 101 + len(lines) - 1, 2))
    assert [rejection.origin for rejection in rejections] == [
        Origin("log.jsonl", rejection.sequence - 100 + 11) for rejection in rejections
    ]
    assert [rejection.record for rejection in rejections] == [line[:500] for line in lines[1::2]]
    assert rejections[3].detail == "input.vector[0]: not finite in float32"
    assert rejections[5].detail == f"time: {NOW + 60_001} is more than 60000 ms ahead of the clock"
    assert rejections[7].detail == "input.vector_b64: every value is missing"


def test_refused_queries_are_events_of_their_clients() -> None:
    """Where client and model can be read; with the time before them where they have none; a digest tells records apart."""
    lines = [
        _line(0),
        _line(1, input={}),
        _line(2, time="yesterday"),
        b"{}",
        _line(3, model={}),
        _line(4, time=NOW + 60_001, client={"id": "c9", "trusted": False}),
        _line(1, input={}),
        _line(5, client={"id": "x" * 300}),
    ]
    batches, rejections = _everything(lines, max_skew_ms=60_000)
    (batch,) = [batch for batch in batches if not batch.vector.shape[1]]
    assert batch.sequence.tolist() == [101, 102, 105, 106, 107]
    assert list(batch.client) == ["c1", "c2", "c9", "c1", "x" * 256]
    assert batch.time.tolist() == [NOW + 1, NOW, NOW, NOW + 1, NOW + 5]
    assert batch.refused.tolist() == [code_of(reason) for reason in ("schema", "schema", "future", "schema", "schema")]
    assert len(set(batch.digest.tolist())) == 4
    assert batch.digest[0] == batch.digest[3]
    assert batch.sender[2] == Sender(trusted=False)
    named = [(rejection.client, rejection.model) for rejection in rejections]
    assert named == [
        ("c1", "fraud"),
        ("c2", "fraud"),
        (None, None),
        ("c0", None),
        *[(c, "fraud") for c in ("c9", "c1", "x" * 256)],
    ]
    (usable_only,) = usable(batches)
    assert usable_only.sequence.tolist() == [100]
    assert not usable_only.refused.any()


def test_limits_are_inclusive() -> None:
    """A time exactly at the skew and a record exactly at the limit of bytes are used; the largest float32 is too."""
    assert len(_one(time=NOW + 300_000)) == 1
    line = _line()
    assert _assemble([line], max_record_bytes=len(line))[1] == []
    largest = float(np.finfo(np.float32).max)
    just_below = np.nextafter(FLOAT32_BOUND, 0)
    assert _one(input={"vector": [largest, -just_below]}).vector.tolist() == [[largest, -largest]]


def test_a_weight_fits_its_column() -> None:
    """A rate that float32 cannot hold is the largest it can."""
    assert _one(sampled_rate=1e300).weight.tolist() == [float(np.finfo(np.float32).max)]


def test_a_damaged_line_of_a_chunk_is_rejected_in_its_place() -> None:
    """What the source could not give whole becomes a rejection after the lines before it."""
    chunk = Chunk("log.gz", 5, [_line(0), b"?"], Damaged(7, "truncated", "cut", b'{"ev'))
    (batch,), (broken, cut), _ = Assembler(HeldClock(NOW)).assemble_chunk(chunk, first_sequence=40)
    assert batch.sequence.tolist() == [40]
    assert (broken.sequence, broken.origin) == (41, Origin("log.gz", 6))
    assert cut == Rejection(42, Origin("log.gz", 7), "truncated", "cut", b'{"ev')


def test_nothing_makes_nothing() -> None:
    """No lines, no batches; only bad lines, no empty batches."""
    assert _assemble([]) == ([], [])
    assert _assemble([b"?", _line(time=LAST_MS)])[0] == []


def test_equal_senders_are_one_object() -> None:
    """A stream of events from the same client does not hold a description for each."""
    (batch,), _ = _assemble([_line(i, client={"id": "a", "ip": "192.0.2.1"}) for i in range(5)])
    assert len({id(sender) for sender in batch.sender}) == 1


def test_caches_are_bounded() -> None:
    """Clients, labels and lengths that never repeat do not make the assembler grow."""
    assembler = Assembler(HeldClock(NOW))
    for start in range(0, 140_000, 10_000):
        lines = [
            b'{"event_id":"e","time":1777890667412,"client":{"id":"a","ip":"%d"},"model":{"id":"m"},'
            b'"input":{"vector":[1]},"output":{"label":%d}}' % (i, i)
            for i in range(start, start + 10_000)
        ]
        (batch,), *_ = assembler.assemble(lines, "log", first_line=1, first_sequence=0)
        assert batch.label[7] == label_code(start + 7)
        assert batch.sender[7].ip == str(start + 7)


def test_caches_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """User agents and labels of the largest length, never the same, hold a bounded amount of memory."""
    monkeypatch.setattr("detector.ingest.packing._CACHED_BYTES", 1 << 20)
    assembler = Assembler(HeldClock(NOW))
    tracemalloc.start()
    try:
        for start in range(0, 4000, 100):
            assembler.assemble(
                [
                    _line(client={"id": "a", "user_agent": f"{i}" + "x" * 16_000}, output={"label": f"{i:0256}"})
                    for i in range(start, start + 100)
                ],
                "log",
                first_line=1,
                first_sequence=0,
            )
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 8_000_000


@pytest.mark.parametrize("number", [None, 3.5])
def test_missing_values_are_kept(number: float | None) -> None:
    """Null and NaN in base64 arrive as NaN beside the other numbers; an infinity is refused with them or without."""
    read = math.nan if number is None else number
    for form in ({"vector": [1, number, -2]}, {"vector_b64": _b64([1, read, -2])}):
        np.testing.assert_array_equal(_one(input=form).vector, np.array([[1, read, -2]], dtype=np.float32))
    for form in ({"vector": [number, 1e39]}, {"vector_b64": _b64([read, math.inf])}):
        batches, (rejection,) = _assemble([_line(input=form)])
        assert (batches, rejection.reason) == ([], "not_finite")


# Agreement with the reference

_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
    st.just("2026-05-04T10:31:07Z"),
)
_numbers = st.one_of(
    st.floats(-1e39, 1e39), st.integers(-(2**140), 2**140), st.floats(0, 1), st.sampled_from([FLOAT32_BOUND, 5e-324])
)
_texts = st.none() | st.text(max_size=4) | st.integers(250, 1030).map(lambda size: "é" * (size - 1) + "x")
_plain = st.fixed_dictionaries(
    {
        "event_id": st.text(min_size=1, max_size=8),
        "time": st.one_of(
            *(st.integers(first - 3, end + 3) | st.floats(float(first), float(end)) for first, end in READINGS),
            st.sampled_from(["2026-05-04T10:31:07.412Z", "1999-12-31T23:59:59.999Z", "2000-01-01T00:00:00Z"]),
        ),
        "client": st.fixed_dictionaries(
            {"id": st.text(min_size=1, max_size=3)},
            optional={"type": _texts, "trusted": st.none() | st.booleans(), "ip": _texts, "user_agent": _texts},
        ),
        "model": st.fixed_dictionaries({"id": st.text(min_size=1, max_size=3)}, optional={"version": _texts}),
        "input": st.fixed_dictionaries(
            {},
            optional={
                "vector": st.lists(_numbers | st.none(), max_size=4) | st.none(),
                "vector_b64": st.lists(st.floats(width=32), max_size=4).map(_b64) | st.text(max_size=5) | st.none(),
            },
        ),
        "output": st.fixed_dictionaries(
            {},
            optional={
                "label": _texts | st.integers(-(2**64), 2**64),
                "probabilities": st.lists(st.floats(-1e-5, 1 + 1e-5), max_size=4) | st.none(),
            },
        ),
    },
    optional={"latency_ms": _numbers, "status": st.integers(), "sampled_rate": st.floats(0.9, 1e300), "note": _odd},
)
_places: list[tuple[str, ...]] = [
    *((name,) for name in ("event_id", "time", "client", "model", "input", "output", "latency_ms", "status")),
    *(("client", name) for name in ("id", "type", "trusted", "organization", "ip", "user_agent")),
    *(("input", name) for name in ("vector", "vector_b64")),
    *(("output", name) for name in ("label", "probabilities")),
    ("sampled_rate",),
    ("model", "id"),
    ("model", "version"),
]


def _changed(document: dict[str, Any], change: tuple[tuple[str, ...], Any] | None) -> dict[str, Any]:
    if change is not None:
        *above, name = change[0]
        target = document
        for part in above:
            target = target[part]
        target[name] = change[1]
    return document


_documents = st.builds(_changed, _plain, st.none() | st.tuples(st.sampled_from(_places), _odd))


def _agrees(line: bytes) -> bool:
    """Check one line against the reference; return whether it is an event."""
    batches, rejections, _ = Assembler(HeldClock(LAST_MS)).assemble([line], "log", first_line=1, first_sequence=0)
    try:
        event = PredictionEvent.model_validate_json(line)
    except ValidationError:
        assert usable(batches) == []
        assert len(rejections) == 1
        return False
    assert rejections == []
    (batch,) = batches
    assert batch.model == event.model.id
    assert list(batch.event_id) == [event.event_id]
    assert list(batch.client) == [event.client.id]
    assert list(batch.version) == [event.model.version]
    assert batch.time.tolist() == [event.time_ms] == [NativeDecoder().time_of(Record(line))]
    assert batch.vector.tobytes() == event.values().tobytes()
    client = event.client
    sender = Sender(client.type, client.trusted, client.organization, client.ip, client.user_agent)
    assert list(batch.sender) == [sender]
    probabilities = event.output.probabilities
    if event.output.label is not None:
        assert batch.label[0] == label_code(event.output.label)
    elif probabilities is not None and len(probabilities) > 1:
        assert batch.label[0] == label_code(probabilities.index(max(probabilities)))
    if probabilities is None:
        assert np.isnan([batch.confidence[0], batch.runner_up[0]]).all()
    elif len(probabilities) > 1:
        top = np.array(sorted(probabilities, reverse=True)[:2], dtype=np.float32)
        assert [batch.confidence[0], batch.runner_up[0]] == top.tolist()
    return True


@settings(deadline=None)
@given(_documents)
def test_exactly_the_events_of_the_reference(document: dict[str, Any]) -> None:
    """A document is an event here exactly where the reference says so, and with the same values."""
    _agrees(json.dumps(document, ensure_ascii=False).encode(errors="surrogatepass"))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60) | _documents.map(lambda d: json.dumps(d).encode()), max_size=12))
def test_every_line_is_used_or_refused_once(lines: list[bytes]) -> None:
    """Whatever the bytes are, nothing raises, nothing is lost and nothing is counted twice."""
    _conserved(lines, *_assemble(lines))


def _conserved(lines: Sequence[bytes], batches: list[Batch], rejections: list[Rejection]) -> None:
    used = [sequence for batch in batches for sequence in batch.sequence.tolist()]
    refused = [rejection.sequence for rejection in rejections]
    assert sorted(used + refused) == list(range(100, 100 + len(lines)))
    assert refused == sorted(refused)
    for batch in batches:
        assert batch.sequence.tolist() == sorted(batch.sequence.tolist())
        assert not np.isinf(batch.vector).any()
        assert not np.isnan(batch.vector).all(axis=1).any()
        assert (batch.time <= NOW + 300_000).all()
    for rejection in rejections:
        assert rejection.record == lines[rejection.sequence - 100]
        assert len(rejection.detail) <= 200


@settings(deadline=None)
@given(st.lists(_documents.map(lambda d: json.dumps(d).encode()), min_size=2, max_size=10), st.data())
def test_batches_do_not_depend_on_the_cuts(lines: list[bytes], data: st.DataObject) -> None:
    """Cut anywhere, with caches warm or cold, the stream gives the same events and the same refusals."""
    cut = data.draw(st.integers(0, len(lines)))
    assembler = Assembler(HeldClock(NOW))
    parts = [
        assembler.assemble(part, "log.jsonl", first_line=11 + start, first_sequence=100 + start)
        for start, part in ((0, lines[:cut]), (cut, lines[cut:]))
    ]
    whole = _everything(lines)
    assert parts[0][1] + parts[1][1] == whole[1]

    def rows(batches: list[Batch]) -> list[tuple[Any, ...]]:
        return sorted(
            (batch.sequence[i], batch.model, batch.client[i], batch.label[i], batch.vector[i].tobytes(), batch.time[i])
            for batch in batches
            for i in range(len(batch))
        )

    assert rows(parts[0][0] + parts[1][0]) == rows(whole[0])


_PIECES = [
    b"NaN", b"-Infinity", b"1e999", b"null", b"true", b'"x"', b"[]", b"{}", b"9" * 60, b"\0", b"\xff\xfe", b"\\ud800",
    b'"', b"\\", b",", b"}", b"[" * 3000, b'{"a":' * 3000, b'"time":7,', b"\xc3\xa9", b"\r", b" ", b"-", b"1.",
    b"\xed\xa0\x80",
]  # fmt: skip


def _mutated(line: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(line)
    for _ in range(chance.randint(1, 2)):
        place = chance.randrange(len(damaged) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            del damaged[place:]
        elif kind == 1 and place < len(damaged):
            damaged[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            damaged[place : place + chance.randrange(9)] = chance.choice(_PIECES)
        elif kind == 3:
            damaged[place:place] = chance.randbytes(chance.randrange(9))
        elif kind == 4:
            del damaged[place : place + chance.randrange(30)]
        else:
            values = [i for i, byte in enumerate(damaged) if byte in b":,["]
            start = chance.choice(values) + 1 if values else 0
            end = start
            while end < len(damaged) and damaged[end] not in b",]}":
                end += 1
            damaged[start:end] = chance.choice(_PIECES)
    return bytes(damaged)


def test_twenty_thousand_mutated_records() -> None:
    """Truncated, flipped, retyped, nested and binary records are each used or refused, as the reference would."""
    chance = random.Random(7)
    seeds = [
        _line(1, client={"id": "acme", "trusted": True, "ip": "192.0.2.1"}, sampled_rate=2, status=200),
        _line(2, time="2026-05-04T10:31:07.412Z", input={"vector_b64": _b64([1, 2, 3])}, note={"a": [1, "é"]}),
        _line(3, output={"probabilities": [0.25, 0.75]}, model={"id": "m", "version": "1"}),
    ]
    lines = [_mutated(chance.choice(seeds), chance) for _ in range(20_000)]
    batches, rejections = _assemble(lines)
    _conserved(lines, batches, rejections)
    reasons = {rejection.reason for rejection in rejections}
    assert reasons == {"encoding", "json", "schema", "not_finite", "future"}
    assert sum(map(len, batches)) > 500
    refused = {rejection.sequence: rejection.reason for rejection in rejections}
    for i, line in enumerate(lines):
        reason = refused.get(100 + i)
        try:
            PredictionEvent.model_validate_json(line)
        except ValidationError:
            assert reason is not None, line
        else:
            # The reference is for well-formed records: it does not see a NaN or broken text in an unknown field.
            assert reason in {None, "future", "not_finite", "encoding"}, (line, reason)
