"""Manual decisions: complete, above all revisions about their subject, and lifted as they were made."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detector.contracts import Decision, to_json
from detector.contracts.audit import Audit
from detector.contracts.decision import Member, Parameters, Subject
from detector.decisions.file import DecisionFile
from detector.decisions.log import decide
from detector.decisions.manual import LIFT_MS, Order, compose, lifts
from detector.decisions.register import Register, Target
from detector.errors import ConfigError, OutputError
from detector.sinks.folder import FolderSink
from detector.sinks.sample import sample_decision

ACME = Target("client", "acme-batch")
MODELS = ("fraud-scorer",)
NOW = 1_777_890_000_000
HOUR = 3_600_000
BY = ("soc:j.doe", "nightly batch job")


def order(action: Any = "block", *, models: tuple[str, ...] = MODELS, until: int | None = NOW + HOUR) -> Order:
    return Order(ACME, models, action, *BY, until)


def of_detector(revision: int = 3, action: Any = "block", expires_at: str | None = "2026-05-04T12:00:00.000Z") -> Decision:
    return sample_decision(action=action, revision=revision, issued_at="2026-05-04T10:00:00.000Z", expires_at=expires_at)


@pytest.fixture
def log(tmp_path: Path) -> DecisionFile:
    return DecisionFile(tmp_path / "decisions.jsonl", tmp_path / "decisions.audit.jsonl")


def trail(log: DecisionFile) -> list[Audit]:
    return [Audit.model_validate_json(line) for line in log._audit.read_bytes().splitlines()]


@pytest.mark.parametrize("broken", [("", "why"), ("who", " \n"), ("w" * 300, "why"), ("who", "w" * 2000)])
def test_somebody_stands_behind_it(broken: tuple[str, str]) -> None:
    """No decision without an actor and a reason of a sane length."""
    with pytest.raises(ConfigError):
        Order(ACME, MODELS, "block", *broken, NOW + HOUR)


def test_its_revision_is_above_all_about_the_same_subject() -> None:
    """Even a reader that keeps one record for a subject, whoever made it, takes the latest."""
    register = Register()
    register.take(to_json(of_detector(revision=7)))
    first = compose(order("allow"), register, NOW)
    assert (first.revision, first.supersedes) == (8, of_detector().decision_id)
    register.take(to_json(first))
    assert compose(order("block"), register, NOW).revision == 9
    assert compose(order("allow"), register, NOW).decision_id != first.decision_id
    assert compose(order("allow", models=()), register, NOW).revision == 1


def test_a_decision_about_a_campaign_names_its_accounts() -> None:
    """It may outlast the detector's, and gates know the accounts of a campaign by its decisions alone."""
    ring = Target("campaign", "campaign-0123456789ab")
    register = Register()
    members = (Member(id="acme"), Member(id="other", address="192.0.2.7"))
    found = of_detector().model_copy(update={"subject": Subject(type="campaign", id=ring.id), "members": members})
    register.take(to_json(found))
    block = compose(Order(ring, MODELS, "block", *BY, None), register, NOW)
    assert block.members == members
    register.take(to_json(block))
    assert compose(Order(ring, (), "throttle", *BY, None, parameters=Parameters(requests_per_minute=1)), register, NOW).members
    assert compose(Order(ring, MODELS, "allow", *BY, None), register, NOW).members is None
    assert compose(order(), register, NOW).members is None
    assert [held.target for held in register.naming(Target("client", "acme"), NOW)] == [ring, ring]
    assert not register.naming(Target("client", "somebody"), NOW)
    with pytest.raises(ConfigError, match="named by campaign-0123456789ab: lift that, or allow 'acme' alone"):
        lifts(register, Target("client", "acme"), (), BY, NOW)


def test_the_end_lies_ahead() -> None:
    """A decision that has ended before it begins would do nothing, and nobody would know."""
    with pytest.raises(ConfigError, match="future"):
        compose(order(until=NOW), Register(), NOW)
    assert compose(order(until=None), Register(), NOW).expires_at is None


def test_a_lift_lasts_as_long_as_what_it_lifts(log: DecisionFile) -> None:
    """The detector's block does not come back when the lift ends; a block of a person is over at once."""
    register = Register()
    register.take(to_json(of_detector()))
    (lifted,) = lifts(register, ACME, (), BY, NOW)
    assert (lifted.action, lifted.models, lifted.code) == ("allow", MODELS, "manual.lift")
    assert lifted.expires_ms == of_detector().expires_ms
    decide(log, order("block", models=(), until=None), lambda: NOW)
    (everywhere,) = lifts(log.register(), ACME, (), BY, NOW)
    assert (everywhere.models, everywhere.expires_ms) == ((), NOW + LIFT_MS)
    decide(log, everywhere, lambda: NOW)
    with pytest.raises(ConfigError, match="nothing is in force"):
        lifts(log.register(), ACME, (), BY, NOW)


def test_only_what_holds_for_exactly_these_models_is_lifted(log: DecisionFile) -> None:
    """A block of all models is not lifted for one of them by mistake: the message names it."""
    decide(log, order("block", models=()), lambda: NOW)
    with pytest.raises(ConfigError, match="block on every model"):
        lifts(log.register(), ACME, MODELS, BY, NOW)


