"""Campaigns from a log to gates: the same however the log is cut or dealt, refused at a gate, and lifted as a whole."""

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from detector.baseline.store import Baseline, save
from detector.config import Config
from detector.contracts import Decision, to_json
from detector.contracts.decision import Subject
from detector.contracts.moment import parse_rfc3339
from detector.decisions.manual import compose, lifts
from detector.decisions.register import Register
from detector.decisions.target import kind_of, target_of
from detector.errors import ConfigError, SourceError
from detector.gate.records import read_value
from detector.gate.store import ALLOW, BLOCK, Store, Who
from detector.offline.explain.campaign import CampaignExplanation, explain_campaign, to_dict
from detector.offline.explain.campaign_terminal import tell_campaign
from detector.offline.pictures.campaign import campaign_picture
from detector.offline.replay import replay
from detector.testing import LATER_MS, HeldClock, MemorySink, watch
from tests.engine.links.campaigns import theft

CONFIG = Config.model_validate(
    {"policy": {"shadow": False, "trust_clients": True, "new_stops_per_minute": 0, "stopped_share": 1.0}}
)
THIEVES = [f"thief-{number}" for number in range(6)]


def campaigns(sink: MemorySink) -> tuple[list[bytes], list[bytes]]:
    return (
        [to_json(alert) for alert in sink.raised if alert.rule.id == "extraction.campaign"],
        [to_json(decision) for decision in sink.decided if decision.subject.type == "campaign"],
    )


@pytest.fixture(scope="module")
def seen(digits_baseline: Baseline) -> MemorySink:
    return watch(theft(), CONFIG, digits_baseline)


def last_of(sink: MemorySink) -> Decision:
    return next(decision for decision in reversed(sink.decided) if decision.subject.type == "campaign")


def gate_of(decisions: Sequence[Decision], now_ms: int) -> Store:
    store = Store()
    for decision in decisions:
        record = read_value(to_json(decision))
        assert record is not None
        store.set(record, now_ms)
    return store


@pytest.mark.parametrize(("partitions", "chunk"), [(1, 7), (3, 100), (8, 1000)])
def test_cuts_and_partitions_change_nothing(seen: MemorySink, digits_baseline: Baseline, partitions: int, chunk: int) -> None:
    alerts, decisions = campaigns(seen)
    assert alerts
    assert decisions
    assert campaigns(watch(theft(), CONFIG, digits_baseline, partitions=partitions, chunk=chunk)) == (alerts, decisions)


def test_links_can_be_switched_off(digits_baseline: Baseline) -> None:
    off = CONFIG.model_copy(update={"links": CONFIG.links.model_copy(update={"enabled": False})})
    assert campaigns(watch(theft(), off, digits_baseline)) == ([], [])


def test_an_alert_names_the_accounts(seen: MemorySink) -> None:
    alert = next(alert for alert in reversed(seen.raised) if alert.rule.id == "extraction.campaign")
    assert set(alert.related.user) >= {alert.user.id, *THIEVES[:2]}
    assert alert.user.id == last_of(seen).subject.id
    assert alert.detector.evidence[0].name == "campaign"
    assert alert.detector.evidence[0].event_ids


def test_a_gate_refuses_the_accounts_of_a_campaign(seen: MemorySink) -> None:
    own = [decision for decision in seen.decided if decision.subject.type == "campaign"]
    now_ms = parse_rfc3339(own[-1].issued_at)
    store = gate_of(own, now_ms)
    assert {store.find(Who(client), "digits", now_ms).rank for client in THIEVES} == {BLOCK}
    assert store.find(Who("innocent-0"), "digits", now_ms).rank == ALLOW
    assert store.find(Who("thief-0"), "another", now_ms).rank == ALLOW


