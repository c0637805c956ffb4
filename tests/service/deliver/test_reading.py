"""How far a receiver is: never beyond what it has, in any order of finishing, and nothing of what is forgotten counts."""

import random

from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition

from detector.service.deliver.reading import DeliveryProgress
from detector.sinks.entry import Entry
from detector.sinks.receiver import DeliveryRecord

PLACE = TopicPartition("alerts", 3)


def entries(*offsets: int) -> list[Entry]:
    """Return entries of the partition."""
    return [Entry(DeliveryRecord("alert", b"{}"), PLACE.topic, offset, PLACE.partition) for offset in offsets]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40, unique=True), st.randoms(use_true_random=False))
def test_offsets_never_pass_what_is_not_finished(offsets: list[int], chance: random.Random) -> None:
    """After each step the offset is that of the first which is not finished, and at the end behind the last."""
    read = entries(*sorted(offsets))
    progress = DeliveryProgress()
    at = chance.randint(1, len(read))
    for part in (read[:at], read[at:]):
        if part:
            progress.read(PLACE, part)
    left = list(read)
    while left:
        done = chance.sample(left, chance.randint(1, len(left)))
        left = [entry for entry in left if entry not in done]
        news = progress.finish(done)
        assert progress.reached[PLACE] == (left[0].number if left else read[-1].number + 1)
        assert news in ({}, progress.reached)


def test_what_is_forgotten_does_not_count() -> None:
    """A partition that went away and came back begins again, whatever an attempt from before still finishes."""
    progress = DeliveryProgress()
    before, again = entries(5, 6, 7), entries(5, 6, 7)
    progress.read(PLACE, before)
    progress.forget([PLACE])
    assert progress.finish(before) == {}
    progress.read(PLACE, again)
    assert progress.finish(before) == {}
    assert progress.finish(again[1:]) == {}
    assert progress.finish(again[:1]) == {PLACE: 8}
