"""State as records: what was written last is read back, however it was cut, and what is incomplete is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import SnapshotError
from detector.service import parts
from detector.service.parts import MARK, MARK_VERSION, Key, Mark, Reading, StateRecord, mark_record, records_of

KEYS = st.sampled_from([("m", ""), ("m", "one"), ("m", "two"), ("other", "one")])


def _read(written: list[StateRecord], *, compacted: bool = False) -> parts.State:
    """Read records as they lie in the topic, or as compaction leaves them: of each key the latest, deletions dropped."""
    if compacted:
        latest = {record.key: place for place, record in enumerate(written)}
        written = [written[place] for place in sorted(latest.values()) if written[place].value is not None]
    reading = Reading()
    for record in written:
        reading.take(*record)
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
    state = _read(written, compacted=compacted)
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
        _read(written[:1])


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (msgspec.msgpack.encode(["m", "c"]), b"", "not a part of the state"),
        (b"\xc1", b"", "not a part of the state"),
        (msgspec.msgpack.encode([*MARK, 0]), msgspec.msgpack.encode([MARK_VERSION + 1, 0, 0]), "a mark of version 3"),
        (msgspec.msgpack.encode([*MARK, 0]), b"\xc1", "the mark of the state is damaged"),
    ],
)
def test_foreign_records(key: bytes, value: bytes, words: str) -> None:
    """What is no state of ours, or of another version, is refused in a sentence."""
    with pytest.raises(SnapshotError, match=words):
        _read([StateRecord(key, value, [])])
