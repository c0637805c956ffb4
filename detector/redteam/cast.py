"""The cast: simulated clients that query a served model, and the log that the serving stack would write.

Every run gives the same log. Each client is a conversation (see `detector.redteam`) with an arrival process of its own.
"""

from collections.abc import Iterator

import numpy as np

from detector.redteam.arrivals import ARRIVALS
from detector.redteam.play import START_MS, Player, event_line, turns
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.victim import Pool, Victim, digits_victim

MODEL = "digits"
HISTORY_MS = START_MS - 14 * 86_400_000
SEED = 2
MEAN_GAP_SECONDS = 12.0
TEACHERS, CALIBRATING, LIVE = 10, 20, 3  # clients of each benign profile
HISTORY_QUERIES, LIVE_QUERIES, ATTACK_QUERIES = 160, 300, 600
INNOCENTS = ("steady", "bursty", "skewed", "video", "retries", "noisy_sensor")
THIEVES = ("uniform", "line_search", "jbda", "knockoff_random", "hopskipjump")  # one of each kind of evidence


def victim() -> Victim:
    """Train the model that is served and stolen: a perceptron on the digits."""
    return digits_victim(SEED)


def _benign(served: Victim, role: str, number: int, pool: Pool, start_ms: int, budget: int, tag: str) -> Player:
    place = INNOCENTS.index(role)
    rng = np.random.default_rng([SEED, place, number, start_ms])
    return Player(
        name=f"{role}-{tag}{number + 1}",
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
                name=f"thief-{role}",
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
    """Yield the log, line by line, in the order of time; the players remember their queries and the responses."""
    for turn in turns(players, served.predict):
        yield event_line(turn, turn.player.name, MODEL, digits=4)
