"""The register: the latest of each key counts, and a person's decision holds until it ends."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from detector.contracts import rank, to_json
from detector.decisions.register import PRECEDENCE, Register, Target
from detector.sinks.sample import sample_decision

ACME = Target("client", "acme-batch")
MODEL = "fraud-scorer"
START = "2026-05-04T10:00:00.000Z"
NOW = 1_777_890_000_000  # 10:20:00


def record(revision: int = 1, action: Any = "block", origin: str = "detector", expires: str | None = "11:00") -> bytes:
    """A decision about one client and model."""
    end = None if expires is None else f"2026-05-04T{expires}:00.000Z"
    made = sample_decision(action=action, origin=origin, actor="soc:j.doe", revision=revision, issued_at=START, expires_at=end)
    return to_json(made)


def test_a_manual_decision_holds_until_it_ends() -> None:
    """While a person's allow is in force the detector's block does not hold; then it does, if it still lasts."""
    register = Register()
    register.take(record(1, "block", expires="11:00"))
    register.take(record(2, "allow", "manual", expires="10:30"))
    register.take(record(2, "block", expires="11:00"))
    for moment, action in ((NOW, "allow"), (NOW + 15 * 60_000, "block"), (NOW + 60 * 60_000, None)):
        found = register.in_force(ACME, MODEL, moment)
        assert (None if found is None else found.action) == action


def test_the_detector_does_not_replace_what_a_person_decided() -> None:
    """They write under different keys, so compaction, which keeps the last record of a key, keeps both."""
    manual, detector = record(3, "allow", "manual"), record(4, "block")
    topic: dict[str, bytes] = {}
    for data in (manual, detector):
        held = Register().take(data)
        assert held is not None
        topic[held.key] = data
    assert set(topic.values()) == {manual, detector}
    assert set(topic) == {f"client:acme-batch:{MODEL}", f"manual:client:acme-batch:{MODEL}"}


def test_an_old_revision_is_dropped_and_a_tombstone_forgets() -> None:
    """Of a key the highest revision counts, whatever comes later."""
    register = Register()
    assert register.take(record(2, "throttle"))
    assert register.take(record(1, "block")) is None
    assert [held.action for held in register] == ["throttle"]
    register.take(None, f"client:acme-batch:{MODEL}")
    assert not list(register)
    register.take(b"{}")
    assert register.unreadable == 1


def test_simulated_decisions_are_not_in_force() -> None:
    """Shadow decisions, of the detector or of a person, change nothing."""
    register = Register()
    register.take(to_json(sample_decision(simulated=True, expires_at=None)))
    assert register.in_force(ACME, MODEL, NOW) is None


_decided = st.tuples(
    st.integers(1, 5), st.sampled_from(["allow", "throttle", "perturb", "block"]), st.sampled_from(list(PRECEDENCE))
)


@given(st.lists(_decided, max_size=12))
def test_what_is_in_force(decided: list[tuple[int, str, str]]) -> None:
    """The hardest holds, and a person's allow against all but other people's decisions."""
    register = Register()
    for revision, action, origin in decided:
        register.take(record(revision, action, origin))
    found = register.in_force(ACME, MODEL, NOW)
    held = {entry.origin: entry.action for entry in register}
    if held.get("manual") == "allow":
        assert found is not None
        assert found.action == "allow"
    elif "import" not in held and held:
        assert found is not None
        assert found.action == max(held.values(), key=rank)
    elif not held:
        assert found is None
