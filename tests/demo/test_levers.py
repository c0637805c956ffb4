"""What a client or a careless shipper can do to the demo's log: thieves are found all the same, or it is said what to do."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from detector.baseline.store import Baseline
from detector.config import Config
from detector.config.detection import EngineSection, PolicySection
from detector.contracts.moment import parse_rfc3339
from detector.offline.replay import fit, replay
from detector.redteam import cast

pytestmark = pytest.mark.slow

CONFIG = Config(policy=PolicySection(shadow=False, trust_clients=True), engine=EngineSection(seed=7))
THIEVES = {f"thief-{name}" for name in cast.THIEVES}

Record = dict[str, Any]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Baseline, list[Record]]:
    """Return the demo's baseline and the records of its day."""
    folder = tmp_path_factory.mktemp("played")
    served = cast.victim()
    (folder / "history.jsonl").write_bytes(b"\n".join(cast.play(cast.history(served), served)))
    return fit([str(folder / "history.jsonl")], CONFIG), [json.loads(line) for line in cast.play(cast.live(served), served)]


def write(path: Path, records: Iterable[Record]) -> str:
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return str(path)


def found(logs: list[str], out: Path, baseline: Baseline) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return what each thief was alerted on for, and what was decided about it."""
    replay(logs, out, CONFIG, baseline)
    alerts: dict[str, set[str]] = {}
    for line in (out / "alerts.jsonl").read_text().splitlines():
        alert = json.loads(line)
        alerts.setdefault(alert["user"]["id"], set()).add(alert["detector"]["evidence"][0]["name"])
    decisions: dict[str, set[str]] = {}
    for line in (out / "decisions.jsonl").read_text().splitlines():
        decision = json.loads(line)
        decisions.setdefault(decision["subject"]["id"], set()).add(decision["action"])
    return alerts, decisions


def one_id(record: Record) -> Record:
    return record | {"event_id": "mine"}


def an_id_per_forty(record: Record) -> Record:
    return record | {"event_id": f"mine-{int(record['event_id'].rpartition('#')[2]) // 40}"}


def in_seconds(record: Record) -> Record:
    return record | {"time": parse_rfc3339(record["time"]) / 1000}


def as_it_is(record: Record) -> Record:
    return record


@pytest.mark.parametrize("change", [as_it_is, one_id, an_id_per_forty, in_seconds])
def test_all_thieves_are_acted_on(
    played: tuple[Baseline, list[Record]], tmp_path: Path, change: Callable[[Record], Record]
) -> None:
    """Whatever ids they give their queries, and in whatever unit the log's times are; nobody else is."""
    baseline, records = played
    log = write(
        tmp_path / "log.jsonl", [change(r) if r["client"]["id"] in THIEVES or change is in_seconds else r for r in records]
    )
    alerts, decisions = found([log], tmp_path / "out", baseline)
    assert set(decisions) == THIEVES
    reused = {client for client, names in alerts.items() if "reused" in names}
    assert reused == (THIEVES if change in {one_id, an_id_per_forty} else set())


def test_whoever_leaves_a_value_out_is_named(played: tuple[Baseline, list[Record]], tmp_path: Path) -> None:
    """Pictures have no missing values, so these queries are refused; all five thieves are alerted on for that."""
    baseline, records = played

    def hidden(record: Record) -> Record:
        return record | {"input": {"vector": [None, *record["input"]["vector"][1:]]}}

    log = write(tmp_path / "log.jsonl", [hidden(r) if r["client"]["id"] in THIEVES else r for r in records])
    alerts, _ = found([log], tmp_path / "out", baseline)
    assert {client for client, names in alerts.items() if "refused" in names} == THIEVES


def test_one_id_in_two_cases_is_two_clients_that_are_both_met(played: tuple[Baseline, list[Record]], tmp_path: Path) -> None:
    """Each half of a thief's queries shows enough, but for a search of which the halves are dealt in turn (see limits.md)."""
    baseline, records = played

    def shouted(record: Record) -> Record:
        client = record["client"]["id"]
        loud = int(record["event_id"].rpartition("#")[2]) % 2
        return record | {"client": {"id": client.upper() if loud else client}}

    log = write(tmp_path / "log.jsonl", [shouted(r) if r["client"]["id"] in THIEVES else r for r in records])
    _, decisions = found([log], tmp_path / "out", baseline)
    assert {client.lower() for client in decisions} >= THIEVES - {"thief-hopskipjump"}


def test_files_of_two_replicas_are_one_log(played: tuple[Baseline, list[Record]], tmp_path: Path) -> None:
    """Given together they lead to what the whole log leads to."""
    baseline, records = played
    whole = write(tmp_path / "whole.jsonl", records)
    parts = [write(tmp_path / f"{n}.jsonl", records[n::2]) for n in range(2)]
    assert found(parts, tmp_path / "out", baseline)[1] == found([whole], tmp_path / "expected", baseline)[1]
    for name in ("alerts.jsonl", "decisions.jsonl"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "expected" / name).read_bytes()


def test_a_log_that_is_newest_first_is_reported(played: tuple[Baseline, list[Record]], tmp_path: Path) -> None:
    """Nothing is concluded from it; the problem says what to do."""
    baseline, records = played
    log = write(tmp_path / "log.jsonl", reversed(records))
    done = replay([log], tmp_path / "out", CONFIG, baseline)
    assert any("newest first" in problem for problem in done.problems)
