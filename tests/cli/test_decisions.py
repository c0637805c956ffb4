"""`detector decisions` on a file: what people see, and what they must say."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detector.cli import app
from detector.contracts import Decision, to_json
from detector.errors import ConfigError
from detector.sinks.sample import sample_decision

BY = ("--actor", "soc:j.doe", "--reason", "asked for by the owner")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that a replay wrote: the detector's block of a client."""
    path = tmp_path / "decisions.jsonl"
    path.write_bytes(to_json(sample_decision(expires_at=None)) + b"\n")
    return path


def run(file: Path, *words: str) -> str:
    done = CliRunner().invoke(app, ["decisions", *words, "--file", str(file)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def latest(file: Path) -> Decision:
    return Decision.model_validate_json(file.read_bytes().splitlines()[-1])


def test_a_persons_allow_holds_instead_of_the_detectors_block(file: Path) -> None:
    """The list says that the block is overruled, and show says what is in force."""
    run(file, "allow", "acme-batch", "-m", "fraud-scorer", *BY, "--for", "2h")
    assert "manual holds" in run(file, "list")
    shown = json.loads(run(file, "show", "acme-batch", "--json"))
    assert shown["in_force"]["fraud-scorer"]["action"] == "allow"
    assert [decision["action"] for decision in shown["decisions"]] == ["allow", "block"]
    assert "in force on model fraud-scorer: allow" in run(file, "show", "acme-batch")


def test_a_lift_ends_what_the_detector_decided(file: Path) -> None:
    """The record that lifts says who and why, and what it supersedes."""
    run(file, "lift", "acme-batch", *BY)
    lifted = latest(file)
    assert (lifted.action, lifted.actor, lifted.reason.code) == ("allow", "soc:j.doe", "manual.lift")
    assert lifted.supersedes == sample_decision().decision_id
    assert lifted.expires_at is None  # as what it lifts


def test_parameters_are_complete(file: Path) -> None:
    """A throttle has a rate, a block a status; what the caller may be told is what was said."""
    run(file, "throttle", "acme-batch", *BY, "--rate", "5", "--tell", "Please slow down.")
    throttled = latest(file)
    assert throttled.parameters is not None
    assert (throttled.parameters.requests_per_minute, throttled.reason.user) == (5, "Please slow down.")
    run(file, "perturb", "acme-batch", *BY, "--simulated")
    assert (latest(file).action, latest(file).simulated) == ("perturb", True)


@pytest.mark.parametrize(
    "words",
    [
        ("--for", "2 hours"),
        ("--for", "0m"),
        ("--for", "400d"),
        ("--until", "yesterday"),
        ("--until", "2020-01-01T00:00:00Z"),
        ("--for", "2h", "--until-lifted"),
        ("--type", "person"),
        ("--type", "ip"),
        ("--type", "cidr"),
        ("--address", "gateway"),
        ("--rate", "3"),
    ],
)
def test_what_makes_no_sense_is_refused(file: Path, words: tuple[str, ...]) -> None:
    """Nothing is written then."""
    before = file.read_bytes()
    with pytest.raises(ConfigError):
        run(file, "block", "acme-batch", *BY, *words)
    assert file.read_bytes() == before


def test_addresses_are_written_as_gateways_spell_them(file: Path) -> None:
    """Else the decision would hold for nobody."""
    for kind, given, written in (("ip", "::FFFF:192.0.2.7", "192.0.2.7"), ("cidr", "192.0.2.7/24", "192.0.2.0/24")):
        run(file, "block", given, "--type", kind, *BY)
        assert latest(file).subject.id == written
    for given, written in (
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8::/64",) * 2,
        ("192.0.2.7:80", "192.0.2.7"),
        ("unknown",) * 2,
    ):
        run(file, "block", "acme", "--address", given, *BY)
        assert latest(file).subject.address == written


def test_who_must_never_be_blocked_is_not(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by hand: the list is there for the day on which somebody errs."""
    monkeypatch.setenv("DETECTOR_POLICY__NEVER_BLOCK", '["acme-batch"]')
    for kind in ("client", "api_key", "user"):  # gateways compare all of them with the client's name
        with pytest.raises(ConfigError, match="never_block"):
            run(file, "block", "acme-batch", *BY, "--type", kind)
    run(file, "throttle", "acme-batch", *BY)


def test_an_organization_on_the_list_is_throttled_at_most(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is of organisations: a client of the same name is not on it."""
    monkeypatch.setenv("DETECTOR_POLICY__NEVER_BLOCK_ORGANIZATIONS", '["acme"]')
    with pytest.raises(ConfigError, match="never_block_organizations"):
        run(file, "block", "acme", "--type", "organization", *BY)
    run(file, "throttle", "acme", "--type", "organization", *BY)
    run(file, "block", "acme", *BY)


def test_addresses_are_written_as_gateways_know_them(file: Path) -> None:
    """Another spelling of the same address would hold for nobody."""
    run(file, "block", "acme-batch", *BY, "--address", "2001:DB8::1")
    assert latest(file).subject.address == "2001:db8::/64"
    assert "in force" in run(file, "show", "acme-batch", "--address", "2001:db8::/64")
    run(file, "block", "2001:DB8:0::1", "--type", "ip", *BY)
    assert latest(file).subject.id == "2001:db8::1"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Its name may be wrong."""
    done = CliRunner().invoke(app, ["decisions", "list", "--file", str(tmp_path / "nothing.jsonl")])
    assert done.exit_code == 0
    assert "nothing.jsonl: there is no such file yet" in done.output.replace("\n", "")


def test_an_action_that_does_not_exist_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="known: allow, alert, throttle"):
        run(file, "list", "--action", "blok")


def test_actor_and_reason_are_asked_for(file: Path) -> None:
    """Without them the command does not start."""
    done = CliRunner().invoke(app, ["decisions", "block", "acme-batch", "--file", str(file)])
    assert done.exit_code == 2


def test_names_from_callers_do_not_act_on_the_terminal(file: Path) -> None:
    """A client's id may hold control characters."""
    run(file, "block", "evil\x1b[2J", *BY)
    assert "\x1b" not in run(file, "list") + run(file, "show", "evil\x1b[2J") + run(file, "list", "--json")


def test_nowhere_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Kafka and without a file the message names both."""
    monkeypatch.delenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", raising=False)
    with pytest.raises(ConfigError, match="--file or"):
        CliRunner().invoke(app, ["decisions", "list"], catch_exceptions=False)
