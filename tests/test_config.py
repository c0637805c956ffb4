"""The configuration: defaults, the environment over the file, and messages that name the place of a mistake."""

import datetime as dt
import os
from pathlib import Path

import pytest

from detector.baseline.secret import require
from detector.baseline.settings import engine_settings
from detector.clock import HeldClock
from detector.config import Config, CostSection, EngineSection, load
from detector.engine.policy import Budget, PolicySettings, Tier
from detector.engine.shard import EngineSettings
from detector.errors import ConfigError
from detector.ingest.assemble import assembler_for
from detector.ingest.batch import usable
from detector.ingest.formats.routing import decoder_for
from detector.testing import Events


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep variables of whoever runs the tests out."""
    for name in os.environ:
        if name.upper().startswith("DETECTOR_"):
            monkeypatch.delenv(name)


def written(folder: Path, text: str) -> Path:
    path = folder / "detector.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_nothing_is_a_valid_configuration(tmp_path: Path) -> None:
    """No file and an empty file give the defaults, which are those of the engine but for the limits of stops."""
    assert load(None) == load(written(tmp_path, "")) == Config()
    assert load(None).policy.shadow
    settings = engine_settings(load(None))
    limits = PolicySettings(new_stops_per_minute=60, stopped_share=0.25)
    assert settings == EngineSettings(policy=limits, categorical={})


def test_every_key_reaches_the_engine(tmp_path: Path) -> None:
    """Minutes become milliseconds, lists become what the engine takes."""
    config = load(
        written(
            tmp_path,
            """
            [policy]
            shadow = false
            trust_clients = false
            false_alerts_per_1000 = 2
            false_blocks_per_10000 = 0.5
            never_block = ["a", "b"]
            throttle_minutes = 0.5
            perturb_minutes = 2
            block_minutes = 3
            requests_per_minute = 0
            never_block_organizations = ["partner"]
            shadow_channels = ["foreign"]
            new_stops_per_minute = 7
            stopped_share = 0.5
            [engine]
            max_clients = 10
            lateness_minutes = 1.5
            learning_events = 32
            seed = 9
            [odometer]
            enabled = true
            degrade_at = 0.6
            stop_at = 0.9
            throttle_from = 0.1
            throttle_halves_every = 0.2
            throttle_floor = 3
            campaign_stop_at = 0.7
            [[odometer.tiers]]
            types = ["trial"]
            stop_at = 0.4
            [[odometer.tiers]]
            models = "a, b"
            clients = ["c"]
            organizations = ["o"]
            degrade_at = 0.5
            [cost]
            price_per_1000 = 1.5
            currency = "CHF"
            model_value = 250000
            [models."fraud.v2"]
            categorical = [0, 4]
            dimension = 7
            shadow = true
            [models.plain]
            shadow = false
            """,
        )
    )
    settings = engine_settings(config)
    policy = settings.policy
    assert (policy.shadow, policy.false_alerts_per_1000, policy.false_blocks_per_10000) == (False, 2.0, 0.5)
    assert policy.never_block == {"a", "b"}
    assert (policy.throttle_ms, policy.perturb_ms, policy.block_ms, policy.requests_per_minute) == (30_000, 120_000, 180_000, 0)
    assert [policy.never_block_organizations, policy.shadow_channels] == [{"partner"}, {"foreign"}]
    assert (policy.new_stops_per_minute, policy.stopped_share) == (7, 0.5)
    assert [policy.shadow_models, policy.live_models] == [{"fraud.v2"}, {"plain"}]
    assert (settings.odometer, policy.budget, policy.throttle_from) == (True, Budget(0.6, 0.9), 0.1)
    assert policy.campaign_stop_at == 0.7
    assert (policy.halving_lead, policy.least_rate) == (0.2, 3)
    assert config.cost == CostSection(price_per_1000=1.5, currency="CHF", model_value=250_000.0)
    assert policy.tiers == (
        Tier(Budget(None, 0.4), types=frozenset({"trial"})),
        Tier(Budget(0.5), frozenset({"a", "b"}), frozenset({"c"}), frozenset({"o"})),
    )
    assert (settings.max_clients, settings.lateness_ms, settings.learning_events, settings.seed) == (10, 90_000, 32, 9)
    assert settings.categorical == {"fraud.v2": (0, 4)}
    assert config.dimensions() == {"fraud.v2": 7}


def test_a_model_leaves_shadow_mode_as_all_do(tmp_path: Path) -> None:
    """It needs trust_clients and a secret seed; a model that stays in shadow mode needs neither."""
    text = '[models."fraud"]\nshadow = false\n'
    with pytest.raises(ConfigError, match=r"toml: models: 'fraud' has shadow = false, which needs \[policy\] trust_clients"):
        load(written(tmp_path, text))
    live = load(written(tmp_path, f"{text}[policy]\ntrust_clients = true\n"))
    assert (live.enforces, live.simulates("fraud"), live.simulates("other")) == (True, False, True)
    with pytest.raises(ConfigError, match="no secret seed"):
        require(live)
    require(load(written(tmp_path, '[models."fraud"]\nshadow = true\n')))


def test_evidence_of_another_name_is_refused(tmp_path: Path) -> None:
    """The sentence lists the names that there are."""
    with pytest.raises(ConfigError, match="shadow_channels: no evidence is called 'ofset'; known: offset, bisect"):
        require(load(written(tmp_path, '[policy]\nshadow_channels = ["ofset"]\n')))


@pytest.mark.parametrize("said", [True, False])
def test_nobody_leaves_shadow_mode_without_saying_whom_to_trust(tmp_path: Path, *, said: bool) -> None:
    """The sentence says what either answer means; shadow mode itself asks nothing."""
    with pytest.raises(ConfigError, match=r"trust_clients: true where the gateway authenticates .* false where a caller could"):
        load(written(tmp_path, "[policy]\nshadow = false\n"))
    config = load(written(tmp_path, f"[policy]\nshadow = false\ntrust_clients = {str(said).lower()}\n"))
    assert engine_settings(config).policy.trust_clients == said
    assert engine_settings(load(None)).policy.trust_clients


def test_the_environment_stands_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key by key: what it does not name stays as the file says; small letters do as well."""
    path = written(tmp_path, "[policy]\nshadow = true\ntrust_clients = true\nblock_minutes = 7\n")
    monkeypatch.setenv("DETECTOR_POLICY__SHADOW", "false")
    monkeypatch.setenv("detector_engine__seed", "5")
    monkeypatch.setenv("DETECTOR_POLICY__NEVER_BLOCK", '["a"]')
    config = load(path)
    assert not config.policy.shadow
    assert config.policy.block_minutes == 7.0
    assert config.policy.never_block == ("a",)
    assert config.engine.seed == 5


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[policy]\nshadow = 5\n", 2, "policy.shadow"),
        ("[cost]\nprice_per_1000 = true\n", 2, "cost.price_per_1000: is a number, and true and false are none"),
        ("[policy]\nrequests_per_minute = false\n", 2, "policy.requests_per_minute: is a number"),
        ("[models.m]\ncategorical = [0, true]\n", 2, "models.m.categorical: is a number"),
        ("[[odometer.tiers]]\ntypes = ['a']\nstop_at = true\n", 3, "odometer.tiers.0.stop_at: is a number"),
        ("[cost]\ncurrency = 'eur'\n", 2, "cost.currency: three capital letters of ISO 4217, such as EUR"),
        ("[cost]\ncurrency = 'XXX'\n", 2, "cost.currency: three capital letters of ISO 4217, such as EUR"),
        ("# first\n\n[policy]\nshadow = true\nblock_minutes = 0\n", 5, "policy.block_minutes: Input should be greater than 0"),
        ("[policy]\nshadwo = true\n", 2, "policy.shadwo: there is no such key; known here: .*shadow"),
        ("[polcy]\nshadow = true\n", 1, "polcy: there is no such key; known here: baseline, .*engine, .*policy"),
        ("policy.block_minutes = -1\n", 1, "policy.block_minutes"),
        ("[engine]\n[models.'a.b']\ndimension = 0\n", 3, r"models.a\.b.dimension"),
        ('[models."m"]\n\ncategorical = [1, 1]\n', 3, "column numbers start at 0 and must differ"),
        ('[models."m"]\ncategorical = [\n  1,\n  -2,\n]\n', 2, "column numbers start at 0"),
        (
            '[models.m]\ncolour = "red"\n',
            2,
            "models.m.colour: there is no such key; known here: categorical, columns, dimension",
        ),
        ("[policy]\nfalse_blocks_per_10000 = nan\n", 2, "finite number"),
        ("[engine]\nmax_clients = 1\n", 2, "engine.max_clients"),
        ("[engine]\nseed = -1\n", 2, "engine.seed"),
        ("[policy\n", 1, "not valid TOML"),
        ("[policy]\nshadow = true\nshadow = false\n", 3, "not valid TOML"),
        ("policy = 3\n", 1, "policy"),
        ("[odometer]\nstop_at = 0.5\ndegrade_at = 0.5\n", 1, "stop_at must be above degrade_at"),
        ("[odometer]\ndegrade_at = 1.5\n", 2, "odometer.degrade_at"),
        ("[odometer]\nenabled = false\ndegrade_at = 0.5\n", 1, "a budget needs enabled = true"),
        ("[odometer]\nenabled = false\ncampaign_stop_at = 0.5\n", 1, "a budget needs enabled = true"),
        ("[odometer]\nenabled = false\norganization_stop_at = 0.5\n", 1, "a budget needs enabled = true"),
        (
            "[odometer]\norganization_stop_at = 0.5\norganization_degrade_at = 0.6\n",
            1,
            "organization_stop_at must be above organization_degrade_at",
        ),
        (
            '[[odometer.tiers]]\ntypes = ["trial"]\norganization_stop_at = 0.5\n',
            1,
            "organization_degrade_at and organization_stop_at are for whole organisations: leave clients and types out",
        ),
        (
            '[odometer]\n[[odometer.tiers]]\ntypes = ["a"]\n[[odometer.tiers]]\ntypes = ["b"]\nstop = 1\n',
            6,
            "odometer.tiers.1.stop: there is no such key; known here: clients, degrade_at, models, organization_degrade_at",
        ),
        ("[[odometer.tiers]]\nstop_at = 0.5\n", 1, "a tier needs models, clients, organizations or types"),
    ],
)
def test_a_mistake_in_the_file_is_named_by_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    """The message begins with file and line, says which key, and what would be right."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    """Three mistakes make three lines."""
    path = written(tmp_path, "[policy]\nshadow = 5\nblock_minutes = 0\n[engine]\nseed = -1\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert [int(line.split(":")[1]) for line in str(caught.value).splitlines()] == [2, 3, 5]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DETECTOR_POLICY__SHADOW", "perhaps", "environment variable DETECTOR_POLICY__SHADOW: "),
        ("DETECTOR_ENGINE__SEED", "-1", "environment variable DETECTOR_ENGINE__SEED: "),
        ("detector_engine__seed", "x", "environment variable detector_engine__seed: "),
        ("DETECTOR_POLICY__SHADWO", "true", "environment variable DETECTOR_POLICY__SHADWO: there is no such key"),
        ("DETECTOR_POLICY", "{", "environment"),
    ],
)
def test_a_mistake_in_the_environment_is_named_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """With a file and without one."""
    monkeypatch.setenv(name, value)
    for path in (None, written(tmp_path, "[policy]\nshadow = true\n")):
        with pytest.raises(ConfigError, match=message):
            load(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, a folder, or not text."""
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read the configuration: No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml: the configuration is not UTF-8 text"):
        load(tmp_path / "binary.toml")