def test_the_trail_says_who_did_what(log: DecisionFile) -> None:
    """One record an act: the actor, the account, the decision, and what had been in force before."""
    first = decide(log, order("block"), lambda: NOW)
    second = decide(log, order("allow"), lambda: NOW)
    one, two = trail(log)
    assert [record.user.name for record in (one, two)] == ["soc:j.doe", "soc:j.doe"]
    assert (one.detector.decision, one.detector.before) == (first, ())
    assert (two.detector.decision, two.detector.before) == (second, (first,))
    assert one.message.startswith("soc:j.doe: block client acme-batch on model fraud-scorer until ")
    assert one.event.reason == "nightly batch job"


def test_no_decision_without_its_trail(log: DecisionFile, tmp_path: Path) -> None:
    """Where the trail cannot be written, nothing is decided."""
    (tmp_path / "decisions.audit.jsonl").mkdir()
    with pytest.raises(OutputError, match="audit trail"):
        decide(log, order(), lambda: NOW)
    assert not list(log.register())


def test_people_who_decide_at_once_leave_one_latest(log: DecisionFile) -> None:
    """Each act has a revision of its own, so that every reader keeps the same one."""
    threads = [threading.Thread(target=decide, args=(log, order("allow"), lambda: NOW)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = log._path.read_bytes().splitlines()
    revisions = [Decision.model_validate_json(line).revision for line in lines]
    assert revisions == sorted(set(revisions))
    assert len(trail(log)) == len(lines)


def test_a_line_cut_off_by_a_crash_spoils_no_other(log: DecisionFile) -> None:
    """The next record begins on a line of its own."""
    decide(log, order("block"), lambda: NOW)
    with log._path.open("ab") as file:
        file.write(b'{"schema_ver')
    decide(log, order("allow"), lambda: NOW)
    register = log.register()
    assert ([held.action for held in register], register.unreadable) == (["allow"], 1)


def test_a_run_and_people_write_into_one_file(tmp_path: Path) -> None:
    """Neither writes over the other; of a run that begins anew only the decisions of people stay."""
    sink = FolderSink(tmp_path)
    log = DecisionFile(tmp_path / "decisions.jsonl", tmp_path / "decisions.audit.jsonl")
    sink.decisions([of_detector(1)] * 200)
    decide(log, order("allow"), lambda: NOW)
    sink.decisions([of_detector(2)])
    register = log.register()
    assert ({held.action for held in register}, register.unreadable) == ({"allow", "block"}, 0)
    assert len(log._path.read_bytes().splitlines()) == 202
    sink.close()
    with log._path.open("ab") as file:
        file.write(b'{"origin":"manual","cut')
    FolderSink(tmp_path).close()
    assert [(held.action, held.origin) for held in log.register()] == [("allow", "manual")]
    assert log.register().unreadable == 0


def test_a_person_who_decides_while_a_run_begins_is_heard(tmp_path: Path) -> None:
    """Whoever comes first, the other waits."""
    log = DecisionFile(tmp_path / "decisions.jsonl", tmp_path / "decisions.audit.jsonl")

    def decide_all() -> None:
        for number in range(40):
            assert decide(log, Order(Target("client", f"c{number}"), MODELS, "block", *BY, NOW + HOUR), lambda: NOW)

    person = threading.Thread(target=decide_all)
    person.start()
    while person.is_alive():
        sink = FolderSink(tmp_path)
        sink.decisions([of_detector(1)])
        sink.close()
    person.join()
    assert sum(held.origin == "manual" for held in log.register()) == 40


class Follower:
    """Follows a log in a thread until it has seen so many records; `looks` counts its looks at the file."""

    def __init__(self, log: DecisionFile, most: int, *, beginning: bool) -> None:
        self.seen: list[bytes | None] = []
        self.looks = 0
        self._log, self._most, self._beginning = log, most, beginning
        self.thread = threading.Thread(target=self._follow)
        self.thread.start()

    def _stop(self) -> bool:
        self.looks += 1
        return len(self.seen) >= self._most or self.looks > 1000

    def _follow(self) -> None:
        for _, data in self._log.records(beginning=self._beginning, stop=self._stop):
            self.seen.append(data)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen in 20 seconds")


def test_following_a_file(log: DecisionFile) -> None:
    """Records appear as they are written, from now on or from the beginning, and after the file is replaced."""
    decide(log, order("block"), lambda: NOW)
    whole, later = Follower(log, 3, beginning=True), Follower(log, 2, beginning=False)
    wait_for(lambda: min(whole.looks, later.looks) > 1)
    decide(log, order("allow"), lambda: NOW)
    wait_for(lambda: (len(whole.seen), len(later.seen)) == (2, 1))
    log._path.rename(log._path.with_suffix(".old"))
    decide(log, order("block"), lambda: NOW)
    for follower in (whole, later):
        follower.thread.join(30)
    assert (len(whole.seen), len(later.seen)) == (3, 2)