def test_a_campaign_is_lifted_as_a_whole_and_nothing_else(seen: MemorySink) -> None:
    campaign = last_of(seen)
    now_ms = parse_rfc3339(campaign.issued_at)
    own = campaign.model_copy(update={"subject": Subject(type="client", id="thief-0"), "members": None})
    register = Register()
    for decision in seen.decided:
        register.take(to_json(decision))
    target = target_of(kind_of(campaign.subject.id), campaign.subject.id)
    orders = lifts(register, target, (), ("soc:j.doe", "one customer's own test"), now_ms)
    lifted = [compose(order, register, now_ms) for order in orders]
    store = gate_of([campaign, *lifted], now_ms)
    assert {store.find(Who(client), "digits", now_ms).rank for client in THIEVES} == {ALLOW}
    store = gate_of([campaign, own, *lifted], now_ms)
    assert store.find(Who("thief-0"), "digits", now_ms).rank == BLOCK
    assert store.find(Who("thief-1"), "digits", now_ms).rank == ALLOW
    with pytest.raises(ConfigError, match="nothing is in force"):
        lifts(register, target_of("campaign", "campaign-000000000000"), (), ("soc:j.doe", "why"), now_ms)


def test_a_campaign_is_explained(tmp_path: Path, digits_baseline: Baseline) -> None:
    log, folder, known = tmp_path / "log.jsonl", tmp_path / "out", tmp_path / "baseline"
    log.write_bytes(b"\n".join(theft()) + b"\n")
    save(digits_baseline, known)
    config = CONFIG.with_baseline(known)
    done = replay([str(log)], folder, config, digits_baseline, clock=HeldClock(LATER_MS))
    assert done.summary["campaigns"] == 1
    assert done.summary["campaigns_holding"]["0.5"] == 1
    campaign = json.loads((folder / "decisions.jsonl").read_bytes().splitlines()[-1])["subject"]["id"]
    found = explain_campaign(campaign, folder, config, digits_baseline)
    assert [account.client for account in found.accounts if account.named] == sorted(
        THIEVES, key=lambda name: found_at(found, name)
    )
    assert found.level == "blocked"
    assert found.links
    assert {link.kind for link in found.links} <= set(found.counts)
    told = to_dict(found)
    assert told["accounts"][0]["client"] in THIEVES
    assert json.dumps(told)
    assert found.odometer is not None
    assert told["odometer"]["queries"] == found.odometer.queries
    assert not told["stopped_for_harm"]
    picture = tmp_path / "campaign.png"
    campaign_picture(found, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    out = Console(width=120, record=True, file=StringIO())
    out.print(tell_campaign(found))
    assert f"together lead {found.odometer.lead:.2f} (" in " ".join(out.export_text(clear=False).split())
    assert f"decisions lift {campaign}" in " ".join(out.export_text().split())
    with pytest.raises(SourceError, match="there is no campaign"):
        explain_campaign("campaign-000000000000", folder, config, digits_baseline)


def found_at(found: CampaignExplanation, client: str) -> int:
    return [account.client for account in found.accounts].index(client)


def test_a_lift_outlasts_what_is_named_meanwhile(digits_baseline: Baseline) -> None:
    """More accounts do not make a stop last longer, so it ends with the lift, as a client's does."""
    decided = watch(theft(accounts=30), CONFIG, digits_baseline).decided
    by_subject: dict[str, list[Decision]] = {}
    for decision in decided:
        if decision.subject.type == "campaign":
            by_subject.setdefault(decision.subject.id, []).append(decision)
    own = max(by_subject.values(), key=lambda some: sum(one.action == some[0].action for one in some))
    first = own[0]
    lifted_ms, until_ms = parse_rfc3339(first.issued_at), parse_rfc3339(first.expires_at or "")
    register = Register()
    register.take(to_json(first))
    orders = lifts(register, target_of("campaign", first.subject.id), (), ("soc:j.doe", "our own load test"), lifted_ms)
    lifted = [compose(order, register, lifted_ms) for order in orders]
    meanwhile = [one for one in own[1:] if one.action == first.action]
    named = {member.id for one in meanwhile for member in one.members or ()}
    assert len(named) > len(first.members or ()), "more accounts were named while it was lifted"
    store = gate_of([first, *meanwhile, *lifted], lifted_ms)
    for moment_ms in (lifted_ms, until_ms - 1, until_ms, until_ms + 1):
        assert {store.find(Who(client), "digits", moment_ms).rank for client in named} == {ALLOW}
