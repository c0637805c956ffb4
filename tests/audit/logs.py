"""Logs and decisions as files, in few words."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from detector.audit.known import Known
from detector.audit.report import Report
from detector.audit.result import Clear, Finding, Result, Unjudged
from detector.audit.run import audit
from detector.audit.trail import Trail, read_trail
from detector.config import Config
from detector.contracts.moment import rfc3339

START_MS = 1_777_890_667_000

Lines = Iterable[dict[str, Any]]
Audited = Callable[..., Report]


def event(number: int, second: float, who: str = "acme", **changes: Any) -> dict[str, Any]:
    """Return an event so many seconds after the start; `changes` go into its parts: client, output, and the event itself."""
    found: dict[str, Any] = {
        "event_id": f"e{number}",
        "time": START_MS + round(1000 * second),
        "client": {"id": who},
        "model": {"id": "fraud"},
        "input": {"vector": [1, 2.5]},
        "output": {"label": 1, "probabilities": [0.253, 0.747]},
    }
    for part in ("client", "output", "model"):
        found[part] |= changes.pop(part, {})
    return {key: value for key, value in (found | changes).items() if value is not None}


def decision(revision: int, second: float, until: float | None, action: str = "block", **changes: Any) -> dict[str, Any]:
    """Return a decision about `acme`, made and ended so many seconds after the start."""
    found = {
        "decision_id": f"018f3c2e-7d1a-5c1e-9a55-{revision:012d}",
        "revision": revision,
        "subject": {"type": "client", "id": "acme"},
        "action": action,
        "issued_at": rfc3339(START_MS + round(1000 * second)),
        "expires_at": None if until is None else rfc3339(START_MS + round(1000 * until)),
        "reason": {"code": "x", "admin": "because"},
        "origin": "detector",
        "simulated": False,
        "policy_version": "0123456789ab",
    }
    if action == "throttle":
        found["parameters"] = {"requests_per_minute": 6}
    return found | changes


def written(path: Path, lines: Lines) -> Path:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def audit_of(folder: Path, *logs: Lines, decisions: Lines | None = None, config: Config | None = None, **known: Any) -> Report:
    """Audit events, of one log or several, under decisions; everything is written into `folder`."""
    paths = [str(written(folder / f"log-{number}.jsonl", lines)) for number, lines in enumerate(logs)]
    trail = None if decisions is None else trail_of(decisions, folder)
    settings = Config() if config is None else config
    return audit(paths, Known(settings, configured=config is not None, trail=trail, **known))


def trail_of(decisions: Lines, folder: Path) -> Trail:
    """Return decisions as an audit reads them."""
    return read_trail(written(folder / "decisions.jsonl", decisions))


def result(report: Report, name: str) -> Result:
    """Return the only result of a check."""
    (found,) = [one for one in report.results if one.id == name]
    return found


def finding(report: Report, name: str) -> Finding:
    """Return a result that has to be a finding."""
    found = result(report, name)
    assert isinstance(found, Finding), found
    return found


def clear(report: Report, name: str) -> Clear:
    """Return a result that has to be clear."""
    found = result(report, name)
    assert isinstance(found, Clear), found
    return found


def unjudged(report: Report, name: str) -> Unjudged:
    """Return a result that has to say that it cannot tell."""
    found = result(report, name)
    assert isinstance(found, Unjudged), found
    return found


def steady(
    events: int, who: str = "acme", *, step: float = 1.0, begin: float = 0.0, first: int = 0, **changes: Any
) -> Sequence[dict[str, Any]]:
    """Return so many events of a client, `step` seconds apart."""
    return [event(first + at, begin + at * step, who, **changes) for at in range(events)]
