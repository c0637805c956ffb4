"""Delivery: what every way to a receiver has in common.

A way takes a batch of messages and either returns, when the receiver has them, or raises: `RetryableError` when the same may
work later (nobody listens, busy, wrong password), `RefusedError` when this message never will (the receiver calls it broken or
too large). Both say how many messages of the batch are through, so that those are not sent again. A receiver that answers for
each message by itself returns an `DeliveryOutcome` instead.

What is not through is sent again until it is, so a receiver may get a message twice, when a connection broke before it could
answer; the id of the message is the same both times.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from detector.errors import RefusedError, RetryableError
from detector.sinks.message import Message

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
MOST_AT_ONCE = 500

Refuse = Callable[[Message, str], None]


@dataclass(slots=True)
class DeliveryOutcome:
    """What became of a batch, message by message.

    Places in the batch are `refused` for good, with the reason, or `left` to be tried again, for `fault`. `delivered` and
    `repeated` count what was taken now, and what was there before.
    """

    delivered: int = 0
    repeated: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    fault: RetryableError | None = None


class Delivery(ABC):
    """A way to a receiver; used by one thread at a time. A sink extends it and says at least how to `deliver`."""

    @abstractmethod
    def deliver(self, batch: Sequence[Message], /) -> DeliveryOutcome | None:
        """Return when the receiver has all of the batch, or what became of it, else raise a `DeliveryError`.

        It must end by itself, whatever the receiver does: with one deadline for each exchange.
        """

    def doubt(self) -> None:  # noqa: B027  # few can ask
        """Take note that what comes next may have been delivered before; of use where the receiver can be asked."""

    def close(self) -> None:  # noqa: B027  # some hold nothing open
        """Let go of connections and files."""


class DeliveryBatch:
    """Messages on their way; `left` is what is not through yet, in order, and what is through is counted.

    >>> class Fussy(Delivery):
    ...     def deliver(self, batch):
    ...         if any(message.id == "bad" for message in batch):
    ...             raise RefusedError("400")
    >>> refused = []
    >>> batch = DeliveryBatch([Message(name, "alert", 0, "low", b"{}") for name in ("a", "bad", "c")])
    >>> batch.push(Fussy(), lambda message, why: refused.append((message.id, why)))
    >>> refused, batch.left, batch.delivered
    ([('bad', '400')], [], 2)
    """

    def __init__(self, messages: Sequence[Message], at_once: int = MOST_AT_ONCE) -> None:
        self.left = list(messages)
        self.delivered = 0
        self.repeated = 0
        self._at_once = at_once
        self._size = at_once

    def push(self, delivery: Delivery, refuse: Refuse) -> None:
        """Deliver what is left; a message that is refused for good is handed to `refuse` and the rest goes on.

        Raises `RetryableError`; then `left` is what to try again.
        """
        while self.left:
            part = self.left[: self._size]
            try:
                outcome = delivery.deliver(part)
            except RetryableError as error:
                self._pass(error.done)
                raise
            except RefusedError as error:
                at = error.at if len(part) - error.done > 1 else error.done
                if at is None:  # halve until it is alone
                    self._size = (len(part) - error.done) // 2
                else:
                    refuse(self.left.pop(at), str(error))
                    self._size = self._at_once
                self._pass(error.done)
            else:
                if outcome is None:
                    self._pass(len(part))
                else:
                    self._take(part, outcome, refuse)

    def _pass(self, count: int) -> None:
        del self.left[:count]
        self.delivered += count

    def _take(self, part: Sequence[Message], outcome: DeliveryOutcome, refuse: Refuse) -> None:
        self.delivered += outcome.delivered
        self.repeated += outcome.repeated
        self.left[: len(part)] = [part[place] for place in outcome.left]
        for place, why in sorted(outcome.refused.items()):
            refuse(part[place], why)
        if outcome.left:
            raise outcome.fault or RetryableError("the receiver has left messages without saying why")


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
