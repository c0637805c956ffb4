"""Alerting rules for Prometheus: they parse, name figures that there are, and fire when they should."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from detector.gate.metrics import GateMetrics
from detector.gate.shelf import Shelf
from detector.service.telemetry.metrics import Metrics

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate"}}
BY_SCRAPING = {"job", "instance"}


def figures() -> dict[str, set[str]]:
    """Return the names of all samples that workers and gates show, with their labels."""
    found: dict[str, set[str]] = {}
    for collector, names in Metrics().registry._collector_to_names.items():
        labels = set(getattr(collector, "_labelnames", ()))
        for name in names:
            found[name] = labels | BY_SCRAPING | ({"le"} if name.endswith("_bucket") else set())
    gauges = Shelf().gauges(knows_addresses=False) | {"matched_decisions": 0.0, "decisions": {"block": 1}}
    for family in GateMetrics(lambda: gauges).collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = set(getattr(family, "_labelnames", ())) | BY_SCRAPING
    process = {family.name: BY_SCRAPING for family in Metrics().registry.collect() if family.name.startswith("process_")}
    return found | process | OF_PROMETHEUS


def selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Return the metrics of an expression with the labels that it selects by; raises ValueError when it does not parse."""
    found: list[tuple[str, set[str]]] = []

    def walk(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name is not None:
            found.append((node.name, {matcher.name for matcher in node.matchers.matchers}))
        for name in ("lhs", "rhs", "expr", "vector_selector", "param"):
            child = getattr(node, name, None)
            if child is not None:
                walk(child)
        if isinstance(node, promql_parser.Call):
            for argument in node.args:
                walk(argument)

    walk(promql_parser.parse(expression))
    return found


def rules() -> list[dict[str, Any]]:
    """Return all rules."""
    content = yaml.safe_load((FOLDER / "detector.rules.yml").read_text("utf-8"))
    return [rule for group in content["groups"] for rule in group["rules"]]


def grouped(expression: str) -> set[str]:
    """Return the labels that an expression groups or joins by."""
    return {
        label
        for names in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
        for label in re.split(r"[,\s]+", names.strip())
        if label
    }


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_every_rule_names_figures_that_there_are(rule: dict[str, Any]) -> None:
    """Metrics and labels in the expression are those of the service, and the text names only labels that are left."""
    known = figures()
    found = selectors(rule["expr"])
    assert found
    for name, labels in found:
        assert name in known
        assert labels <= known[name]
    everything = set().union(*(known[name] for name, _ in found))
    assert grouped(rule["expr"]) <= everything
    told = set(re.findall(r"\$labels\.([a-z_]+)", str(rule["annotations"])))
    assert told <= (grouped(rule["expr"]) & everything or everything) | BY_SCRAPING


def test_every_rule_says_what_to_do() -> None:
    """Names differ, each has a severity of two, a summary and a description, and made-up figures that it is tried on."""
    found = rules()
    assert len({rule["alert"] for rule in found}) == len(found)
    tried = (FOLDER / "detector.rules.test.yml").read_text("utf-8")
    for rule in found:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert len(rule["annotations"]["summary"]) < 80
        assert len(rule["annotations"]["description"]) > 40
        assert re.search(rf"\b{rule['alert']}\b", tried), f"{rule['alert']} is not tried"


@pytest.mark.parametrize("text", ["sum(rate(a[5m])", "a{b=}", "rate(a[$__rate_interval])"])
def test_the_parser_refuses_what_is_wrong(text: str) -> None:
    """The check is not blind."""
    with pytest.raises(ValueError, match=r"."):
        selectors(text)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool, which comes with Prometheus, is not on the PATH")
@pytest.mark.parametrize("command", [["check", "rules", "--lint=all"], ["test", "rules"]])
def test_promtool_agrees(command: list[str]) -> None:
    """Prometheus's own tool finds nothing wrong, and the rules fire on the made-up figures that they should fire on."""
    file = FOLDER / ("detector.rules.yml" if command[0] == "check" else "detector.rules.test.yml")
    done = subprocess.run(["promtool", *command, str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
