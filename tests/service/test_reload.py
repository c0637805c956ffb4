"""Policy that is read again: what is taken, what needs a restart, and what is refused."""

import threading
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from detector.baseline.settings import policy_settings
from detector.config import Config, load
from detector.service.reload import PolicyReloader
from detector.service.telemetry.metrics import Metrics

FIRST = '[policy]\nnever_block = ["a"]\n[models.fraud]\ndimension = 7\n'


class File:
    """A configuration that is changed, and what reads it again."""

    def __init__(self, folder: Path, text: str = FIRST) -> None:
        self.path = folder / "detector.toml"
        self.path.write_text(text)
        self.asked = threading.Event()
        self.metrics = Metrics()
        self.reloader = PolicyReloader(load(self.path), self.asked, lambda: load(self.path), self.metrics)

    def change(self, text: str) -> tuple[Config | None, list[Any]]:
        """Write other settings and ask for them; return what is taken and what is logged."""
        self.path.write_text(text)
        self.asked.set()
        with capture_logs() as said:
            return self.reloader.due(), list(said)

    def counted(self, outcome: str) -> float | None:
        return self.metrics.registry.get_sample_value("detector_policy_reloads_total", {"outcome": outcome})


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def test_nothing_is_read_unless_asked(file: File) -> None:
    """And once for each time."""
    assert file.reloader.due() is None
    assert file.change(FIRST.replace('"a"', '"b"'))[0] is not None
    assert file.reloader.due() is None


def test_policy_is_taken_and_its_versions_are_logged(file: File) -> None:
    """The one that held and the one that holds; the model's own shadow mode is policy, too."""
    before = policy_settings(file.reloader.config).version
    config, (said,) = file.change("[policy]\nstopped_share = 0.1\n[models.fraud]\ndimension = 7\nshadow = true\n")
    assert config is not None
    assert config.policy.stopped_share == 0.1
    assert config.policy.never_block == ()
    assert (config.models["fraud"].shadow, config.models["fraud"].dimension) == (True, 7)
    assert (said["event"], said["before"], said["policy"]) == ("policy changed", before, policy_settings(config).version)
    assert said["config_version"] == config.version == load(file.path).version
    assert file.reloader.config is config
    assert file.counted("taken") == 1
    back, _ = file.change(FIRST)
    assert back is not None
    assert policy_settings(back).version == before


def test_a_file_with_an_error_changes_nothing(file: File) -> None:
    """The sentence is that of any start: file and line."""
    before = file.reloader.config
    for text, words in (
        ("[policy]\nnever_blok = []\n", f"{file.path}:2: policy.never_blok: there is no such key"),
        ("[policy\n", "not valid TOML"),
        ('[policy]\nshadow_channels = ["x"]\n', "no evidence is called 'x'"),
        ("[models.fraud]\nshadow = false\n", "needs [policy] trust_clients"),
    ):
        config, (said,) = file.change(text)
        assert config is None
        assert (said["log_level"], said["policy"]) == ("error", policy_settings(before).version)
        assert words in said["cause"]
    file.path.unlink()
    file.asked.set()
    assert file.reloader.due() is None
    assert file.reloader.config is before
    assert file.counted("refused") == 5


def test_what_needs_a_restart_is_named_and_left_out(file: File) -> None:
    """The rest of the file is taken."""
    config, said = file.change(
        "[policy]\nshadow = false\ntrust_clients = true\nblock_minutes = 5\n[engine]\nseed = 5\n[models.fraud]\ndimension = 8\n"
    )
    assert config is not None
    assert (config.policy.shadow, config.policy.trust_clients, config.policy.block_minutes) == (True, None, 5)
    assert (config.engine.seed, config.models["fraud"].dimension) == (None, 7)
    assert said[0]["changed"] == ["policy.shadow", "policy.trust_clients", "models", "engine"]


def test_budgets_are_policy_and_measuring_is_not(file: File) -> None:
    """Limits are taken; whether anything is measured needs a restart."""
    config, said = file.change(f"{FIRST}[odometer]\ndegrade_at = 0.5\nthrottle_from = 0.1\ncampaign_stop_at = 0.7\n")
    assert config is not None
    assert policy_settings(config).budget.degrade_at == 0.5
    assert policy_settings(config).campaign_stop_at == 0.7
    assert [entry["event"] for entry in said] == ["policy changed"]
    config, said = file.change(f"{FIRST}[odometer]\nenabled = false\n")
    assert config is not None
    assert (config.odometer.enabled, config.odometer.degrade_at) == (True, None)
    assert said[0]["changed"] == ["odometer.enabled"]


def test_the_same_policy_is_said_to_be(file: File) -> None:
    """Nothing is handed on."""
    config, (said,) = file.change(f"# another comment\n{FIRST}")
    assert config is None
    assert said["event"] == "policy read again: nothing has changed"


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("", "trust_clients, and a change of that needs a restart"),
        ("[policy]\ntrust_clients = true\n", "no secret seed"),
        ("[policy]\ntrust_clients = true\n[engine]\nseed = 5\n", None),
    ],
)
def test_a_model_goes_live_as_at_a_start(tmp_path: Path, first: str, words: str | None) -> None:
    """It needs to be known whom to trust, and a secret seed: both from the start."""
    config, said = File(tmp_path, first).change("[policy]\ntrust_clients = true\n[models.fraud]\nshadow = false\n")
    assert (config is None) is (words is not None)
    assert words is None or words in said[0]["cause"]
    assert config is None or config.enforces
