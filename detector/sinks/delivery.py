"""Delivery: what every way to a receiver has in common.

A way takes a batch of messages and either returns, when the receiver has them, or raises: `RetryableError` when the same may
work later (nobody listens, busy, wrong password), `RefusedError` when this message never will (the receiver calls it broken or
too large). Both say how many messages of the batch are through, so that those are not sent again.

What is not through is sent again until it is, so a receiver may get a message twice, when a connection broke before it could
answer; the id of the message is the same both times. `Consignment` is a batch on its way, `Courier` a thread that carries
messages from a queue: each receiver has its own, so one that fails or is slow holds nobody else up.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from detector.errors import DetectorError
from detector.sinks.message import Message

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
MOST_AT_ONCE = 500
LAST_S = 5.0  # for an attempt that is under way when patience ends

log = structlog.get_logger(__name__)

Refuse = Callable[[Message, str], None]


class DeliveryError(DetectorError):
    """Messages were not delivered; the first `done` of the batch were."""

    def __init__(self, text: str, *, done: int = 0) -> None:
        super().__init__(text)
        self.done = done


class RetryableError(DeliveryError):
    """The same may work later, at the earliest in `after_s` seconds where the receiver said so."""

    def __init__(self, text: str, *, done: int = 0, after_s: float = 0.0) -> None:
        super().__init__(text, done=done)
        self.after_s = after_s


class RefusedError(DeliveryError):
    """The receiver will never take the message at place `at` of the batch, or, if that is None, some of those not done."""

    def __init__(self, text: str, *, done: int = 0, at: int | None = None) -> None:
        super().__init__(text, done=done)
        self.at = at


class Delivery(Protocol):
    """A way to a receiver; used by one thread at a time."""

    def deliver(self, batch: Sequence[Message], /) -> None:
        """Return when the receiver has all of the batch, else raise a `DeliveryError`."""

    def close(self) -> None:
        """Let go of connections and files."""


class Consignment:
    """A batch on its way; `left` is what is not through yet, in order.

    >>> class Fussy:
    ...     def deliver(self, batch):
    ...         if any(message.id == "bad" for message in batch):
    ...             raise RefusedError("400")
    ...     def close(self): ...
    >>> refused = []
    >>> batch = Consignment([Message(name, "alert", 0, "low", b"{}") for name in ("a", "bad", "c")])
    >>> batch.push(Fussy(), lambda message, why: refused.append((message.id, why)))
    >>> refused, batch.left
    ([('bad', '400')], [])
    """

    def __init__(self, messages: Sequence[Message], at_once: int = MOST_AT_ONCE) -> None:
        self.left = list(messages)
        self._at_once = at_once
        self._size = at_once

    def push(self, delivery: Delivery, refuse: Refuse) -> None:
        """Deliver what is left; a message that is refused for good is handed to `refuse` and the rest goes on.

        Raises `RetryableError`; then `left` is what to try again.
        """
        while self.left:
            part = self.left[: self._size]
            try:
                delivery.deliver(part)
            except RetryableError as error:
                del self.left[: error.done]
                raise
            except RefusedError as error:
                at = error.at if len(part) - error.done > 1 else error.done
                if at is None:  # halve until it is alone
                    self._size = (len(part) - error.done) // 2
                else:
                    refuse(self.left.pop(at), str(error))
                    self._size = self._at_once
                del self.left[: error.done]
            else:
                del self.left[: len(part)]


class Backoff:
    """How long to wait before the next attempt: twice as long each time, half of it at random, up to a minute.

    Random, so that many senders that lost the same receiver do not all come back in the same moment.

    >>> pauses = Backoff(random.Random(1))
    >>> [0.25 <= pauses.next() <= 0.5, 0.5 <= pauses.next() <= 1.0, pauses.next(after_s=90) >= 90]
    [True, True, True]
    """

    def __init__(
        self, chance: random.Random | None = None, first_s: float = FIRST_PAUSE_S, longest_s: float = LONGEST_PAUSE_S
    ) -> None:
        self._chance = chance or random.Random()
        self._first_s = first_s
        self._longest_s = longest_s
        self._s = first_s

    def next(self, after_s: float = 0.0) -> float:
        """Return the seconds to wait, at least `after_s`."""
        pause = self._s * (0.5 + self._chance.random() / 2)
        self._s = min(2 * self._s, self._longest_s)
        return max(pause, after_s)

    def reset(self) -> None:
        """Begin anew: something went through."""
        self._s = self._first_s


class Courier:
    """Carries messages to one receiver, in a thread of its own, from a queue that holds `capacity`.

    `refuse` is told what the receiver will never take, in the courier's thread.
    """

    def __init__(
        self,
        name: str,
        delivery: Delivery,
        refuse: Refuse,
        *,
        capacity: int = 10_000,
        at_once: int = MOST_AT_ONCE,
        backoff: Backoff | None = None,
    ) -> None:
        self.name = name
        self.delivered = 0
        self.trouble = ""
        self._delivery = delivery
        self._refuse = refuse
        self._capacity = capacity
        self._at_once = at_once
        self._backoff = backoff or Backoff()
        self._queue: deque[Message] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._giving_up = threading.Event()
        self._under_way: Consignment | None = None
        self._thread = threading.Thread(target=self._carry, name=f"delivery {name}", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> bool:
        """Queue a message, without waiting; False when there is no room."""
        with self._changed:
            if self._closing or len(self._queue) >= self._capacity:
                return False
            self._queue.append(message)
            self._changed.notify()
            return True

    def close(self, patience_s: float, last_s: float = LAST_S) -> list[Message]:
        """Deliver what is queued for up to `patience_s`, then stop; return what is not known to be delivered.

        An attempt that is under way then has `last_s` to end. One that does not is left alone: whatever the receiver does, this
        returns, and what the attempt carries counts as not delivered although the receiver may yet get it.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience_s)
        self._giving_up.set()
        self._thread.join(last_s)
        under_way = self._under_way
        return [*(() if under_way is None else under_way.left), *self._queue]

    def _carry(self) -> None:
        try:
            while (batch := self._take()) is not None:
                before = len(batch)
                refused = 0

                def refuse(message: Message, why: str) -> None:
                    nonlocal refused
                    refused += 1
                    self._refuse(message, why)

                self._under_way = consignment = Consignment(batch, self._at_once)
                gone = self._push(consignment, refuse)
                self.delivered += before - len(consignment.left) - refused
                if not gone:
                    return
                self._under_way = None
        finally:
            self._delivery.close()

    def _take(self) -> list[Message] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closing)
            if self._giving_up.is_set():
                return None
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._at_once))]
            return batch or None

    def _push(self, consignment: Consignment, refuse: Refuse) -> bool:
        """Try until all is through, which is True, or until there is no more patience."""
        while not self._giving_up.is_set():
            before = len(consignment.left)
            try:
                consignment.push(self._delivery, refuse)
            except RetryableError as error:
                self.trouble = str(error)
                if len(consignment.left) < before:
                    self._backoff.reset()
                pause_s = self._backoff.next(error.after_s)
                log.warning("not delivered, trying again", delivery=self.name, cause=str(error), in_seconds=round(pause_s, 1))
                self._giving_up.wait(pause_s)
            else:
                self.trouble = ""
                self._backoff.reset()
                return True
        return False


def wait_until(stop: threading.Event, seconds: float, slice_s: float = 1.0, beat: Callable[[], None] | None = None) -> None:
    """Wait for `seconds` or until `stop` is set, with a `beat` now and then."""
    until = time.monotonic() + seconds
    while not stop.is_set() and (left := until - time.monotonic()) > 0:
        if beat is not None:
            beat()
        stop.wait(min(left, slice_s))
