"""Records that make the processing fail: each is found, left out and kept, and everything else comes out as without it."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from detector.engine.findings import Outputs
from detector.engine.shard import Shard
from detector.errors import BaselineError, FatalError
from detector.ingest.batch import Batch
from detector.service.sharded.culprits import MOST_AT_FIRST, MOST_IN_A_ROW, Culprits

PLACE = TopicPartition("queries", 0)


def found(bad: Callable[[Sequence[int]], bool], count: int, at_once: int) -> tuple[list[int], list[int], int]:
    """Process records as the stage does, where a stretch fails if it is `bad`; return what passed, what not, and restores.

    After each failure it goes on at the last checkpoint, which lies before the stretch that was tried.
    """
    culprits = Culprits()
    passed: list[int] = []
    left: list[int] = []
    committed = position = restores = 0
    while position < count:
        records = [SimpleNamespace(offset=offset) for offset in range(position, min(position + at_once, count))]
        for stretch in culprits.stretches(PLACE, records):
            offsets = [record.offset for record in stretch.records]
            if stretch.culprit is not None:
                left += offsets
            else:
                if stretch.tried:
                    committed = position
                if bad(offsets):
                    culprits.failed(PLACE, stretch.records, ValueError("broken"))
                    restores += 1
                    position = committed
                    passed = [offset for offset in passed if offset < position]
                    left = [offset for offset in left if offset < position]
                    culprits.restored(PLACE, position)
                    break
                culprits.passed(PLACE, stretch.records)
                passed += offsets
            position = offsets[-1] + 1
    return passed, left, restores


@given(count=st.integers(1, 300), at_once=st.integers(1, 80), broken=st.sets(st.integers(0, 299), max_size=6))
def test_halving_finds_them_all(count: int, at_once: int, broken: set[int]) -> None:
    """Exactly the broken records are left out, the others pass once and in order, in a bounded number of restores."""
    broken = {offset for offset in broken if offset < count}
    passed, left, restores = found(lambda offsets: bool(broken & set(offsets)), count, at_once)
    assert passed == [offset for offset in range(count) if offset not in broken]
    assert left == sorted(broken)
    assert restores <= len(broken) * (at_once.bit_length() + 1)


def test_records_that_fail_only_together_pass_apart() -> None:
    """Where each half passes alone, nothing is left out."""
    passed, left, restores = found(lambda offsets: {3, 40} <= set(offsets), 60, 60)
    assert (passed, left, restores) == (list(range(60)), [], 1)


def test_a_fault_that_every_record_hits_ends_it_soon() -> None:
    """Where nothing passes after a start, the program is to blame."""
    with pytest.raises(FatalError, match=rf"{MOST_AT_FIRST} records in a row failed.*ValueError: broken"):
        found(lambda _: True, 1000, 200)


def test_a_row_of_failures_ends_it_later() -> None:
    """A single client does not stop a quiet service that easily; a fault that stays does."""
    last = 10 + MOST_IN_A_ROW - 1
    passed, left, _ = found(lambda offsets: any(10 <= offset < last for offset in offsets), 200, 50)
    assert (len(passed), len(left)) == (200 - MOST_IN_A_ROW + 1, MOST_IN_A_ROW - 1)
    with pytest.raises(FatalError, match=f"{MOST_IN_A_ROW} records in a row"):
        found(lambda offsets: any(offset >= 10 for offset in offsets), 200, 50)


@pytest.mark.broker
@pytest.mark.parametrize("error", [OverflowError("too far"), BaselineError("all the same")])
def test_the_stream_goes_on_without_a_record_that_fails(
    rig: Any, stolen: list[bytes], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Results are those of the stream without it, byte for byte, and the dead letter holds it; so after a restart."""
    poison = "-401"
    process = Shard.process
    state_touched = []

    def fragile(shard: Shard, *batches: Batch) -> Outputs:
        outputs = process(shard, *batches)  # half of the harm is done when it fails
        if any(event_id.endswith(poison) for batch in batches for event_id in batch.event_id):
            state_touched.append(True)
            raise error
        return outputs

    rig.produce(stolen[:700])
    monkeypatch.setattr(Shard, "process", fragile)
    with rig.thread():
        rig.wait_done()
    rig.produce(stolen[700:])
    with rig.thread():
        rig.wait_done()
    monkeypatch.undo()
    assert len(state_touched) > 1
    dead_letters = [record for records in rig.read(rig.topics.dead_letters).values() for record in records]
    assert {dict(dead_letter.headers)["reason"] for dead_letter in dead_letters} == {b"failed"}
    places = {(int(dict(x.headers)["source_partition"]), int(dict(x.headers)["source_offset"])) for x in dead_letters}
    assert len(places) == 1
    rig.verify(repeats=True, without=places)