def test_a_relative_baseline_lies_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the file it is taken from the file's folder, from the environment as it stands; absolute paths stay."""
    path = written(tmp_path, '[baseline]\npath = "kept"\n')
    assert load(path).baseline.path == tmp_path / "kept"
    assert load(written(tmp_path, '[baseline]\npath = "/kept"\n')).baseline.path == Path("/kept")
    monkeypatch.setenv("DETECTOR_BASELINE__PATH", "here")
    assert load(path).baseline.path == Path("here")


def test_the_version_follows_what_is_found_and_keeps_secrets(tmp_path: Path) -> None:
    """It changes with policy and models, and with neither the seed nor the place of the baseline."""
    plain = load(None).version
    assert len(plain) == 12
    assert load(written(tmp_path, '[engine]\nseed = 7\n[baseline]\npath = "x"\n')).version == plain
    for text in (
        "[policy]\nshadow = false\ntrust_clients = true\n",
        "[policy]\ntrust_clients = false\n",
        "[models.m]\ndimension = 3\n",
        "[engine]\nlateness_minutes = 1\n",
    ):
        assert load(written(tmp_path, text)).version != plain


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    """What is shown to people has the seed masked, and everything else."""
    shown = load(written(tmp_path, "[engine]\nseed = 7\nmax_clients = 9\n")).shown()
    assert shown["engine"]["seed"] == "***"
    assert shown["engine"]["max_clients"] == 9
    assert load(None).shown()["engine"]["seed"] is None
    assert load(written(tmp_path, "[engine]\nseed = 0\n")).shown()["engine"]["seed"] == "***"


