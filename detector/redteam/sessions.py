"""Sessions: thieves and innocents play against one model, and what a serving stack would log of it is written down.

Time is simulated, so an hour of traffic takes seconds and a run with the same seed gives the same log. Beside the log
goes the truth, which no log has: who was a thief, and which queries were made or cover.
"""

import heapq
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from detector.contracts.moment import rfc3339
from detector.errors import ConfigError
from detector.redteam.accounts import SPLITS, Dealer
from detector.redteam.arrivals import ARRIVALS
from detector.redteam.conversation import Array, Conversation, Query
from detector.redteam.copy import best_fidelity_at
from detector.redteam.evasion import blinded, covered, duplicated, slow_drip
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.setting import Data
from detector.redteam.targets import Target
from detector.redteam.texts import on_sphere

START_MS = 1_714_816_800_000  # 2024-05-04T10:00:00Z
STEADY: Mapping[Data, str] = MappingProxyType({"image": "steady", "tabular": "tab_steady", "text": "text_steady"})


@dataclass(frozen=True, slots=True)
class Disguise:
    """How thieves hide: shares of cover and of repeats, blinding, accounts and how they share the queries, and pace."""

    cover: float = 0.0
    cover_profile: str | None = None
    repeats: float = 0.0
    jitter: float = 0.0
    shift: float = 0.0
    stretch: float = 0.0
    accounts: int = 1
    split: str = "round-robin"
    per_day: float | None = None


@dataclass(slots=True, eq=False)
class Player:
    """One thief or innocent and everything asked and told so far."""

    name: str
    role: str
    hostile: bool
    conversation: Conversation
    gaps: Iterator[float]
    deal: Dealer
    accounts: int
    budget: int
    next_ms: float
    vectors: list[Array] = field(default_factory=list)
    answers: list[Array] = field(default_factory=list)
    synthetic: list[bool] = field(default_factory=list)
    cover: list[bool] = field(default_factory=list)

    def begin(self) -> Query | None:
        """Return the first query, None if there is none; raises `ConfigError` where the data do not go with it."""
        try:
            return next(self.conversation, None)
        except ValueError as error:
            raise ConfigError(f"{self.role}: {error}") from error

    def hear(self, query: Query, answer: Array) -> None:
        """Remember a query and its answer."""
        self.vectors.append(query.vector)
        self.answers.append(answer)
        self.synthetic.append(query.synthetic)
        self.cover.append(query.cover)

    def go_on(self) -> Query | None:
        """Return the next query after the latest answer, None once the budget is spent or nothing is left to ask."""
        if len(self.vectors) >= self.budget:
            return None
        try:
            return self.conversation.send(self.answers[-1])
        except StopIteration:
            return None


@dataclass(frozen=True, slots=True)
class Played:
    """What became of one player: `copies` is the fidelity after so many queries."""

    name: str
    role: str
    hostile: bool
    accounts: int
    queries: int
    synthetic: int
    cover: int
    copies: dict[int, float]


def thief(role: str, number: int, target: Target, disguise: Disguise, budget: int, gap: float, seed: int) -> Player:
    """Cast a thief by the id of his attack; raises `ConfigError` where attack or disguise do not go with the model."""
    if role not in ATTACKS:
        raise ConfigError(f"there is no attack {role!r}; `detector redteam list` names them")
    rng = _generator(seed, role, number)
    pool = target.attacker
    try:
        conversation = ATTACKS[role].begin(target.setting(pool, rng))
        deal = SPLITS[disguise.split](disguise.accounts, pool.vectors, pool.labels)
    except KeyError:
        raise ConfigError(f"accounts are split by {', '.join(SPLITS)}, not {disguise.split!r}") from None
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if target.unit:
        conversation = on_sphere(conversation)
    if disguise.jitter or disguise.shift or disguise.stretch:
        if target.columns is not None:
            raise ConfigError("blinding is for pictures: a code cannot be moved a little")
        conversation = blinded(
            conversation, rng, target.value_range, jitter=disguise.jitter, shift=disguise.shift, stretch=disguise.stretch
        )
    if disguise.repeats:
        conversation = duplicated(conversation, disguise.repeats, rng)
    if disguise.cover:
        profile = disguise.cover_profile or STEADY[target.data]
        conversation = covered(conversation, _innocent(profile, target, rng), disguise.cover, rng)
    gaps = ARRIVALS["poisson"](rng, gap)
    if disguise.per_day is not None:
        gaps = slow_drip(gaps, disguise.per_day, rng)
    name = f"thief-{role}-{number + 1}"
    first = START_MS + 1000.0 * float(rng.uniform(0.0, 10.0 * gap))
    return Player(name, role, True, conversation, gaps, deal, disguise.accounts, budget, first)


