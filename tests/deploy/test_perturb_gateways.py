"""The lines for gateways whose perturbed clients go to a second upstream, and the page that tells of it."""

import re
from pathlib import Path

import pytest
import yaml

from detector.config import PerturbSection
from detector.perturb.modes import ART_NAMES

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "deploy" / "gateways").glob("perturb-*"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_each_names_the_port_of_the_proxy(path: Path) -> None:
    """The proxy listens there unless it is told otherwise; the header is the one that the gate sets."""
    text = path.read_text(encoding="utf-8")
    assert re.search(rf"127\.0\.0\.1\D+{PerturbSection().port}\b", text)
    assert "detector perturb proxy" in text
    assert "x-detector-action" in text.lower()
    assert all(len(line) <= 128 for line in text.splitlines())


def test_envoys_lines_are_yaml() -> None:
    """And the verdict chooses the cluster."""
    parts = yaml.safe_load((ROOT / "deploy" / "gateways" / "perturb-envoy.yaml").read_text(encoding="utf-8"))
    assert [route["route"]["cluster"] for route in parts["routes"]] == ["perturbed", "model"]
    assert {cluster["name"] for cluster in parts["clusters"]} == {"perturbed", "model"}


def test_the_page_names_every_mode_and_reason() -> None:
    """Reasons of the code are explained, and modes of others that are understood."""
    page = (ROOT / "docs" / "pages" / "perturbation.md").read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "detector" / "perturb").glob("*.py"))
    reasons = set(re.findall(r'(?:UnknownBodyError|without_answer)\("([a-z_]+)"', code))
    assert len(reasons) > 8
    for name in reasons | set(ART_NAMES) | {"top1", "label", "mislead"}:
        assert f"`{name}`" in page, name
