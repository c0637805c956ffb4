"""The secret seed: made by a fit, kept with the baseline, refused where it is another, and missed where decisions are meant."""

from pathlib import Path

import pytest

from detector.baseline.secret import NONE, known_seed, settings_for_fit, settings_of, source
from detector.baseline.store import SEED, Baseline, save
from detector.config import BaselineSection, Config, EngineSection, PolicySection
from detector.errors import BaselineError, ConfigError
from detector.offline.replay import load_baseline

MEANT = PolicySection(shadow=False, trust_clients=True)


def test_a_fit_makes_a_seed_where_none_is_given() -> None:
    """Each another one of 63 bits; a configured one is used."""
    seeds = {settings_for_fit(Config()).seed for _ in range(4)}
    assert len(seeds) == 4
    assert all(seed is not None and 0 <= seed < 2**63 for seed in seeds)
    assert settings_for_fit(Config(engine=EngineSection(seed=0))).seed == 0


def test_the_baseline_brings_its_seed(generated_baseline: Baseline, tmp_path: Path) -> None:
    """Nothing need be configured, shadow mode or not; what is configured must be the same."""
    save(generated_baseline, tmp_path)
    baseline = BaselineSection(path=tmp_path)
    for config in (
        Config(baseline=baseline),
        Config(baseline=baseline, policy=MEANT),
        Config(baseline=baseline, policy=MEANT, engine=EngineSection(seed=5)),
    ):
        found = load_baseline(config)
        assert settings_of(config, found).seed == 5
        assert known_seed(config) == 5
    for shadow in (True, False):
        config = Config(
            baseline=baseline, policy=PolicySection(shadow=shadow, trust_clients=True), engine=EngineSection(seed=6)
        )
        with pytest.raises(ConfigError, match="leave it out"):
            load_baseline(config)
        with pytest.raises(ConfigError, match="leave it out"):
            settings_of(config, generated_baseline)


def test_outside_shadow_mode_there_has_to_be_one(generated_baseline: Baseline, tmp_path: Path) -> None:
    """Nowhere is refused, and so is a baseline without its seed; in shadow mode it is told."""
    with pytest.raises(ConfigError, match="there is no secret seed"):
        load_baseline(Config(policy=MEANT))
    with pytest.raises(ConfigError, match="there is no secret seed"):
        settings_of(Config(policy=MEANT), None)
    assert load_baseline(Config(policy=MEANT, engine=EngineSection(seed=0))) is None
    assert load_baseline(Config()) is None
    assert source(Config()) == NONE
    save(generated_baseline, tmp_path)
    (tmp_path / SEED).unlink()
    with pytest.raises(BaselineError, match="secret seed is missing"):
        load_baseline(Config(baseline=BaselineSection(path=tmp_path), policy=MEANT))


def test_where_it_comes_from_is_told_and_never_what_it_is(
    generated_baseline: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting, the variable, the file, or the baseline's."""
    save(generated_baseline, tmp_path / "known")
    kept = tmp_path / "kept"
    kept.write_text("123456789")
    told = {
        "setting": source(Config(engine=EngineSection(seed=123456789))),
        "file": source(Config(engine=EngineSection(seed_file=kept))),
        "baseline": source(Config(baseline=BaselineSection(path=tmp_path / "known"))),
    }
    monkeypatch.setenv("DETECTOR_ENGINE__SEED", "123456789")
    told["variable"] = source(Config())
    assert "[engine] seed" in told["setting"]
    assert str(kept) in told["file"]
    assert str(tmp_path / "known" / SEED) in told["baseline"]
    assert "DETECTOR_ENGINE__SEED" in told["variable"]
    assert not any("123456789" in text for text in told.values())
