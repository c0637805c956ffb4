"""The outcome: what each thief got before a decision reached the gateway, and what each innocent suffered."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.contracts import Alert, Decision
from detector.demo.stage import Staged
from detector.redteam.cast import INNOCENTS
from detector.redteam.copy import fidelity
from detector.redteam.registry import ATTACKS, PROFILES

STOPS = ("perturb", "block")
PROMISED = {"line_search": STOPS, "hopskipjump": STOPS, "jbda": STOPS}  # the others are strangers: throttled at best
WITHIN = 32


@dataclass(frozen=True, slots=True)
class Theft:
    """One thief.

    `queries` and `synthetic` count what it had sent when `action` was decided; `copy` is the share of test pictures on which
    a copy trained on the answers up to then agrees with the model, `full_copy` the same for all answers.
    """

    attack: str
    title: str
    action: str | None
    queries: int | None
    synthetic: int | None
    copy: float
    full_copy: float
    budget: int
    reached: bool


@dataclass(frozen=True, slots=True)
class Innocence:
    """The clients of one benign profile: how many of them were alerted on, throttled, stopped."""

    profile: str
    title: str
    clients: int
    queries: int
    alerted: int
    throttled: int
    stopped: int


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """The two tables of the demo."""

    thefts: tuple[Theft, ...]
    innocents: tuple[Innocence, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        return asdict(self)


def judge(staged: Staged, folder: Path) -> DemoOutcome:
    """Weigh what happened against what was promised; reads the alerts that the run wrote."""
    alerts = [Alert.model_validate_json(line) for line in (folder / "alerts.jsonl").read_bytes().splitlines()]
    asked = {alert.event.id: alert.detector.queries for alert in alerts}
    decisions: dict[str, list[Decision]] = {}
    for decision in staged.decisions:
        decisions.setdefault(decision.subject.id, []).append(decision)
    thefts = tuple(
        _theft(staged, player.role, decisions.get(player.name, []), asked) for player in staged.players if player.hostile
    )
    alerted = {alert.user.id for alert in alerts}
    innocents = []
    for role in INNOCENTS:
        players = [player for player in staged.players if not player.hostile and player.role == role]
        actions = [{decision.action for decision in decisions.get(player.name, [])} for player in players]
        innocents.append(
            Innocence(
                profile=role,
                title=PROFILES[role].title,
                clients=len(players),
                queries=sum(len(player.vectors) for player in players),
                alerted=sum(player.name in alerted for player in players),
                throttled=sum("throttle" in found for found in actions),
                stopped=sum(bool(found & set(STOPS)) for found in actions),
            )
        )
    return DemoOutcome(thefts, tuple(innocents))


def _theft(staged: Staged, role: str, decisions: list[Decision], asked: Mapping[str, int]) -> Theft:
    player = next(player for player in staged.players if player.hostile and player.role == role)
    wanted = PROMISED.get(role, ("throttle", *STOPS))
    first = next((decision for decision in decisions if decision.action in wanted), None)
    queries = asked[first.alert_id] if first is not None and first.alert_id is not None else None
    synthetic = None if queries is None else int(sum(player.synthetic[:queries]))
    made = synthetic if role in PROMISED else queries
    return Theft(
        attack=role,
        title=ATTACKS[role].title,
        action=first.action if first is not None else None,
        queries=queries,
        synthetic=synthetic,
        copy=_copy(staged, player.role, queries),
        full_copy=_copy(staged, player.role, None),
        budget=len(player.vectors),
        reached=made is not None and made <= WITHIN,
    )


def _copy(staged: Staged, role: str, queries: int | None) -> float:
    player = next(player for player in staged.players if player.hostile and player.role == role)
    vectors, answers = np.array(player.vectors[:queries]), np.array(player.answers[:queries])
    return round(fidelity(vectors, answers, staged.served.test.vectors, staged.served.predict, 0), 4)
