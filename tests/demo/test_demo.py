"""The demo, whole: what it promises, and that a replay of its log finds the same."""

import json
from pathlib import Path

import pytest

from detector.config import load
from detector.console import Console
from detector.contracts import DeadLetter
from detector.demo.outcome import DemoOutcome
from detector.demo.show import show
from detector.offline import replay as replaying
from detector.redteam.cast import INNOCENTS, THIEVES

pytestmark = pytest.mark.slow
RESULTS = ("alerts.jsonl", "decisions.jsonl", "clients.jsonl")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DemoOutcome, str]:
    folder = tmp_path_factory.mktemp("demo")
    with (folder / "progress.txt").open("w+") as heard:
        outcome = show(folder, Console(file=heard, width=200), as_json=False)
        heard.seek(0)
        return folder, outcome, heard.read()


def test_every_thief_is_acted_on_in_time(ran: tuple[Path, DemoOutcome, str]) -> None:
    """Constructed queries are stopped within 32 of them, foreign ones throttled within 32."""
    thefts = {theft.attack: theft for theft in ran[1].thefts}
    assert set(thefts) == set(THIEVES)
    for name in ("line_search", "hopskipjump", "jbda"):
        assert thefts[name].action in {"perturb", "block"}
        assert (thefts[name].synthetic or 99) <= 32
    for name in ("uniform", "knockoff_random"):
        assert thefts[name].action == "throttle"
        assert (thefts[name].queries or 99) <= 32
    assert all(theft.reached for theft in thefts.values())


def test_copies_grow_with_the_responses(ran: tuple[Path, DemoOutcome, str]) -> None:
    """A copy trained on the whole budget beats the one at the moment of the decision.

    Not so JbDA's: its seeds teach most, and the steps that follow raise the confidence of what is known already.
    """
    for theft in ran[1].thefts:
        assert 0 < theft.copy < theft.full_copy + 0.05 <= 1.05
        assert theft.copy < theft.full_copy or theft.attack == "jbda"


def test_no_innocent_is_stopped(ran: tuple[Path, DemoOutcome, str]) -> None:
    """Six profiles, three clients each, none perturbed or blocked, all of their queries counted."""
    assert [row.profile for row in ran[1].innocents] == list(INNOCENTS)
    assert [row.stopped for row in ran[1].innocents] == [0] * 6
    assert {(row.clients, row.queries) for row in ran[1].innocents} == {(3, 900)}


def test_a_replay_of_its_log_finds_the_same(ran: tuple[Path, DemoOutcome, str], tmp_path: Path) -> None:
    """Alerts, decisions and clients come out byte for byte, in batches of 7 as in one."""
    folder = ran[0]
    config = load(folder / "detector.toml")
    for size in (7, 100_000):
        replaying.replay([str(folder / "log.jsonl")], tmp_path, config, replaying.load_baseline(config), batch_size=size)
        for name in RESULTS:
            assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_it_leaves_what_it_says(ran: tuple[Path, DemoOutcome, str]) -> None:
    """Decisions are meant, broken lines are dead-letter records, picture and tables are there, and progress was shown."""
    folder, outcome, heard = ran
    summary = json.loads((folder / "summary.json").read_bytes())
    assert summary["shadow"] is False
    assert summary["events"] == sum(row.queries for row in outcome.innocents) + sum(t.budget for t in outcome.thefts)
    letters = [DeadLetter.model_validate_json(line) for line in (folder / "dead-letters.jsonl").read_bytes().splitlines()]
    assert {letter.reason for letter in letters} == {"json", "not_finite"}
    assert (folder / "demo.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert json.loads((folder / "outcome.json").read_bytes()) == json.loads(json.dumps(outcome.to_dict()))
    assert "fitting the baseline" in heard
    assert "thief-jbda: offset evidence" in heard
