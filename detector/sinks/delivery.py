"""Delivery: the interface of every sink that sends to a receiver.

A delivery sends a batch of messages. It returns when the receiver has them, or raises: `RetryableError` when the same may work
later (nobody listens, busy, wrong password), `RefusedError` when this message never will (invalid or too large). Both say how
many messages of the batch are delivered, so that those are not sent again. A receiver that answers for each message returns a
`DeliveryOutcome` instead.

Undelivered messages are sent again until they are delivered. So a receiver may get a message twice, when a connection broke
before its answer; the id of the message is the same both times.
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
    """The outcome of a batch, message by message.

    `refused` maps places in the batch to the reason of a final refusal; `left` are places to be tried again, because of
    `fault`. `delivered` counts messages accepted now, `repeated` those that were there before.
    """

    delivered: int = 0
    repeated: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)
    fault: RetryableError | None = None


class Delivery(ABC):
    """A connection to a receiver; used by one thread at a time. A sink extends it and implements at least `deliver`."""

    @abstractmethod
    def deliver(self, batch: Sequence[Message], /) -> DeliveryOutcome | None:
        """Return when the receiver has all of the batch, or the outcome by message; otherwise raise a `DeliveryError`.

        It must end whatever the receiver does: give each request one deadline.
        """

    def doubt(self) -> None:  # noqa: B027  # optional: few receivers can be asked
        """Note that the next messages may have been delivered before; of use where the receiver can be asked."""

    def close(self) -> None:  # noqa: B027  # optional: some hold nothing open
        """Close connections and files."""


class DeliveryBatch:
    """A batch being delivered: `left` are the undelivered messages, in order; delivered ones are counted.

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
        """Deliver what is left; `refuse` is called for a message that is refused for good, and the rest is delivered.

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
                if at is None:  # halve the batch until the refused message is alone
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
    """The pause before the next attempt: it doubles each time, up to a minute; half of it is random.

    Random, so that many senders that lost the same receiver do not all retry at the same moment.

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
        """Start again with the shortest pause, after a success."""
        self._s = self._first_s
