"""The report: results with their counts, as JSON and as Markdown."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from detector.audit.controls import CONTROLS, STANDARDS
from detector.audit.result import SEVERITIES, Clear, Finding, Result, Severity, Unjudged, at_least
from detector.audit.table import Distinct
from detector.contracts.moment import rfc3339
from detector.names import counted, one_line

__all__ = ["FORMAT", "Report", "markdown", "summary", "to_dict"]

FORMAT: Final = 1
"""Version of the JSON; raised where a field is removed or means something else."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of an audit.

    `by_route` counts decisions that hold for some routes only, `repeats` queries that were there twice, and `refusals` says
    where the first record is that was refused for each reason.
    """

    events: int
    refused: int
    repeats: int
    clients: Distinct
    models: int
    first_ms: int | None
    last_ms: int | None
    decisions: int | None
    by_route: int
    results: tuple[Result, ...]
    problems: tuple[str, ...] = ()
    refusals: Mapping[str, str] | None = None

    @property
    def findings(self) -> list[Finding]:
        """The findings, the severest first."""
        found = [result for result in self.results if isinstance(result, Finding)]
        return sorted(found, key=lambda finding: -SEVERITIES.index(finding.severity))

    @property
    def clear(self) -> list[Clear]:
        """What was looked at without a finding."""
        return [result for result in self.results if isinstance(result, Clear)]

    @property
    def unjudged(self) -> list[Unjudged]:
        """What the records cannot tell."""
        return [result for result in self.results if isinstance(result, Unjudged)]

    def fails(self, bar: Severity) -> bool:
        """Tell whether a finding is as severe as `bar`."""
        return any(at_least(finding.severity, bar) for finding in self.findings)


def to_dict(report: Report) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "format": FORMAT,
        "standards": dict(STANDARDS),
        "log": {
            "events": report.events,
            "refused": report.refused,
            "repeats": report.repeats,
            "clients": len(report.clients),
            "clients_exact": report.clients.exact,
            "models": report.models,
            "first": None if report.first_ms is None else rfc3339(report.first_ms),
            "last": None if report.last_ms is None else rfc3339(report.last_ms),
        },
        "decisions": report.decisions,
        "decisions_by_route": report.by_route,
        "counts": {severity: sum(found.severity == severity for found in report.findings) for severity in SEVERITIES},
        "findings": [{**asdict(found), "figures": dict(found.figures)} for found in report.findings],
        "not_judged": [asdict(one) for one in report.unjudged],
        "nothing_found": [{**asdict(one), "figures": dict(one.figures)} for one in report.clear],
        "problems": list(report.problems),
    }


def summary(report: Report) -> str:
    """Say what was looked at, in one line."""
    span = (
        ""
        if report.first_ms is None or report.last_ms is None
        else f", {rfc3339(report.first_ms)} to {rfc3339(report.last_ms)}"
    )
    decisions = "no decisions" if report.decisions is None else counted(report.decisions, "decision")
    return (
        f"{counted(report.events, 'event')} of {report.clients.of('client')} and {counted(report.models, 'model')}"
        f"{span}; {counted(report.refused, 'record')} refused, {counted(report.repeats, 'repeat')}; {decisions}"
    )


def markdown(report: Report) -> str:
    """Return the report as a document, as an auditor files it."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield "# Audit of a prediction log"
    yield ""
    yield f"{_text(summary(report))}."
    yield ""
    yield f"Controls are those of {' and '.join(STANDARDS.values())}. A finding is what the records prove. What could not be"
    yield "judged is listed, and counts neither way. Nothing found means nothing found in this log."
    yield ""
    counts = ", ".join(
        f"{count} {severity}"
        for severity in reversed(SEVERITIES)
        if (count := sum(found.severity == severity for found in report.findings))
    )
    yield f"**Findings: {counts or 'none'}.** Not judged: {len(report.unjudged)}. Nothing found: {len(report.clear)}."
    if report.by_route:
        yield ""
        yield f"{report.by_route:,} decisions hold for some routes only; a log does not name routes, so they prove no gap."
    for problem in report.problems:
        yield ""
        yield f"**The log was not read to its end**: {_text(problem)}"
    if report.findings:
        yield ""
        yield "## Findings"
    for found in report.findings:
        yield ""
        yield f"### {_text(found.title)} ({found.severity})"
        yield ""
        yield f"- Check: `{found.id}`"
        yield f"- Controls: {_controls(found.controls)}"
        yield f"- Seen: {_text(found.seen)}."
        yield f"- Why {found.severity}: {_text(found.reason)}."
        if found.examples:
            yield f"- Examples: {', '.join(_code(one) for one in found.examples)}"
        yield f"- Do: {_prose(found.advice)}."
    if report.unjudged:
        yield ""
        yield "## Not judged"
        yield ""
        yield "| check | controls | why |"
        yield "|---|---|---|"
        for one in report.unjudged:
            yield f"| {_text(one.title)} (`{one.id}`) | {', '.join(one.controls)} | {_text(one.why)} |"
    if report.clear:
        yield ""
        yield "## Nothing found"
        yield ""
        yield "| check | controls | looked at |"
        yield "|---|---|---|"
        for looked in report.clear:
            yield f"| {_text(looked.title)} (`{looked.id}`) | {', '.join(looked.controls)} | {_text(looked.seen)} |"


def _controls(names: tuple[str, ...]) -> str:
    return "; ".join(f"{name} (level {CONTROLS[name].level}: {CONTROLS[name].about})" for name in names)


_MEANS_SOMETHING: Final = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_[]|#~!"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
)


def _text(text: str) -> str:
    """Return text that Markdown shows as it is: names in it come from callers."""
    return one_line(text).translate(_MEANS_SOMETHING)


def _prose(text: str) -> str:
    """Return our own text, in which backticks enclose code."""
    parts = text.split("`")
    return "`".join(part if at % 2 else _text(part) for at, part in enumerate(parts))


def _code(name: str) -> str:
    """Return a name as code, whatever it holds: in a fence of more backticks than it has."""
    shown = one_line(name).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in _runs(shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") or not shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def _runs(text: str) -> Iterator[str]:
    run = ""
    for character in text:
        if character == "`":
            run += character
        elif run:
            yield run
            run = ""
    if run:
        yield run
