"""What `baseline show` and `baseline accept` tell."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from detector.baseline.store import Baseline, load, save
from detector.cli import app
from detector.config import Config
from detector.errors import BaselineError, ConfigError
from detector.offline.replay import drift_of, replay
from detector.service.telemetry.metrics import Metrics
from detector.testing import Events, traffic

REVIEWED = ("--actor", "a.person", "--reason", "a new sensor")


def write(path: Path, lines: list[bytes]) -> str:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def sensors(count: int, *, seed: int = 1, queries: int = 20) -> list[bytes]:
    """Return the log of clients whose inputs lie closely together in a corner."""
    rng = np.random.default_rng(seed)
    events = Events("alpha", step_ms=500)
    return [
        events.line(f"sensor-{i}", 0.9 + 0.1 * rng.random(9), 1, probabilities=[0.02, 0.98])
        for _ in range(queries)
        for i in range(count)
    ]


@pytest.fixture
def folder(generated_baseline: Baseline, tmp_path: Path) -> str:
    """Keep a baseline in a folder."""
    save(generated_baseline, tmp_path / "old")
    return str(tmp_path / "old")


def run(*arguments: str) -> str:
    """Run a command in this process and return what it printed."""
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_accepting_is_told_kept_and_shown(folder: str, tmp_path: Path) -> None:
    """The command tells what changed; `show` lists who was accepted by whom, in words and in JSON.

    Before, a replay notes the clients as unfamiliar, since they stay in a corner and learn no more than others; then no more.
    """
    log = write(tmp_path / "log.jsonl", sensors(2))
    replay([log], tmp_path / "before", Config(), load(Path(folder)))
    told = run(
        "baseline",
        "accept",
        "sensor-0",
        "sensor-1",
        "--log",
        log,
        "--baseline",
        folder,
        "--out",
        str(tmp_path / "new"),
        *REVIEWED,
    )
    assert told.count("sensor-") == 2
    assert "novelty 0.00" in told
    taught = load(tmp_path / "new")
    assert replay([log], tmp_path / "after", Config(), taught).summary["alerts"] == 0
    for run_of, unfamiliar in (("before", True), ("after", False)):
        lines = [json.loads(line) for line in (tmp_path / run_of / "clients.jsonl").read_text().splitlines()]
        assert [("unfamiliar" in line) for line in lines] == [unfamiliar] * 2
    shown = json.loads(run("baseline", "show", str(tmp_path / "new"), "--json"))
    assert [entry["client"] for entry in shown["models"]["alpha"]["accepted"]] == ["sensor-0", "sensor-1"]
    assert shown["models"]["alpha"]["accepted"][0]["at"].endswith("Z")
    words = " ".join(run("baseline", "show", str(tmp_path / "new")).split())
    assert "accepted: sensor-0 after 20 queries, by a.person" in words
    assert "a new sensor" in words


def test_accepting_prints_json(folder: str, tmp_path: Path) -> None:
    """For scripts: the new baseline's report with the changes."""
    log = write(tmp_path / "log.jsonl", sensors(1))
    content = json.loads(
        run("baseline", "accept", "sensor-0", "--log", log, "--baseline", folder, "--out", folder, *REVIEWED, "--json")
    )
    assert content["changes"][0].startswith("sensor-0: novelty")
    assert content["version"] == load(Path(folder)).version


