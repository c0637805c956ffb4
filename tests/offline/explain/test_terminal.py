"""Words on a terminal: the figures of the record, in print that nobody can paint over."""

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from detector.config import CostSection
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


def test_the_odometer_tells_what_a_client_holds(day: "Day") -> None:
    """Its section has the figures of the results; a client with few queries is not read, and the words say why."""
    found = day.explain("reader-0")
    assert found.odometer is not None
    held = found.odometer
    line = next(line for line in day.records("clients.jsonl") if line["client"] == "reader-0")
    assert line["odometer"] == {
        name: pytest.approx(getattr(held, name), abs=1e-4) for name in ("queries", "lead", "low", "high")
    }
    told = f"lead {held.lead:.2f} ({held.low:.2f} to {held.high:.2f}), read after {held.queries:,} queries"
    assert told in " ".join(words(found).split())
    assert to_dict(found)["odometer"]["lead"] == pytest.approx(held.lead)
    assert "not read: there are fewer than 32 queries" in words(day.explain(day.odd))


def test_the_odometer_tells_what_that_is_worth(day: "Day") -> None:
    """Where the operator has said what the model is worth."""
    plain = day.explain("reader-0")
    assert plain.cost is None
    assert plain.odometer is not None
    worth = CostSection(model_value=1_000_000.0, currency="CHF")
    found = replace(day, config=day.config.model_copy(update={"cost": worth})).explain("reader-0")
    assert found.config_version == plain.config_version
    assert found.cost is not None
    assert found.cost.leaked == pytest.approx(1e6 * plain.odometer.lead, abs=100.0)
    told = f"that is worth {found.cost.leaked:,.2f} CHF ({found.cost.low:,.2f} to {found.cost.high:,.2f})"
    assert told in " ".join(words(found).split())
    assert to_dict(found)["cost"] == found.cost.model_dump()
    assert (found.cost.paid, found.cost.price) == (None, None)


def test_what_the_client_paid_is_told_beside_what_a_copy_costs(day: "Day") -> None:
    """With a price of queries alone: for clients without a reading as well."""
    figures = CostSection(price_per_1000=2.0, currency="CHF")
    priced = replace(day, config=day.config.model_copy(update={"cost": figures}))
    found = priced.explain("reader-0")
    assert found.cost is not None
    assert found.cost.price is not None
    assert found.cost.leaked is None
    assert found.cost.paid == pytest.approx(found.queries * 0.002)
    told = " ".join(words(found).split())
    assert f"its queries cost {found.cost.paid:g} CHF" in told
    assert f"a copy with lead {found.cost.price.lead:.2f} costs" in told
    assert "policy would allow meanwhile" in told
    assert "is worth" not in told
    assert "its queries cost" in " ".join(words(priced.explain(day.odd)).split())


def test_a_budget_is_a_case_of_its_own(day: "Day") -> None:
    """With one, the case says how far the client is from it, and when it was met; without one there is no case."""
    plain = day.explain("reader-0")
    assert plain.odometer is not None
    assert "harm" not in {case.name for case in plain.cases}
    for share, met in ((0.9, True), (1.1, False)):
        budget = min(share * plain.odometer.lead, 1.0)
        config = day.config.model_copy(update={"odometer": day.config.odometer.model_copy(update={"degrade_at": budget})})
        found = replace(day, config=config).explain("reader-0")
        (case,) = [case for case in found.cases if case.name == "harm"]
        assert bool(case.steps) == met
        assert case.thresholds == {"perturb": pytest.approx(budget, rel=1e-5)}
        assert case.share == pytest.approx(plain.odometer.lead / budget, rel=1e-5)
        assert ("harm called for perturb" in found.headline) == met
        assert "harm" in words(found)
        assert ("perturb called for at query" in words(found)) == met