def test_the_seed_may_lie_in_a_file(tmp_path: Path) -> None:
    """Beside a setting it is refused; what is no seed is named with its file, and never repeated."""
    file = tmp_path / "kept"
    file.write_text(f"{2**63 - 1}\n")
    path = written(tmp_path, f"[engine]\nseed_file = {str(file)!r}\n")
    assert engine_settings(load(path)).seed == 2**63 - 1
    assert load(path).version == load(None).version
    for wrong in ("", "-1", str(2**63), "0x5", "9" * 5000, "\u0663"):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(ConfigError, match="kept: the seed must be a whole number from 0 to") as caught:
            engine_settings(load(path))
        assert len(wrong) < 3 or wrong not in str(caught.value) or wrong == str(2**63)
    file.unlink()
    with pytest.raises(ConfigError, match="kept: cannot read the seed"):
        engine_settings(load(path))
    with pytest.raises(ConfigError, match="give seed or seed_file, not both"):
        load(written(tmp_path, "[engine]\nseed = 1\nseed_file = 'x'\n"))


def test_a_time_zone_is_one_that_this_machine_knows(tmp_path: Path) -> None:
    """Names of zones are read when the configuration is, and what is none is a mistake that says what to write."""
    assert load(None).engine.naive_zone is None
    assert load(written(tmp_path, '[engine]\nnaive_time_zone = "UTC"\n')).engine.naive_zone is dt.UTC
    berlin = load(written(tmp_path, '[engine]\nnaive_time_zone = "Europe/Berlin"\n')).engine.naive_zone
    assert berlin is not None
    assert berlin.utcoffset(dt.datetime(2026, 7, 1)) == dt.timedelta(hours=2)  # noqa: DTZ001 - local time is the point
    for name in ("Mars/Olympus", "", "Europe", "../etc/passwd", "+02:00"):
        with pytest.raises(ConfigError, match=r"naive_time_zone.*no time zone of this machine"):
            load(written(tmp_path, f'[engine]\nnaive_time_zone = "{name}"\n'))


def test_the_time_zone_reaches_the_decoder() -> None:
    """Times without an offset are refused, or local time of the zone that is configured."""
    line = Events().line("acme", [1.0], 0, time="2026-05-04T12:31:07")
    for zone, time in ((None, []), ("Europe/Berlin", [1_777_890_667_000])):
        config = Config(engine=EngineSection(naive_time_zone=zone))
        assembler = assembler_for(config, {}, HeldClock(1_777_890_700_000), decoder_for(config))
        batches, *_ = assembler.assemble([line], "log", first_line=1, first_sequence=0)
        assert [batch.time[0] for batch in usable(batches)] == time
