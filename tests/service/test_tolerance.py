"""The limit to what may be refused: when it stops the service, and that nothing is lost by it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import FatalError
from detector.service.tolerance import LEAST, WINDOW, Tolerance
from detector.service.worker import Stage
from detector.testing import traffic

BATCHES = st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 1)).map(lambda b: (b[0], int(b[0] * b[1]))), max_size=40)


def bad(count: int, reason: str = "json") -> list[tuple[str, str]]:
    return [(reason, "broken at byte 7")] * count


@given(BATCHES, st.sampled_from([0.1, 0.5, 1.0]))
def test_it_stops_when_too_many_of_the_latest_were_refused(batches: list[tuple[int, int]], ratio: float) -> None:
    """Exactly when the share among the batches that hold the last 10,000 records is beyond the limit; with 1 never."""
    tolerance = Tolerance(ratio)
    for i, (records, refused) in enumerate(batches):
        latest: list[tuple[int, int]] = []
        for batch in reversed(batches[: i + 1]):
            if sum(records for records, _ in latest) >= WINDOW:
                break
            latest.append(batch)
        seen, lost = sum(records for records, _ in latest), sum(lost for _, lost in latest)
        if lost > ratio * max(seen, LEAST):
            assert ratio < 1
            with pytest.raises(FatalError):
                tolerance.note(records, bad(refused))
            return
        tolerance.note(records, bad(refused))


def test_a_few_bad_records_never_stop_it() -> None:
    """At the start, or in a log with little traffic, some bad ones are nothing, even if there is nothing else."""
    tolerance = Tolerance(0.5)
    for _ in range(LEAST // 2):
        tolerance.note(1, bad(1))
    with pytest.raises(FatalError):
        tolerance.note(1, bad(1))


def test_the_sentence_has_what_is_needed_to_act() -> None:
    """How many of how many, which reasons, an example, what happens to the rest, and both ways out."""
    tolerance = Tolerance(0.25)
    tolerance.note(4000, bad(10, "late"))
    with pytest.raises(FatalError) as stopped:
        tolerance.note(2000, bad(1990, "dimension"))
    said = str(stopped.value)
    for words in (
        "2,000 of the last 6,000 records were refused (dimension 1,990, late 10)",
        "[kafka] dead_letter_ratio = 0.25",
        "the last one: broken at byte 7",
        "nothing is lost",
        "dead_letter_ratio = 1",
    ):
        assert words in said


@pytest.mark.broker
def test_a_bad_deployment_stops_ingest_and_costs_nothing(rig_at: Callable[..., Any], broker: str) -> None:
    """Good records pass, a flood of bad ones stops the service for good; with the limit lifted everything arrives."""
    rig = rig_at(broker)
    good = traffic(seed=5, innocents=4, thieves=0, queries=100)
    flood = [b'{"new": "format", "number": %d}' % i for i in range(3000)]
    rig.produce(good)
    with rig.thread():
        rig.wait_done()
    rig.produce(flood)
    for _ in range(2):
        with pytest.raises(FatalError, match=r"records were refused \(schema"), rig.thread():
            rig.wait_failed()
    letters = {record.value for records in rig.read(rig.topics.dead_letters).values() for record in records}
    assert 0 < len(flood) - len(letters) <= rig.lag(Stage.INGEST)
    rig.config = rig.config.model_copy(update={"kafka": rig.config.kafka.model_copy(update={"dead_letter_ratio": 1.0})})
    with rig.thread():
        rig.wait_done()
    letters = {record.value for records in rig.read(rig.topics.dead_letters).values() for record in records}
    assert letters == set(flood)


@pytest.mark.broker
def test_a_bad_deployment_stops_detection_of_a_keyed_log(rig_at: Callable[..., Any], broker: str) -> None:
    """Where detection reads the log itself, it stops likewise, and no offset passes what was not written."""
    rig = rig_at(broker, keyed=True, dead_letter_ratio=0.3)
    lines = traffic(seed=5, innocents=3, thieves=0, queries=50)
    flood = [json.dumps({"client": {"id": f"c-{i % 9}"}, "number": i}).encode() for i in range(3000)]
    rig.produce_keyed([*lines, *flood])
    with pytest.raises(FatalError, match=r"records were refused \(schema"), rig.thread():
        rig.wait_failed()
    letters = {record.value for records in rig.read(rig.topics.dead_letters).values() for record in records}
    assert len(flood) - len(letters) <= rig.lag(Stage.DETECT)
    rig.config = rig.config.model_copy(update={"kafka": rig.config.kafka.model_copy(update={"dead_letter_ratio": 1.0})})
    with rig.thread():
        rig.wait_done(stage=Stage.DETECT)
    letters = {record.value for records in rig.read(rig.topics.dead_letters).values() for record in records}
    assert letters == set(flood)
