"""Simulated time: clients take turns at one model, and what its serving stack would log is written down.

A queue of next queries decides who asks, so an hour of traffic takes seconds and a run with the same seed gives the same log.
"""

import heapq
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detector.contracts.moment import rfc3339
from detector.errors import ConfigError
from detector.redteam.accounts import Dealer
from detector.redteam.conversation import Array, AskedQuery, Conversation, Predict
from detector.redteam.wire import DIRECT, Wire

START_MS = 1_714_816_800_000  # 2024-05-04T10:00:00Z
USER_AGENTS = (
    "python-requests/2.31.0",
    "okhttp/4.12.0",
    "axios/1.6.8",
    "Go-http-client/2.0",
    "curl/8.5.0",
    "Apache-HttpClient/5.3 (Java/17.0.10)",
    "aiohttp/3.9.3",
    "node-fetch/3.3.2",
)
"""User agents of common HTTP clients, which the accounts of a campaign take in turn."""


def _one_account(query: AskedQuery) -> int:
    del query
    return 0


@dataclass(frozen=True, slots=True)
class Claims:
    """What the accounts of a player say of themselves: so many organisations and user agents, each said by one account in turn.

    0 says nothing. There are no more user agents than `USER_AGENTS`.
    """

    organizations: int = 0
    user_agents: int = 0

    def of(self, name: str, account: int) -> dict[str, str]:
        """Return the fields that one account adds to the client of its events.

        >>> Claims(2, 1).of("acme", 3)
        {'organization': 'acme-org-2', 'user_agent': 'python-requests/2.31.0'}
        """
        said: dict[str, str] = {}
        if self.organizations:
            said["organization"] = f"{name}-org-{account % self.organizations + 1}"
        if self.user_agents:
            said["user_agent"] = USER_AGENTS[account % min(self.user_agents, len(USER_AGENTS))]
        return said


NOTHING = Claims()


@dataclass(slots=True, eq=False)
class Player:
    """One thief or innocent and everything that it has asked and been answered so far."""

    name: str
    role: str
    hostile: bool
    conversation: Conversation
    gaps: Iterator[float]
    budget: int
    next_ms: float
    accounts: int = 1
    deal: Dealer = _one_account
    claims: Claims = NOTHING
    vectors: list[Array] = field(default_factory=list)
    answers: list[Array] = field(default_factory=list)
    synthetic: list[bool] = field(default_factory=list)
    cover: list[bool] = field(default_factory=list)

    def begin(self) -> AskedQuery | None:
        """Return the first query, None if there is none; raises `ConfigError` where the data do not go with it."""
        try:
            return next(self.conversation, None)
        except ValueError as error:
            raise ConfigError(f"{self.role}: {error}") from error

    def hear(self, query: AskedQuery, answer: Array) -> None:
        """Remember a query and its answer."""
        self.vectors.append(query.vector)
        self.answers.append(answer)
        self.synthetic.append(query.synthetic)
        self.cover.append(query.cover)

    def go_on(self) -> AskedQuery | None:
        """Return the next query after the latest answer, None once the budget is spent or nothing is left to ask."""
        if len(self.vectors) >= self.budget:
            return None
        try:
            return self.conversation.send(self.answers[-1])
        except StopIteration:
            return None


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One query that was answered at `time_ms`; the player has heard the answer."""

    time_ms: int
    player: Player
    query: AskedQuery
    answer: Array


def turns(players: Sequence[Player], predict: Predict, wire: Wire = DIRECT) -> Iterator[Turn]:
    """Let the players ask in the order of time until their budgets are spent, and close their conversations.

    The model is asked what comes through the `wire`, and the log and the players' memory hold that.

    Raises `ConfigError` where a conversation finds that it cannot begin with such data, and what the model raises.
    """
    queue: list[tuple[float, int]] = []
    queries: dict[int, AskedQuery] = {}
    try:
        for number, player in enumerate(players):
            if (first := player.begin()) is not None:
                queries[number] = first
                heapq.heappush(queue, (player.next_ms, number))
        while queue:
            now, number = heapq.heappop(queue)
            player, query = players[number], queries[number]
            query = replace(query, vector=wire.through(query.vector))
            answer = wire.reply(np.asarray(predict(query.vector[None]), dtype=np.float64))[0]
            player.hear(query, answer)
            yield Turn(int(now), player, query, answer)
            if (following := player.go_on()) is not None:
                queries[number] = following
                heapq.heappush(queue, (now + 1000.0 * next(player.gaps), number))
    finally:
        for player in players:
            player.conversation.close()


def event_id(turn: Turn) -> str:
    """The id of the latest event of a player, for its log and for the truth about it."""
    return f"{turn.player.name}#{len(turn.player.vectors)}"


def event_line(turn: Turn, client: str, model: str, digits: int, claims: Mapping[str, str] | None = None) -> bytes:
    """The line that a serving stack would log of the latest event of a player, its values rounded to `digits`.

    `claims` are further fields of its client.
    """
    return json_line(
        {
            "event_id": event_id(turn),
            "time": rfc3339(turn.time_ms),
            "client": {"id": client, "type": "api_key", **(claims or {})},
            "model": {"id": model, "version": "1"},
            "input": {"vector": [round(float(value), digits) for value in turn.query.vector]},
            "output": {
                "label": int(turn.answer.argmax()),
                "probabilities": [round(min(float(p), 1.0), 9) for p in turn.answer],
            },
            "status": 200,
        }
    )


def json_line(content: dict[str, Any]) -> bytes:
    """One line of JSON, without its end."""
    return json.dumps(content, separators=(",", ":")).encode()
