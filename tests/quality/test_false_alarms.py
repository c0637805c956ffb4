import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from detector.baseline.store import load
from detector.errors import ConfigError
from detector.redteam.registry import profiles_of
from detector.redteam.sessions import innocent
from tests.quality import false_alarms
from tests.quality.false_alarms import BLOCK, CLIENT_SEED, SEEDS, Block, blocks, conclude, measure, play
from tests.quality.history import CALIBRATION_SEED, TEACHING_SEED, Past
from tests.quality.observed import LEVELS, written
from tests.quality.quality import REAL_DATA
from tests.quality.simulation import simulated

TINY = Past(teaching=2, queries=140, lesson=300)
PLAYED = [
    Block("digits", "mlp", SEEDS[0], profile, first, 3, 60) for profile in ("steady", "video", "mirrored") for first in (0, 3)
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Play a few small blocks; return the folder and their counts."""
    out = tmp_path_factory.mktemp("false-alarms")
    return out, measure(PLAYED, out, past=TINY)


def test_every_known_profile_plays_as_often() -> None:
    """Clients of a profile are as many as those of any other, all different, in blocks of all simulations."""
    wanted = blocks(31 * 2 * BLOCK * len(SEEDS) - 1, 200, None)
    clients: dict[tuple[str, str], list[int]] = {}
    for block in wanted:
        clients.setdefault((block.data, block.profile), []).extend(range(block.first, block.first + block.sessions))
    assert set(clients) == {("digits", name) for name in profiles_of("image", "known")} | {
        ("loans", name) for name in profiles_of("tabular", "known")
    }
    for numbers in clients.values():
        assert sorted(numbers) == list(range(2 * BLOCK * len(SEEDS)))
    for data in ("digits", "loans"):
        assert {block.seed for block in wanted if block.data == data} == set(SEEDS)
    assert len({block.name for block in wanted}) == len(wanted)


def test_a_few_clients_are_dealt_as_well() -> None:
    """At least as many as asked for, the same number to each profile."""
    assert [block.sessions for block in blocks(1, 200, None)] == [1] * 31
    assert {block.sessions for block in blocks(32, 200, None)} == {2}


def test_worlds_can_be_mixed_in() -> None:
    """Worlds join the data that ship, with their own victims and wires; what is no world is refused."""
    plain = blocks(1, 200, None)
    mixed = blocks(1, 200, None, ["phishing", "wide"])
    assert [block for block in mixed if block.data in {"digits", "loans"}] == plain
    assert {(block.data, block.victim) for block in mixed[len(plain) :]} == {("phishing", "forest"), ("wide", "linear")}
    with pytest.raises(ConfigError, match="there is no world 'nowhere'"):
        blocks(1, 200, None, ["nowhere"])


def test_clients_are_new() -> None:
    """Their seed is none that the benign past, or the scenario table, was played with."""
    assert CLIENT_SEED not in {TEACHING_SEED, CALIBRATION_SEED, 1}
    assert 1 not in SEEDS


def test_what_is_finished_is_kept(played: tuple[Path, list[dict[str, Any]]]) -> None:
    """A second run plays nothing, a third only the block that was lost."""
    out, counts = played
    told: list[tuple[str, int, int]] = []
    assert measure(PLAYED, out, past=TINY, told=lambda *what: told.append(what)) == counts
    assert told == []
    (lost,) = (out / "state").glob(f"*/{PLAYED[2].name}.json")
    lost.unlink()
    again = measure(PLAYED, out, past=TINY, told=lambda *what: told.append(what))
    assert told == [("playing", 1, 1)]
    assert [one | {"seconds": 0} for one in again] == [one | {"seconds": 0} for one in counts]


def test_other_processes_count_the_same(played: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    """Whoever plays a block: the same figures, but for the seconds it took."""
    out, counts = played
    shutil.copytree(out / "state", tmp_path / "state", ignore=shutil.ignore_patterns("*x60.json"))
    again = measure(PLAYED[:3], tmp_path, past=TINY, jobs=2)
    assert [one | {"seconds": 0} for one in again] == [one | {"seconds": 0} for one in counts[:3]]


def test_counts_are_those_of_the_engine(played: tuple[Path, list[dict[str, Any]]]) -> None:
    """Where clients ask as thieves do some are met, and the counts are those of the clients that are named."""
    out, _ = played
    served = simulated("digits", "mlp", SEEDS[0])
    (place,) = (out / "state").glob(f"*/baseline-digits-mlp-{SEEDS[0]}")
    found = play(replace(PLAYED[0], profile="sign_noise"), served, load(place))
    for level in LEVELS:
        assert found[level] == len(found["clients"][level]) == sum(found["evidence"][level].values())
    assert 3 >= found["alert"] >= found["throttle"] >= found["stop"] > 0
    players = [innocent("sign_noise", n, served.evaluation, 60, 6.0, CLIENT_SEED) for n in range(3)]
    assert found["queries"] == len(written(players, served.evaluation)) == 180


def test_a_block_that_fails_does_not_stop_the_others(played: tuple[Path, list[dict[str, Any]]]) -> None:
    """It comes back with its error, in its place."""
    out, counts = played
    broken = replace(PLAYED[0], profile="tab_steady")
    found = measure([broken, PLAYED[0]], out, past=TINY)
    assert "tab_steady takes tabular data" in found[0]["error"]
    assert found[1] == counts[0]


def test_the_end_is_judged(
    played: tuple[Path, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is written; more clients met than a goal allows, or a block that failed, are said."""
    _, counts = played
    quiet = [one | dict.fromkeys(LEVELS, 0) for one in counts]
    assert conclude(quiet, tmp_path)
    last = json.loads((tmp_path / "false-alarms.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert (last["sessions"], last["stop"]["count"]) == (18, 0)
    assert not conclude([quiet[0] | {"stop": 1}, *quiet[1:]], tmp_path)
    assert "stop: 1 of 18 clients, more than the goal of 1 in 10,000" in capsys.readouterr().err
    assert not conclude([{"block": "digits-steady", "error": "no pictures"}, *quiet[1:]], tmp_path)
    assert "digits-steady: no pictures" in capsys.readouterr().err
    assert not conclude([{"block": "digits-steady", "error": "no pictures"}], tmp_path / "nowhere")


def _command(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(false_alarms.command)
    return CliRunner().invoke(app, list(arguments), env={REAL_DATA: None})


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    """A folder that cannot be written is said before anything is played."""
    (tmp_path / "file").write_text("")
    refused = _command("--out", str(tmp_path / "file"), "--sessions", "1", "--queries", "1")
    assert refused.exit_code == 1
    assert "cannot write to" in refused.stderr