def innocent(role: str, number: int, target: Target, budget: int, gap: float, seed: int) -> Player:
    """Cast an innocent by the id of its profile; raises `ConfigError` where the profile does not go with the model."""
    rng = _generator(seed, role, number)
    conversation = _innocent(role, target, rng)
    first = START_MS + 1000.0 * float(rng.uniform(0.0, 10.0 * gap))
    gaps = ARRIVALS[PROFILES[role].arrival](rng, gap)
    deal = SPLITS["round-robin"](1, target.benign.vectors, target.benign.labels)
    return Player(f"{role}-{number + 1}", role, False, conversation, gaps, deal, 1, budget, first)


def play(players: Sequence[Player], target: Target) -> Iterator[tuple[bytes, bytes]]:
    """Yield each event and the truth about it, both as JSON lines, in the order of time; players remember what they heard.

    Raises `ConfigError` where a conversation finds that it cannot begin with such data, and what the model raises.
    """
    queue: list[tuple[float, int]] = []
    queries: dict[int, Query] = {}
    for number, player in enumerate(players):
        if (first := player.begin()) is not None:
            queries[number] = first
            heapq.heappush(queue, (player.next_ms, number))
    try:
        while queue:
            now, number = heapq.heappop(queue)
            player, query = players[number], queries[number]
            answer = np.asarray(target.predict(query.vector[None]), dtype=np.float64)[0]
            yield _told(player, query, answer, int(now), target)
            if (following := player.go_on()) is not None:
                queries[number] = following
                heapq.heappush(queue, (now + 1000.0 * next(player.gaps), number))
    finally:
        for player in players:
            player.conversation.close()


def judged(player: Player, target: Target, moments: Sequence[int], *, copies: bool = True) -> Played:
    """Sum up one player; thieves get the fidelity of the copy at each of `moments` and at the end, unless not `copies`."""
    found: dict[int, float] = {}
    asked = len(player.vectors)
    if player.hostile and copies and asked:
        reached = sorted({min(moment, asked) for moment in moments} | {asked})
        vectors, answers = np.stack(player.vectors), np.stack(player.answers)
        found = best_fidelity_at(reached, vectors, answers, target.test, target.predict, 0, target.encode)
    return Played(
        player.name,
        player.role,
        player.hostile,
        player.accounts,
        asked,
        int(sum(player.synthetic)),
        int(sum(player.cover)),
        {moment: round(share, 4) for moment, share in found.items()},
    )


def _generator(seed: int, role: str, number: int) -> np.random.Generator:
    """Random numbers of one player: they depend on who plays, not on who else does."""
    return np.random.default_rng([seed, number, zlib.crc32(role.encode())])


def _innocent(role: str, target: Target, rng: np.random.Generator) -> Conversation:
    profile = PROFILES.get(role)
    if profile is None:
        raise ConfigError(f"there is no benign profile {role!r}; `detector redteam list` names them")
    try:
        return profile.begin(target.setting(target.benign, rng))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _told(player: Player, query: Query, answer: Array, time_ms: int, target: Target) -> tuple[bytes, bytes]:
    """Remember a query and its answer, and write them down."""
    account = player.deal(query.vector)
    player.hear(query, answer)
    client = player.name if player.accounts == 1 else f"{player.name}-{account + 1:03d}"
    event_id = f"{player.name}#{len(player.vectors)}"
    event = {
        "event_id": event_id,
        "time": rfc3339(time_ms),
        "client": {"id": client, "type": "api_key"},
        "model": {"id": target.id, "version": "1"},
        "input": {"vector": [round(float(value), 6) for value in query.vector]},
        "output": {"label": int(answer.argmax()), "probabilities": [round(min(float(p), 1.0), 9) for p in answer]},
        "status": 200,
    }
    truth = {
        "event_id": event_id,
        "client": client,
        "thief": player.name if player.hostile else None,
        "role": player.role,
        "hostile": player.hostile,
        "synthetic": query.synthetic,
        "cover": query.cover,
    }
    return _line(event), _line(truth)


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()
