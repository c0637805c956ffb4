"""What all deliveries share: order, refusals, pauses."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import RefusedError, RetryableError
from detector.sinks.delivery import Backoff, Delivery, DeliveryBatch, DeliveryOutcome
from detector.sinks.message import Message


class Receiver(Delivery):
    """A receiver with a mind of its own: refuses some for good, is busy now and then, and says how far it came."""

    def __init__(self, bad: set[str], busy: Callable[[], bool], *, exact: bool) -> None:
        self.taken: list[str] = []
        self._bad = bad
        self._busy = busy
        self._exact = exact

    def deliver(self, batch: Sequence[Message]) -> None:
        """Take one after the other, or, where it cannot tell which is bad, all or none."""
        if not self._exact and any(message.id in self._bad for message in batch):
            raise RefusedError("something is bad")
        for done, message in enumerate(batch):
            if self._busy():
                raise RetryableError("busy", done=done)
            if message.id in self._bad:
                raise RefusedError("bad", done=done, at=done)
            self.taken.append(message.id)


class Thorough(Delivery):
    """A receiver that answers for each message: it may be busy for one and have taken the next."""

    def __init__(self, bad: set[str], busy: Callable[[], bool]) -> None:
        self.taken: list[str] = []
        self._bad = bad
        self._busy = busy

    def deliver(self, batch: Sequence[Message]) -> DeliveryOutcome:
        """Say of each what became of it."""
        outcome = DeliveryOutcome()
        for place, message in enumerate(batch):
            if self._busy():
                outcome.left.append(place)
                outcome.fault = RetryableError("busy")
            elif message.id in self._bad:
                outcome.refused[place] = "bad"
            elif message.id in self.taken:
                outcome.repeated += 1
            else:
                self.taken.append(message.id)
                outcome.delivered += 1
        return outcome


class Silent(Delivery):
    """Leaves everything and does not say why."""

    def deliver(self, batch: Sequence[Message]) -> DeliveryOutcome:
        """Take nothing."""
        return DeliveryOutcome(left=list(range(len(batch))))


@given(st.integers(0, 40), st.sets(st.integers(0, 40)), st.integers(1, 9), st.booleans(), st.randoms(use_true_random=False))
def test_everything_arrives_once_and_in_order(
    count: int, bad: set[int], at_once: int, exact: bool, chance: random.Random
) -> None:
    """Whatever a receiver refuses and however often it is busy, it gets the rest once and in order."""
    bad_ids = {str(i) for i in bad}
    receiver = Receiver(bad_ids, lambda: chance.random() < 0.3, exact=exact)
    load = DeliveryBatch([Message(str(i), "alert", 0, "low", b"") for i in range(count)], at_once)
    refused: list[str] = []
    for _ in range(10_000):
        try:
            load.push(receiver, lambda message, _why: refused.append(message.id))
        except RetryableError:
            continue
        break
    ids = [str(i) for i in range(count)]
    assert receiver.taken == [one for one in ids if one not in bad_ids]
    assert refused == [one for one in ids if one in bad_ids]
    assert load.left == []
    assert load.delivered == len(receiver.taken)


@given(st.integers(0, 40), st.sets(st.integers(0, 40)), st.integers(1, 9), st.randoms(use_true_random=False))
def test_a_receiver_that_answers_for_each_message(count: int, bad: set[int], at_once: int, chance: random.Random) -> None:
    """Each is taken once or refused once, whatever is left in between, and all of it is counted."""
    bad_ids = {str(i) for i in bad}
    receiver = Thorough(bad_ids, lambda: chance.random() < 0.3)
    load = DeliveryBatch([Message(str(i), "alert", 0, "low", b"") for i in range(count)], at_once)
    refused: list[str] = []
    for _ in range(10_000):
        try:
            load.push(receiver, lambda message, _why: refused.append(message.id))
        except RetryableError:
            continue
        break
    ids = [str(i) for i in range(count)]
    assert sorted(receiver.taken, key=int) == [one for one in ids if one not in bad_ids]
    assert sorted(refused, key=int) == [one for one in ids if one in bad_ids]
    assert (load.left, load.delivered, load.repeated) == ([], len(receiver.taken), 0)


def test_messages_left_without_a_reason_do_not_end_in_a_circle() -> None:
    """A sink that leaves something and names no fault is tried again later, not at once and for ever."""
    load = DeliveryBatch([Message("a", "alert", 0, "low", b"")])
    with pytest.raises(RetryableError, match="without saying why"):
        load.push(Silent(), lambda *_: None)
    assert len(load.left) == 1


@given(st.integers(0, 2**32))
def test_pauses_grow_and_are_never_all_alike(seed: int) -> None:
    """Each pause lies between half and all of twice the last, up to the longest, and begins anew after a success."""
    backoff = Backoff(random.Random(seed), first_s=1.0, longest_s=16.0)
    for expected in (1, 2, 4, 8, 16, 16, 16):
        assert expected / 2 <= backoff.next() <= expected
    assert backoff.next(after_s=100.0) == 100.0
    backoff.reset()
    assert backoff.next() <= 1.0
