import json
from itertools import islice, repeat

import numpy as np
import pytest

from detector.errors import ConfigError
from detector.redteam.conversation import Array, AskedQuery, Conversation
from detector.redteam.play import Player, event_line, turns


def _asking(closed: list[str], name: str, queries: int = 1000) -> Conversation:
    try:
        for number in range(queries):
            yield AskedQuery(np.array([number / 3.0]), synthetic=number > 0)
    finally:
        closed.append(name)


def _player(closed: list[str], name: str, gap: float, budget: int = 5, queries: int = 1000, first: float = 0.0) -> Player:
    return Player(name, "steady", False, _asking(closed, name, queries), repeat(gap), budget, first)


def _predict(X: Array) -> Array:
    return np.hstack([X, 1.0 - X])


def test_who_is_due_asks_next_and_hears_the_answer() -> None:
    """Turns come in the order of time, of equal times in that of the players; each ends with its budget or by itself."""
    players = [_player([], "quick", 1.0), _player([], "slow", 10.0), _player([], "short", 1.0, queries=2, first=500.0)]
    seen = [(turn.player.name, turn.time_ms) for turn in turns(players, _predict)]
    assert seen[:5] == [("quick", 0), ("slow", 0), ("short", 500), ("quick", 1000), ("short", 1500)]
    assert [time for _, time in seen] == sorted(time for _, time in seen)
    assert [len(player.vectors) for player in players] == [5, 5, 2]
    assert players[2].synthetic == [False, True]
    assert np.array_equal(np.stack(players[0].answers), _predict(np.stack(players[0].vectors)))


def test_every_conversation_is_closed_wherever_the_play_stops() -> None:
    """Also those that were never heard to their end: a borrowed attack has a thread."""
    closed: list[str] = []
    play = turns([_player(closed, "one", 1.0), _player(closed, "other", 1.0)], _predict)
    assert len(list(islice(play, 3))) == 3
    assert not closed
    play.close()  # type: ignore[attr-defined]
    assert sorted(closed) == ["one", "other"]


def test_a_client_that_cannot_begin_says_who_it_is() -> None:
    """What is wrong with the data is known at the first query only."""

    def refusing() -> Conversation:
        raise ValueError("no picture")
        yield

    with pytest.raises(ConfigError, match="steady: no picture"):
        next(turns([Player("one", "steady", False, refusing(), repeat(1.0), 5, 0.0)], _predict))


def test_a_line_is_the_event_of_the_turn() -> None:
    """The event's number is that of the client's query, and values are rounded as told."""
    turn = next(turns([_player([], "one", 1.0, first=7.0)], _predict))
    event = json.loads(event_line(turn, "one-002", "digits", digits=4))
    assert (event["event_id"], event["client"]["id"], event["model"]["id"]) == ("one#1", "one-002", "digits")
    assert event["time"].startswith("1970-01-01T00:00:00.007")
    assert event["output"] == {"label": 1, "probabilities": [0.0, 1.0]}
