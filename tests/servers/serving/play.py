"""The red team before a real server: clients take turns, and what they asked and were answered is kept."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from detector.redteam.conversation import Array
from detector.redteam.play import Player
from detector.redteam.sessions import Disguise, innocent, thief
from detector.redteam.targets import Target

__all__ = ["Ask", "cast", "play"]

Ask: TypeAlias = Callable[[str, Array], Array]
"""Asks a server about one input, in the name of a client; returns the probabilities."""


def cast(target: Target, *, queries: int = 60) -> list[Player]:
    """Return a thief, who is found by his flat steps, and two innocents."""
    players = [thief("jbda", 0, target, Disguise(), queries, 1.0, seed=3)]
    return players + [innocent(role, 0, target, queries, 1.0, seed=3) for role in ("steady", "noisy_sensor")]


def play(players: Sequence[Player], ask: Ask) -> None:
    """Let the players ask in turn until their budgets are spent."""
    queries = {player.name: player.begin() for player in players}
    try:
        while any(query is not None for query in queries.values()):
            for player in players:
                query = queries[player.name]
                if query is not None:
                    player.hear(query, np.asarray(ask(player.name, query.vector), np.float64))
                    queries[player.name] = player.go_on()
    finally:
        for player in players:
            player.conversation.close()
