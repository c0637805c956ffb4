"""The decision: its ladder, its key, and what makes it complete."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.contracts import LADDER, Decision, rank, to_json
from detector.contracts.decision import Parameters, Reason, Scope, Subject


def decision(**changes: Any) -> Decision:
    """A block by the detector, before `changes`."""
    facts: dict[str, Any] = {
        "decision_id": "4b0a6f0e-3f55-5a83-9a3a-6a6f1c1d0a01",
        "revision": 1,
        "subject": Subject(type="client", id="acme"),
        "action": "block",
        "issued_at": "2026-05-04T10:31:07.412Z",
        "expires_at": "2026-05-04T11:31:07.412Z",
        "reason": Reason(code="extraction.offset", admin="flat steps"),
        "origin": "detector",
        "simulated": False,
    }
    return Decision(**(facts | changes))


def test_the_ladder_is_ordered() -> None:
    """Each action ranks above the milder ones."""
    assert LADDER == ("allow", "alert", "throttle", "perturb", "block")
    assert [rank(action) for action in LADDER] == [0, 1, 2, 3, 4]


@given(st.text().filter(lambda text: text not in LADDER))
def test_an_unknown_action_ranks_as_alert(action: str) -> None:
    """A level that a later version adds neither blocks nor breaks a gateway."""
    assert rank(action) == rank("alert")


def test_a_throttle_needs_a_limit() -> None:
    """A throttle says how many requests a minute, and zero is a limit."""
    for parameters in (None, Parameters(), Parameters(retry_after_seconds=60)):
        with pytest.raises(ValidationError, match="requests_per_minute"):
            decision(action="throttle", parameters=parameters)
    assert decision(action="throttle", parameters=Parameters(requests_per_minute=0)).action == "throttle"


def test_a_manual_decision_needs_an_actor() -> None:
    """Somebody stands behind every manual decision, a lift included."""
    with pytest.raises(ValidationError, match="actor"):
        decision(action="allow", origin="manual")
    assert decision(action="allow", origin="manual", actor="soc:j.doe").actor == "soc:j.doe"


def test_expires_at_is_written_even_when_null() -> None:
    """Null means until lifted, so it is said and not left out; other absent fields are left out."""
    text = to_json(decision(expires_at=None))
    assert text.count(b"null") == 1
    assert b'"expires_at":null' in text
    assert Decision.model_validate_json(text) == decision(expires_at=None)


@pytest.mark.parametrize(
    ("subject", "models", "key"),
    [
        ("acme", ("fraud",), "client:acme:fraud"),
        ("kong:prod:acme", ("fraud",), "client:kong:prod:acme:fraud"),
        ("acme", None, "client:acme:*"),
        ("acme", ("b", "a"), "client:acme:a,b"),
        ("acme", ("*",), "client:acme:%2A"),
        ("acme", ("v1:fraud",), "client:acme:v1%3Afraud"),
    ],
)
def test_keys(subject: str, models: tuple[str, ...] | None, key: str) -> None:
    """The key names the subject's type, its id and the model."""
    assert decision(subject=Subject(type="client", id=subject), scope=Scope(models=models)).key == key


_names = st.text(st.sampled_from("ab:,*%"), min_size=1, max_size=6)
_wheres = st.frozensets(_names, max_size=3)


@given(_names, _wheres, _names, _wheres)
def test_two_subjects_never_share_a_key(one: str, here: frozenset[str], other: str, there: frozenset[str]) -> None:
    """Separators in ids and model names do not let one client's decision replace another's."""
    first = decision(subject=Subject(type="client", id=one), scope=Scope(models=tuple(here) or None))
    second = decision(subject=Subject(type="client", id=other), scope=Scope(models=tuple(there) or None))
    assert (first.key == second.key) == ((one, here) == (other, there))


def test_each_key_has_one_writer() -> None:
    """What a person decides has a key of its own, so the detector's next record leaves it there."""
    assert decision(origin="manual", actor="soc:j.doe", scope=Scope(models=("fraud",))).key == "manual:client:acme:fraud"
    assert decision(origin="import").key == "import:client:acme:*"


def test_times_of_day_in_any_offset_are_read() -> None:
    """A decision from elsewhere may write its times with an offset; milliseconds are what one compares."""
    made = decision(issued_at="2026-05-04T12:31:07+02:00", expires_at=None)
    assert (made.issued_ms, made.expires_ms) == (1_777_890_667_000, None)
    assert decision().expires_ms == 1_777_894_267_412
