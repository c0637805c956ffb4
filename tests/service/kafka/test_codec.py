"""The normalised event: what is written is read back, and anything else is refused without harm."""

import json
import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.clock import HeldClock
from detector.contracts.dead_letter import REASONS
from detector.contracts.limits import ID_CHARACTERS, TEXT_CHARACTERS, USER_AGENT_CHARACTERS
from detector.contracts.moment import LAST_MS
from detector.ingest.assemble import Assembler
from detector.service.kafka.codec import DETAIL_CHARACTERS, WIRE_VERSION, WireEvent, WireSender, decode, encode
from detector.testing import Events, batches

SENDER = 11  # place of a field
NAN, INFINITY = float("nan"), float("inf")


def packed(*numbers: float) -> bytes:
    """Return a vector as it travels."""
    return np.array(numbers, "<f4").tobytes()


HARD: list[Any] = [
    *(None, True, 0, -1, 2**31, 2**31 - 1, -(2**31) - 1, 2**63 - 1, 2**64 - 1, -(2**63), LAST_MS, LAST_MS + 1),
    *(0.5, -1e-6, 1.000001, 1.1, -0.1, 1e300, NAN, INFINITY, -INFINITY),
    *("", "x", "x" * 257, "x" * 1025, "\x00", "\U0001f600", b"", b"abc", bytes(8), packed(NAN, INFINITY)),
    *([], {}, [None] * 5, [None, True, None, None, None], ["t", False, "o" * 300, None, None], [[[]]]),
    *(msgspec.msgpack.Ext(1, b"x"), {"a": 1}),
]


def plain(**changed: object) -> list[Any]:
    """Return the fields of a good event, some of them changed."""
    sender = WireSender("t", True, "o", "i", "u")
    event = WireEvent(WIRE_VERSION, "e", 5, "c", "m", "v", bytes(8), 1, 0.75, 0.25, 1.0, sender, 0, 0)
    fields = {name: getattr(event, name) for name in WireEvent.__struct_fields__} | changed
    return list(fields.values())


def refusal(fields: list[Any]) -> str | None:
    """Return why an event of these fields is refused, None if it is not."""
    found, unreadable = decode([msgspec.msgpack.encode(fields)], [0])
    assert len(found) + len(unreadable) == 1
    return unreadable[0].detail if unreadable else None


@given(seed=st.integers(0, 2**32 - 1), events=st.integers(1, 30))
def test_round_trip(seed: int, events: int) -> None:
    """Every column of a batch comes back as it was."""
    rng = np.random.default_rng(seed)
    maker = Events("m")
    [batch] = batches(
        [
            maker.line(
                f"c{int(rng.integers(5))}",
                rng.normal(0, 1e3, 4),
                probabilities=[0.25, 0.75] if rng.random() < 0.5 else None,
                label=int(rng.integers(9)),
                trusted=bool(rng.random() < 0.5),
                sampled_rate=float(rng.integers(1, 40)),
            )
            for _ in range(events)
        ]
    )
    [read], unreadable = decode(encode(batch), batch.sequence.tolist())
    assert not unreadable
    for name in ("sequence", "time", "vector", "label", "confidence", "runner_up", "weight", "refused", "digest"):
        np.testing.assert_array_equal(getattr(read, name), getattr(batch, name))
    assert (read.model, list(read.client), list(read.event_id)) == (batch.model, list(batch.client), list(batch.event_id))
    assert list(read.sender) == list(batch.sender)
    assert list(read.version) == list(batch.version)


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_anything_else_is_refused(records: list[bytes]) -> None:
    """Bytes that are no normalised event are named by their place, and the others are read all the same."""
    [batch] = batches([Events("m").line("c", [1.0, 2.0], 1)])
    [good] = encode(batch)
    found, unreadable = decode([*records, good], range(len(records) + 1))
    assert [entry.place for entry in unreadable] == list(range(len(records)))
    assert [read.event_id for read in found] == [["m-0"]]


def test_other_version() -> None:
    """An event of another version is refused, and both versions are named."""
    [batch] = batches([Events("m").line("c", [1.0, 2.0], 1)])
    fields = msgspec.msgpack.decode(encode(batch)[0])
    fields[0] = WIRE_VERSION + 1
    found, [refused] = decode([msgspec.msgpack.encode(fields)], [0])
    assert not found
    assert refused.detail == f"a normalised event of version {WIRE_VERSION + 1}; this version reads {WIRE_VERSION}"


