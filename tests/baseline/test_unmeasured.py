"""Budgets that can meet nobody are told before anything runs."""

from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detector.baseline.store import Baseline, save
from detector.baseline.unmeasured import tell
from detector.cli import app
from detector.config import Config

BUDGETS = [
    {"stop_at": 0.8},
    {"organization_stop_at": 0.8},
    {"campaign_stop_at": 0.8},
    {"tiers": [{"types": ["trial"], "degrade_at": 0.5}]},
    {"tiers": [{"models": ["digits"], "organization_degrade_at": 0.5}]},
]


def config(odometer: dict[str, object], **others: object) -> Config:
    return Config.model_validate({"odometer": odometer, **others})


def unmetered(baseline: Baseline) -> Baseline:
    models = {name: replace(known, reference_set=None) for name, known in baseline.models.items()}
    return replace(baseline, models=models)


@pytest.mark.parametrize("odometer", BUDGETS)
def test_budgets_without_a_measure_are_told(digits_baseline: Baseline, odometer: dict[str, object]) -> None:
    assert not list(tell(config(odometer), digits_baseline))
    (told,) = tell(config(odometer), unmetered(digits_baseline))
    assert "no reference inputs for digits" in told
    (told,) = tell(config(odometer), None)
    assert "there is no baseline" in told


def test_without_budgets_there_is_nothing_to_tell(digits_baseline: Baseline) -> None:
    assert not list(tell(config({}), unmetered(digits_baseline)))
    assert not list(tell(config({}), None))
    other: dict[str, object] = {"tiers": [{"models": ["another"], "stop_at": 0.5}]}
    assert not list(tell(config(other), unmetered(digits_baseline))), "a tier of models that the baseline does not know"


def test_what_accounts_hold_together_needs_links(digits_baseline: Baseline) -> None:
    off = {"enabled": False}
    (told,) = tell(config({"organization_stop_at": 0.8}, links=off), digits_baseline)
    assert "[links] enabled is false" in told
    assert not list(tell(config({"stop_at": 0.8}, links=off), digits_baseline))


def test_config_check_says_so(digits_baseline: Baseline, tmp_path: Path) -> None:
    folder, file = tmp_path / "baseline", tmp_path / "detector.toml"
    save(unmetered(digits_baseline), folder)
    file.write_text(f'[baseline]\npath = "{folder}"\n[odometer]\nstop_at = 0.8\n[engine]\nseed = 5\n', encoding="utf-8")
    done = CliRunner().invoke(app, ["config", "check", "-c", str(file)])
    assert done.exit_code == 0, done.output
    assert "no reference inputs for digits" in " ".join(done.output.split())
