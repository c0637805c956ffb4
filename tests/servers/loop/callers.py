"""Thieves and innocents of the red team as callers over HTTP, each with a pace of its own."""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import NamedTuple

import numpy as np

from detector.redteam.conversation import Array
from detector.redteam.play import Player

__all__ = ["Attempt", "Caller", "run"]

DIGITS = 4  # of the values that are sent, as in the log that the baseline was fitted on
GIVES_UP_AFTER = 10  # refusals by a block
LONGEST_WAIT_S = 2.0  # of what Retry-After asks for
LEAST_WAIT_S = 0.02  # after a refusal


class Attempt(NamedTuple):
    """A request: when its response came (`time.monotonic`), and the status."""

    at_s: float
    status: int


@dataclass(slots=True, eq=False)
class Caller:
    """A player who asks at `port` under a key of his own, `pause_s` after each answer.

    He ends when his budget is spent, when he was refused by a block some times, or `patience_s` after his first 429. Until then
    he comes again: when he is told to, or where he does not heed that, at once.
    """

    player: Player
    port: int
    path: str
    pause_s: float = 0.0
    patience_s: float = 5.0
    heeds: bool = True
    attempts: list[Attempt] = field(default_factory=list)
    fault: str | None = None

    @property
    def answers(self) -> int:
        """How many requests were answered."""
        return len(self.player.vectors)

    def call(self, stop: threading.Event) -> None:
        """Ask until the end, or until `stop`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            self._call(connection, stop)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.fault = f"{type(error).__name__}: {error}"
        finally:
            connection.close()
            self.player.conversation.close()

    def _call(self, connection: http.client.HTTPConnection, stop: threading.Event) -> None:
        query = self.player.begin()
        blocks, slowed_s = 0, float("inf")
        while query is not None and not stop.is_set():
            query = replace(query, vector=np.round(query.vector, DIGITS))
            status, wait_s, answer = self._ask(connection, query.vector)
            self.attempts.append(Attempt(time.monotonic(), status))
            if answer is not None:
                self.player.hear(query, answer)
                query = self.player.go_on()
                stop.wait(self.pause_s)
                continue
            blocks += status == HTTPStatus.FORBIDDEN
            slowed_s = min(slowed_s, time.monotonic())
            if blocks >= GIVES_UP_AFTER or (blocks == 0 and time.monotonic() - slowed_s > self.patience_s):
                return
            stop.wait(max(self.pause_s, LEAST_WAIT_S, min(wait_s, LONGEST_WAIT_S) if self.heeds else 0.0))

    def _ask(self, connection: http.client.HTTPConnection, vector: Array) -> tuple[int, float, Array | None]:
        headers = {"Authorization": f"Bearer key-of-{self.player.name}", "Content-Type": "application/json"}
        connection.request("POST", self.path, json.dumps({"instances": [vector.tolist()]}).encode(), headers)
        response = connection.getresponse()
        content = response.read()
        if response.status != HTTPStatus.OK:
            return response.status, float(response.getheader("Retry-After") or 0.0), None
        return response.status, 0.0, np.asarray(json.loads(content)["predictions"][0], dtype=np.float64)


def run(callers: Sequence[Caller]) -> None:
    """Let all of them call at once until each has ended. Raises what interrupts it, after they have stopped."""
    stop = threading.Event()
    threads = [threading.Thread(target=caller.call, args=(stop,), daemon=True) for caller in callers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)
    finally:
        stop.set()
        for thread in threads:
            if thread.ident is not None:  # it was started before the interruption
                thread.join(5.0)
