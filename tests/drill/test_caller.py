"""A client of the drill keeps its pace, notes refusals, and notices answers that are another than before."""

import time
from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np

from detector.drill.caller import AGAIN_EVERY, GIVES_UP_AFTER, Caller
from detector.errors import EndpointError
from detector.perturb import How, perturb
from detector.redteam.conversation import Array, AskedQuery, Conversation
from detector.redteam.endpoint import Reply
from detector.redteam.play import Player
from detector.redteam.wire import DIRECT

RNG = np.random.default_rng(0)


def _conversation() -> Conversation:
    while True:
        yield AskedQuery(RNG.random(3))


def _caller(ask: Callable[[Array], Reply], *, budget: int = 60, per_second: float = 10_000.0) -> Caller:
    player = Player("one", "steady", False, _conversation(), repeat(1.0), budget, 0.0)
    return Caller(player, ask, DIRECT, per_second)


def _answer(X: Array) -> Array:
    weights = np.exp(X)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def test_answers_that_tell_less_are_seen() -> None:
    """From the perturbation on, within the queries after which what is known is asked again."""
    asked: list[Array] = []

    def ask(X: Array) -> Reply:
        asked.append(X)
        answers = _answer(X)
        if len(asked) > 20:
            answers = np.array([perturb(row, How("top1"), "m") for row in answers.tolist()])
        return Reply(200, answers)

    caller = _caller(ask)
    caller.call()
    assert caller.fault is None
    coarse = [number for number, attempt in enumerate(caller.attempts, 1) if attempt.coarse]
    assert 20 < coarse[0] <= 21 + AGAIN_EVERY
    assert len(caller.attempts) == 60


def test_a_suspicion_is_looked_into_at_once() -> None:
    """The next query but one compares."""
    caller = _caller(lambda X: Reply(200, _answer(X) if len(caller.attempts) < 13 else np.full((1, 3), 1 / 3)), budget=17)
    caller.suspects.set()
    caller.call()
    assert not any(attempt.coarse for attempt in caller.attempts[:13])
    caller = _caller(lambda X: Reply(200, np.eye(3)[:1] if caller.suspects.is_set() else _answer(X)), budget=8)

    def ask(X: Array) -> Reply:
        if len(caller.attempts) == 6:
            caller.suspects.set()
        return Reply(200, np.eye(3)[:1] if len(caller.attempts) >= 6 else _answer(X))

    caller.ask = ask
    caller.call()
    assert [number for number, attempt in enumerate(caller.attempts, 1) if attempt.coarse] == [8]


def test_a_model_that_varies_is_not_called_perturbed() -> None:
    """Nothing can be told from its answers, and the report says so."""
    caller = _caller(lambda _: Reply(200, RNG.dirichlet(np.ones(3))[None]))
    caller.call()
    assert caller.varies
    assert not any(attempt.coarse for attempt in caller.attempts)


def test_who_is_blocked_gives_up_and_who_is_throttled_does_not() -> None:
    """Ten refusals with 403 in a row are enough; a 429 is asked again, after the wait that it asks for."""
    caller = _caller(lambda X: Reply(200, _answer(X)) if len(caller.attempts) < 5 else Reply(403))
    caller.call()
    assert [attempt.status for attempt in caller.attempts] == [200] * 5 + [403] * GIVES_UP_AFTER
    caller = _caller(lambda X: Reply(200, _answer(X)) if len(caller.attempts) % 2 == 0 else Reply(429), budget=40)
    caller.call()
    assert len(caller.attempts) == 40


def test_what_keeps_it_from_asking_is_told() -> None:
    """A refusal of the very first query, or an address that does not answer."""
    caller = _caller(lambda _: Reply(403))
    caller.call()
    assert "first query was refused with 403" in (caller.fault or "")

    def ask(_: Array) -> Reply:
        raise EndpointError("cannot be reached")

    caller = _caller(ask)
    caller.call()
    assert caller.fault == "cannot be reached"
    assert caller.attempts == []


def test_the_pace_is_kept() -> None:
    """Queries come no sooner than the rate allows."""
    caller = _caller(lambda X: Reply(200, _answer(X)), budget=5, per_second=50.0)
    began = time.monotonic()
    caller.call()
    assert time.monotonic() - began >= 4 / 50.0
    gaps: Iterator[float] = (b.at_s - a.at_s for a, b in zip(caller.attempts, caller.attempts[1:], strict=False))
    assert min(gaps) >= 0.019


def test_it_stops_when_it_is_told_to() -> None:
    """Before its next query."""

    def ask(X: Array) -> Reply:
        caller.stop.set()
        return Reply(200, _answer(X))

    caller = _caller(ask)
    caller.call()
    assert len(caller.attempts) == 1
