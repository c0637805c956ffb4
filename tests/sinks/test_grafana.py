"""The Grafana dashboard: Grafana's own types read it, and every panel shows figures that there are."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from detector.perturb.marks import Marks
from detector.perturb.telling import Policy
from detector.service.telemetry.metrics import Metrics
from tests.perturb.test_marks import COMMITTED, MASTER

FILE = Path(__file__).parents[2] / "deploy" / "grafana" / "detector.json"


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    content: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return content


def changed(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Name what is in `before` and not, or otherwise, in `after`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if name not in after:
                yield f"{where}.{name}"
            else:
                yield from changed(value, after[name], f"{where}.{name}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, value in enumerate(before):
            yield from changed(value, after[i], f"{where}[{i}]")
    elif before != after:
        yield where


def test_grafana_s_own_types_read_all_of_it(dashboard: dict[str, Any]) -> None:
    """Read and written by Grafana's library nothing is lost, so no name is misspelt and no value is in the wrong place."""
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
    assert list(changed(dashboard, again)) == []
    misspelt = dashboard | {"panels": [dashboard["panels"][1] | {"fieldConfg": {}}]}
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(misspelt)))
    assert list(changed(misspelt, again)) == [".panels[0].fieldConfg"]


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Return the queries of all panels and annotations, with Grafana's variables filled in."""
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    found += [entry["expr"] for entry in dashboard["annotations"]["list"]]
    return [text.replace("$__rate_interval", "5m").replace("$job", ".+") for text in found]


def test_every_query_parses_and_names_figures_that_there_are(dashboard: dict[str, Any]) -> None:
    """Every metric is one of the service, and every one of the service is shown."""
    registry = Metrics().registry
    known = {name for names in registry._collector_to_names.values() for name in names}
    known |= {family.name for family in registry.collect()}
    known |= {sample.name for family in registry.collect() for sample in family.samples}
    beside = Policy(marks=Marks(COMMITTED, MASTER)).text().decode()  # the middleware and the proxy, which have no registry
    known |= set(re.findall(r"^# TYPE (\w+)", beside, re.MULTILINE))
    shown: set[str] = set()
    for expression in expressions(dashboard):
        promql_parser.parse(expression)
        named = set(re.findall(r"\b(?:detector|process)_[a-z_]+\b", expression))
        assert named
        assert named <= known, expression
        shown |= named
    own = {family.name for family in registry.collect() if family.name.startswith("detector_")}
    own |= set(re.findall(r"^# TYPE (\w+)", beside, re.MULTILINE))
    assert {name for name in own if not any(one.startswith(name) for one in shown)} == set()


def test_every_query_is_about_the_chosen_job(dashboard: dict[str, Any]) -> None:
    """Each selects by the job, so that two installations are not added up."""
    assert [
        text for text in expressions(dashboard) if 'job=~".+"' not in text and "count(detector_build_info" not in text
    ] == []


def test_nothing_is_bound_to_one_grafana(dashboard: dict[str, Any]) -> None:
    """The id is fixed, so that importing it again replaces it, and the source of data is chosen, not named."""
    assert dashboard["uid"] == "detector-service"
    assert "id" not in dashboard
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert {json.dumps(panel["datasource"]) for panel in panels} == {'{"type": "prometheus", "uid": "${datasource}"}'}
    assert all(panel["description"].endswith(".") for panel in panels)


def test_panels_do_not_overlap(dashboard: dict[str, Any]) -> None:
    """Ids and places differ, and nothing goes beyond the 24 columns."""
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        below = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or below
    assert max(place["x"] + place["w"] for place in places) == 24
