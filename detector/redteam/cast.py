"""The cast: simulated clients that query a served model, and the log that the serving stack would write.

Time is simulated, so a day of traffic takes seconds and every run gives the same log. Each client is a conversation (see
`detector.redteam`) with an arrival process of its own; a queue of next queries decides who speaks.
"""

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from detector.contracts.moment import rfc3339
from detector.redteam.arrivals import ARRIVALS
from detector.redteam.conversation import Array, Conversation
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.victim import Pool, Victim, digits_victim

MODEL = "digits"
START_MS = 1_714_816_800_000  # 2024-05-04T10:00:00Z
HISTORY_MS = START_MS - 14 * 86_400_000
SEED = 2
MEAN_GAP_SECONDS = 12.0
TEACHERS, CALIBRATING, LIVE = 10, 20, 3  # clients of each benign profile
HISTORY_QUERIES, LIVE_QUERIES, ATTACK_QUERIES = 160, 300, 600
INNOCENTS = ("steady", "bursty", "skewed", "video", "retries", "noisy_sensor")
THIEVES = ("uniform", "line_search", "jbda", "knockoff_random", "hopskipjump")  # one of each kind of evidence


@dataclass(slots=True)
class Player:
    """One client and everything it has asked and been told so far."""

    client: str
    role: str
    hostile: bool
    conversation: Conversation
    gaps: Iterator[float]
    budget: int
    next_ms: float
    vectors: list[Array] = field(default_factory=list)
    answers: list[Array] = field(default_factory=list)
    synthetic: list[bool] = field(default_factory=list)


def victim() -> Victim:
    """Train the model that is served and stolen: a perceptron on the digits."""
    return digits_victim(SEED)


def _benign(served: Victim, role: str, number: int, pool: Pool, start_ms: int, budget: int, tag: str) -> Player:
    place = INNOCENTS.index(role)
    rng = np.random.default_rng([SEED, place, number, start_ms])
    return Player(
        client=f"{role}-{tag}{number + 1}",
        role=role,
        hostile=False,
        conversation=PROFILES[role].begin(served.setting(pool, rng)),
        gaps=ARRIVALS[PROFILES[role].arrival](rng, MEAN_GAP_SECONDS),
        budget=budget,
        next_ms=start_ms + 1000 * float(rng.uniform(0, 5 * MEAN_GAP_SECONDS)),
    )


def history(served: Victim) -> list[Player]:
    """Return the benign clients of the fortnight before, for the baseline; the early ones use other pictures than the late."""
    early = Pool(served.baseline.vectors[:180], served.baseline.labels[:180])
    late = Pool(served.baseline.vectors[180:], served.baseline.labels[180:])
    players = []
    later = HISTORY_MS + 7 * 86_400_000
    for role in INNOCENTS:
        players += [_benign(served, role, n, early, HISTORY_MS, HISTORY_QUERIES, "early-") for n in range(TEACHERS)]
        players += [_benign(served, role, n, late, later, HISTORY_QUERIES, "late-") for n in range(CALIBRATING)]
    return players


def live(served: Victim) -> list[Player]:
    """Return the clients of the day itself: three of each benign profile, and one thief of each kind."""
    players = [
        _benign(served, role, number, served.benign, START_MS, LIVE_QUERIES, "") for role in INNOCENTS for number in range(LIVE)
    ]
    for place, role in enumerate(THIEVES):
        rng = np.random.default_rng([SEED, 1000 + place])
        attack = ATTACKS[role].begin(served.setting(served.attacker, rng))
        players.append(
            Player(
                client=f"thief-{role}",
                role=role,
                hostile=True,
                conversation=attack,
                gaps=ARRIVALS["poisson"](rng, MEAN_GAP_SECONDS / 2),
                budget=ATTACK_QUERIES,
                next_ms=START_MS + 1000 * float(rng.uniform(0, 20 * MEAN_GAP_SECONDS)),
            )
        )
    return players


def play(players: list[Player], served: Victim) -> Iterator[bytes]:
    """Yield the log, line by line, in the order of time; the players remember what they asked and were told."""
    queue = [(player.next_ms, number) for number, player in enumerate(players)]
    heapq.heapify(queue)
    queries = {number: next(player.conversation) for number, player in enumerate(players)}
    while queue:
        now, number = heapq.heappop(queue)
        player = players[number]
        query = queries[number]
        answer = served.predict(query.vector[None])[0]
        player.vectors.append(query.vector)
        player.answers.append(answer)
        player.synthetic.append(query.synthetic)
        yield _line(player, int(now), answer)
        if len(player.vectors) < player.budget:
            try:
                queries[number] = player.conversation.send(answer)
            except StopIteration:
                continue
            heapq.heappush(queue, (now + 1000.0 * next(player.gaps), number))
    for player in players:
        player.conversation.close()


def _line(player: Player, time_ms: int, answer: Array) -> bytes:
    event = {
        "event_id": f"{player.client}#{len(player.vectors)}",
        "time": rfc3339(time_ms),
        "client": {"id": player.client, "type": "api_key"},
        "model": {"id": MODEL, "version": "1"},
        "input": {"vector": [round(float(value), 4) for value in player.vectors[-1]]},
        "output": {"label": int(answer.argmax()), "probabilities": [float(p) for p in answer]},
        "status": 200,
    }
    return json.dumps(event, separators=(",", ":")).encode()
