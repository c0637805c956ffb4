"""What each check takes for a finding, and what it does not."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.audit.checks.answers import tells_all
from detector.audit.checks.identity import Identity
from detector.audit.checks.marks import Marks
from detector.audit.force import NOTHING
from detector.audit.known import BaselineFacts, Bench, Commitment, Known
from detector.audit.result import Clear, Finding, Result, Unjudged
from detector.audit.seen import Asked, Seen, network
from detector.config import Config
from detector.contracts.network import address_of
from detector.ingest.formats.event import DecodedEvent, EventMark, EventPerturbed, refuse
from tests.audit.logs import START_MS, Audited, clear, decision, event, finding, steady, unjudged, written

DAY_S = 86_400


def policy(**settings: Any) -> Config:
    """Return a configuration with these settings of the policy."""
    return Config.model_validate({"policy": settings})


def test_nobody_vouches(audited: Audited) -> None:
    """`client.trusted` counts, and where it is left out the policy of a named configuration."""
    assert finding(audited(steady(3, client={"trusted": False})), "identity.untrusted").severity == "high"
    assert clear(audited(steady(3, client={"trusted": True})), "identity.untrusted")
    assert "trust_clients" in unjudged(audited(steady(3)), "identity.untrusted").why
    found = finding(audited(steady(3), config=policy(trust_clients=False)), "identity.untrusted")
    assert found.figures["events"] == 3
    assert clear(audited(steady(3), config=policy(trust_clients=True)), "identity.untrusted")


def test_queries_without_a_client(audited: Audited) -> None:
    """They are those that a serving format refuses as unidentified; from one in a hundred on that is no accident."""
    assert clear(audited(steady(3)), "identity.missing").figures == {"events": 0, "of": 3}
    check = Identity(Known(Config()))
    check.refuse(Asked(refuse("unidentified", "no header"), None, None, NOTHING))
    check.refuse(Asked(refuse("json", "broken"), None, None, NOTHING))
    found = next(iter(check.results()))
    assert isinstance(found, Finding)
    assert (found.severity, found.figures["events"]) == ("high", 1)


def test_one_id_in_turns_from_many_networks(audited: Audited) -> None:
    """A shared key is in use from several networks at a time; a traveller leaves each behind, and two are one machine."""
    networks = ["192.0.2.1", "198.51.100.1", "203.0.113.1"]

    def by(addresses: list[str]) -> list[dict[str, Any]]:
        return [event(number, number, client={"ip": address}) for number, address in enumerate(addresses)]

    found = finding(audited(by(networks * 5)), "identity.shared")
    assert found.figures["worst"][0] == {"client": "acme", "networks": 3, "returns": 12, "user_agents": 0}
    clear(audited(by([address for address in networks for _ in range(5)])), "identity.shared")
    clear(audited(by(networks[:2] * 10)), "identity.shared")
    unjudged(audited(steady(3, client={"ip": "gateway"})), "identity.shared")


def test_many_ids_of_one_network(audited: Audited) -> None:
    """Compared with the other networks; a log of one network has the address of a proxy."""
    events = [event(number, number, f"c{number}", client={"ip": f"192.0.2.{number}"}) for number in range(20)]
    others = [event(100 + number, number, f"d{number}", client={"ip": f"198.51.{number}.7"}) for number in range(20)]
    mixed = sorted(events + others, key=lambda one: one["time"])
    found = finding(audited(mixed), "identity.crowd")
    assert found.figures["worst"] == [{"network": "192.0.2.0/24", "clients": 20}]
    clear(audited(others), "identity.crowd")
    assert "proxy" in unjudged(audited(events), "identity.crowd").why


@settings(max_examples=50)
@given(st.ip_addresses(v=4).map(str) | st.text("0123456789.", max_size=15) | st.text(max_size=6))
def test_networks_are_those_of_the_library(text: str) -> None:
    """The short way of plain addresses says what the long one says."""
    address = address_of(text)
    assert (network(text) is None) == (address is None)
    if address is not None:
        assert network(text) == f"{str(address).rpartition('.')[0]}.0/24"


def test_full_answers(audited: Audited) -> None:
    """More than two decimals of all classes, to whom and how often."""
    found = finding(audited(steady(3)), "answers.full")
    assert (found.severity, found.figures["both"], found.figures["clients"]) == ("medium", 3, 1)
    few = [*steady(1), *steady(9, begin=2, first=10, output={"probabilities": [0.3, 0.7]})]
    assert finding(audited(few), "answers.full").severity == "low"
    clear(audited(steady(3, output={"probabilities": None})), "answers.full")
    clear(audited(steady(3, output={"probabilities": [0.753, 0.1235, 0.1235]})), "answers.full")
    unjudged(audited(steady(3, status=403)), "answers.full")


@given(st.integers(3, 20), st.integers(0, 10))
def test_a_rest_that_is_shared_out_tells_nothing(classes: int, tenths: int) -> None:
    """As `top1` and `label` answer."""
    rest = round((1 - tenths / 10) / (classes - 1), 9)
    assert not tells_all([rest] * (classes - 1) + [max(tenths / 10, rest)])


def test_calibration_needs_the_truth(audited: Audited) -> None:
    """And says so without it; with it, a model that is right half the time and sure at 74.7% is found."""
    events = steady(400)
    assert "--truth" in unjudged(audited(events), "answers.calibration").why
    truth = {f"e{number}": "1" if number % 2 else "0" for number in range(400)}
    found = finding(audited(events, truth=truth), "answers.calibration")
    assert found.figures["accuracy"] == 0.5
    assert found.figures["expected_calibration_error"] == pytest.approx(0.247)
    right = {f"e{number}": "1" if number % 4 else "0" for number in range(400)}
    clear(audited(events, truth=right), "answers.calibration")
    assert "at least 100" in unjudged(audited(events, truth={"e1": "1"}), "answers.calibration").why


def test_the_pace_of_the_fastest(audited: Audited) -> None:
    """Judged against what a copy takes, and only then."""
    events = [*steady(50), *steady(5, "slow", begin=50, first=100, step=3)]
    assert "acme" in unjudged(audited(events), "rate.pace").why
    found = finding(audited(events, bench=Bench({None: 40})), "rate.pace")
    assert (found.severity, found.figures["most_per_day"], found.figures["most_per_minute"]) == ("high", 50, 50)
    assert finding(audited(events, bench=Bench({"fraud": 200})), "rate.pace").severity == "medium"
    clear(audited(events, bench=Bench({"fraud": 1000})), "rate.pace")
    unjudged(audited(events, bench=Bench({"other": 10})), "rate.pace")
    sampled = steady(50, sampled_rate=30)
    assert finding(audited(sampled, bench=Bench({None: 1500})), "rate.pace").figures["most_per_day"] == 1500


def test_limits_that_show(audited: Audited) -> None:
    """A refusal by 429 shows one; a ceiling in the configuration is one; without statuses nothing shows."""
    asked = steady(3, status=200)
    assert "status" in unjudged(audited(steady(3)), "rate.limit").why
    assert finding(audited(asked, config=Config()), "rate.limit").severity == "medium"
    clear(audited([*asked, event(9, 9, status=429)]), "rate.limit")
    ceiling = Config.model_validate({"gate": {"requests_per_second": 20}})
    clear(audited(asked, config=ceiling), "rate.limit")
    assert finding(audited(asked, config=ceiling, bench=Bench({None: 1000})), "rate.ceiling").severity == "medium"
    clear(audited(asked, config=ceiling, bench=Bench({None: 10_000_000})), "rate.ceiling")


def test_shadow_mode(audited: Audited) -> None:
    """All decisions simulated, and what they would have stopped."""
    simulated = decision(1, 10, 90, simulated=True)
    found = finding(audited(steady(30), decisions=[simulated]), "shadow.decisions")
    assert (found.severity, found.figures["answers"]) == ("high", 19)
    real = decision(1, 10, 90, subject={"type": "client", "id": "other"})
    clear(audited(steady(30), decisions=[simulated, real]), "shadow.decisions")
    unjudged(audited(steady(30), decisions=[decision(1, 10, 90, "alert")]), "shadow.decisions")
    assert finding(audited(steady(3), config=policy()), "shadow.configuration").severity == "medium"
    clear(audited(steady(3), config=policy(shadow=False, trust_clients=True)), "shadow.configuration")


def test_decisions_of_people(audited: Audited, tmp_path: Path) -> None:
    """Without an end, without a name, and without an audit record."""
    forever = decision(1, 0, None, "allow", origin="manual", actor="ann")
    nobody = decision(2, 0, 90, origin="manual", subject={"type": "client", "id": "other"})
    report = audited(steady(3), decisions=[forever, nobody])
    assert finding(report, "manual.unlimited").examples == (forever["decision_id"],)
    assert finding(report, "manual.nobody").examples == (nobody["decision_id"],)
    unjudged(report, "manual.trail")
    written(tmp_path / "decisions.audit.jsonl", [{"detector": {"decision": forever}}])
    assert finding(audited(steady(3), decisions=[forever, nobody]), "manual.trail").examples == (nobody["decision_id"],)
    lifted = decision(3, 5, 90, "allow", origin="manual", actor="ann")
    clear(audited(steady(3), decisions=[forever, lifted]), "manual.unlimited")


def test_policies_in_turns(audited: Audited) -> None:
    """A change and a rollback are none; back and forth are two at a time."""

    def of(*versions: str) -> list[dict[str, Any]]:
        return [decision(at + 1, at, at + 90, policy_version=version) for at, version in enumerate(versions)]

    clear(audited(steady(3), decisions=of("a", "a", "b", "b", "a")), "policy.turns")
    assert finding(audited(steady(3), decisions=of(*"abababab")), "policy.turns").figures["changes"] == 7
    unjudged(audited(steady(3), decisions=[decision(1, 0, 9, policy_version=None)]), "policy.turns")


def test_traffic_that_is_exempt(audited: Audited) -> None:
    """By client and by organisation."""
    events = [*steady(3), *steady(1, "bot", begin=5, first=9, client={"organization": "bank"})]
    assert finding(audited(events, config=policy(never_block=("acme",))), "policy.exempt").severity == "medium"
    few = finding(audited(events, config=policy(never_block_organizations=("bank",))), "policy.exempt")
    assert (few.severity, few.figures["names"]) == ("low", ["organisation bank"])
    clear(audited(events, config=policy(never_block=("nobody",))), "policy.exempt")
    unjudged(audited(events), "policy.exempt")


def test_the_baseline_is_of_its_time(audited: Audited) -> None:
    """Its folder's age at the end of the log, and models that it does not know."""

    def known(days: float, *models: str) -> BaselineFacts:
        return BaselineFacts(Path("b"), "v", frozenset(models), round(START_MS - days * 1000 * DAY_S))

    assert finding(audited(steady(3), baseline=known(100, "fraud")), "baseline.age").figures["days"] == pytest.approx(100)
    clear(audited(steady(3), baseline=known(10, "fraud")), "baseline.age")
    clear(audited(steady(3), baseline=known(-10, "fraud")), "baseline.age")
    assert finding(audited(steady(3), baseline=known(1, "other")), "baseline.models").figures["models"] == ["fraud"]
    unjudged(audited(steady(3)), "baseline.age")


