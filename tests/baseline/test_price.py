"""What a copy costs, from the baseline alone: measured where it can be, never continued beyond."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detector.baseline.price import PRICED, Learned, learned, prices
from detector.baseline.store import Baseline, save
from detector.cli import app
from detector.config import CostSection
from detector.engine.policy import Budget, PolicySettings

CENTS = CostSection(price_per_1000=1.5)


def test_more_queries_teach_more(generated_baseline: Baseline) -> None:
    """From 16 queries up to half of the reference inputs that are looked at; the same baseline gives the same figures."""
    judge = generated_baseline.models["alpha"].reference_set
    assert judge is not None
    found = learned(judge)
    assert [one.queries for one in found] == [16, 32, 64, 128, 256]
    assert found[0].lead < found[-1].lead
    assert found[-1].lead > 0.5
    assert all(0.0 <= one.lead <= 1.0 for one in found)
    assert learned(judge) == found


def test_what_was_not_reached_has_no_price() -> None:
    """Only that it is more than what was tried; and policy says what it would do meanwhile."""
    found = [Learned(16, 0.3), Learned(32, 0.66), Learned(64, 0.7)]
    policy = PolicySettings(budget=Budget(degrade_at=0.65, stop_at=0.85))
    rows = {row["lead"]: row for row in prices(found, CENTS, policy)}
    assert tuple(rows) == PRICED
    assert (rows[0.5]["queries"], rows[0.5]["price"], rows[0.5]["more_than"]) == (32, 0.048, None)
    assert (rows[0.8]["queries"], rows[0.8]["price"]) == (None, None)
    assert rows[0.8]["more_than"] == {"queries": 64, "price": 0.096}
    assert [row["meanwhile"] for row in rows.values()] == ["allow", "perturb", "perturb", "block"]


@pytest.mark.parametrize("cost", [CostSection(), CostSection(price_per_1000=0.0)])
def test_without_a_price_nothing_is_priced(cost: CostSection) -> None:
    """A price of 0 is one: the queries still count."""
    rows = prices([Learned(16, 0.95)], cost, PolicySettings())
    assert [row["price"] for row in rows] == ([] if cost.price_per_1000 is None else [0.0] * len(PRICED))
    assert prices([], CENTS, PolicySettings()) == []


def test_show_tells_it(generated_baseline: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`baseline show`, in words and for scripts, where a price is configured."""
    save(generated_baseline, tmp_path / "baseline")
    arguments = ["baseline", "show", str(tmp_path / "baseline")]
    plain = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(plain.stdout)["models"]["alpha"]["copy"] == []
    monkeypatch.setenv("DETECTOR_COST__PRICE_PER_1000", "2.5")
    monkeypatch.setenv("DETECTOR_COST__CURRENCY", "CHF")
    told = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "160"})
    assert "a copy with lead 0.50 costs" in told.stdout
    assert "CHF" in told.stdout
    priced = json.loads(CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert [row["lead"] for row in priced["models"]["alpha"]["copy"]] == list(PRICED)