def test_what_accepting_needs_is_asked_for(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason, a baseline, a model where there are several, and a client that is in the log."""
    log = write(tmp_path / "log.jsonl", sensors(1))
    common = ("baseline", "accept", "sensor-0", "--log", log, "--out", str(tmp_path / "new"))
    known = load(Path(folder))
    both = Baseline(
        "0" * 12, {**known.models, "beta": known.models["alpha"]}, {**known.notes, "beta": known.notes["alpha"]}, known.seed
    )
    monkeypatch.setattr("detector.offline.replay.load_baseline", lambda config: both if config.baseline.path else None)
    with pytest.raises(ConfigError, match="must not be empty"):
        run(*common, "--baseline", folder, "--actor", "a.person", "--reason", " ")
    with pytest.raises(ConfigError, match="no baseline to accept clients into"):
        run(*common, *REVIEWED)
    with pytest.raises(ConfigError, match="name one with --model: alpha, beta"):
        run(*common, "--baseline", folder, *REVIEWED)
    with pytest.raises(BaselineError, match="'sensor-0' asked model 'beta' 0 times"):
        run(*common, "--baseline", folder, *REVIEWED, "--model", "beta")


def test_who_is_accepted_may_be_said(folder: str, tmp_path: Path) -> None:
    """A client may be called like a campaign, or like the beginning of one; nothing else can be accepted."""
    log = write(tmp_path / "log.jsonl", sensors(1))
    common = ("baseline", "accept", "--log", log, "--baseline", folder, "--out", str(tmp_path / "new"), *REVIEWED)
    with pytest.raises(ConfigError, match="--type organization: such a subject cannot be accepted; known: client, campaign"):
        run(*common, "sensor-0", "--type", "organization")
    with pytest.raises(ConfigError, match="no whole id of a campaign"):
        run(*common, "campaign-12")
    for client in ("campaign-12", "campaign-0123456789ab"):
        with pytest.raises(BaselineError, match=f"'{client}' asked model 'alpha' 0 times"):
            run(*common, client, "--type", "client")
    with pytest.raises(BaselineError, match="not found in this log"):
        run(*common, "sensor-0", "--type", "campaign")


def test_show_compares_with_a_log(folder: str, tmp_path: Path) -> None:
    """Clients like the calibration's fit; sensors do not, and the table says which features moved where."""
    strange = write(tmp_path / "strange.jsonl", sensors(30))
    told = run("baseline", "show", folder, "--log", strange)
    assert "no longer fits" in told
    assert "newcomers" in told
    content = json.loads(run("baseline", "show", folder, "--log", strange, "--json"))
    assert content["drift"]["alpha"]["fits"] is False
    assert content["drift"]["alpha"]["features"][0]["clients"] >= 25
    assert content["drift"]["alpha"]["distance"] > 0.5
    other = write(tmp_path / "other.jsonl", traffic(model="beta"))
    assert drift_of([other], Config(), load(Path(folder))) == {}
    assert "no client of the log" in run("baseline", "show", folder, "--log", other)
    assert json.loads(run("baseline", "show", folder, "--json"))["drift"] is None


def test_a_replay_tells_of_drift(folder: str, tmp_path: Path) -> None:
    """The summary says for each model with a baseline whether it fits, however the log is cut and dealt."""
    log = write(tmp_path / "log.jsonl", sensors(30))
    found = [
        replay([log], tmp_path / str(size), Config(), load(Path(folder)), batch_size=size, partitions=parts).summary["drift"]
        for size, parts in ((1000, 1), (37, 3))
    ]
    assert found[0] == found[1]
    assert found[0]["alpha"]["fits"] is False
    assert found[0] == json.loads((tmp_path / "37" / "summary.json").read_bytes())["drift"]
    assert replay([log], tmp_path / "without", Config(), None).summary["drift"] == {}


def test_a_channel_that_lost_its_right_is_named(folder: str, tmp_path: Path) -> None:
    """Accepting a thief in spite of its evidence says that the channel only alerts now, at once and in `show`."""
    log = write(tmp_path / "log.jsonl", traffic(innocents=1, thieves=1, queries=80, dimension=9, model="alpha"))
    accepted = ("baseline", "accept", "thief-0", "--log", log, "--baseline", folder, "--out", folder, *REVIEWED)
    with pytest.raises(BaselineError, match="evidence of construction"):
        run(*accepted)
    told = run(*accepted, "--despite-construction")
    assert "offset may only alert from now on" in told
    shown = " ".join(run("baseline", "show", folder).split())
    assert "offset may only alert here" in shown
    assert "despite evidence of construction" in shown


def test_drift_is_a_metric() -> None:
    """Evidence and distance are gauges by model."""
    metrics = Metrics()
    metrics.drift("alpha", 4.2, 0.9)
    text = metrics.text().decode()
    assert 'detector_baseline_drift{model="alpha"} 4.2' in text
    assert 'detector_baseline_drift_distance{model="alpha"} 0.9' in text
