"""Organisations from a log to gates: the same however the log is cut or dealt, refused at a gate, lifted, and explained."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from detector.baseline.store import Baseline, save
from detector.cli import app
from detector.config import Config
from detector.contracts import to_json
from detector.contracts.moment import parse_rfc3339
from detector.decisions.manual import compose, lifts
from detector.decisions.register import Register
from detector.decisions.target import target_of
from detector.errors import ConfigError, SourceError
from detector.gate.records import read_value
from detector.gate.store import ALLOW, BLOCK, Store, Who
from detector.offline.explain.organization import explain_organization, to_dict
from detector.offline.explain.organization_terminal import tell_organization
from detector.offline.pictures.organization import organization_picture
from detector.offline.replay import replay
from detector.testing import LATER_MS, HeldClock, MemorySink, watch
from tests.engine.links.houses import HOUSE, house_log

CONFIG = Config.model_validate(
    {
        "policy": {"shadow": False, "trust_clients": False, "new_stops_per_minute": 0, "stopped_share": 1.0},
        "odometer": {"organization_degrade_at": 0.3, "organization_stop_at": 0.8},
    }
)


def found(sink: MemorySink) -> tuple[list[bytes], list[bytes]]:
    return (
        [to_json(alert) for alert in sink.raised if alert.rule.id == "extraction.harm"],
        [to_json(decision) for decision in sink.decided if decision.subject.type == "organization"],
    )


@pytest.fixture(scope="module")
def seen(digits_baseline: Baseline) -> MemorySink:
    return watch(house_log(), CONFIG, digits_baseline)


@pytest.mark.parametrize(("partitions", "chunk"), [(1, 7), (3, 100), (8, 1000)])
def test_cuts_and_partitions_change_nothing(seen: MemorySink, digits_baseline: Baseline, partitions: int, chunk: int) -> None:
    alerts, decisions = found(seen)
    assert len(alerts) == len(decisions) == 2
    assert found(watch(house_log(), CONFIG, digits_baseline, partitions=partitions, chunk=chunk)) == (alerts, decisions)


@pytest.mark.parametrize("section", ["links", "odometer"])
def test_it_can_be_switched_off(digits_baseline: Baseline, section: str) -> None:
    off = {"enabled": False} if section == "links" else {"enabled": False, "organization_degrade_at": None}
    settings = Config.model_validate({"policy": CONFIG.policy.model_dump(), section: off})
    assert found(watch(house_log(), settings, digits_baseline)) == ([], [])


def test_a_gate_refuses_the_organisation_until_it_is_lifted(seen: MemorySink) -> None:
    own = [decision for decision in seen.decided if decision.subject.type == "organization"]
    now_ms = parse_rfc3339(own[-1].issued_at)
    store, register = Store(), Register()
    for decision in own:
        record = read_value(to_json(decision))
        assert record is not None
        store.set(record, now_ms)
        register.take(to_json(decision))
    member = Who("house-9", organization=HOUSE)
    assert store.find(member, "digits", now_ms).rank == BLOCK, "also one that has not asked yet"
    assert store.find(Who("other-0"), "digits", now_ms).rank == ALLOW
    assert store.find(member, "another", now_ms).rank == ALLOW
    for order in lifts(register, target_of("organization", HOUSE), (), ("soc:j.doe", "as agreed"), now_ms):
        lifted = read_value(to_json(compose(order, register, now_ms)))
        assert lifted is not None
        store.set(lifted, now_ms)
    assert store.find(member, "digits", now_ms).rank == ALLOW


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits_baseline: Baseline) -> Path:
    """Return a folder with a log, its baseline, settings and results."""
    at = tmp_path_factory.mktemp("house")
    (at / "log.jsonl").write_bytes(b"\n".join(house_log()) + b"\n")
    save(digits_baseline, at / "baseline")
    config = CONFIG.with_baseline(at / "baseline")
    replay([str(at / "log.jsonl")], at / "out", config, digits_baseline, clock=HeldClock(LATER_MS))
    return at


def test_the_summary_counts_organisations(folder: Path) -> None:
    summary = json.loads((folder / "out" / "summary.json").read_bytes())
    assert summary["organizations"] == 1
    assert summary["organizations_holding"]["0.5"] == 1


def test_an_organisation_is_explained(folder: Path, digits_baseline: Baseline) -> None:
    config = CONFIG.with_baseline(folder / "baseline")
    explained = explain_organization(HOUSE, None, folder / "out", config, digits_baseline)
    assert explained.model == "digits"
    assert explained.level == "block"
    assert {(account.client, account.queries) for account in explained.accounts} == {(f"house-{n}", 60) for n in range(4)}
    assert explained.odometer is not None
    assert explained.leads[-1][1] == explained.odometer.lead
    assert [lead for _, lead in explained.leads] == sorted(lead for _, lead in explained.leads)
    told = to_dict(explained)
    assert (told["degrade_at"], told["stop_at"], told["queries"]) == (0.3, 0.8, 240)
    assert json.dumps(told)
    organization_picture(explained, folder / "picture.png")
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    out = Console(width=120, record=True, file=StringIO())
    out.print(tell_organization(explained))
    text = " ".join(out.export_text().split())
    assert "labels only from 0.3, blocked from 0.8" in text
    assert f"4 accounts hold a lead of {explained.odometer.lead:.2f}" in text
    with pytest.raises(SourceError, match="no account that is vouched for"):
        explain_organization("another", None, folder / "out", config, digits_baseline)
    with pytest.raises(SourceError, match="asked model 'another' nothing"):
        explain_organization(HOUSE, "another", folder / "out", config, digits_baseline)


def test_the_command_explains_it(folder: Path) -> None:
    (folder / "detector.toml").write_text(
        "[policy]\ntrust_clients = false\n[odometer]\norganization_degrade_at = 0.3\n", encoding="utf-8"
    )
    given = ["--from", str(folder / "out"), "-c", str(folder / "detector.toml"), "--baseline", str(folder / "baseline")]
    done = CliRunner().invoke(app, ["explain", HOUSE, "--type", "organization", "--json", *given])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["organization"] == HOUSE
    refused = CliRunner().invoke(app, ["explain", HOUSE, "--type", "cidr", *given])
    assert isinstance(refused.exception, ConfigError)
