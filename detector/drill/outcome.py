"""What a drill found: for each thief which steps arrived and when, for each innocent whether it was left alone."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from detector.contracts.decision import rank
from detector.drill.caller import Attempt, Caller
from detector.drill.plan import STEPS, Part, Step
from detector.drill.watch import Sighting

__all__ = ["Arrival", "Bystander", "Drilled", "Outcome", "Seen", "arrivals", "bystander", "drilled"]

CARRIED_OUT_AHEAD_S: Final = 1.0  # a gateway may read a decision this much earlier than the drill does


class Seen(NamedTuple):
    """A sighting, and when it arrived here (`time.monotonic`)."""

    at_s: float
    sighting: Sighting


@dataclass(frozen=True, slots=True)
class Arrival:
    """A step that arrived: `seconds` after the thief's first query, and after so many `queries` of his.

    `detector_queries` is his query count by which an alert was raised: what the detector needed, without the way here.
    """

    step: Step
    seconds: float
    queries: int
    told: str
    simulated: bool = False
    detector_queries: int | None = None


@dataclass(frozen=True, slots=True)
class Drilled:
    """A thief: what he asked and was told, and which steps arrived; `missing` are those that were expected and did not."""

    attack: str
    client: str
    queries: int
    answered: int
    refused: int
    coarse: int
    arrivals: tuple[Arrival, ...]
    missing: tuple[Step, ...]
    varies: bool = False
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Bystander:
    """An innocent beside the thieves: what it asked and was told, and what arrived about it."""

    profile: str
    client: str
    queries: int
    answered: int
    refused: int
    coarse: int
    alerts: tuple[str, ...]
    decisions: tuple[str, ...]
    fault: str | None = None

    @property
    def left_alone(self) -> bool:
        """Whether nothing happened to it, and it could ask."""
        return not (self.refused or self.coarse or self.alerts or self.decisions or self.fault)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of everybody.

    `unreadable` counts records that were no alert or decision, and `older` those about who asks here that are of before.
    """

    url: str
    seed: int
    started: str
    per_second: float
    patience_s: float
    expected: tuple[Step, ...]
    thieves: tuple[Drilled, ...]
    innocents: tuple[Bystander, ...]
    unreadable: int
    older: int
    interrupted: bool

    @property
    def problems(self) -> tuple[str, ...]:
        """What did not go as it was expected to, as sentences."""
        found = []
        for thief in self.thieves:
            because = f" ({thief.fault})" if thief.fault else ""
            found += [f"{thief.client}: {MISSING[step]}{because}" for step in thief.missing]
        for innocent in self.innocents:
            if innocent.fault:
                found.append(f"{innocent.client}, an innocent, could not ask: {innocent.fault}")
            elif not innocent.left_alone:
                found.append(f"{innocent.client}, an innocent, was not left alone")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, for JSON."""
        content = asdict(self)
        for row, innocent in zip(content["innocents"], self.innocents, strict=True):
            row["left_alone"] = innocent.left_alone
        return content | {"problems": list(self.problems)}


MISSING: Final[dict[Step, str]] = {
    "alert": "no alert arrived",
    "indexed": "no alert was found in Elasticsearch",
    "decision": "no decision arrived",
    "enforced": "nothing was refused to him or kept from him",
}


def arrivals(caller: Caller, seen: Sequence[Seen], *, decisions_watched: bool) -> tuple[Arrival, ...]:
    """Return the first of each step that arrived about a thief.

    A refusal with 429 may be a ceiling for everybody: where decisions are watched it counts from a decision about him on.
    Decisions that are simulated count only while no real one has arrived.
    """
    attempts = list(caller.attempts)
    if not attempts:
        return ()
    first_s = attempts[0].at_s
    found: dict[Step, Arrival] = {}
    for at_s, sighting in sorted(seen, key=lambda one: (one.sighting.simulated, one.at_s)):
        if sighting.step in found or (sighting.step == "decision" and rank(sighting.action) < rank("throttle")):
            continue
        queries = sum(attempt.at_s <= at_s for attempt in attempts)
        queries += sighting.queries == queries + 1  # the reply to the query that raised an alert may come after the alert
        found[sighting.step] = Arrival(
            sighting.step,
            round(max(at_s - first_s, 0.0), 3),
            queries,
            sighting.told + (", simulated" if sighting.simulated else ""),
            sighting.simulated,
            sighting.queries,
        )
    since_s = first_s if not decisions_watched else _decided_s(seen)
    felt = next((each for each in enumerate(attempts, 1) if _is_felt(each[1], since_s)), None)
    if felt is not None:
        number, attempt = felt
        told = f"refused with {attempt.status}" if attempt.status != HTTPStatus.OK else "answers tell less"
        found["enforced"] = Arrival("enforced", round(attempt.at_s - first_s, 3), number, told)
    return tuple(found[step] for step in STEPS if step in found)


def _decided_s(seen: Sequence[Seen]) -> float:
    """Return from when on a throttle may be a decision's."""
    real = [one.at_s for one in seen if one.sighting.step == "decision" and not one.sighting.simulated]
    return min(real, default=float("inf")) - CARRIED_OUT_AHEAD_S


def _is_felt(attempt: Attempt, since_s: float) -> bool:
    if attempt.status == HTTPStatus.TOO_MANY_REQUESTS:
        return attempt.at_s >= since_s
    return attempt.coarse or attempt.status == HTTPStatus.FORBIDDEN


def drilled(part: Part, caller: Caller, found: Sequence[Arrival], expected: Collection[Step]) -> Drilled:
    """Sum up a thief."""
    arrived = {one.step for one in found}
    return Drilled(
        part.role,
        part.login.client,
        *_counted(caller),
        tuple(found),
        tuple(step for step in STEPS if step in expected and step not in arrived),
        caller.varies,
        caller.fault,
    )


def bystander(part: Part, caller: Caller, seen: Sequence[Seen]) -> Bystander:
    """Sum up an innocent; a decision that only alerts is told with the alerts."""
    alerts = tuple(one.sighting.told for one in seen if one.sighting.step in {"alert", "indexed"})
    decisions = tuple(one.sighting.told for one in seen if one.sighting.step == "decision")
    return Bystander(part.role, part.login.client, *_counted(caller), alerts, decisions, caller.fault)


def _counted(caller: Caller) -> tuple[int, int, int, int]:
    """Return how many requests were made, answered, refused, and seen to be answered otherwise than before."""
    attempts = list(caller.attempts)
    answered = sum(attempt.status == HTTPStatus.OK for attempt in attempts)
    return len(attempts), answered, len(attempts) - answered, sum(attempt.coarse for attempt in attempts)
