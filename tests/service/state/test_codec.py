"""State as records: what was written last is read back, however it was cut, and what is incomplete is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import SnapshotError
from detector.service.state import codec as parts
from detector.service.state.codec import (
    MARK,
    MARK_VERSION,
    Key,
    Mark,
    StateReader,
    StateRecord,
    mark_record,
    records_of,
    sealed,
)
from detector.service.state.seal import SEAL, Seal

OURS, PLACE = Seal(7), 3
KEYS = st.sampled_from([("m", ""), ("m", "one"), ("m", "two"), ("other", "one")])


def _ours(records: list[StateRecord]) -> list[StateRecord]:
    return [sealed(record, OURS, PLACE) for record in records]


def _read(written: list[StateRecord], *, compacted: bool = False, seal: Seal = OURS, place: int = PLACE) -> parts.State:
    """Read records as they lie in the topic, or as compaction leaves them: of each key the latest, deletions dropped."""
    if compacted:
        latest = {record.key: place for place, record in enumerate(written)}
        written = [written[place] for place in sorted(latest.values()) if written[place].value is not None]
    reading = StateReader(seal, place)
    for offset, record in enumerate(written):
        reading.take(*record, offset)
    return reading.done()


@given(
    rounds=st.lists(st.dictionaries(KEYS, st.binary(max_size=40), min_size=1), min_size=1, max_size=8), compacted=st.booleans()
)
def test_what_was_written_last_is_read(rounds: list[dict[Key, bytes]], *, compacted: bool) -> None:
    """Whatever grew, shrank or was deleted over several checkpoints, the latest values are read, compacted or not."""
    before, parts.PART_BYTES = parts.PART_BYTES, 10
    try:
        written: list[StateRecord] = []
        known: dict[Key, int] = {}
        latest: dict[Key, bytes] = {}
        for offset, snapshot in enumerate(rounds):
            written.append(mark_record(offset, 6))
            for key, value in snapshot.items():
                records = records_of(key, value, before=known.pop(key, 1))
                if (count := sum(record.value is not None for record in records)) > 1:
                    known[key] = count
                written += records
                latest[key] = value
    finally:
        parts.PART_BYTES = before
    state = _read(_ours(written), compacted=compacted)
    assert state.values == {key: value for key, value in latest.items() if value}
    assert state.mark == Mark(MARK_VERSION, len(rounds) - 1, 6)
    assert state.parts == known


def test_small_values_are_one_record_without_headers() -> None:
    """Nearly all clients cost one record, and nothing beyond it."""
    [record] = records_of(("m", "c"), b"value")
    assert record.value == b"value"
    assert record.headers == []


def test_missing_part() -> None:
    """A large value of which a part is missing is refused, with the model and the part."""
    written = records_of(("m", ""), bytes(parts.PART_BYTES + 1))
    with pytest.raises(SnapshotError, match="part 2 of 2 of the state of model 'm' is missing"):
        _read(_ours(written[:1]))


@pytest.mark.parametrize(
    ("value", "words"),
    [(msgspec.msgpack.encode([MARK_VERSION + 1, 0, 0]), "a mark of version 3"), (b"\xc1", "the mark of the state is damaged")],
)
def test_marks_of_our_own_that_cannot_be_read(value: bytes, words: str) -> None:
    """A mark of another version, or a damaged one, is refused in a sentence."""
    with pytest.raises(SnapshotError, match=words):
        _read(_ours([StateRecord(msgspec.msgpack.encode([*MARK, 0]), value, [])]))


def _state() -> list[StateRecord]:
    values = {("m", ""): b"model", ("m", "one"): b"first", ("m", "two"): b"second"}
    return _ours([mark_record(5, 6), *(record for key, value in values.items() for record in records_of(key, value))])


def _forged(record: StateRecord, how: str) -> StateRecord:
    other = sealed(record._replace(headers=[]), Seal(8), PLACE)
    return {
        "no seal": record._replace(headers=[]),
        "another seed": other,
        "another value": record._replace(value=b"whitewashed"),
        "deleted": record._replace(value=None),
        "two seals": record._replace(headers=[*record.headers, *other.headers]),
        "more parts": record._replace(headers=[(parts.PARTS, b"2"), *record.headers]),
        "short seal": record._replace(headers=[(SEAL, record.headers[0][1][:8])]),
    }[how]


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize(
    "how", ["no seal", "another seed", "another value", "deleted", "two seals", "more parts", "short seal"]
)
def test_a_forged_record_changes_nothing(place: int, how: str) -> None:
    """Of each key the latest record counts that bears our seal, mark included; what does not is reported."""
    written = _state()
    clean = _read(written)
    state = _read([*written, _forged(written[place], how)])
    assert (state.values, state.mark, state.parts) == (clean.values, clean.mark, clean.parts)
    assert (state.foreign_count, [record.offset for record in state.foreign]) == (1, [4])


def test_a_record_cannot_be_moved() -> None:
    """Neither to another client nor to another partition."""
    mark, model, one, two = _state()
    assert _read([mark, model, one, two._replace(value=one.value, headers=one.headers)]).values == {
        ("m", ""): b"model",
        ("m", "one"): b"first",
    }
    moved = _read(_state(), place=PLACE + 1)
    assert (moved.values, moved.mark, moved.foreign_count) == ({}, None, 4)


def test_another_seed_reads_nothing() -> None:
    """Under another seed no record has a valid seal, and all are counted."""
    state = _read(_state(), seal=Seal(8))
    assert (state.values, state.mark, state.foreign_count) == ({}, None, 4)


def test_a_client_destroyed_by_compaction_is_missing() -> None:
    """Where nothing else is left under its key, a client begins anew, and the others go on."""
    written = _state()
    state = _read([*written, _forged(written[2], "no seal")], compacted=True)
    assert state.values == {("m", ""): b"model", ("m", "two"): b"second"}
    assert state.mark is not None
    assert [record.whose for record in state.foreign] == ["client 'one' of model 'm'"]


def test_a_model_destroyed_by_compaction_is_missing_with_its_clients() -> None:
    """Without what belongs to the model its clients mean nothing; other models go on."""
    written = [*_state(), *_ours([*records_of(("n", ""), b"other"), *records_of(("n", "one"), b"third")])]
    state = _read([*written, _forged(written[1], "no seal")], compacted=True)
    assert state.values == {("n", ""): b"other", ("n", "one"): b"third"}
    assert state.lost == ["m"]


def test_a_part_destroyed_by_compaction() -> None:
    """A large value that lacks a part is missing as a whole."""
    written = _ours([mark_record(5, 6), *records_of(("m", ""), bytes(parts.PART_BYTES + 1)), *records_of(("n", ""), b"n")])
    state = _read([*written, _forged(written[2], "no seal")], compacted=True)
    assert state.values == {("n", ""): b"n"}
    assert state.parts == {}


@given(st.lists(st.tuples(st.none() | st.binary(max_size=20), st.none() | st.binary(max_size=20), st.binary(max_size=9))))
def test_garbage_is_left_out(garbage: list[tuple[bytes | None, bytes | None, bytes]]) -> None:
    """Whatever lies in the topic besides, and whatever its headers say, what is ours is read."""
    reading = StateReader(OURS, PLACE)
    for record in _state():
        reading.take(*record)
    for key, value, text in garbage:
        reading.take(key, value, [(parts.PARTS, text), (SEAL, text), (SEAL, None)])
    state = reading.done()
    assert state.values == _read(_state()).values
    assert state.foreign_count == len(garbage)
    assert all(record.whose for record in state.foreign)


def test_only_the_first_strange_records_are_kept() -> None:
    """A flood of them is counted."""
    reading = StateReader(OURS, PLACE)
    for offset in range(parts.MOST_FOREIGN + 5):
        reading.take(b"key", b"value", [], offset)
    state = reading.done()
    assert (state.foreign_count, len(state.foreign)) == (parts.MOST_FOREIGN + 5, parts.MOST_FOREIGN)
