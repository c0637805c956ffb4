"""An audit as a whole: what it may depend on, and what it may not."""

import itertools
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.audit.controls import CONTROLS
from detector.audit.known import Known
from detector.audit.registry import CHECKS
from detector.audit.report import to_dict
from detector.config import Config
from tests.audit.logs import Audited, audit_of, decision, event, steady

_folders = itertools.count()

CLIENTS = st.sampled_from(["a", "b", "c"])
ADDRESSES = st.sampled_from([None, "192.0.2.1", "198.51.100.7", "2001:db8::1"])


@st.composite
def logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Events in order of time, several at the same moment among them."""
    times = sorted(draw(st.lists(st.integers(0, 200), min_size=1, max_size=25)))
    return [
        event(
            number,
            time,
            draw(CLIENTS),
            client={key: value for key, value in (("ip", draw(ADDRESSES)),) if value is not None},
            status=draw(st.sampled_from([None, 200, 403, 429])),
            sampled_rate=draw(st.sampled_from([None, 30])),
        )
        for number, time in enumerate(times)
    ]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=logs(), cuts=st.sets(st.integers(0, 25), max_size=3))
def test_cutting_a_log_changes_nothing(tmp_path: Path, log: list[dict[str, Any]], cuts: set[int]) -> None:
    """The audit of a log that is cut into files is that of the whole, figures and examples included."""
    decisions = [
        decision(1, 20, 150, subject={"type": "client", "id": "a"}),
        decision(1, 30, 190, "throttle", subject={"type": "client", "id": "b"}),
    ]
    folder = tmp_path / str(next(_folders))
    folder.mkdir()
    edges = [0, *sorted(cut for cut in cuts if cut < len(log)), len(log)]
    pieces = [log[start:stop] for start, stop in itertools.pairwise(edges)]
    whole = to_dict(audit_of(folder, log, decisions=decisions))
    assert to_dict(audit_of(folder, *pieces, decisions=decisions)) == whole


def test_every_check_names_controls_that_are_there(audited: Audited) -> None:
    """Each result of each check, and no id is used by two checks."""
    report = audited(steady(5), decisions=[decision(1, 1, 3)], config=Config())
    assert {name for result in report.results for name in result.controls} <= set(CONTROLS)
    assert all(result.controls for result in report.results)
    owners: dict[str, type] = {}
    for check in CHECKS:
        for result in check(Known(Config())).results():
            assert owners.setdefault(result.id, check) is check


def test_every_control_is_used() -> None:
    """A control that no check names would promise what nobody looks at."""
    source = "".join(path.read_text() for path in Path("detector/audit/checks").glob("*.py"))
    assert {name for name in CONTROLS if f'"{name}"' not in source} == set()


def test_checks_of_an_empty_log_say_nothing_is_found_or_cannot_be_judged() -> None:
    """No check raises without a single event, and none finds anything."""
    for configured in (False, True):
        for check in CHECKS:
            for result in check(Known(Config(), configured=configured, now_ms=1)).results():
                assert not hasattr(result, "severity") or result.id == "shadow.configuration", result


def test_what_cannot_be_used_is_counted_and_located(audited: Audited) -> None:
    """A record without a client among others does not end the audit."""
    nameless = event(1, 2)
    del nameless["client"]
    report = audited([event(0, 1), nameless, event(2, 3)])
    assert (report.events, report.refused) == (2, 1)
    assert "log-0.jsonl:2" in (report.refusals or {})["schema"]
