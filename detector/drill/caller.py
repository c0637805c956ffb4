"""A client of the drill: asks as a conversation of the red team wants, at a steady pace, and notes what it is told.

Whether answers are perturbed is measured, as a thief would: a query that was answered at the beginning is asked again now and
then, and another answer to the same question is no longer the model's. A model whose own answers vary cannot be judged so.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Final, NamedTuple

import numpy as np

from detector.errors import EndpointError
from detector.redteam.conversation import Array, AskedQuery
from detector.redteam.endpoint import Reply
from detector.redteam.play import Player
from detector.redteam.wire import Wire

__all__ = ["Attempt", "Caller"]

FIRST: Final = 3  # queries, of which the one with the least certain answer is asked again: a perturbation shows most there
AGAIN_EVERY: Final = 10  # queries
SAME: Final = 1e-6  # of a probability
VARIES: Final = 0.01  # of a probability, from which a model's own answers say nothing about perturbation
GIVES_UP_AFTER: Final = 10  # refusals with 403 in a row
LONGEST_WAIT_S: Final = 2.0  # of what Retry-After asks for: the drill is short


class Attempt(NamedTuple):
    """A request: when its reply came (`time.monotonic`), the status, and whether the answer was another than before."""

    at_s: float
    status: int
    coarse: bool = False


class _Known(NamedTuple):
    """A query that was answered at the beginning: how it was answered, and how far a second answer was from the first."""

    vector: Array
    answer: Array
    noise: float


@dataclass(slots=True, eq=False)
class Caller:
    """One client; `ask` sends one query in its name. It asks until its budget is spent, `stop` is set, or it is blocked.

    `attempts` grows while it asks, and another thread may read it. Whoever sets `suspects` has it compare an answer next.
    `varies` says that the model's own answers do, and `fault` what kept it from asking.
    """

    player: Player
    ask: Callable[[Array], Reply]
    wire: Wire
    per_second: float
    stop: threading.Event = field(default_factory=threading.Event)
    suspects: threading.Event = field(default_factory=threading.Event)
    attempts: list[Attempt] = field(default_factory=list)
    varies: bool = False
    fault: str | None = None
    _known: _Known | None = None

    def call(self) -> None:
        """Ask until the end; what fails is kept as `fault`."""
        try:
            self._call()
        except EndpointError as error:
            self.fault = str(error)
        except Exception as error:  # noqa: BLE001 - the thread must not end unseen: the report says what happened
            self.fault = f"{type(error).__name__}: {error}"
        finally:
            self.player.conversation.close()

    def _call(self) -> None:
        query = self.player.begin()
        blocks = 0
        while query is not None and not self.stop.is_set() and len(self.attempts) < self.player.budget:
            query = replace(query, vector=self.wire.through(query.vector))
            reply = self._send(query.vector)
            if reply.answers is None:
                if not self.player.vectors:
                    raise EndpointError(f"the first query was refused with {reply.status}: is a decision about it in force?")
                blocks = blocks + 1 if reply.status == HTTPStatus.FORBIDDEN else 0
                if blocks >= GIVES_UP_AFTER:
                    return
                self.stop.wait(min(reply.retry_after_s, LONGEST_WAIT_S))
                continue
            blocks = 0
            query = self._go_on(query, reply.answers[0])
            if len(self.player.vectors) == FIRST:
                self._learn()
            elif len(self.player.vectors) % AGAIN_EVERY == 0 or self.suspects.is_set():
                self.suspects.clear()
                self._check()

    def _go_on(self, query: AskedQuery, answer: Array) -> AskedQuery | None:
        self.player.hear(query, answer)
        return self.player.go_on()

    def _send(self, vector: Array, *, known: _Known | None = None) -> Reply:
        """Ask once, no sooner than the pace allows; where the answer is `known`, note whether it is another one."""
        if self.attempts:
            self.stop.wait(max(self.attempts[-1].at_s + 1.0 / self.per_second - time.monotonic(), 0.0))
        reply = self.ask(vector[None])
        coarse = known is not None and reply.answers is not None and _apart(reply.answers[0], known.answer) > _far(known.noise)
        self.attempts.append(Attempt(time.monotonic(), reply.status, coarse))
        return reply

    def _learn(self) -> None:
        """Ask the least certain of the first queries again, to see how far two answers of the model itself are."""
        least = min(range(FIRST), key=lambda i: float(self.player.answers[i].max()))
        vector, answer = self.player.vectors[least], self.player.answers[least]
        reply = self._send(vector)
        if reply.answers is not None:
            noise = _apart(reply.answers[0], answer)
            self.varies = noise > VARIES
            self._known = None if self.varies else _Known(vector, answer, noise)

    def _check(self) -> None:
        """Ask what is known once more."""
        if self._known is not None:
            self._send(self._known.vector, known=self._known)


def _apart(one: Array, other: Array) -> float:
    return float(np.abs(one - other).max()) if one.shape == other.shape else float("inf")


def _far(noise: float) -> float:
    return max(SAME, 3.0 * noise)
