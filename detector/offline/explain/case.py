"""The case: how far each kind of evidence went against its thresholds, and the features against those of benign clients."""

import math

import numpy as np

from detector.contracts.moment import rfc3339
from detector.engine.evidence.registry import REGISTRY
from detector.engine.evidence.whole import HARM, NOVELTY
from detector.engine.features.row import CONTENT, NAMES
from detector.engine.models.profiles import RESOLUTION, stage_of
from detector.engine.policy import ACTIONS, ALERT, ALERT_SHARE, BLOCK, BLOCK_SHARE, PERTURB, THROTTLE, Thresholds
from detector.engine.shard import ModelBaseline
from detector.offline.explain.explanation import Case, EvidenceStep, ExampleQuery, FeatureFigure, tidy
from detector.offline.explain.words import FEATURES
from detector.offline.trace import Trace, nearest_earlier

EXAMPLES = 5


def channel_case(trace: Trace, j: int) -> Case:
    """Return how far the evidence of channel `j` went."""
    channel, stop = REGISTRY[j], trace.thresholds.stop[j]
    carried = np.flatnonzero(trace.constructed[:, j])
    score = float(trace.peak[-1, j])
    ladder = {ALERT: ALERT_SHARE, **({PERTURB: 1.0, BLOCK: BLOCK_SHARE} if channel.may_stop else {THROTTLE: 1.0})}
    thresholds = {
        ACTIONS[action]: tidy(share * stop) for action, share in ladder.items() if action <= trace.thresholds.limit[j]
    }
    return Case(
        name=channel.name,
        kind=channel.kind,
        meaning=channel.meaning,
        lookalike=channel.lookalike,
        score=tidy(score),
        now=tidy(score),
        thresholds=thresholds,
        share=tidy(score / (ALERT_SHARE * stop)),
        carried=len(carried),
        steps=_steps(trace, channel.name),
        examples=tuple(_example(trace, i) for i in carried[-EXAMPLES:].tolist()),
    )


def novelty_case(trace: Trace) -> Case:
    """Return how far novelty went; it has no examples, since no single query carries it."""
    thresholds: Thresholds = trace.thresholds
    score = float(trace.novelty.max(initial=0.0))
    heights = {ACTIONS[ALERT]: tidy(thresholds.alert)}
    if math.isfinite(thresholds.throttle):
        heights[ACTIONS[THROTTLE]] = tidy(thresholds.throttle)
    return Case(
        name=NOVELTY.name,
        kind=NOVELTY.kind,
        meaning=NOVELTY.meaning,
        lookalike=NOVELTY.lookalike,
        score=tidy(score),
        now=tidy(float(trace.novelty[-1])) if len(trace.novelty) else 0.0,
        thresholds=heights,
        share=tidy(score / thresholds.alert),
        carried=int(np.count_nonzero(trace.novelty >= thresholds.alert)),
        steps=_steps(trace, NOVELTY.name),
        examples=(),
    )


def harm_case(trace: Trace) -> Case | None:
    """Return how far the client is from its budget of the odometer, None where it has none; no single query carries it."""
    limit = trace.budget.limit
    if limit is None:
        return None
    score = trace.odometer[-1].lead if trace.odometer else 0.0
    heights = {PERTURB: trace.budget.degrade_at, BLOCK: trace.budget.stop_at}
    return Case(
        name=HARM.name,
        kind=HARM.kind,
        meaning=HARM.meaning,
        lookalike=HARM.lookalike,
        score=tidy(score),
        now=tidy(score),
        thresholds={ACTIONS[action]: tidy(lead) for action, lead in heights.items() if lead is not None},
        share=tidy(score / limit),
        carried=len(trace.queries),
        steps=_steps(trace, HARM.name),
        examples=(),
    )


def _steps(trace: Trace, name: str) -> tuple[EvidenceStep, ...]:
    return tuple(
        EvidenceStep(escalation.action, escalation.query, rfc3339(escalation.time_ms), tidy(escalation.score))
        for escalation in trace.escalations
        if escalation.name == name
    )


def _example(trace: Trace, i: int) -> ExampleQuery:
    near = nearest_earlier(trace.z, i)
    return ExampleQuery(
        event_id=trace.event_ids[i],
        query=int(trace.queries[i]),
        nearest_event_id=None if near is None else trace.event_ids[near],
        nearest_query=None if near is None else int(trace.queries[near]),
    )


def feature_figures(trace: Trace, known: ModelBaseline | None) -> tuple[FeatureFigure, ...]:
    """Return the features at the last scheduled evaluation, the most unusual first and timing behind all others."""
    if not len(trace.evaluations):
        return ()
    stage = stage_of(int(trace.evaluations[-1]))
    quantiles = None if known is None else known.norms.quantiles[stage]
    found = []
    for j, (name, value) in enumerate(zip(NAMES, trace.rows[-1].tolist(), strict=True)):
        if math.isnan(value):
            continue
        judged = CONTENT.start <= j < CONTENT.stop
        if quantiles is None:
            found.append(FeatureFigure(name, FEATURES[name], tidy(value), None, None, None, 0.0, "unknown", judged))
            continue
        low, median, high = quantiles[j].tolist()
        side = "above" if value > high else "below" if value < low else "within"
        away = (value - median) / max(
            (high - low) / 3.29, RESOLUTION[stage]
        )  # 5% to 95% of a normal spread are 3.29 deviations
        found.append(
            FeatureFigure(name, FEATURES[name], tidy(value), tidy(low), tidy(median), tidy(high), tidy(away), side, judged)
        )
    return tuple(sorted(found, key=lambda figure: (not figure.judged, -abs(figure.away))))
