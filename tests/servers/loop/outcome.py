"""What became of each caller: when it was decided about him, when that was felt, and what he took with him."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

import numpy as np

from detector.contracts import Alert, Decision, rank
from detector.redteam import cast
from detector.redteam.copy import fidelity
from detector.redteam.play import Player
from detector.redteam.victim import Victim
from tests.servers.loop.callers import Caller
from tests.servers.loop.model import Answered

__all__ = ["Seen", "Suffered", "Taken", "alone", "suffered", "taken"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A thief. Queries count from 1; None is what did not happen.

    `decided_at` is the query after which the first decision to throttle or more was made; `felt_at` his first request that was
    refused for it, or answered coarsely, `felt_ms` after the answer to the deciding query. `past` are the answers in full that
    he got after that one, `coarse` the perturbed ones. `copy` is the fidelity of a copy trained on what he got, `copy_alone`
    of one trained on his whole budget without a gateway.
    """

    client: str
    attack: str
    actions: tuple[str, ...]
    decided_at: int | None
    refused_at: int | None
    felt_at: int | None
    felt_ms: float | None
    past: int | None
    answers: int
    coarse: int
    budget: int
    copy: float
    copy_alone: float


@dataclass(frozen=True, slots=True)
class Suffered:
    """An innocent: what was decided about it, and how many of its requests were answered, refused, answered coarsely."""

    client: str
    profile: str
    actions: tuple[str, ...]
    asked: int
    answered: int
    refused: int
    coarse: int


class Seen(NamedTuple):
    """What the loop left behind: decisions and alerts of Kafka, and the model's answers to each client, in their order."""

    decisions: Sequence[Decision]
    alerts: Sequence[Alert]
    answered: Mapping[str, Sequence[Answered]]


def taken(caller: Caller, seen: Seen, served: Victim, copy_alone: float) -> Taken:
    """Weigh what a thief was told against what was decided; `copy_alone` is that of `alone`."""
    name = caller.player.name
    answered = seen.answered.get(name, ())
    hard = [each for each in seen.decisions if each.subject.id == name and rank(each.action) >= rank("throttle")]
    hard.sort(key=lambda each: (each.issued_at, each.revision))
    queries = {alert.event.id: alert.detector.queries for alert in seen.alerts}
    decided_at = queries.get(hard[0].alert_id or "") if hard else None
    refused = [number for number, attempt in enumerate(caller.attempts, 1) if attempt.status != HTTPStatus.OK]
    felt_at = felt_ms = past = None
    if decided_at is not None:
        since_s = answered[decided_at - 1].at_s
        felt = _felt(caller, hard[0].action, answered, since_s)
        if felt is not None:
            felt_at, felt_ms = felt[0], round(1000.0 * (felt[1] - since_s), 1)
        past = sum(not each.perturbed for each in answered[decided_at:])
    return Taken(
        client=name,
        attack=caller.player.role,
        actions=tuple(dict.fromkeys(each.action for each in hard)),
        decided_at=decided_at,
        refused_at=refused[0] if refused else None,
        felt_at=felt_at,
        felt_ms=felt_ms,
        past=past,
        answers=caller.answers,
        coarse=sum(each.perturbed for each in answered),
        budget=caller.player.budget,
        copy=_copy(caller.player, served),
        copy_alone=copy_alone,
    )


def _felt(caller: Caller, action: str, answered: Sequence[Answered], since_s: float) -> tuple[int, float] | None:
    """Return the request that first felt a decision, and when its response came: refused, or for `perturb` told less."""
    coarse = {number for number, each in enumerate(answered) if each.perturbed}
    wanted = {HTTPStatus.FORBIDDEN} if rank(action) > rank("throttle") else {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FORBIDDEN}
    answers = 0
    for number, attempt in enumerate(caller.attempts, 1):
        felt = attempt.status in wanted or (attempt.status == HTTPStatus.OK and answers in coarse)
        answers += attempt.status == HTTPStatus.OK
        if felt and attempt.at_s >= since_s:
            return number, attempt.at_s
    return None


def alone(role: str, served: Victim, budget: int) -> float:
    """Return the fidelity of the copy that a thief of this kind trains on his whole budget where nothing stands in his way."""
    (player,) = (each for each in cast.live(served) if each.hostile and each.role == role)
    player.budget = budget
    query = player.begin()
    while query is not None:
        player.hear(query, served.predict(query.vector[None])[0])
        query = player.go_on()
    player.conversation.close()
    return _copy(player, served)


def _copy(player: Player, served: Victim) -> float:
    vectors, answers = np.array(player.vectors), np.array(player.answers)
    return round(fidelity(vectors, answers, served.test.vectors, served.predict, 0), 4)


def suffered(caller: Caller, seen: Seen) -> Suffered:
    """Weigh what an innocent was told."""
    name = caller.player.name
    return Suffered(
        client=name,
        profile=caller.player.role,
        actions=tuple(dict.fromkeys(each.action for each in seen.decisions if each.subject.id == name)),
        asked=len(caller.attempts),
        answered=caller.answers,
        refused=sum(attempt.status != HTTPStatus.OK for attempt in caller.attempts),
        coarse=sum(each.perturbed for each in seen.answered.get(name, ())),
    )
