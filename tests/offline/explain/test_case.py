"""The case: its figures are those of the alerts, decisions and features that the engine made."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.models.novelty import Novelty

if TYPE_CHECKING:
    from tests.offline.explain.conftest import Day


def test_a_thief_is_explained_in_the_figures_of_its_decisions(day: "Day") -> None:
    """Each decision is there with its end; only the last one stands when the log ends."""
    found = day.explain("thief")
    decisions = [d for d in day.records("decisions.jsonl") if d["subject"] == {"type": "client", "id": "thief"}]
    assert decisions
    assert [(d.action, d.expires) for d in found.decisions] == [(d["action"], d["expires_at"]) for d in decisions]
    assert [decision.standing for decision in found.decisions] == [False] * (len(decisions) - 1) + [True]


def test_examples_are_queries_that_carried_evidence(day: "Day") -> None:
    """The last example is the last one that the engine counted, and its partner came before it."""
    found = day.explain("thief")
    bisect = next(case for case in found.cases if case.name == "bisect")
    carried = np.flatnonzero(found.trace.constructed[:, CHANNELS.index("bisect")])
    assert bisect.carried == len(carried)
    assert [example.event_id for example in bisect.examples] == [found.trace.event_ids[i] for i in carried[-5:]]
    for example in bisect.examples:
        assert example.nearest_query is not None
        assert example.nearest_query < example.query
        assert example.nearest_event_id == found.trace.event_ids[example.nearest_query - 1]


def test_without_alerts_every_share_is_below_one(day: "Day") -> None:
    """No step was taken, and each kind of evidence has its share of the way to the first threshold."""
    found = day.explain("reader-0")
    assert not found.decisions
    for case in found.cases:
        assert not case.steps
        assert case.share < 1
        assert case.share == pytest.approx(case.score / min(case.thresholds.values()), abs=1e-5)


def test_the_most_unusual_feature_comes_first(day: "Day") -> None:
    """Of a stranger the first feature is outside its benign range, and timing comes last."""
    found = day.explain("stranger")
    away = [abs(figure.away) for figure in found.features if figure.judged]
    assert away == sorted(away, reverse=True)
    assert found.features[0].side != "within"
    assert not any(figure.judged for figure in found.features[-5:])


def test_deviations_are_those_of_the_engine(day: "Day") -> None:
    """Feature for feature, the figures are the ones that alerts are made of."""
    found = day.explain("stranger")
    expected = Novelty(day.baseline.models["digits"].norms).deviations(found.trace.rows[-1], found.look)
    responses = {figure.name: figure for figure in found.features}
    for name, value, (low, median, high), away in expected:
        figure = responses[name]
        assert (figure.value, figure.low, figure.median, figure.high, figure.away) == pytest.approx(
            (value, low, median, high, away), rel=1e-5, abs=1e-9
        )
