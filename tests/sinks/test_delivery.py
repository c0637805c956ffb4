"""What all deliveries share: order, refusals, patience, and couriers that do not hold each other up."""

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.sinks.delivery import Backoff, Consignment, Courier, RefusedError, RetryableError, wait_until
from detector.sinks.message import Message
from detector.sinks.webhook import Webhook

SECRET = "a secret that both sides know"


class Receiver:
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

    def close(self) -> None:
        """Nothing is open."""


@given(st.integers(0, 40), st.sets(st.integers(0, 40)), st.integers(1, 9), st.booleans(), st.randoms(use_true_random=False))
def test_everything_arrives_once_and_in_order(
    count: int, bad: set[int], at_once: int, exact: bool, chance: random.Random
) -> None:
    """Whatever a receiver refuses and however often it is busy, it gets the rest once and in order."""
    bad_ids = {str(i) for i in bad}
    receiver = Receiver(bad_ids, lambda: chance.random() < 0.3, exact=exact)
    load = Consignment([Message(str(i), "alert", 0, "low", b"") for i in range(count)], at_once)
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


@given(st.integers(0, 2**32))
def test_pauses_grow_and_are_never_all_alike(seed: int) -> None:
    """Each pause lies between half and all of twice the last, up to the longest, and begins anew after a success."""
    backoff = Backoff(random.Random(seed), first_s=1.0, longest_s=16.0)
    for expected in (1, 2, 4, 8, 16, 16, 16):
        assert expected / 2 <= backoff.next() <= expected
    assert backoff.next(after_s=100.0) == 100.0
    backoff.reset()
    assert backoff.next() <= 1.0


def test_waiting_ends_when_asked_to() -> None:
    """An hour's pause ends at once when the stop is set, with a beat before it."""
    stop = threading.Event()
    wait_until(stop, 3600.0, beat=stop.set)
    assert stop.is_set()


@pytest.fixture
def nothing_refused() -> Callable[[Message, str], None]:
    """Return a handler that fails the test when something is refused."""
    return lambda message, why: pytest.fail(f"{message.id}: {why}")


def quick() -> Backoff:
    """Return pauses that are short."""
    return Backoff(first_s=0.001, longest_s=0.01)


def test_one_that_fails_holds_up_no_other(
    make_message: Callable[..., Message],
    web_receiver: Callable[..., Any],
    until: Callable[..., None],
    deaf_port: int,
    nothing_refused: Callable[[Message, str], None],
) -> None:
    """While one receiver is away, one busy and one silent, the fourth gets everything; afterwards so do the others."""
    good, busy, silent = web_receiver(), web_receiver(), web_receiver()
    speak = threading.Event()
    busy.answer = lambda *_: (503, b"", {})
    silent.answer = lambda *_: (200, b"", {}) if speak.wait(60) else None
    urls = {"good": good.url, "busy": busy.url, "silent": silent.url, "away": f"http://127.0.0.1:{deaf_port}"}
    couriers = {
        name: Courier(name, Webhook(url, SECRET, timeout_s=60.0), nothing_refused, backoff=quick())
        for name, url in urls.items()
    }
    for i in range(50):
        for courier in couriers.values():
            assert courier.put(make_message(i))
    until(lambda: couriers["good"].delivered == 50)
    assert [couriers[name].delivered for name in ("busy", "silent", "away")] == [0, 0, 0]
    until(lambda: "503" in couriers["busy"].trouble and couriers["away"].trouble)

    busy.answer = lambda *_: (200, b"", {})
    speak.set()
    web_receiver(port=deaf_port)
    for courier in couriers.values():
        assert courier.close(60.0) == []
        assert courier.delivered == 50


def test_what_is_not_delivered_is_given_back(
    make_message: Callable[..., Message], deaf_port: int, nothing_refused: Callable[[Message, str], None]
) -> None:
    """A courier that runs out of patience returns all it still has, in order, and a full one takes no more."""
    courier = Courier("away", Webhook(f"http://127.0.0.1:{deaf_port}", SECRET), nothing_refused, capacity=30, backoff=quick())
    taken = [make_message(i) for i in range(200) if courier.put(make_message(i))]
    assert 30 <= len(taken) < 200
    assert courier.close(0.0) == taken
    assert not courier.put(make_message(0))


def test_what_is_refused_is_handed_over(
    make_message: Callable[..., Message], web_receiver: Callable[..., Any], until: Callable[..., None]
) -> None:
    """A message that the receiver calls broken is reported with what it said, and the others pass."""
    server = web_receiver()
    server.answer = lambda _path, headers, _body: (422 if headers["webhook-id"] == "3" else 200, b"no such field", {})
    refused: list[tuple[str, str]] = []
    courier = Courier("hook", Webhook(server.url, SECRET), lambda message, why: refused.append((message.id, why)))
    for i in range(6):
        courier.put(make_message(i))
    until(lambda: courier.delivered == 5)
    assert courier.close(60.0) == []
    assert refused == [("3", "422 no such field")]