def test_samples(audited: Audited) -> None:
    """One of thirty; one of one; nothing said."""
    found = finding(audited(steady(3, sampled_rate=30)), "records.sampled")
    assert (found.severity, found.figures["stands_for"]) == ("high", 90)
    clear(audited(steady(3, sampled_rate=1)), "records.sampled")
    unjudged(audited(steady(3)), "records.sampled")


def test_disorder(audited: Audited) -> None:
    """Late events, and a log that is newest first."""
    late = [*steady(50, step=60), event(99, 0)]
    found = finding(audited(late), "records.order")
    assert (found.examples, found.figures["furthest_seconds"]) == (("e99",), 49 * 60)
    clear(audited([*steady(50), event(99, 0)]), "records.order")
    assert finding(audited(steady(50)[::-1]), "records.order").severity == "high"


def test_unusable_records(audited: Audited) -> None:
    """By their share; calls without an answer are no fault of the log."""
    bad = event(9, 9, input={"vector": "x"})
    assert finding(audited([*steady(200), bad]), "records.unusable").severity == "low"
    assert finding(audited([*steady(50), bad]), "records.unusable").severity == "medium"
    assert finding(audited([*steady(3), bad]), "records.unusable").severity == "high"


def test_marks(audited: Audited) -> None:
    """Marked answers, and a commitment before the first of them."""

    def check(made_ms: int | None, *marks: EventMark | None, epoch: str | None = None) -> list[Result]:
        commitment = None if made_ms is None else Commitment(Path("c"), made_ms, epoch)
        found = Marks(Known(Config(), commitment=commitment))
        for number, mark in enumerate(marks):
            answer = msgspec.convert(event(number, number), DecodedEvent)
            answer.output.perturbed = EventPerturbed("none", mark=mark)
            found.take(Seen(answer, START_MS + 1000 * number, "acme", "fraud", True, 1.0, 0.7, NOTHING))
        return list(found.results())

    key = EventMark("k1", "client:acme", "1")
    marked, committed = check(START_MS + 1001, None, key)
    assert isinstance(marked, Clear)
    assert marked.figures["keys"] == ["k1"]
    assert isinstance(committed, Finding)
    assert isinstance(check(START_MS + 1000, None, key)[1], Clear)
    assert isinstance(check(None, key)[1], Unjudged)
    second = EventMark("k2", "client:acme", "2")  # an epoch that is committed to anew, after marks of the first
    assert isinstance(check(START_MS + 2000, None, key, second, epoch="2")[1], Clear)
    assert isinstance(check(START_MS + 2001, None, key, second, epoch="2")[1], Finding)
    other = check(START_MS, None, key, epoch="2")[1]
    assert isinstance(other, Unjudged)
    assert "under epoch '2'" in other.why
    bare, _ = check(None, None)
    assert isinstance(bare, Finding)
    unjudged(audited(steady(3)), "marks.answers")