def test_models_and_dimensions_apart() -> None:
    """Events of several models and dimensions become a batch each, with their places in the stream."""
    one, two = Events("one"), Events("two")
    parts = batches([one.line("c", [1.0], 1), two.line("c", [1.0], 1), one.line("c", [1.0, 2.0], 1)][:2])
    records = [record for part in parts for record in encode(part)]
    found, _ = decode(records, [7, 9])
    assert {(read.model, read.vector.shape[1], int(read.sequence[0])) for read in found} == {("one", 1, 7), ("two", 1, 9)}


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("event_id", ["x", "x" * ID_CHARACTERS, "\U0001f600" * ID_CHARACTERS], ["", "x" * (ID_CHARACTERS + 1), 5]),
        ("client", ["x", "x" * ID_CHARACTERS], ["", "x" * (ID_CHARACTERS + 1), None]),
        ("model", ["x", "x" * ID_CHARACTERS], ["", "x" * (ID_CHARACTERS + 1), b"m"]),
        ("version", [None, "", "x" * TEXT_CHARACTERS], ["x" * (TEXT_CHARACTERS + 1), 1]),
        ("time_ms", [0, LAST_MS], [-1, LAST_MS + 1, 2**63 - 1, 2**63, 1.5]),
        ("label", [-(2**31), 2**31 - 1], [-(2**31) - 1, 2**31, 2**63]),
        ("confidence", [0.0, -1e-6, 1 + 1e-6, NAN], [-2e-6, 1 + 2e-6, INFINITY, -INFINITY, None]),
        ("runner_up", [0.0, -1e-6, 1 + 1e-6, NAN], [-2e-6, 1 + 2e-6, INFINITY, -INFINITY, "0"]),
        ("weight", [1.0, 30.0, float(np.finfo(np.float32).max)], [0.0, 0.99, -1.0, NAN, INFINITY, 1e39]),
        ("vector", [bytes(4), packed(NAN, 1.0)], [b"", b"abc", bytes(5), packed(1.0, INFINITY)]),
        ("sender", [[None, False, None, None, None], [None] * 5], [[], None, [None, "yes", None, None, None]]),
        ("refused", [0], [-1, 1, len(REASONS) + 1, 256, "schema"]),
        ("digest", [0, 2**64 - 1], [-1, 0.5, None]),
    ],
)
def test_ranges(field: str, good: list[Any], bad: list[Any]) -> None:
    """Each field has the range of the native format, with its ends; what lies beyond is refused in a short sentence."""
    assert [refusal(plain(**{field: value})) for value in good] == [None] * len(good)
    told = [refusal(plain(**{field: value})) for value in bad]
    assert all(told)
    assert max(len(detail or "") for detail in told) <= DETAIL_CHARACTERS


def test_a_refused_query_travels_without_its_input() -> None:
    """Its client, reason and digest come back; with an input, or for a reason that nobody knows, it is refused."""
    fields = plain(vector=b"", event_id="", refused=len(REASONS), digest=2**63)
    [batch], unreadable = decode([msgspec.msgpack.encode(fields)], [4])
    assert not unreadable
    assert (batch.vector.shape, batch.client, batch.refused.tolist(), batch.digest.tolist()) == (
        (1, 0),
        ["c"],
        [len(REASONS)],
        [2**63],
    )
    assert refusal(plain(refused=1)) == "vector: a refused query has none"
    assert refusal(plain(vector=b"", refused=len(REASONS) + 1))


@pytest.mark.parametrize(("place", "longest"), [(0, 256), (2, 256), (3, 256), (4, USER_AGENT_CHARACTERS)])
def test_what_describes_the_client_is_bounded(place: int, longest: int) -> None:
    """Texts about the client may be empty or missing, and no longer than the native format allows."""
    sender: list[Any] = ["t", True, "o", "i", "u"]
    for text in (None, "", "x" * longest):
        sender[place] = text
        assert refusal(plain(sender=sender)) is None
    sender[place] = "x" * (longest + 1)
    assert "length" in (refusal(plain(sender=sender)) or "")


def test_an_infinite_number_costs_its_own_record_only() -> None:
    """Records of the same model and dimension are read all the same, each at its place in the stream."""
    bad = plain(vector=packed(1.0, -INFINITY))
    [batch], [unreadable] = decode(
        [msgspec.msgpack.encode(f) for f in (plain(event_id="a"), bad, plain(event_id="b"))], [7, 8, 9]
    )
    assert batch.event_id == ["a", "b"]
    assert batch.sequence.tolist() == [7, 9]
    assert (unreadable.place, unreadable.detail) == (1, "vector: holds an infinity")


def test_a_native_event_is_refused() -> None:
    """JSON is no normalised event."""
    found, [unreadable] = decode([Events("m").line("c", [1.0, 2.0], 1)], [0])
    assert not found
    assert unreadable.detail.startswith("not a normalised event")


def test_no_mutation_raises() -> None:
    """Fields exchanged for hard ones, bytes changed, cut and doubled: each record is read or refused, none raises."""
    rng = random.Random(11)
    records = []
    for _ in range(20_000):
        fields: list[Any] = plain()
        for _ in range(rng.randrange(3)):
            fields[rng.randrange(len(fields))] = rng.choice(HARD)
        if rng.random() < 0.1:
            fields[SENDER] = [rng.choice(HARD) for _ in range(5)]
        record = bytearray(msgspec.msgpack.encode(fields[: rng.choice([14, 14, 14, 13, 3])]))
        for _ in range(rng.choice([0, 0, 1, 4])):
            record[rng.randrange(len(record))] = rng.randrange(256)
        records.append(bytes(record[: rng.randrange(len(record))] if rng.random() < 0.1 else record))
    records += [b"\x91" * 5000, b"\xc1", b"", b"\x9c\x01\xd9\xff", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff"]
    found, unreadable = decode(records, range(len(records)))
    assert sum(map(len, found)) + len(unreadable) == len(records)
    assert len(unreadable) > 1000
    assert sum(map(len, found)) > 1000
    for batch in found:
        assert batch.time.min() >= 0
        assert batch.weight.min() >= 1
        assert not np.isinf(batch.vector).any()


def test_a_ranking_does_not_travel() -> None:
    """The list of a recommender is dropped before the topic: an event of a thousand items is as small as that of one."""
    sizes = []
    for items in ([f"item-{n}" for n in range(1000)], ["item-0"]):
        line = json.dumps(
            {
                "event_id": "e1",
                "time": 1_777_890_667_000,
                "client": {"id": "acme"},
                "model": {"id": "next-item"},
                "input": {"vector": [1.0]},
                "output": {"ranking": items, "ranking_scores": [0.5] * len(items)},
            }
        ).encode()
        (batch,), rejected, _ = Assembler(HeldClock(1_777_890_700_000)).assemble([line], "x", first_line=1, first_sequence=0)
        assert not rejected
        (record,) = encode(batch)
        sizes.append((len(record), batch.label.tolist()))
    assert sizes[0] == sizes[1]
