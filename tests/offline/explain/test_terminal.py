"""Words on a terminal: the figures of the record, in print that nobody can paint over."""

import io
from typing import TYPE_CHECKING

from rich.console import Console

from detector.offline.explain import Explanation, tell, to_dict

if TYPE_CHECKING:
    from tests.offline.explain.conftest import Day


def words(explanation: Explanation, width: int = 140) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(tell(explanation))
    return stream.getvalue()


def test_a_thief_is_explained_by_the_figures_of_its_alerts(day: "Day") -> None:
    """The words hold the query and score of each alert, and the threshold."""
    found = day.explain("thief")
    text = words(found)
    alerts = [alert for alert in day.records("alerts.jsonl") if alert["user"] == {"id": "thief", "name": "thief"}]
    assert alerts
    for alert in alerts:
        details = alert["detector"]
        assert isinstance(details, dict)
        assert f"{details['action']} called for at query {details['queries']}, " in text
        assert f"score {details['score']:.4g}" in text
    bisect = next(case for case in found.cases if case.name == "bisect")
    assert f"perturb at {bisect.thresholds['perturb']:.4g}" in text


def test_a_client_without_alerts_is_shown_with_its_distance_to_every_threshold(day: "Day") -> None:
    """Each kind of evidence has its share of the way, and there is nothing to be done."""
    found = day.explain("reader-0")
    text = words(found)
    assert "Nothing needs to be done." in text
    for case in found.cases:
        assert f"{case.name}: {case.score:.4g}, {100 * case.share:.0f}% of the way to its first threshold" in text


def test_unusual_features_are_named_and_a_missing_baseline_is(day: "Day") -> None:
    """A stranger's most unusual feature is in the words; without a baseline they say that there is no comparison."""
    stranger = day.explain("stranger")
    assert stranger.features[0].name in words(stranger)
    assert "without a baseline there is nothing to compare them with" in words(day.explain("twofold", "other"))


def test_control_characters_of_an_id_do_not_reach_the_terminal(day: "Day") -> None:
    """A client that names itself with escape sequences cannot paint over its explanation; too few queries are no fault."""
    found = day.explain(day.odd)
    for width in (60, 140):
        text = words(found, width)
        assert "\x1b" not in text
        assert r"key\x1b[31m$x$\n on model digits" in text
    assert "the first evaluation comes at 8 queries" in text
    assert to_dict(found)["client"] == day.odd
