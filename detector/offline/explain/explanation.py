"""The explanation: everything known about one client on one model, as data."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.contracts.alert import Cost
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.findings import Reading
from detector.offline.trace import Trace


@dataclass(frozen=True, slots=True)
class EvidenceStep:
    """Evidence first called for `action` at the client's query `query`; `time` is the event time, in RFC 3339."""

    action: str
    query: int
    time: str
    score: float


@dataclass(frozen=True, slots=True)
class ExampleQuery:
    """A query that carried evidence, and the client's earlier query that lies nearest to it."""

    event_id: str
    query: int
    nearest_event_id: str | None
    nearest_query: int | None


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of evidence: what it means and how far it went.

    `score` is the highest, `now` the latest; they differ for novelty only. `thresholds` maps an action to the score that
    calls for it; `share` is `score` over the lowest threshold. `carried` counts the queries that
    carried evidence (novelty: evaluations beyond the threshold).
    """

    name: str
    kind: str
    meaning: str
    lookalike: str
    score: float
    now: float
    thresholds: Mapping[str, float]
    share: float
    carried: int
    steps: tuple[EvidenceStep, ...]
    examples: tuple[ExampleQuery, ...]


@dataclass(frozen=True, slots=True)
class FeatureFigure:
    """A feature at the last scheduled evaluation against benign clients with as many queries.

    `low`, `median` and `high` are their 5%, 50% and 95% quantiles, None without a baseline; `away` counts robust standard
    deviations from the median; `side` is ``below``, ``within``, ``above`` or ``unknown``. Timing is not `judged`: it does not
    enter the comparison with the baseline.
    """

    name: str
    meaning: str
    value: float
    low: float | None
    median: float | None
    high: float | None
    away: float
    side: str
    judged: bool


@dataclass(frozen=True, slots=True)
class DecisionTaken:
    """A recorded decision about the client; `expires` is None until lifted, `standing` says if it outlives the log."""

    action: str
    revision: int
    issued: str
    expires: str | None
    standing: bool
    simulated: bool
    origin: str
    code: str
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Everything known about one client on one model; `trace`, `population` and `unit` are for the picture.

    `population` (m, COORDINATES) are centres of the population, or without a baseline queries of the log's other clients;
    `unit` turns them into median nearest-neighbour distances, None where that is unknown. `stage` is the number of queries at
    which benign clients were described for `features`, `look` the query count of the last scheduled evaluation (0: none yet).
    `odometer` is the highest reading of how much of the model the client holds, None where there is none, and `cost` what that
    is worth, None where the value of the model is not configured.
    """

    client: str
    model: str
    headline: str
    level: str
    queries: int
    first: str
    last: str
    cases: tuple[Case, ...]
    decisions: tuple[DecisionTaken, ...]
    look: int
    stage: int | None
    features: tuple[FeatureFigure, ...]
    advice: tuple[str, ...]
    warnings: tuple[str, ...]
    odometer: Reading | None
    cost: Cost | None
    baseline_version: str
    config_version: str
    trace: Trace
    population: npt.NDArray[np.float64]
    population_name: str
    unit: float | None


def to_dict(explanation: Explanation) -> dict[str, Any]:
    """Return plain data for JSON: all that `tell` says and more, without what only the picture needs.

    `course` is the score of novelty and of each channel at every scheduled evaluation.
    """
    trace = explanation.trace
    at = np.searchsorted(trace.queries, trace.evaluations)
    course = [
        {
            "queries": int(query),
            "novelty": tidy(float(novelty)),
            **{name: tidy(float(trace.peak[i, j])) for j, name in enumerate(CHANNELS)},
        }
        for query, novelty, i in zip(trace.evaluations, trace.novelty, at, strict=True)
    ]
    e = explanation
    plain = {
        "client": e.client,
        "model": e.model,
        "headline": e.headline,
        "level": e.level,
        "queries": e.queries,
        "first": e.first,
        "last": e.last,
        "evidence": [asdict(case) for case in e.cases],
        "decisions": [asdict(decision) for decision in e.decisions],
        "look": e.look,
        "stage": e.stage,
        "features": [asdict(figure) for figure in e.features],
        "course": course,
        "odometer": None if e.odometer is None else {name: tidy(value) for name, value in e.odometer._asdict().items()},
        "cost": None if e.cost is None else e.cost.model_dump(mode="json"),
        "advice": e.advice,
        "warnings": e.warnings,
        "baseline_version": e.baseline_version,
        "config_version": e.config_version,
    }
    result: dict[str, Any] = json.loads(json.dumps(plain, allow_nan=False))
    return result


def tidy(value: float) -> float:
    """Return a figure with six digits, as many as are shown."""
    return float(f"{value:.6g}")
